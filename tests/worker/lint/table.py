"""What a change introduces, by cases: real commits, the right answer, and what this and other programs say.

`python -m tests.worker.lint.table` runs them all and writes the table into docs/lint.md; a test holds that it is right.
"""

import json
import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import lint_peers
from tests.support.processes import BIN
from tests.support.repository import IDENTITY, Repository

PAGE = Path(__file__).parents[3] / "docs" / "lint.md"
MARKS = re.compile(r"(<!-- cases -->\n).*?(<!-- end -->)", re.DOTALL)

PASS, FAIL, ERROR, HANGS = "pass", "fail", "error", "hangs"
EXITS = {0: PASS, 1: FAIL, 3: ERROR}
SCOPES = ("introduced", "lines", "files")

PATIENCE = 6.0
"""Seconds after which a peer is said to hang."""

Own = tuple[dict[str, str], tuple[tuple[str, str], ...]]
"""Scope -> answer, and what fails in scope ``introduced``."""

RC = """\
[MAIN]
init-hook=import sys; sys.path.append('plugins')
load-plugins=dying
disable=all
enable=syntax-error,undefined-variable,unused-import,no-member,no-name-in-module,import-error,no-value-for-parameter,
       too-many-lines,dying
[FORMAT]
max-module-lines=40
"""

DYING = """\
\"\"\"What kills pylint, hides what it says, or holds it for ever, where a file asks for it.\"\"\"
import os
import signal
from pylint.checkers import BaseChecker


class Dying(BaseChecker):
    name = "dying"
    msgs = {"W9001": ("dying", "dying", "dying")}

    def visit_module(self, node):
        with node.stream() as stream:
            text = stream.read()
        if b"# exit 32" in text:
            os._exit(32)
        if b"# be killed" in text:
            os.kill(os.getpid(), signal.SIGKILL)
        if b"# print nothing" in text:
            os._exit(0)
        while b"# never end" in text:
            signal.pause()


def register(linter):
    linter.register_checker(Dying(linter))
"""
COMMON: Mapping[str, str | bytes] = {".pylintrc": RC, "plugins/dying.py": DYING}

GOOD = "".join(f"VALUE_{number} = {number}\n" for number in range(30))
"""30 statements: one error among them costs 1.7 of 10 points."""

UNDEFINED = "print(undefined)\n"
BAD = f"import os\n\n\ndef report():\n    {UNDEFINED}"
MOVED = f"def total(cart):\n    print(cart)\n    return {UNDEFINED}"
CART = "def total(items):\n    return sum(items)\n\n\ndef empty():\n    return []\n"
USER = "import cart\n\nprint(cart.total([1]))\n"


@dataclass(frozen=True)
class Case:
    """A change, and what is right to say of it.

    Attributes:
        row: The kind of change, as facts have it; several cases share one.
        name: What makes this one different.
        before: The files of the base, besides the common ones.
        after: What the change makes of them; None deletes a file.
        right: ``pass``, ``fail`` or ``error``.
        found: What is reported when it fails, by path and symbol.
        lines: What scope ``lines`` says.
        files: What scope ``files`` says.
        endless: Whether pylint never ends, so that somebody has to lose patience.
    """

    row: str
    name: str
    before: Mapping[str, str | bytes]
    after: Mapping[str, str | bytes | None]
    right: str
    found: tuple[tuple[str, str], ...] = ()
    lines: str = PASS
    files: str = PASS
    endless: bool = False

    @property
    def title(self) -> str:
        return f"{self.row}: {self.name}" if self.name else self.row


UNDEFINED_THERE = "undefined-variable"

