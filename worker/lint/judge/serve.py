"""The judge's process: clients on one side, a forked child a file on the other; one thread, one loop."""

import collections
import contextlib
import fcntl
import functools
import gc
import json
import os
import resource
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import limits
from .child import Child
from .limits import MEBIBYTE, Failure, Limits

if TYPE_CHECKING:
    from .linting import Linting

PROTOCOL = 1
MAX_LINE = 16 * MEBIBYTE
MAX_UNREAD = 4 * MEBIBYTE
"""Bytes that a client may leave unread before no more of its files are begun."""

CHUNK = 1 << 18
WATCHDOG = 60
"""Seconds after which a judge that no longer comes round its loop is ended by the kernel."""

WATCHDOG_WORK = 20
"""The same while a module is built ahead: less than what a client waits for a sign of life."""

MEMORY_LOOK = 0.2
"""Seconds of processor time between two looks at the judge's own memory while it builds."""

BEAT = 2.0
"""Seconds between two signs of life to a client that waits."""

LOOK = 0.05
"""Seconds between two looks at the children's limits."""

IDLE_LOOK = 1.0
"""Seconds between two looks at what may end a server."""

MANY = 4
"""Files from which on it pays to build what they share first."""

LINGER = 10.0
"""Seconds that a server which is to end waits for clients that have nothing to do."""

MAX_LOG = MEBIBYTE
CONTENDED = 0.8
"""A step that had less than this part of its time on a processor took it from somebody else."""


@dataclass(frozen=True)
class Settings:
    """How a judge is started.

    Attributes:
        fingerprint: What the client that starts it takes its code and environment to be.
        arguments: pylint's.
        folder: The tree in which pylint's configuration is read.
        home: The user's work tree.
        jobs: How many files at once; 0 for one a processor.
        start_seconds: What it may take to be ready.
        ahead: Whether a process that serves one client may build what its files share before them.
        socket: Where the server listens; empty for a process that serves one client.
        idle_seconds: A server without work ends after so long.
        server_mebibytes: A server that is bigger ends, and a judge that becomes twice as big at one go.
        owner: A server ends with the process of this id; 0 for none.
    """

    fingerprint: str
    arguments: list[str]
    folder: str
    home: str
    jobs: int
    start_seconds: float
    ahead: bool
    socket: str = ""
    idle_seconds: float = 1800
    server_mebibytes: int = 1536
    owner: int = 0


@dataclass(frozen=True)
class Job:
    """A file that is to be judged.

    Attributes:
        name: What the client calls it.
        root: The folder of the tree.
        path: The file, relative to it.
        limits: What it may cost.
    """

    name: int | str
    root: str
    path: str
    limits: Limits


