"""All the words of the bot, in plain text for terminals and in Markdown for comments: pure.

Whatever comes from outside goes through `_cleaned`; in Markdown it is then shown as code, where no forge finds
mentions, links or commands.
"""

import re
import shlex
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from autogate.contract import FailedTest, Finding

from .desk import Trouble
from .domain import waiting as w
from .domain.answers import Answer, Done, Help, Pong, Refused, Unknown
from .domain.commands import TABLE, Right
from .domain.events import PASSING
from .domain.model import (
    Attempt,
    AttemptKind,
    Conflicted,
    FailedAlone,
    InfrastructureFailed,
    PullRequest,
    Stage,
    State,
    Stopped,
    TimedOut,
    Verdict,
)

SHOWN_FINDINGS = 20
SHOWN_TESTS = 10
SHOWN_PATHS = 20
NAMED_PATHS = 3
NAMED_NUMBERS = 5
MAX_NAME = 120
MAX_TEXT = 300
MAX_LINE = 200
MAX_ERROR = 500
MAX_EXCERPT_LINES = 30
SHORT_SHA = 12

_TERMINAL_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_SPACES = re.compile(r"[^\S\n]+")
_BACKTICKS = re.compile("`+")
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_WEB_ADDRESS = re.compile(r"https?://[\w.~:/?#\[\]!$&'*+,;=%-]+", re.ASCII)
_AT = re.compile(r"(?<!\w)@")
_NOT_A_MENTION = "@\N{ZERO WIDTH SPACE}"


def _cleaned(text: str, limit: int) -> str:
    """Return outside text as one line with nothing invisible in it, at most ``limit`` characters."""
    # what is cut off here need not be looked at
    line = _TERMINAL_SEQUENCE.sub("", text[: 4 * limit])
    line = " ".join("".join(map(_visible, line)).split())
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def _visible(character: str) -> str:
    match unicodedata.category(character):
        case "Cc" | "Zs" | "Zl" | "Zp":
            return " "
        case "Cf" | "Cs":
            return ""
        case _:
            return character


def _cleaned_lines(text: str) -> list[str]:
    """Return the last lines of outside text that has several, each as `_cleaned` but for its indentation."""
    lines = _TERMINAL_SEQUENCE.sub("", text).expandtabs(4).splitlines()
    shown = ["".join(map(_visible, line[: 2 * MAX_LINE])).rstrip() for line in lines[-MAX_EXCERPT_LINES:]]
    while shown and not shown[0]:
        shown.pop(0)
    return [line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - 1]}…" for line in shown]


class _Plain:
    """How things are written for a terminal."""

    def text(self, text: str, limit: int = MAX_TEXT) -> str:
        """Write outside text."""
        return _AT.sub(_NOT_A_MENTION, _cleaned(text, limit))

    def name(self, text: str) -> str:
        """Write an outside name, such as a branch's or a builder's."""
        return self.text(text, MAX_NAME)

    def sha(self, sha: str) -> str:
        """Write a SHA."""
        return self.name(sha)[:SHORT_SHA]

    def own(self, text: str) -> str:
        """Write something that is to be typed as it is."""
        return f"`{self.text(text)}`"

    def command(self, command: str) -> str:
        """Write a command."""
        return self.own(command)

    def link(self, name: str, address: str) -> str:
        """Write a name with an address."""
        address = _cleaned(address, MAX_TEXT)
        return f"{self.name(name)} ({address})" if _WEB_ADDRESS.fullmatch(address) else self.name(name)

    def block(self, lines: Iterable[str]) -> str:
        """Write lines of outside text as they are."""
        return "\n".join(f"    {line}" for line in lines)

    def folded(self, title: str, body: str) -> str:
        """Write something long under a title."""
        return f"{title}:\n\n{body}"


