"""The command line of ``autogate-lint``."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from .model import Severity
from .output import FORMATS
from .scopes import LIMIT

NOTHING = "nothing"
MAX_SCORE = 10.0
HELP_WIDTH = 100

DESCRIPTION = """\
Lint a change, and report what it introduces: what pylint says after it and did not say before, in
the files that it touches and in those that use them. Old messages stay untouched, also where code
moved. Without PATHs it judges all that the work tree changes against --base."""

EPILOGUE = """\
examples:
  autogate-lint                           what the work tree changes since the last commit
  autogate-lint --staged                  what 'git commit' would commit; for a pre-commit hook
  autogate-lint --base origin/main        what this branch changes, and the work tree on top
  autogate-lint --base origin/main --format github           in CI: notes beside the lines
  autogate-lint --base HEAD^ --format sarif --output lint.sarif      a merge, for code scanning
  autogate-lint --scope files             whole changed files by their score, as
                                          git-pylint-commit-hook does
  autogate-lint shop/cart.py tests        some files and folders only

exit status:
  0  the change passes
  1  it does not
  2  the command line is wrong, or this is no repository that can be linted
  3  a file could not be judged; nothing passes then

environment:
  AUTOGATE_LINT_CACHE  the folder of --cache
  AUTOGATE_LINT_OWNER  the id of a process with which a server that is started ends

docs/lint.md says what counts as introduced, and how it is set up as a pre-commit hook."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for.

    Attributes:
        paths: Files and folders to which the run is limited; none means all.
        base: The revision that the change is compared with.
        staged: Whether the index is judged instead of the work tree.
        scope: ``introduced``, ``lines`` or ``files``.
        limit: The least score with which a changed file passes; None means that scores do not count.
        fail_on: The lightest severity that fails; None means that none does.
        also: Further linters: ``ruff``.
        config_from: The tree whose configuration is obeyed: ``base``, or ``merge`` for the one after the change.
        pylintrc: The configuration file, relative to the repository's root; None means the one that pylint finds.
        suppressions: What becomes of new suppressions: ``allow``, ``warn`` or ``fail``.
        dependents: ``near`` (files that load what changed and name it), ``all`` (that load it) or ``none``.
        dependents_time: Seconds that dependents may take; None for some that grow with the change.
        format: One of `FORMATS`.
        output: The file to write to; None means standard output.
        python: The Python that has the repository's pylint; None means to look for it.
        cache: The folder of snapshots and results, absolute.
        cached: Whether results are looked up and kept.
        server: Whether a warm server is used, and started.
        jobs: How many files are linted at a time; None means as many as there are processors.
        file_time: Seconds that a file may take.
        file_memory: MiB that a file may take.
        progress: Whether to say on standard error what is being done.
        colour: ``auto``, ``always`` or ``never``.
        warm: Whether to bring server and cache to the base, instead of linting.
        stop_server: Whether to stop the repository's server, instead of linting.
        raw: A file for every judgement of the run, as JSON; for measurements.
    """

    paths: tuple[str, ...]
    base: str
    staged: bool
    scope: str
    limit: float | None
    fail_on: Severity | None
    also: tuple[str, ...]
    config_from: str
    pylintrc: str | None
    suppressions: str
    dependents: str
    dependents_time: float | None
    format: str
    output: str | None
    python: str | None
    cache: str
    cached: bool
    server: bool
    jobs: int | None
    file_time: float
    file_memory: int
    progress: bool
    colour: str
    warm: bool
    stop_server: bool
    raw: str | None


def parse(arguments: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Return what a command line asks for.

    Args:
        arguments: The words behind the program's name.
        environ: The environment.

    Raises:
        SystemExit: With 2 when it is wrong, after saying on standard error what to write; with 0 after ``--help``.
    """
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    whole_files = given["scope"] == "files"
    fail_on = given["fail_on"] or (NOTHING if whole_files else Severity.CONVENTION)
    limit = LIMIT if whole_files and given["limit"] is None else given["limit"]
    if given["warm"] and (given["paths"] or given["staged"]):
        parser.error("--warm takes the whole of --base: leave out --staged and the paths")
    if given["warm"] and not given["cached"] and not given["server"]:
        parser.error("--warm has nothing to warm: leave out --no-cache or --no-server")
    return Options(
        **{
            **given,
            "paths": tuple(given["paths"]),
            "also": tuple(dict.fromkeys(given["also"])),
            "limit": limit,
            "fail_on": None if fail_on == NOTHING else Severity(fail_on),
            "cache": _cache_folder(given["cache"], environ),
        }
    )


def _cache_folder(given: str | None, environ: Mapping[str, str]) -> str:
    folder = given or environ.get("AUTOGATE_LINT_CACHE")
    if not folder:
        folder = os.path.join(environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "autogate-lint")
    return os.path.abspath(folder)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"autogate-lint: {message}\nautogate-lint --help lists what can be written.\n")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Breaks help into lines of one width, since asking for the terminal's costs each run the import of shutil."""

    def __init__(self, prog: str, **_: object) -> None:
        super().__init__(prog, max_help_position=28, width=HELP_WIDTH)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="autogate-lint",
        usage="autogate-lint [OPTION…] [PATH…]",
        description=DESCRIPTION,
        epilog=EPILOGUE,
        formatter_class=cast("Any", _Formatter),
        allow_abbrev=False,
    )
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="judge only these files and folders",
    )
    _what_is_judged(parser)
    _what_passes(parser)
    _dependents(parser)
    _output(parser)
    _means(parser)
    return parser


