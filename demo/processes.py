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
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2)
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Failure(Exception):
    """Something that a person has to be told, in words that need no traceback."""


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
        with log.open("ab") if log else contextlib.nullcontext() as output:
            process = subprocess.Popen(
                [str(word) for word in command],
                env=env,
                cwd=cwd or self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C in the terminal reaches this process alone, which ends the others in order.
                start_new_session=True,
                # Changing the user clears the death signal. Python calls preexec_fn after that.
                preexec_fn=lambda: die_with_parent(stop_signal),
                **as_user(user),
            )
        child = Child(name, process, log, stop_signal)
        self.children.append(child)
        return child

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


@contextlib.contextmanager
def processes() -> Iterator[Processes]:
    """A set of processes in a new temporary folder. At the end they are ended, the last first, and the folder goes."""
    adopt_orphans()
    folder = Path(tempfile.mkdtemp(prefix="pg-lambda-exporter-demo-"))
    folder.chmod(0o711)  # As root, PostgreSQL runs as another user, who has a folder inside.
    running = Processes(folder)
    try:
        yield running
    finally:
        with signals_ignored():
            while running.children:
                running.children.pop().stop()
            shutil.rmtree(folder)


def until_stopped(command: str, serve: Callable[[Processes], None]) -> None:
    """The frame of a program that serves until Ctrl-C and then leaves nothing behind."""
    die_with_parent()
    stop_on_signals()
    sys.stdout.reconfigure(line_buffering=True)
    try:
        with processes() as running:
            serve(running)
    except Failure as failure:
        sys.exit(f"{command}: {failure}")


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


def stop_on_signals() -> None:
    """Turns Ctrl-C, SIGTERM and the end of the terminal into SystemExit, so that what was started is removed.

    Set explicitly, since a shell starts background jobs with SIGINT ignored."""

    def stop(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


@contextlib.contextmanager
def signals_ignored() -> Iterator[None]:
    """A second Ctrl-C does not interrupt the cleaning up."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)


def port(preferred: int = 0) -> int:
    """`preferred` if nobody listens there on the loopback address, otherwise a free one."""
    for candidate in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", candidate))
                return probe.getsockname()[1]
    raise Failure("no free port on 127.0.0.1")


def port_setting(name: str, default: int) -> int:
    """A port to prefer, from the environment."""
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or int(text) > 65535:
        raise Failure(f"{name}: not a port")
    return int(text)