class _Markdown(_Plain):
    """How things are written in a comment."""

    def __init__(self, bot: str) -> None:
        self._bot = bot

    def text(self, text: str, limit: int = MAX_TEXT) -> str:
        line = _cleaned(text, limit)
        fence = "`" * (max(map(len, _BACKTICKS.findall(line)), default=0) + 1)
        pad = " " if line[:1] == "`" or line[-1:] == "`" else ""
        return f"{fence}{pad}{line}{pad}{fence}" if line else "(nothing)"

    def sha(self, sha: str) -> str:
        # forges make a link of it
        return sha if _SHA.fullmatch(sha) else self.name(sha)

    def own(self, text: str) -> str:
        return self.text(text)

    def command(self, command: str) -> str:
        return self.text(f"@{self._bot} {command}")

    def link(self, name: str, address: str) -> str:
        # an address that is cut short leads nowhere
        usable = len(address) <= MAX_TEXT and _WEB_ADDRESS.fullmatch(address)
        return f"[{self.name(name)}](<{address}>)" if usable else self.name(name)

    def block(self, lines: Iterable[str]) -> str:
        body = "\n".join(lines)
        fence = "`" * max(3, max(map(len, _BACKTICKS.findall(body)), default=0) + 1)
        return f"{fence}text\n{body}\n{fence}"

    def folded(self, title: str, body: str) -> str:
        return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


_PLAIN = _Plain()


# Why it waits


def sentence(waiting: w.Waiting) -> str:
    """Return one sentence of plain text: why a pull request is not landed, and what would move it."""
    return _sentence(waiting, _PLAIN)


def _sentence(waiting: w.Waiting, v: _Plain) -> str:  # noqa: PLR0911, PLR0912  (one arm a situation)
    match waiting:
        case w.Landed(target=target, sha=sha):
            return (
                f"Landed on {v.name(target)} as {v.sha(sha)}."
                if sha
                else f"Nothing to land: {v.name(target)} has its commits."
            )
        case w.Closed():
            return "Closed without landing; it can be reopened."
        case w.Troubled(trouble=trouble):
            return _trouble(trouble, v)
        case w.UnknownTarget(target=target, targets=targets):
            gated = _either([v.name(name) for name in targets])
            return f"{v.name(target)} is not a gated branch" + (f"; point it at {gated} instead." if targets else ".")
        case w.NotApproved(delegates=delegates):
            who = _either(["a reviewer", *map(v.name, delegates)])
            return f"Not approved yet; {who} can write {v.command('r+')}."
        case w.SetAside():
            return _set_aside(waiting, v)
        case w.Unread():
            return "Its newest commit could not be fetched; it is being read again and goes on by itself."
        case w.WaitsFor(number=number):
            return f"Conflicts with #{number}, which is being tested; it goes on by itself when that is done."
        case w.TargetMissing(target=target):
            return f"There is no branch {v.name(target)}; it goes on by itself once somebody pushes that branch."
        case w.Paused(by=by, at=at, reason=reason, passed=passed):
            kept = "Passed, but the" if passed else "The"
            return f"{kept} repository is paused {_by(by, at, reason, v)}; it goes on when a reviewer resumes it."
        case w.Frozen():
            return _frozen(waiting, v)
        case w.Queued():
            return _queued(waiting)
        case w.Merging(others=others):
            return f"Being merged with its target{_together(others)}; the test comes next."
        case w.Pushing(others=others):
            return f"Merged{_together(others)}; the merge is being pushed to where it is tested."
        case w.Testing():
            return _testing(waiting, v)
        case w.Landing(target=target, sha=sha):
            return f"Passed; {v.name(target)} is being moved to {v.sha(sha)}."


def _set_aside(aside: w.SetAside, v: _Plain) -> str:
    target = v.name(aside.target)
    match aside.setback:
        case Conflicted(paths=paths):
            where = f" in {_some([v.name(path) for path in paths], NAMED_PATHS)}" if paths else ""
            return f"Conflicts with {target}{where}; merge {target} into your branch, push, and ask for approval again."
        case FailedAlone() as failed:
            return _failed_alone(failed, target, v, is_being_explained=aside.is_being_explained)
        case TimedOut(missing=missing):
            names = _all([v.name(builder) for builder in missing]) or "Buildbot"
            return f"{names} gave no result in time; find out why, then write {v.command('retry')}."
        case InfrastructureFailed(summary=summary):
            return (
                f"Could not be tested, through no fault of its own{_because(summary, v)}; "
                f"once that is mended, write {v.command('retry')}."
            )
        case Stopped(by=by):
            return f"Cancelled by {v.name(by)}; to put it back into the queue, write {v.command('retry')}."


