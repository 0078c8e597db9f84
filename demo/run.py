"""`make run`: PostgreSQL, API Gateway, Lambda and Secrets Manager on this machine, the exporter's package in them,
and a first scrape. Serves until Ctrl-C, then leaves nothing behind."""

import os
import sys
import time

from demo.aws import FUNCTION, SECRET, Answer, Aws
from demo.postgres import Postgres
from demo.processes import Failure, Processes, die_with_parent, processes, stop_on_signals
from demo.prometheus import Job, Prometheus

HEAD_LINES = 15


def main() -> None:
    """Runs until it is told to stop."""
    die_with_parent()
    stop_on_signals()
    sys.stdout.reconfigure(line_buffering=True)
    try:
        with processes() as running:
            serve(running)
    except Failure as failure:
        sys.exit(f"make run: {failure}")


def serve(running: Processes) -> None:
    """Starts everything, says what there is, and waits."""
    say("Starting PostgreSQL ...")
    postgres = Postgres(running)
    postgres.keep_busy()
    say("Starting API Gateway, Lambda and Secrets Manager ...")
    aws = Aws(running, port_setting("AWS_PORT", 4566))
    secret = aws.put_secret(SECRET, postgres.secret())
    say("Deploying the package ...")
    url = aws.http_api(aws.deploy(secret)) + "/metrics"
    answer = running.wait_for("an answer of the exporter", lambda: scrape(aws, url))
    prometheus = None
    if os.environ.get("PROMETHEUS"):
        say("Starting Prometheus ...")
        job = Job(FUNCTION, url, aws.endpoint)
        prometheus = Prometheus(running, [job], preferred_port=port_setting("PROMETHEUS_PORT", 9090))
    say("")
    for line in answer.text.splitlines()[:HEAD_LINES]:
        say(line)
    say("...")
    say("")
    say(f"{series(answer.text)} series. To see them all, in another terminal:")
    say("")
    say(f"    curl {url}")
    say("")
    if prometheus:
        say(f"Prometheus scrapes it every 5 seconds: {prometheus.url}")
    say("Ctrl-C stops everything.")
    while True:
        time.sleep(0.5)
        running.check()


def scrape(aws: Aws, url: str) -> Answer | None:
    """An answer with the metrics; None until there is one."""
    answer = aws.get(url)
    if answer.status == 200:
        return answer
    if answer.status < 500:
        raise Failure(f"{url} answers {answer.status}: {answer.text}\n{aws.function_log()}")
    return None


def series(exposition: str) -> int:
    """How many series an exposition has."""
    return sum(1 for line in exposition.splitlines() if line and not line.startswith("#"))


def port_setting(name: str, default: int) -> int:
    """A port to prefer, from the environment."""
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or int(text) > 65535:
        raise Failure(f"{name}: not a port")
    return int(text)


def say(line: str) -> None:
    """Writes for the person who waits."""
    print(line)


if __name__ == "__main__":
    main()
