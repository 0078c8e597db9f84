"""`make run`: PostgreSQL, API Gateway, Lambda and Secrets Manager on this machine, the exporter's package in them,
and a first scrape. Serves until Ctrl-C, then leaves nothing behind."""

import os

from demo.aws import FUNCTION, SECRET, Answer, Aws
from demo.postgres import Postgres
from demo.processes import Failure, Processes, port_setting, until_stopped
from demo.prometheus import Job, Prometheus

HEAD_LINES = 15


def main() -> None:
    """Runs until it is told to stop."""
    until_stopped("make run", serve)


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
    running.wait()


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


def say(line: str) -> None:
    """Writes for the person who waits."""
    print(line)


if __name__ == "__main__":
    main()