def _failed_alone(failed: FailedAlone, target: str, v: _Plain, *, is_being_explained: bool) -> str:
    what = f"{v.name(failed.builder)} failed{_because(failed.summary, v)}"
    fix = f"push a fix and ask for approval again, or write {v.command('retry')} if the change is not to blame."
    if not failed.landed_before:
        return f"{what}; {fix}"
    others = _numbers(failed.landed_before)
    if failed.passes_without_them:
        return (
            f"Passes alone, but not together with {others}, which landed before it: {what}; "
            f"merge {target} into your branch, push a fix, and ask for approval again."
        )
    if failed.passes_without_them is False:
        return f"{what}, with or without {others}, which landed before it; {fix}"
    if is_being_explained:
        return f"{what} after {others} landed; it is being tested without that, to tell whether it fails alone."
    return f"{what} after {others} landed; {fix}"


def _frozen(frozen: w.Frozen, v: _Plain) -> str:
    kept = f"{'Passed, but ' if frozen.passed else ''}{v.name(frozen.target)} is frozen"
    by = _by(frozen.by, frozen.at, frozen.reason, v)
    thaw = f"a reviewer ends the freeze with {v.command('treeclosed-')}"
    if frozen.threshold is None:
        return f"{kept} {by}, until {thaw}."
    whose = "this" if frozen.because_of is None else f"#{frozen.because_of}, which was tested with it,"
    there = "" if frozen.because_of is None else " there"
    raised = f"write {v.command(f'p={frozen.threshold}')}{there}, or "
    return f"{kept} below priority {frozen.threshold} {by}, and {whose} has {frozen.priority}; {raised}{thaw}."


def _queued(queued: w.Queued) -> str:
    place = "Next in the queue" if queued.position == 1 else f"Number {queued.position} in the queue"
    tested = f"; {_numbers(queued.tested)} {_is(queued.tested)} being tested first" if queued.tested else ""
    why = f": {_numbers(queued.suspects)} failed together and are tested apart" if queued.suspects else ""
    return f"{place}{why}{tested}."


def _testing(testing: w.Testing, v: _Plain) -> str:
    if testing.complaint:
        return f"Being tested, but {v.text(testing.complaint)}; somebody has to reconfigure the Buildbot master."
    hunt = f", because {_numbers(testing.suspects)} failed together" if testing.suspects else ""
    passed = f"{_all([v.name(builder) for builder in testing.passed])} passed, " if testing.passed else ""
    missing = _all([v.name(builder) for builder in testing.missing]) or "nothing more"
    silent = f"; Buildbot cannot be asked meanwhile{_because(testing.trouble.error, v)}" if testing.trouble else ""
    return f"Being tested{_together(testing.others)}{hunt}: {passed}waiting for {missing}{silent}."


_TROUBLES = {
    "make_candidate": "Its merge cannot be made",
    "push_candidate": "Its merge cannot be pushed to where it is tested",
    "land": "It passed, but its target cannot be moved",
    "read_comment": "A comment cannot be read again from the forge",
    "read_pull_request": "It cannot be read again from the forge",
    "ask_buildbot": "Buildbot cannot be asked for results",
    "cancel_builds": "Builds that nobody waits for cannot be stopped",
    "reply": "An answer cannot be posted",
    "show_status": "This status cannot be shown on the forge",
    "finalise": "The forge cannot be told that it landed",
}


def _trouble(trouble: Trouble, v: _Plain) -> str:
    what = _TROUBLES.get(trouble.what) or f"Something it needs ({v.name(trouble.what)}) fails"
    error = v.text(trouble.error, MAX_ERROR).rstrip(".")
    when = f"since {_time(trouble.since)} (next try at {_time(trouble.again_at)})"
    return f"{what} {when}: {error}{'' if error.endswith('?') else '.'}"


# Answers


