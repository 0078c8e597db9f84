"""A command in a terminal of 80 columns, as somebody types it."""

import contextlib
import fcntl
import os
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

COLUMNS = 80
UGLY = re.compile(r"panicked|Traceback|RUST_BACKTRACE|Exception ignored|ansi` crate feature")
"""What nobody has to see."""


class Terminal:
    """A command that runs in a terminal of its own, of which it is the foreground job."""

    def __init__(self, command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> None:
        self._keyboard, terminal = os.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env={"TERM": "xterm-256color", **environment},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(terminal)
        self._shown = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # At the end of the last process that has it open, a pseudo-terminal is an error to its other side.
        with contextlib.suppress(OSError):
            while read := os.read(self._keyboard, 65536):
                self._shown += read

    @property
    def shown(self) -> str:
        """All that was written so far."""
        return self._shown.decode(errors="replace").replace("\r\n", "\n")

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_until(self, condition: Callable[[str], object], limit_seconds: float = 120) -> None:
        """Waits until `condition` holds of what is shown, which has to be before the command ends."""
        deadline = time.monotonic() + limit_seconds
        while not condition(self.shown):
            assert self.process.poll() is None, self.shown
            assert time.monotonic() < deadline, f"not in time:\n{self.shown}"
            time.sleep(0.05)

    def type(self, text: str) -> None:
        """Types a text, which the terminal shows as it would to somebody."""
        os.write(self._keyboard, text.encode())

    def press_ctrl_c(self) -> str:
        """What is shown from then on; the command has ended after it."""
        before = len(self._shown)
        os.write(self._keyboard, b"\x03")
        self.end()
        return self._shown[before:].decode(errors="replace").replace("\r\n", "\n").removeprefix("^C")

    def end(self, limit_seconds: float = 600) -> int:
        """Waits until the command has ended, and gives its status. Nothing that it has shown may be ugly."""
        try:
            status = self.process.wait(limit_seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end:\n{self.shown}") from None
        # As long as a process of it is left, the terminal has no end.
        self._reader.join(30)
        assert not self._reader.is_alive(), f"something still has the terminal open:\n{self.shown}"
        assert not UGLY.search(self.shown), self.shown
        return status

    def close(self) -> None:
        """Whatever came of it, nothing of it goes on."""
        if self.process.poll() is None:
            os.killpg(self.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._keyboard)


@contextlib.contextmanager
def terminal(command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> Iterator[Terminal]:
    """One that is closed at the end."""
    opened = Terminal(command, cwd, environment)
    try:
        yield opened
    finally:
        opened.close()
