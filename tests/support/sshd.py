"""A real OpenSSH server for tests, which serves git repositories to deploy keys as a forge does."""

import contextlib
import getpass
import os
import shlex
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .debian import program
from .ports import reserve_port
from .waiting import wait_for

# Arguments: the path in the url, the bare repository, and "read" or "write". What it says is what GitHub says.
_GATE = """\
#!/bin/sh
case $SSH_ORIGINAL_COMMAND in
  "git-upload-pack '$1'") exec git upload-pack "$2" ;;
  "git-receive-pack '$1'")
    [ "$3" = write ] && exec git receive-pack "$2"
    echo "ERROR: The key you are authenticating with has been marked as read only." >&2 ;;
  *) echo "ERROR: Repository not found." >&2 ;;
esac
exit 1
"""

_CONFIGURATION = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/sshd.pid
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AcceptEnv GIT_PROTOCOL
LogLevel VERBOSE
"""

_NO_PENALTIES = "PerSourcePenalties no\n"
"""OpenSSH 9.8 and newer shut out an address whose keys were refused, which tests do on purpose."""


@dataclass
class GitServer:
    """An sshd of this user on a free loopback port. Each key that is admitted reaches one repository.

    Attributes:
        folder: Its host key, configuration and log.
        port: Where it listens.
    """

    folder: Path
    port: int = field(default_factory=reserve_port)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "host_key").exists():
            self.change_host_key()
        (self.folder / "authorized_keys").touch()
        gate = self.folder / "gate"
        gate.write_text(_GATE)
        gate.chmod(0o755)
        configuration = self.folder / "sshd_config"
        text = _CONFIGURATION.format(port=self.port, folder=self.folder)
        configuration.write_text(text + _NO_PENALTIES)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it confines itself; compiled in
        if subprocess.run(
            [program("sshd", "openssh-server"), "-t", "-f", configuration], capture_output=True, check=False
        ).returncode:
            configuration.write_text(text)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program("sshd", "openssh-server"), "-D", "-e", "-f", configuration],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_for(lambda: self._answers() or self._process.poll() is not None, "sshd to listen")  # type: ignore[union-attr]
        assert self._process.poll() is None, self.log()

    def stop(self) -> None:
        """Stop it by its pid."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(30)

    def change_host_key(self) -> None:
        """Make another host key; `stop` and `start` put it to use."""
        path = self.folder / "host_key"
        path.unlink(missing_ok=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True, stdin=subprocess.DEVNULL
        )

    def url(self, path: str) -> str:
        """Return the address of ``/owner/repo.git``."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{path}"

    def admit(self, public: str, path: str, bare: Path, *, write: bool = False) -> None:
        """Let a key reach ``bare``, and only that, under ``path``."""
        command = shlex.join([str(self.folder / "gate"), path, str(bare), "write" if write else "read"])
        quoted = command.replace('"', '\\"')
        with (self.folder / "authorized_keys").open("a") as file:
            file.write(f'restrict,command="{quoted}" {public}\n')

    def dismiss_all(self) -> None:
        """Take every key's access away."""
        (self.folder / "authorized_keys").write_text("")

    def known_hosts_line(self) -> str:
        """Return the line that pins its host key."""
        kind, blob = (self.folder / "host_key.pub").read_text().split()[:2]
        return f"[127.0.0.1]:{self.port} {kind} {blob}\n"

    def fingerprint(self) -> str:
        """Return its host key's fingerprint, as ssh-keygen says it."""
        return _output("ssh-keygen", "-l", "-f", str(self.folder / "host_key.pub")).split()[1]

    def log(self) -> str:
        """Return everything it has logged."""
        return (self.folder / "log").read_text("utf-8", "replace")

    def accepted(self) -> int:
        """Return how many connections have logged in so far."""
        return self.log().count("Accepted publickey")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5):
            return True
        return False


@contextlib.contextmanager
def git_server(folder: Path) -> Iterator[GitServer]:
    """Run a server while the block runs."""
    server = GitServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def leave_shared_connections(folder: Path) -> None:
    """End every ssh that keeps a shared connection open in ``folder`` (see `autogate.ssh.sharing_folder`)."""
    for control in folder.glob("*") if folder.is_dir() else ():
        subprocess.run(["ssh", "-O", "exit", "-S", control, "nobody@nowhere"], capture_output=True, check=False)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
