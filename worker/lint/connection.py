"""The connection to the judge: a server that several runs share, or a process of this run's own."""

import collections
import contextlib
import fcntl
import hashlib
import json
import os
import re
import signal
import socket
import stat
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .errors import NO_JUDGE, WRONG_USE, LintError

if TYPE_CHECKING:
    import subprocess

PROTOCOL = 1
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "judge", "__main__.py")
MAX_SOCKET_PATH = 100
"""Bytes; the kernel takes 107."""

ANSWER_SECONDS = 10.0
"""What a judge that was ready before may take to say hello."""

SILENCE_SECONDS = 30.0
"""A judge gives a sign of life every two seconds."""

SPARE_SECONDS = 30.0
"""What a judge may take beyond a file's time to say that the time is up."""

LOCK_SECONDS = 10.0
MAX_LINE = 512 * 1024 * 1024
MAX_LOG = 256 * 1024
MAX_SAID = 2000
CHUNK = 1 << 18
OWNER = "AUTOGATE_LINT_OWNER"
"""The variable that names the process with which a server is to end: a worker, whose builds it outlives."""
TRIES = 3
SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|PRIVATE_?KEY", re.IGNORECASE)

Result = dict[str, Any]
JobId = int | str


class JudgeError(LintError):
    """No judge is to be had; the message says what to do.

    Attributes:
        configuration: Whether it is pylint that does not accept its configuration.
    """

    def __init__(self, message: str, *, configuration: bool = False) -> None:
        super().__init__(message)
        self.configuration = configuration
        self.exit_code = WRONG_USE if configuration else NO_JUDGE


class _TroubleError(Exception):
    """The judge at the other end is of no use, though it is still there."""


class _GoneError(_TroubleError):
    """The judge is no longer there."""


class _TimeUpError(_TroubleError):
    """The judge said nothing in time."""


@dataclass(frozen=True)
class JudgeSettings:
    """Which judge, and what it may do.

    Attributes:
        python: The Python that has pylint.
        arguments: pylint's; no files.
        folder: The tree in which pylint's configuration is read: a snapshot of the base.
        home: The user's work tree.
        key: What tells this repository, environment and configuration from others: a server serves one key.
        runtime_folder: Where sockets and logs are; made when it is not there.
        fingerprint: Of the judge's code and environment: a server of another one is replaced.
        jobs: How many files at once; 0 for one a processor.
        file_seconds: What one file may take.
        file_mebibytes: The memory that one file may take beyond what is shared.
        idle_seconds: A server that had nothing to do for so long ends.
        server_mebibytes: A server that has grown beyond this ends, and a judge that gets twice as big at one go.
        start_seconds: What a judge may take to be ready.
    """

    python: str
    arguments: tuple[str, ...]
    folder: str
    home: str
    key: str
    runtime_folder: str
    fingerprint: str
    jobs: int = 0
    file_seconds: float = 120
    file_mebibytes: int = 2048
    idle_seconds: float = 1800
    server_mebibytes: int = 1536
    idle: bool = False
    start_seconds: float = 60


def judge_environment(environment: Mapping[str, str], home: str) -> dict[str, str]:
    """Return the environment for a judge: the user's, but nothing of one git call, and no secrets to outlive the run.

    Args:
        environment: The user's.
        home: Where pylint may write what it likes to write into people's homes.
    """
    kept = {name: value for name, value in environment.items() if not name.startswith("GIT_")}
    return {name: value for name, value in kept.items() if not SECRET.search(name)} | {"PYLINTHOME": home}


