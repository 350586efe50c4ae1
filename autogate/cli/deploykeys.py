"""Deploy keys: one a repository and role, made by ssh-keygen, kept in the secrets folder."""

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from autogate import ssh
from autogate.places import Places
from autogate.remote import Remote
from autogate.ssh import Role

from .failures import Failure
from .hostkeys import HostKey
from .secretfolder import close_to_others, place

_FORGES = (
    # a part of the host's name, the forge, where its form is, what write access is called there
    (("github",), "GitHub", "{web}/settings/keys/new", "'Allow write access'"),
    (("gitlab",), "GitLab", "{web}/-/settings/repository", "'Grant write permissions to this key'"),
    (("gitea", "forgejo", "codeberg"), "Gitea or Forgejo", "{web}/settings/keys", "write access"),
    (("pagure",), "Pagure", "{web}/settings", "push access"),
)


@dataclass(frozen=True)
class DeployKey:
    """A deploy key that is there.

    Attributes:
        path: The private half.
        public: The public half, as one pastes it.
    """

    path: Path
    public: str

    @property
    def fingerprint(self) -> str:
        """What ssh and forges show of it."""
        kind, blob = self.public.split()[:2]
        return HostKey(kind, blob).fingerprint


def read(places: Places, name: str, role: Role) -> DeployKey:
    """Return a repository's deploy key; its public half is derived from the private one, which is what ssh uses.

    Raises:
        Failure: there is none, or it is none that ssh can use unattended.
        OSError: it cannot be read, or there is no ssh-keygen.
    """
    path = ssh.key_path(places, name, role)
    again = _command("add", name, role)
    if not path.exists():
        raise Failure(f"{name!r} has no {role} key: {path} is missing", f"run `{again}`")
    # ssh-keygen refuses a key that others may read, as this one is: see secretfolder
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "key"
        descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(path.read_bytes())
        # -P '' so that it does not ask for the passphrase of a key that has one
        done = _keygen("-y", "-P", "", "-f", str(copy))
    if done.returncode or len(done.stdout.split()) < 2:  # noqa: PLR2004
        raise Failure(f"{path} is no private key without a passphrase", f"make a new one: `{again} --replace`")
    return DeployKey(path, done.stdout.strip())


def exists(places: Places, name: str, role: Role) -> bool:
    """Tell whether there is a deploy key, or half of one."""
    path = ssh.key_path(places, name, role)
    return path.exists() or _public_path(path).exists()


def make(places: Places, name: str, role: Role, *, replace: bool = False) -> DeployKey:
    """Make an ed25519 key without a passphrase.

    The files get mode 0644, in a secrets folder that only its owner can enter: see `secretfolder`.

    Raises:
        FileExistsError: there is a key, and ``replace`` is not set.
        Failure: the secrets folder is not private and cannot be made so.
        OSError: a file cannot be written, or there is no ssh-keygen.
    """
    close_to_others(places.secrets)
    path = ssh.key_path(places, name, role)
    path.parent.mkdir(exist_ok=True)
    path.parent.chmod(0o755)  # mounted alone into containers that run as another user
    with tempfile.TemporaryDirectory(dir=places.secrets, prefix=".key.") as folder:
        new = Path(folder) / "key"
        done = _keygen("-q", "-t", "ed25519", "-N", "", "-C", f"autogate-{name}-{role}", "-f", str(new))
        if done.returncode:
            raise Failure(f"ssh-keygen made no key: {(done.stderr or done.stdout).strip()}")
        place(path, new.read_bytes(), replace=replace)
        # the old public half, if any, belongs to no key now
        place(_public_path(path), _public_path(new).read_bytes(), replace=True)
    return read(places, name, role)


def where_to_paste(name: str, remote: Remote, role: Role) -> str:
    """Return where the public half goes, for the forge that the host's name suggests."""
    web = f"https://{remote.host}/{remote.path.strip('/').removesuffix('.git')}"
    for parts, forge, form, write in _FORGES:
        if any(part in remote.host for part in parts):
            switch = "on" if role is Role.WRITE else "off"
            return f"Paste it as a deploy key of {name!r} at {form.format(web=web)} ({forge}), with {write} {switch}."
    access = "with write access" if role is Role.WRITE else "without write access"
    return (
        f"Paste it as a deploy key of {name!r}, {access}: on GitHub and Gitea under Settings → Deploy keys, on GitLab "
        f"under Settings → Repository → Deploy keys, on Pagure under Settings → Deploy Keys; on a plain server into "
        f"the authorized_keys of {remote.user or 'the user'}, restricted to this repository."
    )


def _public_path(private: Path) -> Path:
    return private.with_name(private.name + ".pub")


def _command(verb: str, name: str, role: Role) -> str:
    return f"autogate keys {verb} {name}" + (" --write" if role is Role.WRITE else "")


def _keygen(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        ["ssh-keygen", *args],  # noqa: S607
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
