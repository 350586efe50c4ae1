import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_steps.parsing.uv_output import why

UNKNOWN = """Using Python 3.11.7 environment at: e1
error: No solution found when resolving dependencies
  cause: Because nopkg was not found in the package registry and you require nopkg, we can conclude that your \
requirements are unsatisfiable.
"""
OLDER = """  \u00d7 No solution found when resolving dependencies:
  ╰─▶ Because only six<=1.17.0 is available and you require six>=99, we can
      conclude that your requirements are unsatisfiable.
"""
NO_VERSION = """error: No solution found when resolving dependencies
  cause: Because there is no version of six==99.1 and you require six==99.1, we can conclude that your \
requirements are unsatisfiable.
"""
CONFLICT = """error: No solution found when resolving dependencies
  cause: Because you require six<1.15 and six>1.16, we can conclude that your requirements are unsatisfiable.
"""
PARSE = """error: Couldn't parse requirement in `r1.txt` at position 0
  cause: Unexpected end of version specifier, expected version
         six===
            ^^^
"""
BUILD = """  \u00d7 Failed to build `broken==1.0`
  ├─▶ The build backend returned an error
  ╰─▶ Call to `setuptools.build_meta:__legacy__.build_wheel` failed (exit status: 1)

      [stderr]
      RuntimeError: boo
"""
NOT_THERE = """error: Failed to download `thing @ https://example.org/thing.whl`
  cause: Failed to fetch: `https://example.org/thing.whl`
  cause: HTTP status client error (404 Not Found) for url (https://example.org/thing.whl)
"""


@pytest.mark.parametrize(
    ("output", "summary"),
    [
        (UNKNOWN, "cannot install nopkg: nopkg was not found in the package registry and you require nopkg"),
        (OLDER, "cannot install six>=99: only six<=1.17.0 is available and you require six>=99"),
        (NO_VERSION, "cannot install six==99.1: there is no version of six==99.1 and you require six==99.1"),
        (CONFLICT, "cannot install six<1.15: you require six<1.15 and six>1.16"),
        (
            PARSE,
            (
                "cannot install the requirements: Couldn't parse requirement in `r1.txt` at position 0: Unexpected end "
                "of version specifier, expected version six=== ^^^"
            ),
        ),
        (BUILD, "cannot install broken==1.0: Failed to build `broken==1.0`: The build backend returned an error"),
        (
            NOT_THERE,
            (
                "cannot install thing @ https://example.org/thing.whl: Failed to download `thing @ "
                "https://example.org/thing.whl`: Failed to fetch: `https://example.org/thing.whl`"
            ),
        ),
        ("error: File not found: missing.txt\n", "cannot install the requirements: File not found: missing.txt"),
    ],
)
def test_requirements_that_nobody_could_install(output: str, summary: str) -> None:
    assert why(output) == ("change", summary)


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (
            (
                "error: Request failed after 3 retries in 6.7s\n  cause: Failed to fetch: http://127.0.0.1:9/simple/six/\n"
                "  cause: tcp connect error\n  cause: Connection refused (os error 111)\n"
            ),
            "Connection refused (os error 111)",
        ),
        (
            "error: Failed to fetch: http://nohost/simple/six/\n  cause: dns error\n  cause: no such host\n",
            "no such host",
        ),
        ("error: Failed to fetch `x`\n  Caused by: HTTP status client error (401 Unauthorized) for url (x)\n", "401"),
        ("error: Failed to fetch `x`\n  Caused by: HTTP status server error (503 Service Unavailable)\n", "503"),
        ("error: failed to write\n  cause: No space left on device (os error 28)\n", "No space left on device"),
        (UNKNOWN + "\nhint: Packages were unavailable because the network was disabled.\n", "nopkg"),
    ],
)
def test_trouble_that_is_not_the_requirements(output: str, says: str) -> None:
    blame, summary = why(output)
    assert blame == "infrastructure"
    assert summary.startswith("cannot install the requirements: ")
    assert says in summary


def test_colours_do_not_matter() -> None:
    assert why("\x1b[31merror\x1b[39m: File not found: m.txt") == why("error: File not found: m.txt")


@given(st.text(max_size=300))
def test_anything_gives_one_line(output: str) -> None:
    _, summary = why(output)
    assert summary.startswith("cannot install")