def answer(answer: Answer, bot: str | None = None) -> str:
    """Return what the bot answers to a command.

    Args:
        answer: The answer.
        bot: The bot's name, for Markdown under a pull request; None for plain text.
    """
    v = _voice(bot)
    match answer:
        case Done():
            return _done(answer, v)
        case Refused():
            return _refused(answer, v)
        case Unknown(word=word, instead=""):
            return f"{v.text(word)} is not a command; {v.command('help')} lists those that are."
        case Unknown(word=word, instead=instead):
            # not all that helps is a command of the bot's
            use = v.own(instead) if instead.startswith("git ") else v.command(instead)
            return f"{v.text(word)} is not a command here; use {use} instead."
        case Pong():
            return "I am here."
        case Help():
            return help_text(bot)


def _done(done: Done, v: _Plain) -> str:
    detail = done.detail
    said = {
        "r+": f"Approved: {v.sha(detail)}.",
        "r=": f"Approved: {v.sha(detail)}.",
        "r-": "The approval is taken back.",
        "p": f"The priority is now {v.text(detail)}.",
        "rollup": _ROLLUP.get(detail, f"rollup is now {v.text(detail)}."),
        "try": f"A try build of {v.sha(detail)} will begin as soon as it can.",
        "try-": "The try build is stopped.",
        "retry": "It goes back into the queue.",
        "cancel": f"Its test is stopped; {v.command('retry')} puts it back into the queue.",
        "delegate": f"{v.name(detail)} may approve this pull request now.",
        "delegate-": "Only reviewers may approve this pull request now.",
        "treeclosed": (f"The branch is frozen below priority {v.text(detail)}; {v.command('treeclosed-')} ends that."),
        "treeclosed-": "The branch is no longer frozen.",
    }.get(done.command)
    return said or f"{v.text(done.command)} is done."


_ROLLUP = {
    "never": "It is tested alone from now on.",
    "maybe": "It may be tested together with others.",
    "always": "It is tested together with others whenever possible.",
}

_RIGHTS: dict[str, Right] = {
    re.split("[= ]", spelling)[0]: described.right for described in TABLE.values() for spelling in described.spellings
}


def _refused(refused: Refused, v: _Plain) -> str:
    detail = refused.detail
    said = {
        "not_permitted": _not_permitted(refused, v),
        "head_moved": (
            f"Not approved: a commit newer than your comment was pushed. The newest is {v.sha(detail)}; "
            f"have a look at it, and write {v.command('r+')} again."
        ),
        "wrong_sha": (
            f"Not approved: the newest commit is {v.sha(detail)}, not the one you named. "
            f"Have a look at it, and write {v.command('r+')}."
        ),
        "short_sha": (
            f"Not approved: a shortened SHA may name another commit tomorrow. Write {v.command(f'r+ {detail}')}, "
            f"if that is the one you mean."
        ),
        "closed": "It is not open any more, so nothing was done.",
        "unknown_target": f"{v.name(detail)} is not a gated branch; point the pull request at one that is.",
        "nothing_to_retry": "There is nothing to retry: it was not set aside, and no try build ended.",
        "nothing_to_cancel": "There is nothing to cancel: it is neither being tested nor queued.",
        "no_try": "There is no try build to stop.",
        "no_author": (
            f"Its author{f', {v.name(detail)},' if detail else ''} has no login here; "
            f"use {v.command('delegate=NAME')} instead."
        ),
        "not_approved": "It is not approved, so there is no approval to take back.",
        "withdrawn": "Not approved: your comment is older than the one that took the approval back.",
        "landing": "Too late: it passed and is landing at this moment.",
    }.get(refused.reason)
    return said or f"{v.text(refused.command)} was refused: {v.text(refused.reason)}."


def _not_permitted(refused: Refused, v: _Plain) -> str:
    right = _RIGHTS.get(refused.command.rstrip("="))
    who = f"; that is for {right}" if right else ""
    return f"Sorry, {v.name(refused.detail)} may not use {v.text(refused.command)} here{who}."


def help_text(bot: str | None = None) -> str:
    """Return the list of commands; in Markdown with the bot's name, else in plain text."""
    v = _voice(bot)
    if bot is None:
        rows = [(", ".join(described.spellings), described) for described in TABLE.values()]
        lines = (f"{spelled}\n    {described.does}\n    for {described.right}" for spelled, described in rows)
        return "\n".join(lines)
    begin = f"Write a command, or several, on a line such as {v.command('r+ p=5')}."
    return f"{begin}\n\n{command_table()}"


