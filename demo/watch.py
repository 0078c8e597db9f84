"""`make watch`: the function in cargo-lambda's emulator, built again as the code changes, against a PostgreSQL and
a secret like those of `make run`. Serves until Ctrl-C."""

import os

from demo.aws import CHECKOUT, CREDENTIALS, SECRET, Aws
from demo.emulator import listens, watch_command
from demo.postgres import Postgres
from demo.processes import Failure, Processes, port, port_setting, until_stopped
from demo.run import say


def main() -> None:
    """Runs until it is told to stop."""
    until_stopped("make watch", serve)


def serve(running: Processes) -> None:
    """Starts everything, says what there is, and waits."""
    watch_port = port_setting("WATCH_PORT", 9000)
    if port(watch_port) != watch_port:
        raise Failure(f"port {watch_port} is taken. Choose another: make watch WATCH_PORT=9001")
    say("Starting PostgreSQL ...")
    postgres = Postgres(running)
    postgres.keep_busy()
    postgres.go_wrong()
    say("Starting Secrets Manager ...")
    aws = Aws(running, port_setting("AWS_PORT", 4566))
    secret = aws.put_secret(SECRET, postgres.secret())
    environment = os.environ | CREDENTIALS | aws.function_environment(secret)
    running.start("watch", watch_command(watch_port), environment, CHECKOUT, to_terminal=True)
    running.wait_for("cargo-lambda's emulator", lambda: listens(watch_port), limit_seconds=600)
    say("")
    say(f"    curl http://localhost:{watch_port}/metrics")
    say("    make invoke")
    say("")
    say("in another terminal asks the function. It is built again when the code changes. Ctrl-C stops everything.")
    running.wait()


if __name__ == "__main__":
    main()
