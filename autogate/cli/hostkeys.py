"""The pinned host keys of git servers."""

import base64
import binascii
import hashlib
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from autogate.remote import Remote

from .failures import Failure

_USUAL_PORT = 22
_KIND = re.compile(r"[a-z0-9@.-]+")


@dataclass(frozen=True)
class HostKey:
    """A public key, of a server or of a repository.

    Attributes:
        kind: Such as ``ssh-ed25519``.
        blob: The key itself, in base64.
    """

    kind: str
    blob: str

    @property
    def fingerprint(self) -> str:
        """What ssh shows of it, such as ``SHA256:uNiVztksCsDhcc0u9e8BrqXVMDRVkUKzuITW7z0bM8E``."""
        digest = hashlib.sha256(base64.b64decode(self.blob)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def host_name(remote: Remote) -> str:
    """Return the name of a server in known_hosts, such as ``[git.example.com]:2222``."""
    return remote.host if remote.port in {None, _USUAL_PORT} else f"[{remote.host}]:{remote.port}"


def parse_scan(output: str) -> tuple[HostKey, ...]:
    """Return the keys in what ssh-keyscan printed, ed25519 first."""
    keys = []
    for line in output.splitlines():
        words = line.split()
        if len(words) == 3 and not line.startswith("#") and _KIND.fullmatch(words[1]) and _is_base64(words[2]):  # noqa: PLR2004
            keys.append(HostKey(words[1], words[2]))
    return tuple(sorted(keys, key=lambda key: (key.kind != "ssh-ed25519", key.kind)))


def scan(remote: Remote, timeout: int = 10) -> tuple[HostKey, ...]:
    """Ask a server for its host keys. Whether they are really its own, somebody has to say.

    Args:
        remote: A repository on the server.
        timeout: Seconds to wait for it.

    Raises:
        Failure: it gave none.
        FileNotFoundError: there is no ssh-keyscan.
    """
    command = ["ssh-keyscan", "-T", str(timeout), "-p", str(remote.port or _USUAL_PORT), remote.host]
    done = subprocess.run(command, capture_output=True, text=True, timeout=6 * timeout, check=False)  # noqa: S603
    if keys := parse_scan(done.stdout):
        return keys
    said = [line for line in done.stderr.splitlines() if line and not line.startswith("#")]
    raise Failure(
        f"{host_name(remote)} shows no host key" + (f": {said[-1]}" if said else ""),
        "is its name and port in the url right, and may this machine reach it? Or add its line to known_hosts by hand",
    )


def pinned(known_hosts: Path, remote: Remote) -> bool:
    """Tell whether known_hosts has a key of the server, hashed names and certificate authorities included.

    Raises:
        FileNotFoundError: there is no ssh-keygen.
    """
    if not known_hosts.is_file():
        return False
    command = ["ssh-keygen", "-F", host_name(remote), "-f", str(known_hosts)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    return any(line and not line.startswith(("#", "@revoked")) for line in done.stdout.splitlines())


def pin(known_hosts: Path, remote: Remote, keys: tuple[HostKey, ...]) -> None:
    """Append a server's keys to known_hosts.

    Raises:
        OSError: it cannot be written.
    """
    lines = "".join(f"{host_name(remote)} {key.kind} {key.blob}\n" for key in keys)
    known_hosts.parent.mkdir(parents=True, exist_ok=True)
    with known_hosts.open("a+b") as file:
        if file.tell():
            file.seek(-1, 2)
            lines = lines if file.read(1) == b"\n" else "\n" + lines
        file.write(lines.encode())


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except binascii.Error:
        return False
