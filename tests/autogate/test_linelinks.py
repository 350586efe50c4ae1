"""Addresses of lines at a forge."""

import pytest

from autogate import linelinks, remote


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("git@github.com:acme/shop.git", "https://github.com/acme/shop/blob/0123/a%20b/%C3%BC.py#L7"),
        ("ssh://git@gitlab.com/acme/web/shop.git", "https://gitlab.com/acme/web/shop/-/blob/0123/a%20b/%C3%BC.py#L7"),
        ("https://codeberg.org/acme/shop/", "https://codeberg.org/acme/shop/src/commit/0123/a%20b/%C3%BC.py#L7"),
        ("https://github.com/ac{line}me/shop", "https://github.com/ac%7Bline%7Dme/shop/blob/0123/a%20b/%C3%BC.py#L7"),
        ("ssh://git@git.example.com/acme/shop.git", ""),
        ("/srv/git/shop.git", ""),
    ],
)
def test_known_forges_show_lines(url: str, link: str) -> None:
    template = linelinks.template(remote.parse(url))
    assert (template and linelinks.fill(template, "0123", "a b/ü.py", 7)) == link
    assert not template or linelinks.fault(template) == ""


@pytest.mark.parametrize(
    "link", ["https://h/{path}", "http://h:80/x?f={path}&r={revision}#{line}", "https://h/{{{path}"]
)
def test_what_is_a_template(link: str) -> None:
    assert linelinks.fault(link) == ""
    assert linelinks.fill(link, "0123", "x", 1).startswith("http")


@pytest.mark.parametrize(
    "link",
    [
        3,
        "",
        "https://h/",
        "javascript:alert('{path}')",
        "//h/{path}",
        "https://h/{path",
        "https://h/{path}}",
        "https://h/{}/{path}",
        "https://h/{path.x}",
        "https://h/{path!r}",
        "https://h/{path:>99999999}",
        "https://h/{path}/{secret}",
        "https://h/{path}\n",
        "https://[h/{path}",
    ],
)
def test_what_is_none_and_what_to_write_instead(link: object) -> None:
    assert "write one like https://git.example.com/" in linelinks.fault(link)


def test_a_name_cannot_leave_its_place_in_the_address() -> None:
    link = linelinks.fill("https://h/{revision}/{path}#L{line}", "0?1", '../"><{line}#x?\udcff', 1)
    assert link == "https://h/0%3F1/../%22%3E%3C%7Bline%7D%23x%3F%FF#L1"
