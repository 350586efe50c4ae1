"""Addresses of repositories."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogate import remote
from autogate.remote import Remote


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "ssh://git@git.example.com:2222/o/r.git",
            Remote("ssh://git@git.example.com:2222/o/r.git", "git.example.com", "/o/r.git", "git", 2222, ssh=True),
        ),
        (
            "git@GitHub.com:o/r.git",
            Remote("ssh://git@github.com/o/r.git", "github.com", "/o/r.git", "git", ssh=True),
        ),
        ("git@host:/srv/r.git", Remote("ssh://git@host/srv/r.git", "host", "/srv/r.git", "git", ssh=True)),
        ("host:r", Remote("ssh://host/r", "host", "/r", ssh=True)),
        ("host:100%/r", Remote("ssh://host/100%25/r", "host", "/100%25/r", ssh=True)),
        ("git@[::1]:r.git", Remote("ssh://git@[::1]/r.git", "::1", "/r.git", "git", ssh=True)),
        ("ssh://[fe80::1]:22/~/r", Remote("ssh://[fe80::1]:22/~/r", "fe80::1", "/~/r", "", 22, ssh=True)),
        ("https://host:8443/o/r", Remote("https://host:8443/o/r", "host", "/o/r", port=8443)),
        ("file:///srv/r.git", Remote("file:///srv/r.git", "", "/srv/r.git")),
        ("/srv/r.git", Remote("/srv/r.git", "", "/srv/r.git")),
    ],
)
def test_the_forms_that_git_takes(url: str, expected: Remote) -> None:
    assert remote.parse(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "r.git",
        "./r.git",
        "--upload-pack=x",
        "-oProxyCommand=x:r",
        "ssh://-oProxyCommand=x/r",
        "ssh://-l@host/r",
        "ssh://host",
        "ssh://host/",
        "ssh:///r",
        "ssh://host:x/r",
        "ssh://host:99999/r",
        "ssh://[::1/r",
        "ssh://ho%20st/r",
        "ssh://host/r\n",
        "ext::sh -c x",
        "ext::sh",
        "git://host/r",
        "file://host/r",
        "https://host",
        "https://host/r#x",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match=r"write|delete|deploy key|%20"):
        remote.parse(url)


def test_through_an_alias_only_over_ssh() -> None:
    assert remote.parse("ssh://git@host:2222/o/r.git").by_alias("autogate-r") == "ssh://autogate-r/o/r.git"
    assert remote.parse("https://host/o/r.git").by_alias("autogate-r") == "https://host/o/r.git"


hosts = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.-]{0,20}|\[[0-9a-f]{1,4}::[0-9a-f]{1,4}\]", fullmatch=True)
users = st.from_regex(r"([a-z_][a-z0-9._-]{0,10}@)?", fullmatch=True)
ports = st.one_of(st.just(""), st.integers(1, 65535).map(lambda port: f":{port}"))
paths = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"], exclude_characters="?#@"),
    min_size=1,
    max_size=30,
).filter(lambda path: not path.startswith(("/", ":")))


@given(users, hosts, ports, paths)
def test_what_is_parsed_is_parsed_alike_again(user: str, host: str, port: str, path: str) -> None:
    found = remote.parse(f"ssh://{user}{host}{port}/{path}")
    assert remote.parse(found.url) == found
    assert (found.user, found.path) == (user.rstrip("@"), "/" + path)
    assert found.host == host.strip("[]").lower()
    assert remote.parse(found.by_alias("autogate-x")).path == found.path


@given(users, hosts, paths)
def test_the_short_form_means_the_same(user: str, host: str, path: str) -> None:
    short = remote.parse(f"{user}{host}:{path}")
    assert short == remote.parse(f"ssh://{user}{host}/{path.replace('%', '%25')}")
    assert remote.parse(short.url) == short


@given(st.text(max_size=60) | st.from_regex(r"(ssh|https|file)://\S{0,40}", fullmatch=True))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        found = remote.parse(text)
        assert remote.parse(found.url) == found
        assert not found.host.startswith("-")
        assert not found.user.startswith("-")
        assert not found.url.startswith("-")