class Client:
    """A connected client, and what it waits for."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(0)
        self.connection = connection
        self.queue: collections.deque[Job] = collections.deque()
        self.running: dict[int | str, Child] = {}
        self.unsent = bytearray()
        self.told = time.monotonic()
        self._received = bytearray()

    def receive(self) -> list[Any] | None:
        """Return the messages that have arrived; None when the client is gone or talks nonsense."""
        try:
            chunk = self.connection.recv(CHUNK)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not chunk:
            return None
        self._received += chunk
        *lines, rest = self._received.split(b"\n")
        self._received = bytearray(rest)
        if len(rest) > MAX_LINE:
            return None
        try:
            return [json.loads(line) for line in lines]
        except (ValueError, RecursionError):
            return None

    def tell(self, message: dict[str, Any]) -> None:
        """Have a message sent."""
        self.unsent += json.dumps(message).encode() + b"\n"
        self.told = time.monotonic()

    def flush(self) -> bool:
        """Send what can be sent; return whether the client is still there."""
        while self.unsent:
            try:
                sent = self.connection.send(self.unsent)
            except BlockingIOError:
                break
            except OSError:
                return False
            del self.unsent[:sent]
        return True


class Judge:
    """The loop.

    Args:
        settings: How it was started.
        linting: pylint, ready.
        listener: A server's socket; None for a process with one client.
    """

    def __init__(self, settings: Settings, linting: "Linting", listener: socket.socket | None) -> None:
        self.settings = settings
        self._linting = linting
        self._listener = listener
        self._hello: dict[str, Any] = {}
        self._jobs = settings.jobs or len(os.sched_getaffinity(0))
        self._clients: collections.deque[Client] = collections.deque()
        self._children: dict[int, tuple[Child, Client, int | str]] = {}
        self._dying: set[int] = set()
        self._spared = limits.children()
        self._selector = selectors.EpollSelector()
        self._ahead = False
        self._cold = settings.ahead
        self._piloted = False
        self._not_before = 0.0
        self._last_job = time.monotonic()
        self._last_look = 0.0
        self._leaving = ""
        self._left_at = 0.0
        self._place = _identity(settings.socket) if listener else None
        self._tree = _identity(settings.folder)

    def serve(self, hello: dict[str, Any], first: socket.socket | None = None) -> None:
        """Serve until there is no reason to any more.

        Args:
            hello: What every client is told first.
            first: The only client, where there is no listening socket.
        """
        self._hello = hello
        signal.signal(signal.SIGPROF, self._bound_memory)
        if self._listener is not None:
            self._listener.settimeout(0)
            self._watch(self._listener, self._accept)
            self._watch_owner()
        if first is not None:
            self._welcome(first)
        try:
            while True:
                signal.setitimer(signal.ITIMER_REAL, WATCHDOG)
                self._keep_clients()
                if self._is_over():
                    return
                for key, mask in self._selector.select(self._patience()):
                    if self._selector.get_map().get(key.fd) is key:  # one before it may have ended it
                        key.data(mask)
                self._look_at_children()
                self._begin()
                self._look_around()
                if self._may_work() and time.monotonic() >= self._not_before:
                    self._work()
        finally:
            self._close()

    # Clients

    def _accept(self, _: int) -> None:
        assert self._listener is not None  # noqa: S101  (it is what was selected)
        try:
            connection, _address = self._listener.accept()
        except OSError:
            return
        if _user(connection) != os.getuid():
            connection.close()
            return
        self._welcome(connection)

    def _welcome(self, connection: socket.socket) -> None:
        client = Client(connection)
        client.tell({"hello": self._hello})
        self._clients.append(client)
        self._selector.register(connection, selectors.EVENT_READ, lambda mask: self._talk(client, mask))

    def _talk(self, client: Client, mask: int) -> None:
        if mask & selectors.EVENT_READ:
            messages = client.receive()
            if messages is None or not all(self._take(client, message) for message in messages):
                self._drop(client)

    def _take(self, client: Client, message: object) -> bool:
        """Do what a client asks for; return whether that makes sense."""
        match message:
            case {
                "job": int() | str() as name,
                "root": str() as root,
                "path": str() as path,
                "seconds": int() | float() as seconds,
                "mebibytes": int() as mebibytes,
                "idle": bool() as idle,
            }:
                client.queue.append(Job(name, root, path, Limits(seconds, mebibytes, idle)))
                if self._cold:
                    self._linting.prepare(root, path)
                    self._ahead = True
            case {"cancel": list() as jobs}:
                client.queue = collections.deque(each for each in client.queue if each.name not in jobs)
                for job in jobs:
                    if child := client.running.pop(job, None):
                        self._bury(child)
            case {"warm": list() as paths, "root": str() as root} if all(isinstance(each, str) for each in paths):
                self._linting.warm(root, paths)
                self._ahead = self._listener is not None
            case {"stop": True}:
                self._leave("a client asked for it")
                client.tell({"stopping": True})
            case _:
                return False
        return True

    def _drop(self, client: Client) -> None:
        self._clients.remove(client)
        self._selector.unregister(client.connection)
        client.connection.close()
        for child in client.running.values():
            self._bury(child)

    def _keep_clients(self) -> None:
        """Send what is to be said, and a sign of life to those who wait."""
        now = time.monotonic()
        for client in list(self._clients):
            if (client.queue or client.running) and not client.unsent and now - client.told > BEAT:
                client.tell({"alive": True})
            if not client.flush():
                self._drop(client)
                continue
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.unsent else 0)
            key = self._selector.get_key(client.connection)
            if key.events != events:
                self._selector.modify(client.connection, events, key.data)

    # Children

    def _next_client(self) -> Client | None:
        """Return whose file is to be begun: the clients take turns, and idle files wait for all others."""
        at_once = 1 if self._is_preparing() else self._jobs
        ready = [each for each in self._clients if each.queue and len(each.unsent) < MAX_UNREAD]
        pressing = next((each for each in ready if not each.queue[0].limits.idle), None)
        if pressing is not None:
            return pressing if sum(not child.idle for child, _, _ in self._children.values()) < at_once else None
        return ready[0] if ready and len(self._children) < at_once else None

    def _begin(self) -> None:
        """Begin files while there are processes to spare."""
        while (client := self._next_client()) is not None:
            self._clients.remove(client)
            self._clients.append(client)
            job = client.queue.popleft()
            self._last_job = time.monotonic()
            closing = [self._selector.fileno(), *(key.fd for key in self._selector.get_map().values())]
            try:
                child = Child.start(self._linting, job.root, job.path, job.limits, closing)
            except OSError as error:
                client.tell({"done": job.name, "result": _result(limits.cannot_fork(error))})
                continue
            client.running[job.name] = child
            self._children[child.pid] = child, client, job.name
            self._watch(child.report, functools.partial(self._read, child))
            self._watch(child.output, functools.partial(self._listen_to, child))
            client.tell({"begun": job.name, "group": child.pid})

    def _read(self, child: Child, _: int = 0) -> None:
        descriptor = child.report
        answer = child.read_report()
        if child.report < 0 <= descriptor:
            self._selector.unregister(descriptor)
        if answer is not None:
            self._finish(child, answer)

    def _listen_to(self, child: Child, _: int) -> None:
        descriptor = child.output
        child.read_output()
        if child.output < 0:
            self._selector.unregister(descriptor)

    def _look_at_children(self) -> None:
        for child, _, _ in list(self._children.values()):
            failure = child.ended()
            if failure is not None:
                self._read(child)  # it may have said all before it died
                if child.pid in self._children:
                    self._finish(child, failure)
        for pid in list(self._dying):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self._dying.discard(pid)
                self._kill_strays()

    def _finish(self, child: Child, answer: dict[str, Any] | Failure) -> None:
        _, client, job = self._children[child.pid]
        client.running.pop(job, None)
        self._ignore(child)
        if isinstance(answer, Failure):
            result = _result(answer, child.printed())
        else:
            result = answer
            built = result.pop("built", None)
            if built and (self._listener is not None or self._cold):
                try:
                    self._linting.learn(child.root, built)
                except Exception as error:  # noqa: BLE001  (a plugin may have put anything into it)
                    log(f"nothing is learned from {child.path!r} ({type(error).__name__}: {error})")
                self._ahead = True
        self._piloted = True
        self._bury(child)
        self._last_job = time.monotonic()
        client.tell({"done": job, "result": result})

    def _ignore(self, child: Child) -> None:
        for descriptor in (child.report, child.output):
            if descriptor >= 0 and descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)

    def _bury(self, child: Child) -> None:
        self._ignore(child)
        child.kill()
        del self._children[child.pid]
        self._dying.add(child.pid)

    def _kill_strays(self) -> None:
        """Kill what a file's process left behind in a session of its own."""
        for pid in limits.children() - self._spared - self._children.keys() - self._dying:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
            self._dying.add(pid)

    # Building ahead

    def _is_idle(self) -> bool:
        return not self._children and not any(client.queue or client.unsent for client in self._clients)

    def _may_work(self) -> bool:
        return self._is_preparing() or (self._ahead and not self._leaving and self._is_idle())

    def _is_preparing(self) -> bool:
        """Return whether many files wait for a judge that has built nothing yet.

        Then it builds first what they import, and what the first of them needed besides, instead of each its own.
        """
        unfinished = sum(len(client.queue) + len(client.running) for client in self._clients)
        return self._cold and self._ahead and unfinished >= MANY

    def _work(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, WATCHDOG_WORK)
        signal.setitimer(signal.ITIMER_PROF, MEMORY_LOOK, MEMORY_LOOK)
        begin, spent = time.monotonic(), time.process_time()
        try:
            self._ahead = self._linting.work()
        except Exception as error:  # noqa: BLE001  (astroid may raise anything, and what it built is in doubt then)
            self._leave(f"a module could not be built ahead ({type(error).__name__}: {error})")
            return
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        self._cold = self._cold and (self._ahead or not self._piloted)
        now = time.monotonic()
        # Low priority that a file's process does not inherit: whoever wants the processor gets it between two steps.
        if not self._is_preparing() and time.process_time() - spent < CONTENDED * (now - begin):
            self._not_before = now + min(2 * (now - begin), 1.0)
        self._last_job = now
        if not self._ahead:
            gc.collect()
            gc.freeze()

    def _bound_memory(self, *_: object) -> None:
        """End the judge, whatever it is building, before it fills the machine."""
        if limits.statm("self")[limits.RESIDENT] > 2 * self.settings.server_mebibytes * MEBIBYTE:
            log("building ahead took too much memory")
            os.kill(os.getpid(), signal.SIGKILL)

    # Beginning and end

    def _patience(self) -> float:
        if self._children or self._dying:
            return LOOK
        if self._may_work():
            return max(0.0, self._not_before - time.monotonic())
        return min(IDLE_LOOK, max(self.settings.idle_seconds, 0.1))

    def _look_around(self) -> None:
        """Find out, every now and then, whether the server is still of use."""
        now = time.monotonic()
        every = min(IDLE_LOOK, self.settings.idle_seconds)
        if self._listener is None or self._leaving or now - self._last_look < every:
            return
        self._last_look = now
        _bound_log()
        resident = limits.statm("self")[limits.RESIDENT]
        if _identity(self.settings.socket) != self._place:
            self._leave("its socket is gone")
        elif _identity(self.settings.folder) != self._tree:
            self._leave("its snapshot is gone")
        elif resident > self.settings.server_mebibytes * MEBIBYTE:
            self._leave(f"it has grown to {resident // MEBIBYTE} MiB")
        elif now - self._last_job > self.settings.idle_seconds and not self._children:
            self._leave("it was idle")

    def _watch_owner(self) -> None:
        if not self.settings.owner:
            return
        try:
            owner = os.pidfd_open(self.settings.owner)
        except ProcessLookupError:
            self._leave("its owner has ended")
            return

        def ended(_: int) -> None:
            self._selector.unregister(owner)
            os.close(owner)
            self._leave("its owner has ended")

        self._watch(owner, ended)

    def _leave(self, reason: str) -> None:
        """Take no new clients; those who are there are served to the end."""
        if self._leaving:
            return
        self._leaving = reason
        self._left_at = time.monotonic()
        log(f"leaving: {reason}")
        if self._listener is not None:
            unlink_own(self.settings.socket, self._place)
            before = -1
            while before != len(self._clients):  # whoever came before the socket went
                before = len(self._clients)
                self._accept(0)
            self._selector.unregister(self._listener)
            self._listener.close()

    def _is_over(self) -> bool:
        if self._listener is None:
            return not self._clients
        waited = time.monotonic() - max(self._left_at, self._last_job) > LINGER
        return bool(self._leaving) and self._is_idle() and (not self._clients or waited)

    def _close(self) -> None:
        """Leave nothing behind, whatever ends the loop."""
        for child, _, _ in list(self._children.values()):
            self._bury(child)
        for pid in self._dying:
            os.waitpid(pid, 0)
        self._dying.clear()
        self._kill_strays()
        if self.settings.socket and not self._leaving:
            unlink_own(self.settings.socket, self._place)

    def _watch(self, what: socket.socket | int, then: Callable[[int], None]) -> None:
        self._selector.register(what, selectors.EVENT_READ, then)