class _Judge:
    """A judge at the other end of a socket.

    Attributes:
        hello: What it said first.
        shared: Whether it is a server.
        started: Whether this run started it.
    """

    def __init__(
        self,
        channel: socket.socket,
        *,
        shared: bool,
        process: "subprocess.Popen[bytes] | None" = None,
        errors: int = -1,
    ) -> None:
        self.hello: dict[str, Any] = {}
        self.shared = shared
        self.started = process is not None
        self._channel = channel
        self._process = process
        self._errors = errors
        self._said_before = os.fstat(errors).st_size if errors >= 0 else 0
        self._received = bytearray()

    def greet(self, patience: float) -> None:
        """Wait for its hello.

        Raises:
            _TroubleError: None came, or nonsense.
            JudgeError: It says that there will be none.
        """
        message = self.receive(time.monotonic() + patience)
        if "refused" in message:
            raise JudgeError(str(message["refused"]), configuration=message.get("configuration") is True)
        hello = message.get("hello")
        if not isinstance(hello, dict):
            raise _TroubleError("it said something that is no hello")
        self.hello = hello

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message."""
        try:
            self._channel.settimeout(SILENCE_SECONDS)
            self._channel.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise _TroubleError(f"it takes no messages ({error})") from None

    def receive(self, deadline: float) -> dict[str, Any]:
        """Wait for its next message.

        Args:
            deadline: Until this time of the monotonic clock.

        Raises:
            _TroubleError: None came, or nonsense.
        """
        searched = 0
        while (end := self._received.find(b"\n", searched)) < 0:
            searched = len(self._received)
            left = deadline - time.monotonic()
            if left <= 0:
                raise _TimeUpError("it did not answer in time")
            if searched > MAX_LINE:
                raise _TroubleError("it talks without end")
            try:
                self._channel.settimeout(left)
                chunk = self._channel.recv(CHUNK)
            except TimeoutError:
                continue
            except OSError as error:
                raise _GoneError(f"the connection broke ({error})") from None
            if not chunk:
                raise _GoneError("it ended")
            self._received += chunk
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise _TroubleError("it said something that is no message")
        return message

    def kill(self) -> None:
        """Kill a judge whose end of the connection is still open, so that its process id is still its own."""
        pid = self._process.pid if self._process else self.hello.get("pid")
        if isinstance(pid, int) and pid > 1:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def said(self) -> str:
        """Return the end of what it said on its standard error, to be put behind a sentence."""
        if self._errors < 0:
            return ""
        size = os.fstat(self._errors).st_size
        said = os.pread(self._errors, size, max(self._said_before, size - MAX_SAID)).decode("utf-8", "replace").strip()
        return f" ({said})" if said else ""

    def close(self) -> None:
        """Let go of it; a process of this run's own ends then, with all that it started."""
        self._channel.close()
        if self._errors >= 0:
            os.close(self._errors)
            self._errors = -1
        if self._process and not self.shared:
            import subprocess  # noqa: PLC0415  (kept off the hot path)

            try:
                self._process.wait(ANSWER_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class JudgeConnection:
    """A judge to ask, whatever becomes of the processes behind it.

    Attributes:
        hello: What the judge at hand said of itself: ``facts`` (what `Linting.describe` returns), ``pid``, ``seconds``.
        shared: Whether it is a server.
        started: Whether this run started it.
        seconds: What it took until it was ready.
        notes: Sentences for the reader on what went wrong and was made good.
    """

    def __init__(self, settings: JudgeSettings) -> None:
        self.started = False
        self.seconds = 0.0
        self.notes: list[str] = []
        self._settings = settings
        self._judge: _Judge | None = None
        self._unsent: collections.deque[JobId] = collections.deque()
        self._suspects: collections.deque[JobId] = collections.deque()
        self._places: dict[JobId, tuple[str, str]] = {}
        self._sent: set[JobId] = set()
        self._begun: dict[JobId, tuple[int, float]] = {}
        self._again: dict[JobId, Result] = {}
        self._tried_again: set[JobId] = set()
        self._accused: set[JobId] = set()
        self._failed = False

    @classmethod
    def open(cls, settings: JudgeSettings, *, server: bool) -> "JudgeConnection":
        """Reach a judge: the server, which is started when there is none, or a process of this run's own.

        Args:
            settings: Which.
            server: Whether a server is wanted; when it cannot be had, a note says so and an own process does its work.

        Raises:
            JudgeError: No judge is to be had at all.
        """
        self = cls(settings)
        begin = time.monotonic()
        if server:
            self._reach_server()
        if self._judge is None:
            self._start_own()
        self.seconds = time.monotonic() - begin
        return self

    @property
    def hello(self) -> dict[str, Any]:
        """What the judge at hand said of itself."""
        return self._judge.hello if self._judge else {}

    @property
    def shared(self) -> bool:
        """Whether the judge at hand is a server."""
        return self._judge is not None and self._judge.shared

    def __enter__(self) -> "JudgeConnection":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the judge; files that are still being judged are given up."""
        if self._judge:
            self._judge.close()
            self._judge = None

    def submit(self, job: JobId, root: str, path: str) -> None:
        """Ask for a file to be judged, also while `lint` goes on.

        Args:
            job: What tells it from the others, an int or a str that is not used yet.
            root: The folder of the tree.
            path: The file, relative to it.
        """
        self._places[job] = root, path
        self._unsent.append(job)

    def cancel(self, jobs: Iterable[JobId]) -> None:
        """Give files up; `lint` says nothing of them."""
        gone = [job for job in jobs if self._places.pop(job, None)]
        sent = [job for job in gone if job in self._sent]
        for job in gone:
            self._sent.discard(job)
            self._begun.pop(job, None)
            self._again.pop(job, None)
        self._unsent = collections.deque(job for job in self._unsent if job in self._places)
        self._suspects = collections.deque(job for job in self._suspects if job in self._places)
        if sent:
            self._tell({"cancel": sent})

    def lint(
        self, jobs: Iterable[tuple[JobId, str, str]] = (), *, deadline: float | None = None
    ) -> Iterator[tuple[JobId, Result]]:
        """Have files judged, and yield what comes of them as it comes: ``Linting.lint``'s result for each.

        A result that says ``error`` has nothing else to say, and ``infrastructure`` tells whether it is the machine's
        doing. Files submitted meanwhile are judged, too.

        Args:
            jobs: As `submit` takes them.
            deadline: When to stop, on the monotonic clock: what is still to come is there for another call, or to be
                cancelled.
        """
        for job in jobs:
            self.submit(*job)
        fruitless = 0
        while self._places and (deadline is None or time.monotonic() < deadline):
            try:
                if self._judge is None:
                    self._start_own()
                if not self._send_more() and not self._sent:
                    self._begin_again()
                    continue
                answer = self._next(deadline)
            except JudgeError as error:
                yield from self._give_up(f"no process that judges files can be started: {error}")
                return
            except _TroubleError as trouble:
                fruitless = 0 if self._begun else fruitless + 1
                yield from self._after(trouble)
                if fruitless >= TRIES:
                    yield from self._give_up(f"the processes that judge files do not work: {trouble}")
                    return
                continue
            if answer is not None:
                fruitless = 0
                yield answer

    def warm(self, root: str, paths: Iterable[str]) -> None:
        """Have a server build files of a tree, and what they import, when it has nothing else to do."""
        if self.shared:
            self._tell({"warm": list(paths), "root": root})

    def stop(self) -> None:
        """Have a server end, once it has served those who wait for it."""
        if self.shared:
            self._tell({"stop": True})

    # While files are judged

    def _tell(self, message: Mapping[str, Any]) -> None:
        if self._judge:
            with contextlib.suppress(_TroubleError):  # what reads the answers finds out
                self._judge.send(message)

    def _send_more(self) -> bool:
        """Send what may be sent: everything, or one file at a time while some are under suspicion."""
        assert self._judge is not None  # noqa: S101  (`lint` has seen to it)
        if self._suspects:
            jobs = [] if self._sent else [self._suspects.popleft()]
        elif self._tried_again & self._sent:
            jobs = []
        else:
            jobs, self._unsent = list(self._unsent), collections.deque()
        for job in jobs:
            root, path = self._places[job]
            self._sent.add(job)
            self._judge.send(
                {
                    "job": job,
                    "root": root,
                    "path": path,
                    "seconds": self._settings.file_seconds,
                    "mebibytes": self._settings.file_mebibytes,
                    "idle": self._settings.idle,
                }
            )
        return bool(jobs)

    def _next(self, deadline: float | None) -> tuple[JobId, Result] | None:
        """Wait for the judge's next message; return a result when it brought one."""
        assert self._judge is not None  # noqa: S101  (`lint` has seen to it)
        patience = time.monotonic() + SILENCE_SECONDS
        if self._begun:
            longest = self._settings.file_seconds + SPARE_SECONDS
            patience = min(patience, min(since for _, since in self._begun.values()) + longest)
        try:
            message = self._judge.receive(patience if deadline is None else min(patience, deadline))
        except _TimeUpError:
            if time.monotonic() < patience:
                return None
            raise
        match message:
            case {"begun": int() | str() as job, "group": int() as group} if job in self._sent:
                self._begun[job] = group, time.monotonic()
                return None
            case {"done": int() | str() as job} if job in self._sent:
                pass
            case _:
                return None
        result = message.get("result")
        if not isinstance(result, dict):
            raise _TroubleError("it said something that is no result")
        self._sent.discard(job)
        self._begun.pop(job, None)
        if result.get("infrastructure") and job not in self._tried_again:
            self._again[job] = result
            return None
        del self._places[job]
        return job, result

    def _begin_again(self) -> None:
        """Try files whose processes were killed from outside once more, each alone, in a process of our own."""
        self.notes.append("a process was killed from outside; its file was tried again")
        self._tried_again |= self._again.keys()
        self._suspects.extend(self._again)
        self._again.clear()
        self.close()

    def _after(self, trouble: _TroubleError) -> Iterator[tuple[JobId, Result]]:
        """Deal with a judge that died, hangs or talks nonsense."""
        judge, self._judge = self._judge, None
        self._failed = True
        if judge is not None:
            if not isinstance(trouble, _GoneError):
                judge.kill()
            judge.close()
            self.notes.append(
                f"the lint server failed ({trouble}), and the run went on without it"
                if judge.shared
                else f"the process that judges files failed ({trouble}), and was started again"
            )
        for group, _ in self._begun.values():
            if group > 1:
                with contextlib.suppress(OSError):  # what a plugin started may have outlived its judge
                    os.killpg(group, signal.SIGKILL)
        alone = len(self._sent) == 1
        for job in self._sent:
            if job not in self._begun:
                self._unsent.append(job)
            elif alone and job in self._accused:
                _, path = self._places.pop(job)
                yield (
                    job,
                    _failed(f"the judge's own process dies whenever it judges {path}: correct the plugin, if any"),
                )
            else:
                self._accused.add(job)
                self._suspects.append(job)
        self._sent.clear()
        self._begun.clear()

    def _give_up(self, why: str) -> Iterator[tuple[JobId, Result]]:
        for job in list(self._places):
            yield job, _failed(why, infrastructure=True)
        for collection in (self._places, self._sent, self._begun, self._again, self._unsent, self._suspects):
            collection.clear()

    # To a judge

    def _start_own(self) -> None:
        """Start a process for this run alone.

        Raises:
            JudgeError: It does not come to its hello.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            errors = os.memfd_create("judge")
            try:
                process = self._spawn(theirs, "", errors)
            except OSError as error:
                ours.close()
                os.close(errors)
                raise JudgeError(f"{self._settings.python} cannot be run ({error.strerror}): see --python") from None
        judge = _Judge(ours, shared=False, process=process, errors=errors)
        try:
            judge.greet(self._settings.start_seconds)
        except _TroubleError as error:
            said = judge.said()
            judge.kill()
            judge.close()
            raise JudgeError(f"{self._settings.python} does not start pylint: {error}{said}") from None
        except JudgeError:
            judge.close()
            raise
        self._judge = judge

    def _reach_server(self) -> None:
        """Connect to the server, starting or replacing it where needed; note why when there is none to be had."""
        trouble = "it ended again and again"
        try:
            path = _socket_path(self._settings)
            for _ in range(TRIES):
                judge, place = self._dial_or_start(path)
                try:
                    judge.greet(self._patience(place, started=judge.started))
                except JudgeError:
                    judge.close()
                    raise
                except _TroubleError as error:
                    trouble = f"{error}{judge.said()}"
                    if not isinstance(error, _GoneError):
                        judge.kill()
                        _discard(path, place)
                    judge.close()
                    if judge.started:
                        break
                    continue
                if judge.hello.get("protocol") == PROTOCOL and (
                    judge.hello.get("fingerprint") == self._settings.fingerprint
                ):
                    self._judge, self.started = judge, judge.started
                    return
                _retire(judge)
                _discard(path, place)
        except OSError as error:
            trouble = str(error)
        self.notes.append(f"no lint server could be had ({trouble}), and the run went on without one")

    def _patience(self, place: os.stat_result, *, started: bool) -> float:
        """Return how long to wait for a hello: one that another run has only just started may still be starting."""
        age = 0.0 if started else max(0.0, time.time() - place.st_mtime)
        return max(ANSWER_SECONDS, self._settings.start_seconds - age)

    def _dial_or_start(self, path: str) -> tuple[_Judge, os.stat_result]:
        """Connect to the server, or start it: of two runs that want to, one does.

        Raises:
            OSError: Neither can be done.
        """
        channel = _dial(path)
        judge = None if channel is None else _Judge(channel, shared=True)
        if judge is None:
            with _locked(path):
                channel = _dial(path)
                judge = self._start_server(path) if channel is None else _Judge(channel, shared=True)
        return judge, os.stat(path)

    def _start_server(self, path: str) -> _Judge:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # of a server that was killed
        errors = _open_log(path.removesuffix(".socket") + ".log")
        # The socket is there before the server is: who connects waits for its hello instead of asking again and again.
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(path)
            listener.listen(socket.SOMAXCONN)
            process = self._spawn(listener, path, errors)
        channel = _dial(path)
        if channel is None:
            raise OSError("it ended at once")
        _outliving.append(process)
        return _Judge(channel, shared=True, process=process, errors=errors)

    def _spawn(self, channel: socket.socket, path: str, errors: int) -> "subprocess.Popen[bytes]":
        import subprocess  # noqa: PLC0415  (kept off the hot path)

        settings = {
            "fingerprint": self._settings.fingerprint,
            "arguments": self._settings.arguments,
            "folder": self._settings.folder,
            "home": self._settings.home,
            "jobs": self._settings.jobs,
            "start_seconds": self._settings.start_seconds,
            "ahead": not self._failed,  # it may have been building ahead that failed
            "socket": path,
            "idle_seconds": self._settings.idle_seconds,
            "server_mebibytes": self._settings.server_mebibytes,
            "owner": _owner(os.environ),
        }
        return subprocess.Popen(  # noqa: S603  (the Python that the user chose, and our own program)
            [self._settings.python, PROGRAM, json.dumps(settings)],
            stdin=channel.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=judge_environment(os.environ, _pylint_home(self._settings.runtime_folder)),
            start_new_session=True,
        )


def _owner(environment: Mapping[str, str]) -> int:
    owner = environment.get(OWNER, "")
    return int(owner) if owner.isascii() and owner.isdigit() else 0


_outliving: "list[subprocess.Popen[bytes]]" = []
"""Servers that this run started: it ends before they do, and waits for none."""


def _failed(error: str, *, infrastructure: bool = False) -> Result:
    return {"messages": [], "score": None, "error": error, "infrastructure": infrastructure}


def _socket_path(settings: JudgeSettings) -> str:
    """Return where the server for these settings listens, in a folder that is nobody else's.

    Raises:
        OSError: There is no such folder and none can be made.
    """
    name = hashlib.sha256(settings.key.encode()).hexdigest()[:24] + ".socket"
    path = os.path.join(os.path.abspath(settings.runtime_folder), name)
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        both = f"{os.path.dirname(path)}\0{settings.key}".encode("utf-8", "surrogateescape")
        folder = f"/tmp/autogate-lint-{os.getuid()}"  # noqa: S108  (made private, or refused, below)
        path = os.path.join(folder, hashlib.sha256(both).hexdigest()[:24] + ".socket")
    _make_private(os.path.dirname(path))
    return path


def _make_private(folder: str) -> None:
    """Have a folder that only this user can enter.

    Raises:
        OSError: It cannot be made, or is somebody else's.
    """
    with contextlib.suppress(FileExistsError):
        os.makedirs(folder, 0o700)
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(f"{folder} is no folder of this user's: remove it")
    if status.st_mode & 0o077:
        os.chmod(folder, 0o700)


def _pylint_home(runtime_folder: str) -> str:
    """Return where pylint may leave its reports of crashes: not in the user's home."""
    try:
        _make_private(runtime_folder)
    except OSError:
        return os.devnull
    return os.path.join(runtime_folder, "pylint")


def _open_log(path: str) -> int:
    """Open a server's log; one in memory, where the disk takes none."""
    try:
        if os.path.exists(path) and os.path.getsize(path) > MAX_LOG:
            os.replace(path, path + ".1")
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError:
        return os.memfd_create("judge")


def _dial(path: str) -> socket.socket | None:
    """Connect to a socket of this user's; None when nobody listens there.

    Raises:
        OSError: Somebody else listens there, or does not accept.
    """
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        channel.settimeout(ANSWER_SECONDS)
        channel.connect(path)
        _, user, _ = struct.unpack("3i", channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if user != os.getuid():
            raise PermissionError(f"{path} is served by user {user}")
    except (FileNotFoundError, ConnectionRefusedError):
        channel.close()
        return None
    except OSError:
        channel.close()
        raise
    return channel


def _retire(judge: _Judge) -> None:
    """Have a server of another version end once its jobs are done, and wait until it has let go of its place."""
    deadline = time.monotonic() + ANSWER_SECONDS
    with contextlib.suppress(_TroubleError):
        judge.send({"stop": True})
        while "stopping" not in judge.receive(deadline):
            pass
    judge.close()


def _discard(path: str, place: os.stat_result) -> None:
    """Remove a socket that is still the one which was of no use."""
    with _locked(path), contextlib.suppress(FileNotFoundError):
        now = os.stat(path)
        if (now.st_dev, now.st_ino) == (place.st_dev, place.st_ino):
            os.unlink(path)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Hold the lock under which sockets come and go.

    Raises:
        OSError: It is not to be had in time.
    """
    lock = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{path}.lock is held by another process") from None
            time.sleep(0.02)
        yield
    finally:
        os.close(lock)
