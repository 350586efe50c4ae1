"""Changes that one would make in order to break the lint program, on real git with the real pylint."""

import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.repository import IDENTITY, Files, Repository
from tests.support.waiting import wait_for
from worker.lint import program
from worker.lint.errors import WRONG_USE
from worker.lint.trees import CLOCK_NS

RC = "[MAIN]\ndisable=C,R,unused-argument\n"
BAD = "def total(items):\n    return sum(item.price for item in itmes)\n"
WORSE = BAD + "\n\ndef count(items):\n    return len(itesm)\n"
GOOD = "def total(items):\n    return sum(item.price for item in items)\n"
SWITCH = "[MAIN]\ndisable=C,R,unused-argument,undefined-variable\n"
LATIN = b"# coding: latin-1\nNAME = '\xe9'\n"
PLUGIN = """\
from pylint.checkers import BaseChecker


class NoPrint(BaseChecker):
    name = "no-print"
    msgs = {"W9901": ("%s", "no-shouting", "Nobody shouts here.")}

    def visit_const(self, node):
        if isinstance(node.value, str) and node.value.isupper():
            self.add_message("no-shouting", node=node, args=(node.value,))


def register(linter):
    linter.register_checker(NoPrint(linter))
"""


@dataclass
class Lab:
    """A repository whose work tree holds a change, and a cache of its own."""

    repository: Repository
    folder: Path

    @property
    def tree(self) -> Path:
        """The work tree."""
        return self.repository.tree

    def change(self, before: Files, after: Files) -> str:
        """Commit ``before``, then what ``after`` makes of it, and leave that as the work tree on top of the first."""
        self.repository.git("checkout", "-q", "--orphan", "next")
        self.repository.git("rm", "-rqf", "--ignore-unmatch", ".")
        self.repository.git("clean", "-qfdx")
        base = self.repository.commit({".pylintrc": RC, **before}, "Before")
        self.repository.commit(after, "After")
        self.repository.git("branch", "-qM", "main")
        return base

    def lint(self, base: str, *options: str) -> dict[str, Any]:
        """Run the lint program in the work tree against a commit, and return what it says as JSON."""
        output = self.folder / "outcome.json"
        said = io.StringIO()
        arguments = ["--base", base, "--format", "json", "--output", str(output), f"--python={sys.executable}"]
        arguments += ["--dependents-time", "60"]  # what is found must not depend on how busy the machine is
        with redirect_stderr(said):
            code = program.main([*arguments, "--cache", str(self.folder / "cache"), *options])
        assert code in {0, 1, 3}, said.getvalue()
        outcome: dict[str, Any] = json.loads(output.read_text("utf-8"))
        return outcome | {"code": code}

    def found(self, before: Files, after: Files, *options: str) -> list[tuple[str, str]]:
        """Return path and symbol of what is introduced."""
        return findings(self.lint(self.change(before, after), *options))


def findings(outcome: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(each["path"], each["symbol"]) for each in outcome["findings"]]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("odd")
    lab = Lab(Repository.create(folder), folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(lab.tree)
        for name, value in IDENTITY.items():
            patch.setenv(name, value)
        yield lab
        program.main(["--stop-server", f"--python={sys.executable}", "--cache", str(folder / "cache")])


# What stands in a file, and how


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("line ends of Windows", BAD.replace("\n", "\r\n").encode(), WORSE.replace("\n", "\r\n").encode()),
        ("a byte order mark", b"\xef\xbb\xbf" + BAD.encode(), b"\xef\xbb\xbf" + WORSE.encode()),
        ("tabs", BAD.replace("    ", "\t").encode(), WORSE.replace("    ", "\t").encode()),
        ("Latin-1", LATIN + BAD.encode(), LATIN + WORSE.encode()),
        ("no end of the last line", BAD.rstrip().encode(), WORSE.rstrip().encode()),
        ("form feeds", b"\f" + BAD.encode(), b"\f" + WORSE.encode()),
    ],
)
def test_only_the_new_error_counts_whatever_the_bytes_are(lab: Lab, name: str, before: bytes, after: bytes) -> None:
    found = lab.found({"shop/cart.py": before}, {"shop/cart.py": after})
    assert [each for each in found if each[1] == "undefined-variable"] == [("shop/cart.py", "undefined-variable")]


