"""The command line."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from worker.lint.arguments import Options, parse
from worker.lint.model import Severity

HOME = {"AUTOGATE_LINT_CACHE": "/var/cache/lint"}


def test_without_a_word_the_work_tree_is_judged_by_what_it_introduces_since_the_last_commit() -> None:
    assert parse([], HOME) == Options(
        paths=(),
        base="HEAD",
        staged=False,
        scope="introduced",
        limit=None,
        fail_on=Severity.CONVENTION,
        also=(),
        config_from="base",
        pylintrc=None,
        suppressions="fail",
        dependents="near",
        dependents_time=None,
        format="text",
        output=None,
        python=None,
        cache="/var/cache/lint",
        cached=True,
        server=True,
        jobs=None,
        file_time=120.0,
        file_memory=2048,
        progress=False,
        colour="auto",
        warm=False,
        stop_server=False,
        raw=None,
    )


def test_every_option_is_read() -> None:
    line = (
        "--base origin/main --staged --scope lines --limit 7.5 --fail-on error --also ruff --also ruff "
        "--config-from merge --pylintrc conf/pylintrc --suppressions warn --dependents all --dependents-time 2.5 "
        "--format sarif --output lint.sarif --python .venv/bin/python --cache /tmp/kept --no-cache --no-server "
        "--jobs 3 --file-time 9 --file-memory 512 --progress --colour never shop tests/test_cart.py"
    )
    assert parse(line.split(), HOME) == Options(
        paths=("shop", "tests/test_cart.py"),
        base="origin/main",
        staged=True,
        scope="lines",
        limit=7.5,
        fail_on=Severity.ERROR,
        also=("ruff",),
        config_from="merge",
        pylintrc="conf/pylintrc",
        suppressions="warn",
        dependents="all",
        dependents_time=2.5,
        format="sarif",
        output="lint.sarif",
        python=".venv/bin/python",
        cache="/tmp/kept",
        cached=False,
        server=False,
        jobs=3,
        file_time=9.0,
        file_memory=512,
        progress=True,
        colour="never",
        warm=False,
        stop_server=False,
        raw=None,
    )
    assert parse(["--warm", "--base=v1"], HOME).warm
    assert parse(["--stop-server"], HOME).stop_server


@pytest.mark.parametrize(
    ("line", "limit", "fail_on"),
    [
        ("--scope files", 8.0, None),
        ("--scope files --limit 9", 9.0, None),
        ("--scope files --fail-on error", 8.0, Severity.ERROR),
        ("--scope introduced --limit -2", -2.0, Severity.CONVENTION),
        ("--scope lines --fail-on nothing", None, None),
    ],
)
def test_whole_files_are_judged_by_their_score_unless_more_is_asked_for(
    line: str, limit: float | None, fail_on: Severity | None
) -> None:
    options = parse(line.split(), HOME)
    assert (options.limit, options.fail_on) == (limit, fail_on)


@pytest.mark.parametrize(
    ("arguments", "environ", "folder"),
    [
        (["--cache", "/given"], HOME, "/given"),
        ([], HOME, "/var/cache/lint"),
        ([], {"AUTOGATE_LINT_CACHE": "", "XDG_CACHE_HOME": "/xdg"}, "/xdg/autogate-lint"),
        ([], {}, str(Path("~/.cache/autogate-lint").expanduser())),
        (["--cache", "here"], {}, str(Path.cwd() / "here")),
    ],
)
def test_the_cache_is_where_the_user_has_it(arguments: list[str], environ: dict[str, str], folder: str) -> None:
    assert parse(arguments, environ).cache == folder


def test_a_path_that_begins_with_a_dash_is_one_behind_two_dashes() -> None:
    assert parse(["--staged", "--", "--warm", "-x.py"], HOME).paths == ("--warm", "-x.py")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--limit", "11"], "argument --limit: '11' is no score; write a number up to 10, such as 8.5"),
        (["--limit", "nan"], "'nan' is no score"),
        (["--limit=-inf"], "'-inf' is no score"),
        (["--limit", "good"], "'good' is no score"),
        (["--dependents-time", "-1"], "'-1' is no time; write seconds, such as 30 or 2.5"),
        (["--file-time", "inf"], "'inf' is no time"),
        (["--jobs", "0"], "'0' is no such number; write 1 or more"),
        (["--jobs", "²"], "'²' is no such number"),
        (["--file-memory", "1.5"], "'1.5' is no such number"),
        (["--base="], "'' is no revision; write a commit, branch or tag, such as origin/main"),
        (["--base=--output=x"], "'--output=x' is no revision"),
        (["--fail-on", "grave"], "invalid choice: 'grave' (choose from 'info', 'convention',"),
        (["--format", "html"], "invalid choice: 'html'"),
        (["--stage"], "unrecognized arguments: --stage"),
        (["--warm", "--stop-server"], "not allowed with argument --warm"),
        (["--warm", "shop"], "--warm takes the whole of --base: leave out --staged and the paths"),
        (["--warm", "--staged"], "--warm takes the whole of --base: leave out --staged and the paths"),
        (["--warm", "--no-cache", "--no-server"], "--warm has nothing to warm: leave out --no-cache or --no-server"),
    ],
)
def test_a_wrong_line_is_refused_with_what_to_write(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(arguments, HOME)
    assert stopped.value.code == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("autogate-lint: ")
    assert complaint in first
    assert second == "autogate-lint --help lists what can be written."


def test_help_names_every_option_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(["--help"], HOME)
    assert stopped.value.code == 0
    told = capsys.readouterr().out
    for field in set(Options.__slots__) - {"raw"}:
        option = {"paths": "PATH", "cached": "--no-cache", "server": "--no-server"}.get(field, f"--{field}")
        assert option.replace("_", "-") in told
    assert all(f"\n  {code}  " in told for code in range(4))
    assert max(map(len, told.splitlines())) <= 100


def test_every_example_in_the_help_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"], HOME)
    told = capsys.readouterr().out.partition("examples:\n")[2].partition("\nexit status:")[0]
    lines = [line.split("    ")[0].split() for line in told.splitlines() if line.startswith("  autogate-lint")]
    assert len(lines) == 7
    for line in lines:
        parse(line[1:], HOME)


def test_what_pre_commit_runs_can_be_typed_and_takes_no_names() -> None:
    root = Path(__file__).parents[3]
    hook = (root / ".pre-commit-hooks.yaml").read_text()
    entry = re.search(r"^  entry: (.+)$", hook, re.MULTILINE)
    assert entry is not None
    program, *arguments = entry[1].split()
    assert program in tomllib.loads((root / "pyproject.toml").read_text())["project"]["scripts"]
    assert parse(arguments, HOME).staged
    assert "\n  pass_filenames: false\n" in hook


def test_reading_the_line_imports_nothing_heavy() -> None:
    script = (
        "import sys; from worker.lint.arguments import parse; parse([], {'AUTOGATE_LINT_CACHE': '/x'}); "
        "print(*{'asyncio', 'json', 'pydantic', 'rich', 'shutil', 'tempfile', 'typer'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