def main(text: str) -> int:
    """Serve whoever is at descriptor 0.

    Args:
        text: `Settings` as a JSON object.

    Returns:
        The exit code: 0, or 1 when pylint could not be made ready (which the clients are told).
    """
    begin = time.monotonic()
    for number in (signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])  # whatever the client left open
    settings = Settings(**json.loads(text))
    signal.setitimer(signal.ITIMER_REAL, settings.start_seconds)  # SIGALRM kills: no judge hangs for ever
    channel = _take_channel()
    try:
        from .linting import ConfigurationError, Linting  # noqa: PLC0415  (pylint may not be there)
    except ImportError as error:
        _refuse(channel, settings, f"pylint cannot be imported by {sys.executable} ({error}): install pylint there")
        return 1
    try:
        linting = Linting(settings.arguments, settings.folder, settings.home)
        facts = linting.describe()
    except ConfigurationError as error:
        _refuse(channel, settings, str(error), configuration=True)
        return 1
    except Exception as error:  # noqa: BLE001  (the client is told instead of this process' log)
        _refuse(channel, settings, f"pylint cannot be made ready ({type(error).__name__}: {error})")
        return 1
    os.chdir("/")
    gc.disable()
    limits.adopt_orphans()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    hello = {
        "protocol": PROTOCOL,
        "fingerprint": settings.fingerprint,
        "pid": os.getpid(),
        "seconds": time.monotonic() - begin,
        "facts": facts,
    }
    log(f"ready after {hello['seconds']:.1f} s")
    if settings.socket:
        channel.listen(socket.SOMAXCONN)  # again, so that its peers see this process' user and id
        Judge(settings, linting, channel).serve(hello)
    else:
        Judge(settings, linting, None).serve(hello, channel)
    return 0


