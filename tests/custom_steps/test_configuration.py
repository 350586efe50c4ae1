"""What the steps refuse when a master reads its configuration."""

import re
from typing import Any

import pytest
from buildbot.config.errors import ConfigErrors
from buildbot.plugins import steps
from buildbot.process.properties import Interpolate

GOOD: list[tuple[str, dict[str, Any]]] = [
    ("CheckoutExact", {"url": "ssh://alias/owner/name.git"}),
    ("CheckoutExact", {"url": Interpolate("%(prop:repository)s"), "submodules": True, "cache": "/var/cache"}),
    (
        "CheckoutExact",
        {"url": "/srv/x.git", "workdir": "src", "haltOnFailure": False, "maxTime": 60, "env": {"A": "b"}},
    ),
    ("Virtualenv", {}),
    ("Virtualenv", {"requirements": (), "packages": ["pytest>=8"], "python": "3.13", "max_age_days": 2}),
    ("SoftReset", {}),
    ("SoftReset", {"timeout": None, "doStepIf": False}),
    ("CommitHookPylint", {"limit": -3, "pylintrc": "conf/pylintrc", "ignore": ["^x"]}),
    ("DiffPylint", {}),
    ("DiffPylint", {"scope": "files", "limit": -3, "fail_on": "nothing", "also": ["ruff"], "config_from": "merge"}),
    ("DiffPylint", {"suppressions": "allow", "dependents": "all", "dependents_time": 2.5, "pylintrc": "conf/pylintrc"}),
    ("DiffPylint", {"file_time": 10, "file_memory": 512, "link": "https://h/{revision}/{path}#L{line}"}),
    ("DiffPylint", {"limit": Interpolate("%(prop:limit)s"), "link": Interpolate("%(prop:link)s"), "cache": "/x"}),
    ("RunTests", {"command": "make test"}),
    ("RunTests", {"command": ["make", Interpolate("%(prop:target)s")], "junit": "out/r.xml"}),
    ("RunTests", {"framework": "pytest", "arguments": ["-x"], "silence": 10, "duration": 20.5}),
]

BAD: list[tuple[str, dict[str, Any], str]] = [
    ("CheckoutExact", {}, "must be the repository's address"),
    ("CheckoutExact", {"url": ""}, "must be the repository's address"),
    ("CheckoutExact", {"url": "--upload-pack=x"}, "begins with a dash"),
    ("CheckoutExact", {"url": "ext::sh -c id"}, "remote helper"),
    ("CheckoutExact", {"url": "a\nb"}, "control character"),
    ("CheckoutExact", {"url": "x", "submodules": "yes"}, "True or False"),
    ("CheckoutExact", {"url": "x", "cache": "relative"}, "absolute path"),
    ("CheckoutExact", {"url": "x", "command": ["id"]}, "invalid .* argument command"),
    ("CheckoutExact", {"url": "x", "no_such": 1}, "invalid .* argument no_such"),
    ("Virtualenv", {"requirements": "requirements.txt"}, "list or tuple"),
    ("Virtualenv", {"requirements": ["/etc/passwd"]}, "relative to the repository's root"),
    ("Virtualenv", {"requirements": ["-e"]}, "relative to the repository's root"),
    ("Virtualenv", {"requirements": ["../x"]}, "leaves the repository"),
    ("Virtualenv", {"packages": ["--index-url=x"]}, "is an option"),
    ("Virtualenv", {"python": "--help"}, "must be a version"),
    ("Virtualenv", {"python": 3.13}, "must be a version"),
    ("Virtualenv", {"max_age_days": 0}, "positive number"),
    ("Virtualenv", {"max_age_days": 0.5}, "at least 1"),
    ("CommitHookPylint", {"limit": 11}, "at most 10"),
    ("CommitHookPylint", {"limit": "8"}, "must be a number"),
    ("CommitHookPylint", {"limit": float("nan")}, "must be a number"),
    ("CommitHookPylint", {"pylintrc": "/etc/pylintrc"}, "relative to the repository's root"),
    ("CommitHookPylint", {"pylint_params": ["-v"]}, "one text"),
    ("CommitHookPylint", {"ignore": "x"}, "list or tuple"),
    ("CommitHookPylint", {"ignore": ["("]}, "regular expression"),
    ("DiffPylint", {"scope": "all"}, "scope='all' must be one of introduced, lines, files"),
    ("DiffPylint", {"fail_on": "errors"}, "one of info, convention"),
    ("DiffPylint", {"config_from": "head"}, "one of base, merge"),
    ("DiffPylint", {"suppressions": True}, "one of allow, warn, fail"),
    ("DiffPylint", {"dependents": False}, "one of near, all, none"),
    ("DiffPylint", {"also": "ruff"}, "list or tuple of ruff"),
    ("DiffPylint", {"also": ["flake8"]}, "list or tuple of ruff"),
    ("DiffPylint", {"limit": 11}, "at most 10"),
    ("DiffPylint", {"limit": "8"}, "must be a number"),
    ("DiffPylint", {"limit": float("nan")}, "must be a number"),
    ("DiffPylint", {"dependents_time": 0}, "positive number"),
    ("DiffPylint", {"file_time": "10"}, "positive number"),
    ("DiffPylint", {"file_memory": 0.5}, "whole number"),
    ("DiffPylint", {"pylintrc": "../pylintrc"}, "leaves the repository"),
    ("DiffPylint", {"link": "javascript:{path}"}, "write one like https://git.example.com/"),
    ("DiffPylint", {"cache": "relative"}, "absolute path"),
    ("RunTests", {"command": []}, "list of texts, or a text"),
    ("RunTests", {"command": "  "}, "list of texts, or a text"),
    ("RunTests", {"command": [1]}, "list or tuple of texts"),
    ("RunTests", {"framework": "nose"}, "unittest, pytest"),
    ("RunTests", {"directory": "-x"}, "relative to the repository's root"),
    ("RunTests", {"junit": "r.xml"}, "goes with a command"),
    ("RunTests", {"silence": 0}, "positive number"),
    ("RunTests", {"duration": None}, "positive number"),
    ("RunTests", {"timeout": 3}, "silence"),
]


@pytest.mark.parametrize(("name", "arguments"), GOOD)
def test_what_is_taken(name: str, arguments: dict[str, Any]) -> None:
    getattr(steps, name)(**arguments)


@pytest.mark.parametrize(("name", "arguments", "words"), BAD)
def test_what_is_refused_in_words(name: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigErrors) as refused:
        getattr(steps, name)(**arguments)
    assert re.search(words, " ".join(refused.value.errors)), refused.value.errors


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("CheckoutExact", "checkout"),
        ("Virtualenv", "virtualenv"),
        ("SoftReset", "reset"),
        ("CommitHookPylint", "pylint"),
        ("DiffPylint", "lint"),
        ("RunTests", "test"),
    ],
)
def test_the_names_that_reports_rely_on(name: str, short: str) -> None:
    arguments = {"url": "x"} if name == "CheckoutExact" else {}
    assert getattr(steps, name)(**arguments).name == short
