"""`make build` and `make package`: builds the package with cargo-lambda.

Other targets of the checkout may be reading the package of before, or building one too. So builds wait for each other,
and a package is put in its place as a whole."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from demo.aws import CHECKOUT, FUNCTION, PACKAGES
from demo.processes import Failure, Processes, Stopped, die_with_parent, processes, stop_on_signals, uninterrupted

PACKAGE = PACKAGES / FUNCTION / "bootstrap.zip"
TARGETS_FILE = "targets.yml"
"""Optional in a checkout, so Cargo.toml cannot name it."""


def main() -> None:
    """Builds with the options of the command line."""
    alone(lambda running: put(build(running, sys.argv[1:])))


def alone(make: Callable[[Processes], None]) -> None:
    """Runs a program that builds. It ends by the signal that stops it, so that make names that."""
    die_with_parent()
    stop_on_signals()
    try:
        with processes(is_only=True) as running, locked():
            make(running)
    except Failure as failure:
        sys.exit(str(failure))
    except Stopped as stopped:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)  # The bar that cargo has drawn.
        signal.signal(stopped.number, signal.SIG_DFL)
        os.kill(os.getpid(), stopped.number)


def build(running: Processes, options: list[str]) -> Path:
    """Builds a package into the folder of `running`."""
    command = ["cargo", "lambda", "build", "--release", "--locked", "--lambda-dir", str(running.folder), *options]
    environment = os.environ | {"RUSTFLAGS": rustflags(), "PG_LAMBDA_EXPORTER_REVISION": revision()}
    # What a compiler leaves behind that is ended goes too.
    environment["TMPDIR"] = str(running.folder)
    cargo = running.start("cargo lambda build", command, environment, CHECKOUT, to_terminal=True)
    if cargo.process.wait():
        raise Failure("cargo lambda build has failed; the reason stands above")
    return running.folder / FUNCTION / PACKAGE.name


def revision() -> str:
    """The commit, with the same number of digits in every clone; empty outside of git."""
    command = ["git", "rev-parse", "--short=10", "HEAD"]
    try:
        return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""


def rustflags() -> str:
    """The flags of rustc. The paths of this machine stay out of the binary, so that others build the same one.

    They replace cargo-lambda's own flag, which chooses a processor that laptops may not have: the binary is the command
    line too."""
    sources = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo") / "registry" / "src"
    return " ".join([*os.environ.get("RUSTFLAGS", "").split(), f"--remap-path-prefix={sources}=/registry"])


def put(package: Path) -> None:
    """Puts a package in the place of the one before, with the checkout's targets file.

    cargo-lambda keeps the modes of the files, which may be private to their owner. Lambda's user must read them. It also
    adds the files in an order that changes, and a package that changes is uploaded again."""
    PACKAGE.parent.mkdir(parents=True, exist_ok=True)
    new = PACKAGE.with_suffix(".new")
    with uninterrupted():
        with zipfile.ZipFile(package) as built, zipfile.ZipFile(new, "w") as readable:
            for entry in sorted(built.infolist(), key=lambda entry: entry.filename):
                content = built.read(entry)
                entry.external_attr |= mode(entry.filename) << 16
                readable.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)
            if (targets := CHECKOUT / TARGETS_FILE).exists():
                entry = zipfile.ZipInfo(TARGETS_FILE)
                entry.external_attr = mode(TARGETS_FILE) << 16
                readable.writestr(entry, targets.read_bytes(), zipfile.ZIP_DEFLATED, 9)
        new.replace(PACKAGE)


def mode(name: str) -> int:
    """The permissions of a file for everyone who unpacks it: the program runs, and the others are read."""
    return 0o755 if name in ("bootstrap", FUNCTION) else 0o644


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Waits until no other build of this checkout is running."""
    (CHECKOUT / "target").mkdir(exist_ok=True)
    with (CHECKOUT / "target" / ".package.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("Waiting for another build of the package in this folder ...", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
