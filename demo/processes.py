"""Child processes that never outlive this one, the temporary folder they live in, and waiting for conditions."""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

T = TypeVar("T")

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2)
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Failure(Exception):
    """Something that a person has to be told, in words that need no traceback."""


class Stopped(KeyboardInterrupt):
    """One of `STOP_SIGNALS` has come. To pytest it is what Ctrl-C is."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass
class Child:
    """A process of ours."""

    name: str
    process: subprocess.Popen
    log: Path | None
    stop_signal: signal.Signals

    def ended(self) -> str | None:
        """How the process ended, with the end of what it wrote; None while it runs."""
        code = self.process.poll()
        if code is None:
            return None
        lines = self.log.read_text(errors="replace").splitlines()[-20:] if self.log else []
        return "\n    ".join([f"{self.name} ended with {code}:", *lines])

    def stop(self, limit_seconds: float = 10) -> None:
        """Ends the process, politely and then not, and whatever is left in its process group."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(self.stop_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(limit_seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        # Orphans of the group are ours to wait for: see `adopt_orphans`.
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-self.process.pid, 0)


class Processes:
    """The processes of one demonstration, and a folder that is removed when they have ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children: list[Child] = []
        """Those that serve until they are stopped."""
        self._programs: list[Child] = []
        """Those that end by themselves."""
        self._reservations = contextlib.ExitStack()

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        to_terminal: bool = False,
    ) -> Child:
        """Starts `command`, its output going to NAME.log or where ours goes. It gets `stop_signal` when this
        process dies, however that comes about (on Linux), and when the demonstration ends."""
        log = None if to_terminal else self.folder / f"{name}.log"
        with log.open("ab") if log else contextlib.nullcontext() as output, uninterrupted():
            process = self._popen(command, env, cwd, user, stop_signal, output, subprocess.STDOUT)
            self.children.append(Child(name, process, log, stop_signal))
        return self.children[-1]

    def run(
        self,
        command: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """What became of a program that ends by itself. A stop ends it, with all that it has started."""
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            with uninterrupted():
                process = self._popen(command, env, cwd, user, signal.SIGTERM, output, errors)
                program = Child(Path(command[0]).name, process, None, signal.SIGTERM)
                self._programs.append(program)
            code = process.wait()
            self._programs.remove(program)
            for file in (output, errors):
                file.seek(0)
            return subprocess.CompletedProcess(command, code, output.read(), errors.read())

    def _popen(
        self,
        command: Sequence[str | Path],
        env: Mapping[str, str] | None,
        cwd: Path | None,
        user: str | None,
        death_signal: signal.Signals,
        stdout: IO | None,
        stderr: IO | int,
    ) -> subprocess.Popen:
        return subprocess.Popen(
            [str(word) for word in command],
            env=env,
            cwd=cwd or self.folder,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            # A group of its own: Ctrl-C in the terminal reaches this process alone, which ends the others in order.
            start_new_session=True,
            # Changing the user clears the death signal. Python calls preexec_fn after that.
            preexec_fn=lambda: die_with_parent(death_signal),
            **as_user(user),
        )

    def port(self, preferred: int = 0) -> int:
        """A TCP port of 127.0.0.1 that is reserved until the demonstration ends: `preferred` if it is free,
        otherwise another one.

        A socket is bound to it that does not listen. On Linux a server can listen there none the less if it sets
        SO_REUSEADDR, as all of the demonstration do, and the kernel gives it to no other process that asks for any port."""
        for candidate in (preferred, 0):
            with contextlib.suppress(OSError):
                return self._reserved(candidate)
        raise Failure("no free port on 127.0.0.1")

    def _reserved(self, candidate: int) -> int:
        with contextlib.ExitStack() as sockets:
            if _libc and candidate:
                # Another reservation of the same port has this name, even if nothing listens yet.
                name = sockets.enter_context(socket.socket(socket.AF_UNIX))
                name.bind(f"\0pg-lambda-exporter-port-{candidate}")
            holder = sockets.enter_context(socket.socket())
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(("127.0.0.1", candidate))
            found = holder.getsockname()[1]
            if _libc:
                self._reservations.enter_context(sockets.pop_all())
        return found

    def check(self) -> None:
        """Fails if one of the processes has ended."""
        for child in self.children:
            if ended := child.ended():
                raise Failure(ended)

    def wait_for(self, what: str, condition: Callable[[], T | None], limit_seconds: float = 60) -> T:
        """Asks `condition` until it gives something true, and gives that. An OSError is a 'not yet'."""
        deadline = time.monotonic() + limit_seconds
        last: OSError | None = None
        while time.monotonic() < deadline:
            self.check()
            try:
                if result := condition():
                    return result
            except OSError as error:
                last = error
            time.sleep(0.05)
        raise Failure(f"{what}: not within {limit_seconds} s" + (f" ({last})" if last else ""))

    def wait(self) -> None:
        """Waits until one of the processes ends by itself, which is a failure."""
        while True:
            self.check()
            time.sleep(0.5)

    def stop(self, child: Child) -> None:
        """Ends one of the processes before the others."""
        self.children.remove(child)
        child.stop()

    def end(self, has_orphans: bool) -> None:
        """Ends all of them, the last first, and removes the folder."""
        for children in (self._programs, self.children):
            while children:
                children.pop().stop()
        if has_orphans:
            end_orphans()
        self._reservations.close()
        shutil.rmtree(self.folder)


@contextlib.contextmanager
def processes(is_only: bool = False) -> Iterator[Processes]:
    """A set of processes in a new temporary folder. At the end they are ended, the last first, and the folder goes.

    With `is_only`, this process starts no other children, so orphans of the set are ended too."""
    adopt_orphans()
    running = None
    try:
        with uninterrupted():
            running = Processes(Path(tempfile.mkdtemp(prefix="pg-lambda-exporter-demo-")))
        running.folder.chmod(0o711)  # As root, PostgreSQL runs as another user, who has a folder inside.
        yield running
    finally:
        if running:
            with signals_ignored():
                running.end(has_orphans=is_only)


def until_stopped(command: str, serve: Callable[[Processes], None]) -> None:
    """The frame of a program that serves until Ctrl-C and then leaves nothing behind.

    To be stopped is how it ends, while it starts too: the status is 0, since make calls every other one an error."""
    die_with_parent()
    stop_on_signals()
    sys.stdout.reconfigure(line_buffering=True)
    try:
        with processes(is_only=True) as running:
            serve(running)
    except Failure as failure:
        sys.exit(f"{command}: {failure}")
    except Stopped:
        # The terminal is gone.
        with contextlib.suppress(OSError):
            print(f"{command}: stopped", file=sys.stderr)
        sys.exit(0)
    except BrokenPipeError:
        # What is left to write would be tried again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def as_user(user: str | None) -> dict:
    """The arguments of subprocess that run a command as `user`, without this process's other groups."""
    return {"user": user, "group": user, "extra_groups": []} if user else {}