def command_table() -> str:
    """Return the table of all commands in Markdown, as `docs/commands.md` has it."""
    rows = [
        f"| {', '.join(f'`{spelling}`' for spelling in described.spellings)} | {described.does} | {described.right} |"
        for described in TABLE.values()
    ]
    return "\n".join(["| command | what it does | who may |", "|---|---|---|", *rows])


# The status


def status(
    state: State,
    pull: PullRequest,
    attempts: Sequence[Attempt] = (),
    troubles: Sequence[Trouble] = (),
    *,
    markdown: bool = False,
) -> str:
    """Return all that there is to say of a pull request now.

    Args:
        state: What is known of its repository.
        pull: The pull request; one that has ended need not be in ``state``.
        attempts: Those with it, in any order; live ones may be missing, the state has those.
        troubles: What keeps failing in the repository.
        markdown: For the one comment on a forge; else for a terminal.
    """
    v = _voice(state.repository.policy.bot if markdown else None)
    waiting = w.why(state, pull, troubles)
    known = {attempt.id: attempt for attempt in (*attempts, *state.attempts.values()) if pull.number in attempt.numbers}
    parts = [
        _sentence(waiting, v),
        *_details(waiting, pull, known, v),
        *_trial(state, pull, known, v),
        *_also_failing(waiting, pull, troubles, v),
    ]
    return "\n\n".join(parts)


def _details(waiting: w.Waiting, pull: PullRequest, known: dict[int, Attempt], v: _Plain) -> Iterable[str]:
    last = known.get(pull.last_attempt or 0)
    match waiting:
        case w.Testing(attempt=number):
            yield _builders(known[number], v)
        case w.SetAside(setback=FailedAlone(attempt=number)) if number in known:
            yield from _failures(known[number], v)
        case w.SetAside(setback=TimedOut() | InfrastructureFailed()) if last:
            yield _builders(last, v)
        case w.SetAside(setback=Conflicted(paths=paths), target=target):
            yield from _conflict(paths, target, v)
        case w.Queued(suspects=suspects) if suspects and last and last.stage is Stage.FAILED:
            yield from _failures(last, v)


def _builders(attempt: Attempt, v: _Plain) -> str:
    return "\n".join(f"- {_builder(attempt, builder, v)}" for builder in attempt.required)


def _builder(attempt: Attempt, builder: str, v: _Plain) -> str:
    verdict = attempt.verdicts.get(builder)
    name = v.link(builder, (verdict.url if verdict else "") or attempt.builds.get(builder, ""))
    if verdict:
        return f"{name}: {_result(verdict)}{_because(verdict.summary, v)}"
    if not attempt.is_live:
        return f"{name}: no result"
    return f"{name}: {'under way' if attempt.builds.get(builder) else 'no build yet'}"


def _result(verdict: Verdict) -> str:
    return "passed" if verdict.result in PASSING else verdict.result.value.replace("failure", "failed")


def _failures(attempt: Attempt, v: _Plain) -> Iterable[str]:
    yield _builders(attempt, v)
    for verdict in attempt.verdicts.values():
        if verdict.result not in PASSING:
            if verdict.findings:
                total = max(verdict.findings_total, len(verdict.findings))
                yield v.folded(f"{total} {_plural('finding', total)}", _findings(verdict.findings, total, v))
            if verdict.failed_tests:
                total = max(verdict.failed_tests_total, len(verdict.failed_tests))
                yield v.folded(f"{total} failing {_plural('test', total)}", _tests(verdict.failed_tests, total, v))


def _findings(findings: Sequence[Finding], total: int, v: _Plain) -> str:
    shown = findings[:SHOWN_FINDINGS]
    lines = [
        f"{_cleaned(_place(finding.path, finding.line), MAX_NAME)}: {finding.severity}: "
        f"{_cleaned(finding.text, MAX_TEXT)} ({_cleaned(finding.symbol, MAX_NAME)})"
        for finding in shown
    ]
    return v.block(lines) + _and_more(total - len(shown))


def _tests(tests: Sequence[FailedTest], total: int, v: _Plain) -> str:
    shown = tests[:SHOWN_TESTS]
    return "\n\n".join(_test(test, v) for test in shown) + _and_more(total - len(shown))