CASES = [
    Case(
        "an error on an added line of a long, good file",
        "",
        {"long.py": GOOD},
        {"long.py": GOOD + UNDEFINED},
        FAIL,
        (("long.py", UNDEFINED_THERE),),
        lines=FAIL,
    ),
    *(
        Case(
            "an error in a file of an unusual name",
            name,
            {"README": "a project\n"},
            {path: first + UNDEFINED},
            FAIL,
            ((path, UNDEFINED_THERE),),
            lines=FAIL,
            files=FAIL,
        )
        for name, path, first in (
            ("with a space", "a b.py", ""),
            ("with a non-ASCII letter", "grün.py", ""),
            ("a script without `.py`", "script", "#!/usr/bin/env python3\n"),
        )
    ),
    Case(
        "something deleted that its own file needs",
        "an import",
        {"a.py": "import os\n\nprint(os.name)\n"},
        {"a.py": "\nprint(os.name)\n"},
        FAIL,
        (("a.py", UNDEFINED_THERE),),
        files=FAIL,
    ),
    Case(
        "something deleted that its own file needs",
        "a definition",
        {"a.py": "def helper():\n    return 1\n\n\nprint(helper())\n"},
        {"a.py": "print(helper())\n"},
        FAIL,
        (("a.py", UNDEFINED_THERE),),
        files=FAIL,
    ),
    Case(
        "the last use of an import removed",
        "",
        {"a.py": "import os\n\nprint(1)\nprint(os.name)\n"},
        {"a.py": "import os\n\nprint(1)\n"},
        FAIL,
        (("a.py", "unused-import"),),
        files=FAIL,
    ),
    Case(
        "an unchanged other file broken",
        "a function removed",
        {"cart.py": CART, "user.py": USER},
        {"cart.py": "def empty():\n    return []\n"},
        FAIL,
        (("user.py", "no-member"),),
    ),
    Case(
        "an unchanged other file broken",
        "a required parameter added",
        {"cart.py": CART, "user.py": USER},
        {"cart.py": CART.replace("items)", "items, currency)", 1)},
        FAIL,
        (("user.py", "no-value-for-parameter"),),
    ),
    Case(
        "an unchanged other file broken",
        "a module deleted",
        {"cart.py": CART, "user.py": USER},
        {"cart.py": None},
        FAIL,
        (("user.py", "import-error"),),
    ),
    Case(
        "an old, bad file",
        "renamed",
        {"bad.py": BAD},
        {"bad.py": None, "renamed.py": BAD},
        PASS,
        files=FAIL,
    ),
    Case(
        "an old, bad file",
        "one good line added",
        {"bad.py": BAD},
        {"bad.py": BAD + "print(1)\n"},
        PASS,
        files=FAIL,
    ),
    Case(
        "an old error that stays",
        "one of two on a line fixed",
        {"bad.py": "print(undefined_one, undefined_two)\n"},
        {"bad.py": "print(1, undefined_two)\n"},
        PASS,
        lines=FAIL,
        files=FAIL,
    ),
    Case(
        "an old error that stays",
        "its function moved in the file",
        {"bad.py": f"{MOVED}\n\n{CART}"},
        {"bad.py": f"{CART}\n\n{MOVED}"},
        PASS,
        lines=FAIL,
        files=FAIL,
    ),
    Case(
        "an old error that stays",
        "its function moved to another file",
        {"bad.py": f"{MOVED}\n\n{CART}", "other.py": "print(1)\n"},
        {"bad.py": CART, "other.py": f"{MOVED}\n\nprint(1)\n"},
        PASS,
        lines=FAIL,
        files=FAIL,
    ),
    Case(
        "an old error that stays",
        "its line indented",
        {"bad.py": f"{UNDEFINED}print(1)\n"},
        {"bad.py": f"if True:\n    {UNDEFINED}print(1)\n"},
        PASS,
        lines=FAIL,
        files=FAIL,
    ),
    Case(
        "the same error a second time in a file that had one",
        "",
        {"bad.py": BAD},
        {"bad.py": f"{BAD}    {UNDEFINED}"},
        FAIL,
        (("bad.py", UNDEFINED_THERE),),
        lines=FAIL,
        files=FAIL,
    ),
    Case(
        "a syntax error",
        "",
        {"a.py": "print(1)\n"},
        {"a.py": "print(1\n"},
        FAIL,
        (("a.py", "syntax-error"),),
        lines=FAIL,
        files=FAIL,
    ),
    Case(
        "a linter silenced",
        "`skip-file` added",
        {"a.py": "print(1)\n"},
        {"a.py": f"# pylint: skip-file\n{UNDEFINED}"},
        FAIL,
        (("a.py", "wide-suppression"),),
    ),
    Case(
        "a linter silenced",
        "a wide `disable` added",
        {"a.py": "print(1)\n"},
        {"a.py": f"# pylint: disable=undefined-variable\n{UNDEFINED}"},
        FAIL,
        (("a.py", "wide-suppression"),),
    ),
    Case(
        "a linter silenced",
        "by the merge's own `.pylintrc`",
        {"a.py": "print(1)\n"},
        {"a.py": UNDEFINED, ".pylintrc": RC.replace("undefined-variable,", "")},
        FAIL,
        (("a.py", UNDEFINED_THERE),),
        lines=FAIL,
        files=FAIL,
    ),
    Case(
        "a counter grows",
        "`too-many-lines`, 41 to 42",
        {"long.py": "print(1)\n" * 41},
        {"long.py": "print(1)\n" * 42},
        PASS,
    ),
    *(
        Case(
            "pylint dies",
            name,
            {"a.py": "print(1)\n"},
            {"a.py": f"print(1)  # {spell}\n"},
            ERROR,
            lines=ERROR,
            files=ERROR,
            endless=spell == "never end",
        )
        for name, spell in (
            ("exit status 32", "exit 32"),
            ("SIGKILL", "be killed"),
            ("it ends and prints nothing", "print nothing"),
            ("it does not end", "never end"),
        )
    ),
]


@dataclass(frozen=True)
class Answers:
    """What the programs say of a case.

    Attributes:
        own: Scope -> ``pass``, ``fail`` or ``error``.
        found: What fails in scope ``introduced``, by path and symbol.
        hook: What git-pylint-commit-hook says: ``pass``, ``fail`` or ``hangs``.
        diff_quality: What diff-quality says.
    """

    own: Mapping[str, str]
    found: tuple[tuple[str, str], ...]
    hook: str
    diff_quality: str


