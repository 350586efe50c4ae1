"""From judgements to what the lint program says: pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import introduced, scopes, suppressions
from .model import ChangedFile, Judgement, LeftOut, Message, Outcome, Severity, Side, Trouble

Judgements = Mapping[tuple[Side, str], Judgement]
Contents = Mapping[tuple[Side, str], bytes | None]


@dataclass(frozen=True, slots=True)
class Rules:
    """What passes.

    Attributes:
        scope: ``introduced``, ``lines`` or ``files``.
        fail_on: The lightest severity that fails; None means that none does.
        limit: The least score of a changed file; None means that scores do not count.
        suppressions: What new suppressions are to the gate.
    """

    scope: str
    fail_on: Severity | None
    limit: float | None
    suppressions: suppressions.Policy


def outcome(
    base: str,
    changes: Sequence[ChangedFile],
    judgements: Mapping[str, Judgements],
    contents: Contents,
    rules: Rules,
    left_out: Sequence[LeftOut] = (),
) -> Outcome:
    """Return what is to be said of a change.

    Args:
        base: The commit that it is compared with.
        changes: Its Python files, with the lines that they add.
        judgements: Linter (``pylint``, ``ruff``) -> judgements of the change's files, and of dependents on the sides
            that were needed.
        contents: Of the files that were judged.
        rules: What passes.
        left_out: Dependents that were not looked at.
    """
    said = {side: _said(side, judgements, contents) for side in Side}
    after = said[Side.AFTER]
    pylint = {path: each for (side, path), each in judgements["pylint"].items() if side is Side.AFTER}
    scored = () if rules.limit is None else scopes.scores(pylint, changes, rules.limit)
    fixed: tuple[Message, ...] = ()
    old = 0
    if rules.scope == "introduced":
        silent = {side: _suppressions(side, changes, contents, ruff="ruff" in judgements) for side in Side}
        hidden = {side: _hidden(side, judgements, silent[side]) for side in Side}
        comparison = introduced.compare(said[Side.BEFORE], after, changes, hidden[Side.BEFORE], hidden[Side.AFTER])
        added = suppressions.added(silent[Side.BEFORE], silent[Side.AFTER], changes)
        sources = {path: content or b"" for (side, path), content in contents.items() if side is Side.AFTER}
        findings = scopes.introduced(comparison, changes, rules.fail_on)
        findings += suppressions.findings(added, sources, rules.suppressions)
        touched = {path for change in changes for path in (change.before, change.after)}
        fixed = tuple(each for each in comparison.fixed if each.path in touched)
        old = sum(message.path in touched for message, _ in comparison.old)
    elif rules.scope == "lines":
        findings = scopes.lines(after, changes, rules.fail_on)
    else:
        findings = scopes.files(after, changes, scored, rules.fail_on)
    troubles, notes = _troubles(judgements, changes)
    return Outcome(
        scope=rules.scope,
        base=base,
        findings=tuple(sorted(findings, key=lambda each: (each.message.path, each.message.line, each.message.column))),
        fixed=fixed,
        old=old,
        scores=scored,
        troubles=troubles,
        left_out=tuple(left_out),
        notes=notes,
    )


def _said(side: Side, judgements: Mapping[str, Judgements], contents: Contents) -> dict[str, list[introduced.Said]]:
    """Return what all linters say of each file of a side."""
    said: dict[str, list[introduced.Said]] = {}
    for each in judgements.values():
        for (of, path), judgement in each.items():
            if of is side:
                said.setdefault(path, []).extend(introduced.with_lines(judgement.messages, contents.get((side, path))))
    return said


def _suppressions(
    side: Side, changes: Sequence[ChangedFile], contents: Contents, *, ruff: bool
) -> dict[str, list[suppressions.Suppression]]:
    paths = [change.before if side is Side.BEFORE else change.after for change in changes]
    return {
        path: suppressions.found(contents.get((side, path)) or b"", ruff=ruff) for path in paths if path is not None
    }


def _hidden(
    side: Side, judgements: Mapping[str, Judgements], silent: Mapping[str, list[suppressions.Suppression]]
) -> set[tuple[str, str]]:
    """Return the files, by path, and linters that could not say what they would have said."""
    failed = {
        (path, linter)
        for linter, each in judgements.items()
        for (of, path), judgement in each.items()
        if of is side and judgement.error
    }
    return failed | {
        (path, each.linter)
        for path, found in silent.items()
        for each in found
        if each.name == suppressions.ALL and each.reach is suppressions.Reach.MODULE
    }


def _troubles(
    judgements: Mapping[str, Judgements], changes: Sequence[ChangedFile]
) -> tuple[tuple[Trouble, ...], tuple[str, ...]]:
    """Return what keeps everything from passing, and notes on what does not: what could not be judged before either."""
    before = {change.after: change.before for change in changes if change.after is not None}
    touched = {path for change in changes for path in (change.before, change.after)}
    troubles, notes = [], []
    for each in judgements.values():
        for (side, path), judgement in sorted(each.items()):
            if not judgement.error:
                continue
            if side is Side.AFTER:
                then = each.get((Side.BEFORE, before.get(path) or path))
                if path in touched or then is None or not then.error:
                    troubles.append(Trouble(path, side, judgement.error, judgement.infrastructure))
            elif judgement.infrastructure:
                troubles.append(Trouble(path, side, judgement.error, infrastructure=True))
            else:
                notes.append(
                    f"{path} could not be judged as it was before the change, so what shows on lines that the change "
                    f"does not touch counts as old: {judgement.error}"
                )
    return tuple(troubles), tuple(notes)