def _test(test: FailedTest, v: _Plain) -> str:
    place = f" ({v.text(_place(test.path, test.line))})" if test.path else ""
    excerpt = _cleaned_lines(test.excerpt)
    # a line that begins with outside text could begin a list, and so change what the lines below mean
    return f"Test {v.text(test.name)}{place}" + (f"\n\n{v.block(excerpt)}" if excerpt else "")


def _place(path: str, line: int) -> str:
    return f"{path}:{line}" if line else path


def _conflict(paths: Sequence[str], target: str, v: _Plain) -> Iterable[str]:
    if len(paths) > NAMED_PATHS:
        shown = [_cleaned(path, MAX_LINE) for path in paths[:SHOWN_PATHS]]
        yield v.folded(f"{len(paths)} files in conflict", v.block(shown) + _and_more(len(paths) - len(shown)))
    ref = shlex.quote(f"origin/{target}")
    yield "To solve it:\n\n" + v.block([_cleaned(f"git fetch origin && git merge {ref}", MAX_LINE)])


def _trial(state: State, pull: PullRequest, known: dict[int, Attempt], v: _Plain) -> Iterable[str]:
    """Yield what there is to say of the try build that somebody asked for."""
    asked = [one for one in state.repository.tries if one.member.number == pull.number and one.diagnosis_of is None]
    if asked:
        yield f"A try build of {v.sha(asked[0].member.head)} waits for its turn."
    attempt = known.get(pull.last_try or 0)
    if attempt is None or attempt.kind is not AttemptKind.TRY:
        return
    [member] = attempt.members
    tried = f"try build of {v.sha(member.head)}"
    if attempt.is_live:
        yield f"A {tried} is under way."
        yield _builders(attempt, v)
    elif attempt.stage is Stage.GREEN:
        yield f"The {tried} passed."
    elif attempt.stage is Stage.FAILED:
        yield f"The {tried} failed."
        yield from _failures(attempt, v)
    elif attempt.outcome:
        yield f"The {tried} was stopped{_because(_STOPPED.get(attempt.outcome.reason, attempt.outcome.reason), v)}."


def _also_failing(waiting: w.Waiting, pull: PullRequest, troubles: Sequence[Trouble], v: _Plain) -> Iterable[str]:
    said = waiting.trouble if isinstance(waiting, w.Troubled | w.Testing) else None
    return (_trouble(trouble, v) for trouble in troubles if trouble.number == pull.number and trouble != said)


_STOPPED = {
    "base_moved": "its target moved",
    "head_moved": "a newer commit was pushed",
    "cancelled": "cancelled",
    "conflict": "it conflicts with its target",
    "nothing_to_do": "its target has its commits already",
    "builders_changed": "the required builders changed",
    "retargeted": "its target changed",
    "closed": "it was closed",
}


# Small words


def _voice(bot: str | None) -> _Plain:
    return _PLAIN if bot is None else _Markdown(bot)


def _because(reason: str, v: _Plain) -> str:
    return f" ({v.text(reason)})" if _cleaned(reason, MAX_TEXT) else ""


def _by(by: str, at: datetime, reason: str, v: _Plain) -> str:
    why = f": {v.text(reason)}" if _cleaned(reason, MAX_TEXT) else ""
    return f"(by {v.name(by)} since {_time(at)}{why})"


def _together(others: Sequence[int]) -> str:
    return f" together with {_numbers(others)}" if others else ""


def _numbers(numbers: Sequence[int]) -> str:
    return _some([f"#{number}" for number in numbers], NAMED_NUMBERS)


def _some(words: Sequence[str], most: int) -> str:
    if len(words) <= most:
        return _all(words)
    return f"{', '.join(words[:most])} and {len(words) - most} more"


def _all(words: Sequence[str], last: str = "and") -> str:
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else "".join(words)


def _either(words: Sequence[str]) -> str:
    return _all(words, "or")


def _is(things: Sequence[object]) -> str:
    return "is" if len(things) == 1 else "are"


def _plural(word: str, number: int) -> str:
    return word if number == 1 else f"{word}s"


def _and_more(number: int) -> str:
    return f"\n\nand {number} more" if number > 0 else ""


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
