"""A bare copy of one repository, in which candidates are made and from which they are pushed and landed."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autogate.git import Git, GitError
from autogate.gitwords import HEADS, branch_name_fault, ref_name_fault
from review_bot.domain.effects import Land, MakeCandidate, PushCandidate
from review_bot.forges.protocol import RefDeletion

from . import parsing
from .bare import TRANSFER_SECONDS, Bare, checked
from .errors import MirrorError, MissingCommitError, RuleBrokenError
from .landing import Contradicted, HeadMoved, Landed, LandingResult, Refused, Withheld
from .merger import Candidate, Identity, Merger

ATTEMPTS = "refs/autogate/attempts/"
ATTEMPT_BRANCHES = f"{HEADS}autogate/attempts/"
"""Where attempts are kept on a server that takes nothing but branches."""

ROUNDS = 5
"""So many times something is read again when somebody else moved it just then."""

_DELETIONS_AT_ONCE = 200


async def _always() -> bool:
    return True


@dataclass
class Mirror:
    """The bare copy, made when it is first needed. It may be deleted while the bot is stopped.

    One process uses it at a time: a lock on it is taken with the first call that needs the copy and held until
    `close`. Every git inherits the lock, so that one which outlives a killed bot keeps the next bot from working
    beside it. Within the process calls wait for each other. Every call may raise `GitError` and `MirrorError`.

    Attributes:
        folder: Where it is; its own.
        url: The repository, as git takes it.
        git: The git program, with a key that may write.
        identity: Who makes the merge commits.
    """

    folder: Path
    url: str
    git: Git
    identity: Identity
    _bare: Bare = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._bare = Bare(self.folder, self.url, self.git)

    def close(self) -> None:
        """Let another process use it."""
        self._bare.close()

    async def refs(self, patterns: Iterable[str]) -> dict[str, str]:
        """Return full name -> object of the server's refs, read now; see `Git.remote_refs`."""
        return await self.git.remote_refs(self.url, patterns)

    async def describe(self, commits: Iterable[str], tips: Mapping[str, str]) -> Mapping[str, parsing.Description]:
        """Describe commits, and fetch those that are not here, all at once.

        Args:
            commits: Objects that refs of the server stand at.
            tips: Target -> its tip, which is fetched with them, so that the next fetch is smaller.

        Returns:
            Commit -> description. What is no commit, or is no longer on the server, is left out.
        """
        wanted = dict.fromkeys(checked(*commits))
        if not wanted:
            return {}
        async with self._bare.in_use():
            kinds = await self._bare.kinds(wanted)
            if absent := [sha for sha, kind in kinds.items() if kind == "missing"]:
                await self._bare.fetch(absent, tips)
                kinds = await self._bare.kinds(wanted)
            here = [sha for sha, kind in kinds.items() if kind == "commit"]
            if not here:
                return {}
            return parsing.descriptions(
                await self._bare.run(
                    *("log", "-z", "--no-walk=unsorted", "--encoding=UTF-8", "--no-mailmap"),
                    *("--format=tformat:%H%x00%an%x00%s", "--stdin"),
                    stdin="\n".join(here),
                )
            )

    async def make_candidate(self, effect: MakeCandidate, fetch_refs: Mapping[int, str]) -> Candidate:
        """Merge the members onto the target's tip as it is now; made again on the same tip, the commits are the same.

        Args:
            effect: What is merged onto what.
            fetch_refs: Member -> the server's ref that must stand at its head.

        Raises:
            MirrorError: there is no such target.
            MissingCommitError: the base that ``effect`` names is nowhere.
        """
        target = HEADS + _branch(effect.on)
        refs = {member.number: _ref(fetch_refs[member.number]) for member in effect.members}
        checked(*(member.head for member in effect.members))
        async with self._bare.in_use():
            for _ in range(ROUNDS):
                found = await self._bare.refs([target, *refs.values()])
                if target not in found:
                    raise MirrorError(
                        f"there is no branch {effect.on} to merge onto: push it, or take it out of the targets"
                    )
                there = [member for member in effect.members if found.get(refs[member.number]) == member.head]
                tip = found[target]
                base = effect.base or tip
                absent = await self._bare.fetch([base, *(member.head for member in there)], {effect.on: tip})
                if tip not in absent:
                    break
            else:
                raise MirrorError(f"{effect.on} is forced faster than it can be fetched: find out who does that")
            if base in absent:
                raise _missing(base)
            candidate = await Merger(self._bare, self.identity).merge(
                effect, base, [member for member in there if member.head not in absent]
            )
            if candidate.sha is not None:
                await self._bare.run("update-ref", f"{ATTEMPTS}{effect.attempt}", candidate.sha)
            return candidate

    async def push_candidate(self, effect: PushCandidate, branch: str) -> None:
        """Push a merge to the candidate branch, by force, and to an attempt ref that nobody may overwrite.

        Args:
            effect: The merge.
            branch: The candidate branch, without refs/heads/.

        Raises:
            MissingCommitError: the merge is neither here nor on the server.
            MirrorError: the attempt ref stands at another commit, or others keep moving the branch.
        """
        checked(effect.sha)
        candidate = HEADS + _branch(branch)
        async with self._bare.in_use():
            await self._bring(effect.sha)
            folder = await self._attempt_folder()
            try:
                await self._push_attempt(effect, folder, candidate)
            except GitError as error:
                if not error.is_refusal or folder == ATTEMPT_BRANCHES:
                    raise
                # perhaps for the attempt's ref alone: some servers take nothing but branches
                try:
                    await self._push_attempt(effect, ATTEMPT_BRANCHES, candidate)
                except GitError:
                    raise error from None
                await self._bare.run("config", "autogate.attempts", ATTEMPT_BRANCHES)

    async def land(
        self,
        effect: Land,
        deletions: Sequence[RefDeletion] = (),
        may_push: Callable[[], Awaitable[bool]] = _always,
    ) -> LandingResult:
        """Move the target from exactly the base to the merge, and delete refs in the same atomic push.

        After a crash it finds that it is done already, and finishes the deletions.

        Args:
            effect: The landing; every member that is in the merge, in order.
            deletions: The refs. When one is not at the commit that it says, nothing is moved.
            may_push: Asked in the last moment before the push, once it is clear that it has not landed already. It
                must not use the mirror.

        Raises:
            RuleBrokenError: the merge is not a chain of merges of exactly the members' heads onto the base.
            MissingCommitError: the merge is neither here nor on the server.
            GitError: the server refused the push, or cannot be reached; nothing was moved as far as it answers.
        """
        checked(effect.base, effect.sha, *(member.head for member in effect.members))
        target = HEADS + _branch(effect.target)
        _check_deletions(deletions)
        async with self._bare.in_use():
            await self._bring(effect.sha)
            await self._verify_rule(effect)
            before = await self._standing(effect, target, deletions)
            if isinstance(before, Landed):
                await self._finish_deletions(deletions)
            if before is not None:
                return before
            if not await may_push():
                return Withheld()
            try:
                await self._bare.push(
                    {target: (effect.sha, effect.base)}
                    | {deletion.ref: ("", deletion.expected) for deletion in deletions}
                )
            except GitError:
                # what the server holds now says more than its words, if it has answered at all
                after = await self._standing(effect, target, deletions)
                if after is None:
                    raise
                return after
            tip = (await self._bare.refs([target])).get(target)
            return Landed() if await self._holds(effect, tip) else Contradicted(tip)

    async def delete_ref(self, deletion: RefDeletion) -> None:
        """Delete a ref of the server if it still stands where it is said to; else nothing."""
        _check_deletions([deletion])
        async with self._bare.in_use():
            await self._finish_deletions([deletion])

    async def forget_attempts(self, ids: Iterable[int]) -> None:
        """Delete the refs of old attempts, here and on the server, and now and then pack what is here."""
        old = [folder + str(int(attempt)) for attempt in ids for folder in (ATTEMPTS, ATTEMPT_BRANCHES)]
        async with self._bare.in_use():
            found = await self._bare.refs([f"{ATTEMPTS}*", f"{ATTEMPT_BRANCHES}*"])
            there = [ref for ref in old if ref in found]
            for start in range(0, len(there), _DELETIONS_AT_ONCE):
                await self._bare.push(
                    {ref: ("", found[ref]) for ref in there[start : start + _DELETIONS_AT_ONCE]}, atomic=False
                )
            await self._bare.run("update-ref", "--stdin", stdin="".join(f"delete {ref}\n" for ref in old))
            await self._bare.run("gc", "--auto", "--quiet", seconds=TRANSFER_SECONDS)

    async def _bring(self, sha: str) -> None:
        """Make sure that a merge is here: another bot may have made it, or the mirror is a new one."""
        if (await self._bare.kinds([sha]))[sha] == "missing" and await self._bare.fetch([sha], {}):
            raise _missing(sha)

    # landing

    async def _verify_rule(self, effect: Land) -> None:
        """Check that first parents lead from the merge to the base in merges of exactly the members' heads."""
        out = await self._bare.run(
            "rev-list", "--first-parent", "--parents", f"--max-count={len(effect.members)}", effect.sha, "--"
        )
        # rev-list drops no parent of a complete history, and the mirror is one
        chain = parsing.parents(out)
        firsts = [*(commit for commit, _ in chain[1:]), effect.base]
        expected = [(first, member.head) for first, member in zip(firsts, reversed(effect.members), strict=False)]
        if not effect.members or [parents for _, parents in chain] != expected:
            numbers = ", ".join(f"#{member.number}" for member in effect.members) or "nothing"
            raise RuleBrokenError(
                f"{effect.sha} does not merge exactly the approved heads of {numbers} onto {effect.base}, "
                "so nothing was pushed: cancel the attempt and report this"
            )

    async def _standing(
        self, effect: Land, target: str, deletions: Sequence[RefDeletion]
    ) -> Landed | Refused | HeadMoved | None:
        """Read the server; None when all stands as it must for landing."""
        found = await self._bare.refs([target, *(deletion.ref for deletion in deletions)])
        tip = found.get(target)
        if tip != effect.base:
            return Landed() if await self._holds(effect, tip) else Refused(tip)
        for deletion in deletions:
            if found.get(deletion.ref) != deletion.expected:
                return HeadMoved(deletion.ref)
        return None

    async def _holds(self, effect: Land, tip: str | None) -> bool:
        """Tell whether the merge is ``tip``, or in its first-parent history."""
        if tip is None or tip == effect.sha:
            return tip is not None
        if await self._bare.fetch([tip], {effect.target: tip}):
            return False
        out = await self._bare.run("rev-list", "--first-parent", tip, f"^{effect.base}", "--")
        return effect.sha.encode() in out.split()

    async def _finish_deletions(self, deletions: Sequence[RefDeletion]) -> None:
        found = await self._bare.refs([deletion.ref for deletion in deletions]) if deletions else {}
        for deletion in deletions:
            if found.get(deletion.ref) == deletion.expected:
                await self._bare.push({deletion.ref: ("", deletion.expected)})

    # pushing

    async def _push_attempt(self, effect: PushCandidate, folder: str, candidate: str) -> None:
        attempt = f"{folder}{effect.attempt}"
        for _ in range(ROUNDS):
            found = await self._bare.refs([attempt, candidate])
            if found.get(attempt, effect.sha) != effect.sha:
                raise MirrorError(
                    f"{attempt} stands at {found[attempt]} on the server, so another bot or an older database made an "
                    f"attempt of that number: stop the other bot, or delete the refs below {folder} on the server"
                )
            moves = {
                ref: (effect.sha, found.get(ref, "")) for ref in (attempt, candidate) if found.get(ref) != effect.sha
            }
            if not moves:
                return
            try:
                try:
                    await self._bare.push(moves)
                except GitError as error:
                    if "does not support --atomic" not in error.stderr:
                        raise
                    for ref, move in moves.items():  # the attempt first: what is tested is then always kept
                        await self._bare.push({ref: move})
            except GitError:
                if await self._bare.refs([attempt, candidate]) == found:
                    raise
                continue  # somebody moved one of them just then
            return
        raise MirrorError(f"others keep moving {candidate}: nobody but the bot may push to it")

    async def _attempt_folder(self) -> str:
        out = await self._bare.run("config", "--default", ATTEMPTS, "--get", "autogate.attempts")
        return ATTEMPT_BRANCHES if out.decode().strip() == ATTEMPT_BRANCHES else ATTEMPTS


def _missing(sha: str) -> MissingCommitError:
    return MissingCommitError(
        f"{sha} is neither in the mirror nor on the server: cancel the attempt, and a new one is made"
    )


def _check_deletions(deletions: Sequence[RefDeletion]) -> None:
    for deletion in deletions:
        checked(deletion.expected)
        if _ref(deletion.ref).startswith(HEADS):
            raise RuleBrokenError(f"{deletion.ref} was to be deleted, but the bot deletes no branch; nothing was done")


def _branch(name: str) -> str:
    if fault := branch_name_fault(name):
        raise ValueError(f"the branch {name!r} {fault}")
    return name


def _ref(name: str) -> str:
    if fault := ref_name_fault(name):
        raise ValueError(f"the ref {name!r} {fault}")
    return name
