"""`make run`: PostgreSQL, API Gateway, Lambda and Secrets Manager on this machine, the exporter's package in them,
and a first scrape. Serves until Ctrl-C, then leaves nothing behind."""

import os
import re

from demo.aws import FUNCTION, SECRET, Aws
from demo.endpoint import Answer, Endpoint
from demo.postgres import Postgres
from demo.processes import Failure, Processes, port_setting, until_stopped
from demo.prometheus import LONGEST_FOR_SECONDS, Prometheus

HEAD_LINES = 12
# What `Postgres.go_wrong` makes fire, in order.
SOON = ["PostgresSessionsBlocked", "PostgresSlotInactive", "PostgresSequenceNearEnd"]
LATER = "PostgresIdleInTransaction"
UP = re.compile(r"pg_up 1(\.0)?")


def main() -> None:
    """Runs until it is told to stop."""
    until_stopped("make run", serve)


def serve(running: Processes) -> None:
    """Starts everything, says what there is, and waits."""
    say("Starting PostgreSQL ...")
    postgres = Postgres(running)
    postgres.keep_busy()
    postgres.go_wrong()
    say("Starting API Gateway, Lambda and Secrets Manager ...")
    aws = Aws(running, port_setting("AWS_PORT", 4566))
    secret = aws.put_secret(SECRET, postgres.secret())
    say("Deploying the package ...")
    endpoint = aws.http_api(aws.deploy(secret))
    answer = running.wait_for("an answer of the exporter", lambda: scrape(aws, endpoint))
    prometheus = None
    if os.environ.get("PROMETHEUS"):
        say("Starting Prometheus ...")
        prometheus_port = port_setting("PROMETHEUS_PORT", 9090)
        prometheus = Prometheus(running, {FUNCTION: endpoint}, preferred_port=prometheus_port)
    say("")
    for line in [*answer.lines[:HEAD_LINES], "...", *filter(UP.fullmatch, answer.lines), "..."]:
        say(line)
    say("")
    say(f"{series(answer.lines)} series. To see all of them, in another terminal:")
    say("")
    say(f"    curl {endpoint.url}/metrics")
    say("")
    say(f"Landing page: {endpoint.url}/")
    say("")
    describe(postgres)
    if prometheus:
        say(f"Prometheus scrapes it every 5 seconds: {prometheus.url}")
        say(f"Alerts: {prometheus.url}/alerts")
        say(f"They wait {LONGEST_FOR_SECONDS} seconds at most, where examples/alerts.yml has minutes.")
        say("This database has troubles. Within a minute fire:")
        for alert in SOON:
            say(f"    {alert}")
        say(f"{LATER} fires after 5 minutes. What to do: docs/alerts.md")
        say("")
    say("Ctrl-C stops everything.")
    running.wait()


def describe(postgres: Postgres) -> None:
    """Says what is in the database, and how to look at it."""
    say(f"Tables of the database: {', '.join(postgres.tables())}. To query them:")
    say("")
    say(f"    {postgres.psql()}")
    say("")


def scrape(aws: Aws, endpoint: Endpoint) -> Answer | None:
    """An answer with the metrics; None while the API is not there yet."""
    answer = endpoint.get("/metrics")
    if answer.status == 200 and any(map(UP.fullmatch, answer.lines)):
        return answer
    if answer.status < 500:
        raise Failure(f"the exporter answers {answer.status}:\n{answer.text}\nand says:\n{aws.function_log()}")
    return None


def series(lines: list[str]) -> int:
    """How many series an exposition has."""
    return sum(1 for line in lines if line and not line.startswith("#"))


def say(line: str) -> None:
    """Writes for the person who waits."""
    print(line)
