import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_steps.parsing.requirements import references


def test_includes() -> None:
    text = "-r base.txt\n-rtight.txt\n--requirement=a/b.txt\n-c limits.txt # why\n--constraint  'c d.txt'\nsix\n"
    text += "# -r not.txt\n"
    assert references(text).includes == ["base.txt", "tight.txt", "a/b.txt", "limits.txt", "c d.txt"]


def test_a_line_may_go_on() -> None:
    assert references("-r \\\n base.txt").includes == ["base.txt"]


def test_variables() -> None:
    assert references("pkg @ https://${TOKEN}@host/x.whl --hash=sha256:00\nb==${B_1}").variables == {"TOKEN", "B_1"}


@pytest.mark.parametrize(
    "line",
    [
        "six",
        "six==1.16.0 --hash=sha256:abc",
        "Django[argon2]>=4,<5 ; python_version < '3.13'",
        "--index-url https://example.org/simple",
        "--find-links ./wheels",
        "git-tool @ git+https://example.org/x.git@0123456789012345678901234567890123456789",
        "x @ https://example.org/x.whl --hash=sha256:abc",
        "",
        "# ./not",
        "zope.interface",
    ],
)
def test_what_a_hash_can_know(line: str) -> None:
    assert references(f"{line}\n").unknowable == ""


@pytest.mark.parametrize(
    "line",
    [
        "-e .",
        "-e git+https://example.org/x.git#egg=x",
        "--editable=./lib",
        ".",
        "./lib",
        "../lib[extra]",
        "lib/pkg-1.0-py3-none-any.whl",
        "pkg-1.0.tar.gz",
        "file:///srv/pkg",
        "lib @ file:./lib",
        "x @ git+https://example.org/x.git@main",
        "x @ https://example.org/x.whl",
        "https://example.org/x.whl",
        "-r https://example.org/base.txt",
    ],
)
def test_what_no_hash_can_know(line: str) -> None:
    assert references(f"six\n{line}\n").unknowable == line


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    references(text)
