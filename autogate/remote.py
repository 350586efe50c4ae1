"""Addresses of git repositories."""

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

_SCP = re.compile(r"(?:(?P<user>[^@/:\s]+)@)?(?P<host>\[[^@/\s\]]+\]|[^@/:\s]+):(?P<path>/?[^/:\s].*)")
_HOST = re.compile(r"[a-z0-9_][a-z0-9._-]*|[0-9a-f:.]*:[0-9a-f:.]*")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")

_EXAMPLE = "ssh://git@git.example.com/owner/repo.git"
_HAS_LOGIN = f"contains a password; use a deploy key and write {_EXAMPLE}"
_NO_ADDRESS = f"is no address of a repository; write for example {_EXAMPLE}"


@dataclass(frozen=True)
class Remote:
    """Where a repository is.

    Attributes:
        url: As git takes it, without a user part for https.
        host: The server's name; empty for a path.
        path: The repository on the server, with a leading slash.
        user: The login; only for ssh.
        port: The TCP port; None for the usual one.
        ssh: Whether it is reached over ssh, with a deploy key.
    """

    url: str
    host: str
    path: str
    user: str = ""
    port: int | None = None
    ssh: bool = False

    def by_alias(self, alias: str) -> str:
        """Return the url that goes through the ssh_config's ``alias``; the plain url where there is no ssh."""
        # the scp-like form is avoided: Buildbot's Git step rewrites it and overrides the ssh_config's port
        return f"ssh://{alias}{self.path}" if self.ssh else self.url


def parse(url: str) -> Remote:
    """Return the parts of a repository's address.

    Args:
        url: ``ssh://user@host:port/path``, ``user@host:path``, ``https://host/path``, ``file:///path`` or ``/path``.

    Raises:
        ValueError: it is none of these, or it holds a password. The message says what to write instead.
    """
    if re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError("contains a space or a control character; write it as git clone takes it, %20 for a space")
    if url.startswith("/"):
        return Remote(url=url, host="", path=url)
    if "://" not in url and (scp := _SCP.fullmatch(url)):
        if "@" in scp["path"] and not scp["user"]:
            raise ValueError(_HAS_LOGIN)  # user:password@host
        # git takes the path of a url as percent-encoded, and that of this form as it stands
        return _ssh(scp["user"] or "", scp["host"], None, "/" + scp["path"].removeprefix("/").replace("%", "%25"))
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError:  # its message would repeat the url
        raise ValueError(_NO_ADDRESS) from None
    if split.password is not None:
        raise ValueError(_HAS_LOGIN)
    if split.query or split.fragment:
        raise ValueError("has a part behind '?' or '#', which no repository's address has; delete it")
    if split.scheme == "ssh" and split.hostname and len(split.path) > 1:
        return _ssh(unquote(split.username or ""), split.hostname, port, split.path)
    if split.scheme in {"https", "http"} and split.hostname and len(split.path) > 1:
        if split.username is not None:
            raise ValueError(f"contains a user or a token; use a deploy key and write {_EXAMPLE}")
        return Remote(url=url, host=split.hostname, path=split.path, port=port)
    if split.scheme == "file" and not split.netloc and len(split.path) > 1:
        return Remote(url=url, host="", path=split.path)
    raise ValueError(_NO_ADDRESS)


def _ssh(user: str, host: str, port: int | None, path: str) -> Remote:
    host = host.strip("[]").lower()
    # neither is repeated: a part of a password may have ended up in it
    if not _HOST.fullmatch(host):
        raise ValueError(f"has a host that ssh does not take; write for example {_EXAMPLE}")
    if user and not _USER.fullmatch(user):
        raise ValueError(f"has a user that ssh does not take; write for example {_EXAMPLE}")
    login, where = f"{user}@" if user else "", f":{port}" if port else ""
    bracketed = f"[{host}]" if ":" in host else host
    return Remote(
        url=f"ssh://{login}{bracketed}{where}{path}", host=host, path=path, user=user, port=port or None, ssh=True
    )
