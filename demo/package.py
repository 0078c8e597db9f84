"""`make build` and `make package`: builds the package with cargo-lambda.

Other targets of the checkout may be reading the package of before, or building one too. So builds wait for each other,
and a package is put in its place as a whole."""

import contextlib
import fcntl
import os
import shutil
import signal
import sys
from collections.abc import Iterator

from demo.aws import CHECKOUT, FUNCTION, PACKAGES
from demo.processes import Failure, Processes, Stopped, die_with_parent, processes, stop_on_signals, uninterrupted

PACKAGE = PACKAGES / FUNCTION / "bootstrap.zip"


def main() -> None:
    """Builds with the options of the command line. It ends by the signal that stops it, so that make names that."""
    die_with_parent()
    stop_on_signals()
    try:
        with processes(is_only=True) as running, alone():
            build(running, sys.argv[1:])
    except Failure as failure:
        sys.exit(str(failure))
    except Stopped as stopped:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)  # The bar that cargo has drawn.
        signal.signal(stopped.number, signal.SIG_DFL)
        os.kill(os.getpid(), stopped.number)


def build(running: Processes, options: list[str]) -> None:
    """Puts a new package in the place of the one before."""
    command = ["cargo", "lambda", "build", "--release", "--locked", "--lambda-dir", str(running.folder), *options]
    # What a compiler leaves behind that is ended goes too.
    environment = os.environ | {"TMPDIR": str(running.folder)}
    cargo = running.start("cargo lambda build", command, environment, CHECKOUT, to_terminal=True)
    if cargo.process.wait():
        raise Failure("cargo lambda build has failed; the reason stands above")
    PACKAGE.parent.mkdir(parents=True, exist_ok=True)
    new = PACKAGE.with_suffix(".new")
    with uninterrupted():
        shutil.copyfile(running.folder / FUNCTION / PACKAGE.name, new)
        new.replace(PACKAGE)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Waits until no other build of this checkout is running."""
    (CHECKOUT / "target").mkdir(exist_ok=True)
    with (CHECKOUT / "target" / ".package.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("Waiting for another build of the package in this folder ...", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