def test_line_ends_that_change_alone_introduce_nothing(lab: Lab) -> None:
    assert lab.found({"cart.py": BAD}, {"cart.py": BAD.replace("\n", "\r\n").encode()}) == []


@pytest.mark.parametrize(
    "content", [b"\x7fELF\x00\x01\x02" + bytes(range(256)), b"x = '\xff\xfe'\n", b"# coding: no-such-thing\n"]
)
def test_bytes_that_are_no_python_are_said_to_be_none(lab: Lab, content: bytes) -> None:
    outcome = lab.lint(lab.change({"a.py": GOOD}, {"b.py": content, "c.py": BAD}))
    assert outcome["code"] == 1
    assert ("c.py", "undefined-variable") in findings(outcome)
    assert {symbol for path, symbol in findings(outcome) if path == "b.py"} <= {"syntax-error", "parse-error"}
    assert any(path == "b.py" for path, _ in findings(outcome))


def test_a_file_of_thirty_thousand_lines_is_judged(lab: Lab) -> None:
    lines = ["TABLE = [", *(f"    {number}," for number in range(30_000)), "]", ""]
    found = lab.found({"table.py": "\n".join(lines)}, {"table.py": "\n".join([*lines, "del TABEL", ""])})
    assert found == [("table.py", "undefined-variable")]


# Which file is which


def test_a_rename_by_case_alone_introduces_nothing(lab: Lab) -> None:
    assert lab.found({"shop/Cart.py": BAD}, {"shop/Cart.py": None, "shop/cart.py": BAD}) == []


def test_a_file_that_becomes_executable_introduces_nothing(lab: Lab) -> None:
    base = lab.change({"tool": "#!/usr/bin/env python3\n" + BAD}, {})
    (lab.tree / "tool").chmod(0o755)
    lab.repository.git("commit", "-qam", "Executable")
    assert findings(lab.lint(base)) == []


def test_a_script_without_a_suffix_is_judged(lab: Lab) -> None:
    assert lab.found({"a.py": GOOD}, {"bin/tool": "#!/usr/bin/python3\n" + BAD}) == [("bin/tool", "undefined-variable")]


def test_a_symbolic_link_is_not_judged_and_what_it_leads_to_is(lab: Lab) -> None:
    base = lab.change({"real.py": GOOD, "link.py": GOOD}, {"link.py": None})
    (lab.tree / "link.py").symlink_to("real.py")
    (lab.tree / "real.py").write_text(BAD)
    lab.repository.git("add", "--all")
    assert findings(lab.lint(base)) == [("real.py", "undefined-variable")]


