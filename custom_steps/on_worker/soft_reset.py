"""Move HEAD to the commit that a candidate was merged onto."""

import os

from autogate.gitwords import environment, is_sha, trailer
from custom_steps.on_worker.shared import Done, Report, Stop, run, say

MERGE = 2
"""Parents that make a commit a merge."""

NO_MERGE = (
    "Push to the candidate branch what `git merge --no-ff` makes: the gate tests merges, and lints what they bring in."
)


def main(parameters: Report) -> Report:
    """Reset, and return the ``base`` that HEAD is on now and the number of ``files`` that are staged.

    Args:
        parameters: ``trailer``, the name of the trailer that names a batch's base.
    """
    os.environ.update(environment())
    head = _git("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if head.code != 0:
        raise Stop(
            "configuration",
            "there is no commit to reset from\nThe working directory is no git repository, or an empty one: run "
            f"CheckoutExact (or steps.Git) before SoftReset.\n{head.err}",
        )
    sha = head.out.strip()
    parents, message = _commit(sha)
    if not parents:
        raise Stop("change", f"{sha[:12]} is a root commit: there is nothing it was merged onto\n{NO_MERGE}")
    if len(parents) < MERGE:
        raise Stop("change", f"{sha[:12]} is no merge\n{NO_MERGE}")
    if _git("cat-file", "-e", parents[0]).code != 0:
        raise Stop(
            "configuration",
            f"the parent of {sha[:12]} is missing: the clone is shallow\nCheck out with CheckoutExact, or with "
            "steps.Git(shallow=False): the reset needs the history.",
        )
    named = trailer(message, parameters["trailer"])
    base = _batch_base(sha, named, parameters["trailer"]) if named else parents[0]
    done = _git("reset", "--soft", "--quiet", base, "--")
    if done.code != 0:
        raise Stop("infrastructure", f"git reset --soft failed\n{done.err}")
    say(f"HEAD was {sha} and is {base}")
    staged = _git("diff-index", "--cached", "--name-status", "-z", "--no-renames", base, "--").out.split("\0")[:-1]
    for kind, path in zip(staged[::2], staged[1::2], strict=True):
        say(f"{kind}  {path}")
    return {"base": base, "files": len(staged) // 2}


def _batch_base(sha: str, named: str, trailer_name: str) -> str:
    """Return the base that the trailer names, when it is a first-parent ancestor and all above it are merges."""
    advice = (
        f"{trailer_name} must name, in full, the commit that the batch's first merge was made onto; leave the trailer "
        "out of a plain merge."
    )
    if not is_sha(named):
        raise Stop("change", f"{trailer_name} of {sha[:12]} is no full commit id: {named[:80]!r}\n{advice}")
    if _git("cat-file", "-e", f"{named}^{{commit}}").code != 0:
        raise Stop("change", f"{trailer_name} names {named[:12]}, which is not in the history of {sha[:12]}\n{advice}")
    chain = [
        line.split()
        for line in _git(
            "rev-list", "--first-parent", "--parents", "--end-of-options", sha, f"^{named}"
        ).out.splitlines()
    ]
    if not chain or len(chain[-1]) <= 1 or chain[-1][1] != named:
        raise Stop(
            "change", f"{trailer_name} names {named[:12]}, which is no first-parent ancestor of {sha[:12]}\n{advice}"
        )
    for commit, *parents in chain:
        if len(parents) < MERGE:
            raise Stop("change", f"{commit[:12]}, between {named[:12]} and {sha[:12]}, is no merge\n{NO_MERGE}")
    return named


def _commit(sha: str) -> tuple[list[str], str]:
    """Return the parents that are recorded in the commit (a shallow clone hides them elsewhere), and its message."""
    header, _, message = _git("cat-file", "commit", sha).out.partition("\n\n")
    parents = [line.removeprefix("parent ") for line in header.split("\n") if line.startswith("parent ")]
    return parents, message


def _git(*args: str) -> Done:
    return run(["git", "-c", "core.quotePath=false", *args])