def die_with_parent(death_signal: signal.Signals = signal.SIGTERM) -> None:
    """Has the kernel send this process a signal when its parent dies."""
    if _libc:
        _libc.prctl(PR_SET_PDEATHSIG, int(death_signal))


def adopt_orphans() -> None:
    """Makes this process the parent of what its children leave behind (on Linux), so that nothing stays a zombie
    on a machine whose init does not wait for it, as in most containers."""
    if _libc:
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_orphans() -> None:
    """Ends what is left behind by processes that did not end in time, and had children in groups of their own."""

    def orphans() -> list[int]:
        return [int(number) for file in Path("/proc/self/task").glob("*/children") for number in file.read_text().split()]

    while left := orphans():
        for number in left:
            os.kill(number, signal.SIGKILL)
            os.waitpid(number, 0)


def stop_on_signals() -> None:
    """Turns Ctrl-C, SIGTERM and the end of the terminal into `Stopped`, so that what was started is removed.

    Set explicitly, since a shell starts background jobs with SIGINT ignored."""

    def stop(number: int, _frame: object) -> None:
        # The first counts. A second Ctrl-C would interrupt the removing.
        for ignored in STOP_SIGNALS:
            signal.signal(ignored, signal.SIG_IGN)
        raise Stopped(number)

    for number in STOP_SIGNALS:
        signal.signal(number, stop)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Delays signals until the block ends, so that each process it starts is registered and can be ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = [signal.signal(number, lambda number, _frame: came.append(number)) for number in STOP_SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(STOP_SIGNALS, before):
            signal.signal(number, handler)
        if came:
            os.kill(os.getpid(), came[0])


@contextlib.contextmanager
def signals_ignored() -> Iterator[None]:
    """A second Ctrl-C does not interrupt the cleaning up."""
    before = [signal.signal(number, signal.SIG_IGN) for number in STOP_SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(STOP_SIGNALS, before):
            signal.signal(number, handler)


def port_setting(name: str, default: int) -> int:
    """A port to prefer, from the environment."""
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or int(text) > 65535:
        raise Failure(f"{name}: not a port")
    return int(text)