def test_a_submodule_is_found_and_is_not_judged(lab: Lab, tmp_path: Path) -> None:
    prices = Repository.create(tmp_path, "prices", {"prices.py": "def gross(net):\n    return net\n"})
    base = lab.change({"shop/__init__.py": ""}, {})
    add = ["git", "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(prices.bare), "lib"]
    subprocess.run(add, cwd=lab.tree, check=True)
    using = "import sys\nsys.path.append('lib')\nfrom lib import prices\nprint(prices.gross(1), prices.nett(1))\n"
    with_module = lab.repository.commit({"shop/use.py": using}, "Use it")
    assert findings(lab.lint(base)) == [("shop/use.py", "no-member")]
    pushed = prices.commit({"prices.py": "def nett(gross):\n    return grsos\n"})
    prices.push("main")
    subprocess.run(["git", "fetch", "-q"], cwd=lab.tree / "lib", check=True)
    subprocess.run(["git", "checkout", "-q", pushed], cwd=lab.tree / "lib", check=True)
    lab.repository.commit({"shop/use.py": using + "print('more')\n"}, "Newer")
    outcome = lab.lint(with_module)
    assert findings(outcome) == [("shop/use.py", "no-member")]
    assert "gross" in outcome["findings"][0]["text"]
    assert [each["text"] for each in outcome["fixed"]] == ["Module 'lib.prices' has no 'nett' member"]
    lab.repository.git("submodule", "--quiet", "deinit", "--force", "--all")


# How modules find each other


def test_two_packages_of_one_name_are_two(lab: Lab) -> None:
    before = {
        "one/tools/__init__.py": "",
        "one/tools/names.py": "FIRST = 1\n",
        "one/use.py": "from tools import names\nprint(names.FIRST)\n",
        "two/tools/__init__.py": "",
        "two/tools/names.py": "SECOND = 2\n",
        "two/use.py": "from tools import names\nprint(names.SECOND)\n",
    }
    after = {
        "one/use.py": "from tools import names\nprint(names.FIRST, 1)\n",
        "two/use.py": "from tools import names\nprint(names.SECOND, names.FIRST)\n",
    }
    assert lab.found(before, after) == [("two/use.py", "no-member")]


def test_a_namespace_package_has_its_modules(lab: Lab) -> None:
    before = {"space/part/names.py": "FIRST = 1\n", "use.py": "print(1)\n"}
    after = {"use.py": "from space.part import names\nprint(names.FIRST, names.SECOND)\n"}
    assert lab.found(before, after) == [("use.py", "no-member")]


def test_modules_that_import_each_other_are_judged(lab: Lab) -> None:
    before = {
        "ring/__init__.py": "",
        "ring/a.py": "from ring import b\n\n\nclass A:\n    def other(self):\n        return b.B()\n",
        "ring/b.py": "from ring import a\n\n\nclass B(a.A):\n    def name(self):\n        return 'b'\n",
    }
    after = {"ring/a.py": before["ring/a.py"].replace("def other", "def another")}
    assert lab.found(before, after) == []
    uses = {**before, "use.py": "from ring.b import B\nprint(B().other())\n"}
    assert lab.found(uses, after) == [("use.py", "no-member")]


def test_an_attribute_that_another_module_sets_is_there_for_those_who_load_it(lab: Lab) -> None:
    before = {
        "app.py": "class App:\n    pass\n\n\napp = App()\n",
        "plug.py": "from app import app\n\napp.extra = 1\n",
        "knows.py": "import plug\nfrom app import app\n\nprint(plug, app)\n",
        "does_not.py": "from app import app\n\nprint(app)\n",
    }
    after = {name: before[name].replace("app)", "app.extra)") for name in ("knows.py", "does_not.py")}
    assert lab.found(before, after) == [("does_not.py", "no-member")]
    assert lab.found(before, after, "--no-server", "--no-cache") == [("does_not.py", "no-member")]


def test_names_that_are_exported_must_be_there(lab: Lab) -> None:
    before = {"api.py": "__all__ = ['total']\n\n\n" + GOOD, "use.py": "from api import *\nprint(total([]))\n"}
    found = lab.found(before, {"api.py": before["api.py"].replace("def total", "def summed")})
    assert ("api.py", "undefined-all-variable") in found
    assert ("use.py", "undefined-variable") in found


def test_a_stub_is_a_module_of_its_own(lab: Lab) -> None:
    before = {"fast.pyi": "def total(items: list[int]) -> int: ...\n", "a.py": GOOD}
    assert lab.found(before, {"fast.pyi": "def total(items: lst[int]) -> int: ...\n"}) == [
        ("fast.pyi", "undefined-variable")
    ]


def test_a_new_module_that_shadows_another_breaks_who_uses_that(lab: Lab) -> None:
    before = {"use.py": "import colorsys\nprint(colorsys.rgb_to_hls(1, 1, 1))\n"}
    found = lab.found(before, {"colorsys.py": "def other():\n    return 1\n"})
    assert found == [("use.py", "no-member")]


# How a change came to be


def test_a_conflict_resolved_by_hand_answers_for_what_the_hand_wrote(lab: Lab) -> None:
    base = lab.change({"cart.py": GOOD}, {})
    lab.repository.git("checkout", "-qB", "topic", base)
    lab.repository.commit({"cart.py": GOOD.replace("items", "goods")})
    lab.repository.git("checkout", "-qB", "main", base)
    onto = lab.repository.commit({"cart.py": GOOD.replace("item.", "each.").replace("for item", "for each")})
    subprocess.run(["git", "merge", "-q", "--no-ff", "topic"], cwd=lab.tree, check=False, capture_output=True)
    lab.repository.commit({"cart.py": BAD}, "Merge")
    assert findings(lab.lint(onto)) == [("cart.py", "undefined-variable")]
    lab.repository.git("reset", "-q", "--soft", "HEAD^")
    assert findings(lab.lint("HEAD")) == [("cart.py", "undefined-variable")]


def test_an_octopus_answers_for_all_its_arms(lab: Lab) -> None:
    base = lab.change({"cart.py": GOOD}, {})
    for arm in ("one", "two"):
        lab.repository.git("checkout", "-qB", arm, base)
        lab.repository.commit({f"{arm}.py": BAD})
    lab.repository.git("checkout", "-qB", "main", base)
    lab.repository.git("merge", "-q", "--no-ff", "-m", "Octopus", "one", "two")
    assert findings(lab.lint("HEAD^1")) == [("one.py", "undefined-variable"), ("two.py", "undefined-variable")]


# What configures pylint


def test_the_bases_configuration_is_obeyed_unless_the_merges_is_asked_for(lab: Lab) -> None:
    change = ({"cart.py": GOOD}, {"cart.py": BAD, ".pylintrc": SWITCH})
    outcome = lab.lint(lab.change(*change))
    assert findings(outcome) == [("cart.py", "undefined-variable")]
    assert [note.partition(" ")[0] for note in outcome["notes"]] == [".pylintrc"]
    assert lab.found(*change, "--config-from=merge") == []
    eased = ({"cart.py": GOOD, ".pylintrc": SWITCH}, {"cart.py": BAD, ".pylintrc": RC})
    assert lab.found(*eased) == []
    assert lab.found(*eased, "--config-from=merge") == [("cart.py", "undefined-variable")]


def test_files_that_pylint_is_to_ignore_are_ignored(lab: Lab) -> None:
    rc = RC + "ignore-paths=^generated/.*$\nignore-patterns=.*_pb2\\.py\n"
    before = {".pylintrc": rc, "cart.py": GOOD}
    after = {"generated/api.py": BAD, "shop/cart_pb2.py": BAD, "cart.py": BAD}
    assert lab.found(before, after) == [("cart.py", "undefined-variable")]


def test_a_plugin_of_the_repositorys_own_is_the_bases(lab: Lab) -> None:
    rc = RC + "init-hook=import sys; sys.path.insert(0, 'lint')\nload-plugins=shouting\n"
    before = {".pylintrc": rc, "lint/shouting.py": PLUGIN, "a.py": "NAME = 'quiet'\n"}
    after = {"a.py": "NAME = 'LOUD'\n"}
    assert lab.found(before, after) == [("a.py", "no-shouting")]
    silent = PLUGIN.replace("node.value.isupper()", "False")
    assert ("a.py", "no-shouting") in lab.found(before, {**after, "lint/shouting.py": silent})
    assert lab.found({**before, "lint/shouting.py": silent}, after) == []


def test_a_configuration_that_pylint_refuses_is_wrong_use(lab: Lab, capfd: pytest.CaptureFixture[str]) -> None:
    base = lab.change({".pylintrc": "[MAIN]\njobs=many\n", "a.py": GOOD}, {"a.py": BAD})
    arguments = ["--base", base, f"--python={sys.executable}", "--cache", str(lab.folder / "cache")]
    assert program.main(arguments) == WRONG_USE
    assert "jobs" in capfd.readouterr().err


# Beside pylint


def test_ruff_judges_on_the_same_terms(lab: Lab) -> None:
    before = {"ruff.toml": "lint.select = ['F']\n", "a.py": "import os\n"}
    more = {"a.py": "import os\nimport sys\n\nprint(sys)\n", "b.py": "import json\n"}
    after = {"ruff.toml": "lint.select = []\n", **more}
    rc = {".pylintrc": "[MAIN]\ndisable=all\nenable=syntax-error\n"}
    base = lab.change(before | rc, after)
    # what was written a moment ago is judged, and not kept
    newest = max(path.stat().st_ctime_ns for path in lab.tree.iterdir())
    wait_for(lambda: time.time_ns() > newest + 2 * CLOCK_NS, "the files to be older than the clock's step")
    outcome = lab.lint(base, "--also=ruff")
    assert findings(outcome) == [("b.py", "F401")]
    assert outcome["old"] == 1
    again = lab.lint("HEAD^", "--also=ruff")
    assert (again["findings"], again["figures"]["linted"]) == (outcome["findings"], 0)