def _what_is_judged(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is judged")
    group.add_argument(
        "--base", metavar="REV", default="HEAD", type=_revision, help="compare with this commit (default: HEAD)"
    )
    group.add_argument("--staged", action="store_true", help="judge the index instead of the work tree")
    group.add_argument(
        "--scope",
        choices=("introduced", "lines", "files"),
        default="introduced",
        help="introduced (default): what the change brings in, wherever it shows; lines: what stands on lines that it "
        "adds; files: all that is in files that it touches",
    )
    group.add_argument(
        "--also", action="append", choices=("ruff",), default=[], help="run this linter on the same terms"
    )
    group.add_argument(
        "--config-from",
        choices=("base", "merge"),
        default="base",
        help="obey the configuration of the base (default), so that no change switches off its judge, or of the merge",
    )
    group.add_argument(
        "--pylintrc",
        metavar="PATH",
        help="pylint's configuration, from the repository's root (default: as pylint does)",
    )


def _what_passes(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what passes")
    group.add_argument(
        "--fail-on",
        choices=[*map(str, Severity), NOTHING],
        metavar="SEVERITY",
        help=f"the lightest that fails: {', '.join(Severity)} or {NOTHING} (default: convention; with --scope files: "
        f"{NOTHING}, so that the score judges); a file that cannot be read always fails",
    )
    group.add_argument(
        "--limit",
        type=_score,
        metavar="SCORE",
        help=f"fail a changed file whose score is below it, at most 10 (default: none; with --scope files: {LIMIT})",
    )
    group.add_argument(
        "--suppressions",
        choices=("allow", "warn", "fail"),
        default="fail",
        help="what becomes of new comments that switch messages off: allow says nothing, warn tells, fail (default) "
        "tells, and fails what silences more than named messages on one line",
    )


def _dependents(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("files that use what changed")
    group.add_argument(
        "--dependents",
        choices=("near", "all", "none"),
        default="near",
        help="near (default): those that load it, be it through others, and name what changed in it; all: those that "
        "name nothing of it, too; none",
    )
    group.add_argument(
        "--dependents-time",
        type=_seconds,
        metavar="SECONDS",
        help="look at them for so long (default: half a second, and a quarter more a changed file, at most 10); what "
        "was left out is told",
    )


def _output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--format", choices=FORMATS, default="text", help="default: text")
    group.add_argument("--output", metavar="FILE", help="write to this file instead of standard output")
    group.add_argument("--progress", action="store_true", help="say on standard error what is being done")
    group.add_argument(
        "--colour",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto (default): on a terminal, unless NO_COLOR is set",
    )


def _means(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("means")
    group.add_argument("--python", metavar="PATH", help="the Python that has the repository's pylint")
    group.add_argument(
        "--cache",
        metavar="FOLDER",
        help="keep snapshots and results there (default: $AUTOGATE_LINT_CACHE, else ~/.cache/autogate-lint)",
    )
    group.add_argument("--no-cache", dest="cached", action="store_false", help="neither look up results nor keep them")
    group.add_argument("--no-server", dest="server", action="store_false", help="neither use nor start a warm server")
    group.add_argument(
        "--jobs", type=_whole_number, metavar="N", help="lint so many files at a time (default: one a processor)"
    )
    group.add_argument(
        "--file-time",
        type=_seconds,
        default=120.0,
        metavar="SECONDS",
        help="give up on a file after so long (default: 120)",
    )
    group.add_argument(
        "--file-memory",
        type=_whole_number,
        default=2048,
        metavar="MIB",
        help="give up on a file that takes more memory (default: 2048)",
    )
    group.add_argument("--raw", metavar="FILE", help=argparse.SUPPRESS)
    instead = group.add_mutually_exclusive_group()
    instead.add_argument(
        "--warm", action="store_true", help="bring server and cache to --base and lint nothing; for idle time"
    )
    instead.add_argument("--stop-server", action="store_true", help="stop this repository's server and lint nothing")


def _revision(text: str) -> str:
    if not text or text.startswith("-"):
        raise argparse.ArgumentTypeError(f"{text!r} is no revision; write a commit, branch or tag, such as origin/main")
    return text


def _score(text: str) -> float:
    score = _number(text)
    if score is None or score > MAX_SCORE:
        raise argparse.ArgumentTypeError(f"{text!r} is no score; write a number up to 10, such as 8.5")
    return score


def _seconds(text: str) -> float:
    seconds = _number(text)
    if seconds is None or seconds < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write seconds, such as 30 or 2.5")
    return seconds


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no such number; write 1 or more")
    return int(text)
