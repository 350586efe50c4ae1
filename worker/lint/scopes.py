"""What each scope answers: which messages are findings, and which of them keep a change from passing.

- ``introduced``: what the change introduces (`worker.lint.introduced`).
- ``lines``: what begins on a line that the change adds or alters.
- ``files``: whole changed files; a file fails by its score, as git-pylint-commit-hook has it, or by its messages.

A file that a linter cannot read fails in each of them; in ``introduced``, when it was so before, only where the change
adds lines to it, which nobody could judge.
"""

from collections.abc import Collection, Iterable, Mapping

from .introduced import UNPARSABLE, Comparison, Said
from .model import ChangedFile, Finding, Judgement, Message, Score, Severity

LIMIT = 8.0
"""The hook's own limit in scope ``files``."""

WEIGHT = {severity: weight for weight, severity in enumerate(Severity)}


def is_unparsable(message: Message) -> bool:
    """Tell whether a message says that the file could not be read."""
    return message.symbol in UNPARSABLE or message.severity is Severity.FATAL


def fails(message: Message, fail_on: Severity | None = Severity.CONVENTION) -> bool:
    """Tell whether a message keeps a change from passing.

    Args:
        message: What a linter says.
        fail_on: The lightest severity that does, None when none does; info never does, and a file that cannot be read
            always does.
    """
    if is_unparsable(message):
        return True
    return fail_on is not None and message.severity is not Severity.INFO and WEIGHT[message.severity] >= WEIGHT[fail_on]


def introduced(
    comparison: Comparison, changes: Iterable[ChangedFile], fail_on: Severity | None = Severity.CONVENTION
) -> tuple[Finding, ...]:
    """Return the findings of scope ``introduced``."""
    added = _added_lines(changes)
    unread = [said for said in comparison.old if is_unparsable(said[0]) and added.get(said[0].path)]
    return tuple(
        Finding(message, source, fails=fails(message, fail_on), dependent=message.path not in added)
        for message, source in sorted([*comparison.new, *unread], key=_by_place)
    )


def lines(
    after: Mapping[str, Iterable[Said]], changes: Iterable[ChangedFile], fail_on: Severity | None = Severity.CONVENTION
) -> tuple[Finding, ...]:
    """Return the findings of scope ``lines``.

    Args:
        after: Path after the change -> what linters say of the file.
        changes: All files that the change touches.
        fail_on: See `fails`.
    """
    return tuple(
        Finding(message, source, fails=fails(message, fail_on))
        for path, added in sorted(_added_lines(changes).items())
        for message, source in sorted(after.get(path, ()), key=_by_place)
        if message.line in added or is_unparsable(message)
    )


def files(
    after: Mapping[str, Iterable[Said]],
    changes: Iterable[ChangedFile],
    scored: Iterable[Score],
    fail_on: Severity | None = None,
) -> tuple[Finding, ...]:
    """Return the findings of scope ``files``: all messages about changed files.

    Those of a file whose score is below its limit fail, and such as are severe enough.

    Args:
        after: Path after the change -> what linters say of the file.
        changes: All files that the change touches.
        scored: What `scores` returned.
        fail_on: See `fails`.
    """
    below = {score.path for score in scored if not score.passes}
    return tuple(
        Finding(message, source, fails=fails(message, Severity.CONVENTION if path in below else fail_on))
        for path in sorted(_added_lines(changes))
        for message, source in sorted(after.get(path, ()), key=_by_place)
    )


def scores(judgements: Mapping[str, Judgement], changes: Iterable[ChangedFile], limit: float) -> tuple[Score, ...]:
    """Return the scores of changed files beside the limit.

    A file without a score has no statement, or says that it is not to be linted: the hook lets it pass. Others are
    compared as pylint prints them, with two decimals.

    Args:
        judgements: Path after the change -> what came of linting it.
        changes: All files that the change touches.
        limit: The least score that passes.
    """
    found = {path: judgements[path].score for path in sorted(_added_lines(changes)) if path in judgements}
    return tuple(Score(path, round(score, 2), limit) for path, score in found.items() if score is not None)


def _added_lines(changes: Iterable[ChangedFile]) -> dict[str, Collection[int]]:
    return {change.after: change.added_lines for change in changes if change.after is not None}


def _by_place(said: Said) -> tuple[str, int, int, str, str, str]:
    message = said[0]
    return message.path, message.line, message.column, message.linter, message.symbol, message.text