@dataclass(frozen=True)
class Commits:
    """The base of a case, and the change on it."""

    base: str
    merge: str


def ask(folder: Path) -> dict[str, Answers]:
    """Ask all programs about all cases, and return title -> what they say.

    Args:
        folder: An empty one to work in.
    """
    repository = Repository.create(folder)
    commits = {case.title: _commit(repository, case) for case in CASES}
    trees = {
        case.title: _copy(repository, folder / str(number), commits[case.title]) for number, case in enumerate(CASES)
    }
    # One more than there are processors, since one waits for the case that never ends; it is the first to be asked.
    with ThreadPoolExecutor((os.cpu_count() or 1) + 1) as pool, _lint_program(repository, folder) as lint:
        asked = {
            case.title: pool.submit(_peers, case, trees[case.title], commits[case.title])
            for case in sorted(CASES, key=lambda case: not case.endless)
        }
        answers = {}
        for case in CASES:
            own, found = lint(case, commits[case.title])
            answers[case.title] = (own, found, asked[case.title])
        return {title: Answers(own, found, *theirs.result()) for title, (own, found, theirs) in answers.items()}


def table(answers: Mapping[str, Answers]) -> str:
    """Return what all programs say as a table in Markdown, wrong answers in bold, with a line that counts."""
    names = (*SCOPES, "the hook", "diff-quality")
    right = Counter[str]()
    lines = []
    for case in CASES:
        each = answers[case.title]
        said = dict(zip(names, (*(each.own[scope] for scope in SCOPES), each.hook, each.diff_quality), strict=True))
        right.update(name for name, answer in said.items() if answer == case.right)
        cells = (answer if answer == case.right else f"**{answer}**" for answer in said.values())
        lines.append(f"| {case.title} | {case.right} | {' | '.join(cells)} |")
    counts = " | ".join(str(right[name]) for name in names)
    head = f"| case | right answer | {' | '.join(names)} |\n|---|---|{'---|' * len(names)}\n"
    return "\n" + head + "\n".join(lines) + f"\n| right answers | {len(CASES)} | {counts} |\n\n"


def page_with_table(page: str, answers: Mapping[str, Answers]) -> str:
    """Return ``page`` with what stands between its marks made anew."""
    return MARKS.sub(lambda marks: marks[1] + table(answers) + marks[2], page)


def _commit(repository: Repository, case: Case) -> Commits:
    repository.git("checkout", "-q", "--orphan", "case")
    repository.git("rm", "-rfq", ".")
    base = repository.commit({**COMMON, **case.before})
    commits = Commits(base, repository.commit(case.after))
    repository.git("checkout", "-q", "main")
    repository.git("branch", "-qD", "case")
    return commits


def _copy(repository: Repository, folder: Path, commits: Commits) -> Path:
    repository.git("worktree", "add", "-q", "--detach", str(folder), commits.merge)
    return folder


def _peers(case: Case, tree: Path, commits: Commits) -> tuple[str, str]:
    """Return what the hook and diff-quality say."""
    python = BIN / "python"
    patience = PATIENCE if case.endless else None
    quality = lint_peers.diff_quality(tree, commits.base, python=python, patience=patience)
    hook = lint_peers.hook(tree, commits.base, python=python, patience=patience)
    words = {True: PASS, False: FAIL, None: HANGS}
    return words[hook.passes], words[quality.passes]


@contextmanager
def _lint_program(repository: Repository, folder: Path) -> Iterator[Callable[[Case, Commits], Own]]:
    """Give what asks autogate-lint about a change, in each scope, with a server of its own."""

    def lint(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / "autogate-lint", f"--cache={folder / 'cache'}", f"--python={BIN / 'python'}", *arguments],
            cwd=repository.tree,
            env=os.environ | IDENTITY,
            capture_output=True,
            text=True,
            check=False,
        )

    def ask_about(case: Case, commits: Commits) -> Own:
        repository.git("checkout", "-q", "--detach", commits.merge)
        own: dict[str, str] = {}
        found: tuple[tuple[str, str], ...] = ()
        for scope in SCOPES:
            patience = [f"--file-time={PATIENCE / 2}"] if case.endless else []
            asked = ["--format=json", "--dependents-time=60", *patience]
            done = lint(f"--base={commits.base}", f"--scope={scope}", *asked)
            assert done.returncode in EXITS, done.stderr
            own[scope] = EXITS[done.returncode]
            if scope == SCOPES[0]:
                findings = json.loads(done.stdout)["findings"]
                found = tuple((each["path"], each["symbol"]) for each in findings if each["fails"])
        return own, found

    try:
        yield ask_about
    finally:
        lint("--stop-server")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        answers = ask(Path(folder))
    PAGE.write_text(page_with_table(PAGE.read_text("utf-8"), answers), "utf-8")