def log(text: str) -> None:
    """Write a line to the log; nothing when the disk is full."""
    with contextlib.suppress(OSError):
        print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} [{os.getpid()}] {text}", file=sys.stderr, flush=True)


def unlink_own(path: str, identity: tuple[int, int] | None) -> None:
    """Remove a socket file unless it is somebody else's by now, or a client is about to replace it."""
    try:
        lock = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _identity(path) == identity:
                os.unlink(path)
    finally:
        os.close(lock)


def _take_channel() -> socket.socket:
    """Take the socket off descriptor 0, and keep what plugins print away from it."""
    channel = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    return channel


def _refuse(channel: socket.socket, settings: Settings, why: str, *, configuration: bool = False) -> None:
    """Tell every client that waits why there is nothing for it."""
    log(why)
    answer = json.dumps({"refused": why, "configuration": configuration}).encode() + b"\n"
    connections = [channel]
    if settings.socket:
        unlink_own(settings.socket, _identity(settings.socket))
        channel.settimeout(0)
        connections = []
        with contextlib.suppress(OSError):
            while True:
                connections.append(channel.accept()[0])
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.settimeout(1)
            connection.sendall(answer)


def _result(failure: Failure, printed: str = "") -> dict[str, Any]:
    error = f"{failure.error} (it printed: {printed})" if printed else failure.error
    return {"messages": [], "score": None, "error": error, "infrastructure": failure.infrastructure}


def _user(connection: socket.socket) -> int:
    """Return the user at the other end."""
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(user)


def _identity(path: str) -> tuple[int, int] | None:
    """Return what tells a file from another one of its name; None when there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _bound_log() -> None:
    """Begin the log anew when plugins have filled it."""
    with contextlib.suppress(OSError):
        if os.fstat(2).st_size > MAX_LOG:
            os.ftruncate(2, 0)
