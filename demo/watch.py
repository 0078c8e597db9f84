"""`make watch`: the function in cargo-lambda's emulator, built again as the code changes, against a PostgreSQL and
a secret like those of `make run`. Serves until Ctrl-C."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from demo.aws import CHECKOUT, CREDENTIALS, SECRET, Aws
from demo.emulator import listens, watch_command
from demo.postgres import Postgres
from demo.processes import Failure, Processes, port_setting, until_stopped
from demo.run import describe, say


def main() -> None:
    """Runs until it is told to stop."""
    until_stopped("make watch", serve)


def serve(running: Processes) -> None:
    """Starts everything, says what there is, and waits."""
    wanted_port = port_setting("WATCH_PORT", 9000)
    watch_port = running.port(wanted_port)
    if wanted_port not in (0, watch_port):
        raise Failure(f"port {wanted_port} is taken. Choose another: make watch WATCH_PORT=9001")
    say("Starting PostgreSQL ...")
    postgres = Postgres(running)
    postgres.keep_busy()
    postgres.go_wrong()
    say("Starting Secrets Manager ...")
    aws = Aws(running, port_setting("AWS_PORT", 4566))
    secret = aws.put_secret(SECRET, postgres.secret())
    environment = os.environ | CREDENTIALS | aws.function_environment(secret)
    environment |= {"TMPDIR": str(running.folder), "FUNCTION_STARTED": str(started_file(watch_port))}
    # Of cargo-lambda only what cargo prints: it logs each step, and mistakes of its own when it is stopped.
    environment |= {"FUNCTION_LOG": os.environ.get("RUST_LOG", ""), "RUST_LOG": "off"}
    started_file(watch_port).unlink(missing_ok=True)
    running.start("watch", watch_command(watch_port), environment, CHECKOUT, to_terminal=True)
    running.wait_for("cargo-lambda's emulator", lambda: listens(watch_port), limit_seconds=600)
    say("")
    describe(postgres)
    say("In another terminal, ask the function, which is built when it is asked first:")
    say("")
    say(f"    make invoke{'' if watch_port == 9000 else f' WATCH_PORT={watch_port}'}")
    say(f"    curl http://localhost:{watch_port}/metrics")
    say("")
    say("It is built again when the code or the queries change. Ctrl-C stops everything.")
    queries = CHECKOUT / (os.environ.get("QUERIES_FILE") or "queries.yml")
    if not queries.resolve().is_relative_to(CHECKOUT.resolve()):
        say("QUERIES_FILE is outside of this folder: restart `make watch` when you have changed it.")
    try:
        running.wait()
    finally:
        started_file(watch_port).unlink(missing_ok=True)


def started_file(watch_port: int) -> Path:
    """The file that the function writes when it starts."""
    return CHECKOUT / "target" / f"watch-{watch_port}.started"


@dataclass(frozen=True)
class Function:
    """The function as it has started last, with the code and the queries of that time."""

    process: int
    queries_file: str
    """Its QUERIES_FILE, empty where there was none."""
    started: int
    """In nanoseconds."""

    def is_running(self) -> bool:
        """Whether its process is there."""
        try:
            return Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    def change(self) -> Path | None:
        """A file that has changed since."""
        queries = CHECKOUT / (self.queries_file or "queries.yml")
        chosen = [queries] if queries.is_file() else [*queries.glob("*.yml"), *queries.glob("*.yaml")]
        code = [path for path in (CHECKOUT / "src").rglob("[!.]*") if path.is_file()]
        for path in [*chosen, *code, CHECKOUT / "Cargo.toml", CHECKOUT / "Cargo.lock"]:
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime_ns > self.started:
                    return path
        return None


def function(watch_port: int) -> Function | None:
    """The function of the `make watch` on this port; None before it has started."""
    file = started_file(watch_port)
    try:
        process, _, queries_file = file.read_text().strip().partition(" ")
        return Function(int(process), queries_file, file.stat().st_mtime_ns)
    except (FileNotFoundError, ValueError):
        return None
