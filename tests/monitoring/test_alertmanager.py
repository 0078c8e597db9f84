"""The way of an alert: the database is stopped, Prometheus scrapes the function, Alertmanager tells a receiver."""

from demo.alertmanager import Alertmanager
from demo.postgres import Postgres
from demo.processes import Processes
from demo.prometheus import Prometheus
from jobs import CLOSED, OPEN
from receivers import Receivers

DOWN = "PostgresDown"
UNREACHABLE = "PostgresExporterUnreachable"
UP, PG_UP = (f'{name}{{job="{OPEN}"}}' for name in ("up", "pg_up"))


def test_who_is_on_call_is_told_that_the_database_is_down_and_that_it_is_back(
    running: Processes, postgres: Postgres, prometheus: Prometheus, alertmanager: Alertmanager, receivers: Receivers
) -> None:
    prometheus.wait_for_job(OPEN)
    running.wait_for("a scrape of the database", lambda: prometheus.value(PG_UP) == 1)
    assert DOWN not in prometheus.alerts("pending") | prometheus.alerts()

    postgres.stop()
    running.wait_for("a notification", lambda: receivers.told("on-call", DOWN, "firing"))
    # It is the database that is down: the exporter answers.
    running.wait_for("a scrape", lambda: prometheus.value(UP) == 1 and prometheus.value(PG_UP) == 0)
    [alert] = [alert for alert in alertmanager.alerts() if alert["labels"]["alertname"] == DOWN]
    assert alert["labels"]["severity"] == "critical" and alert["labels"]["job"] == OPEN
    instance = alert["labels"]["instance"]
    assert alert["annotations"]["summary"] == f"PostgreSQL behind {instance} cannot be reached"
    assert [receiver["name"] for receiver in alert["receivers"]] == ["on-call"]

    postgres.start()
    running.wait_for("the end of the alert", lambda: receivers.told("on-call", DOWN, "resolved"))
    running.wait_for("a scrape of the database", lambda: prometheus.value(PG_UP) == 1)
    assert receivers.told("team", DOWN, "firing") == []


def test_who_is_on_call_is_told_that_the_exporter_answers_401(
    running: Processes, prometheus: Prometheus, receivers: Receivers
) -> None:
    running.wait_for("a notification", lambda: receivers.told("on-call", UNREACHABLE, "firing"))
    assert {alert["labels"]["job"] for alert in receivers.told("on-call", UNREACHABLE, "firing")} == {CLOSED}
    assert "401" in prometheus.target_errors()[CLOSED]


def test_prometheus_evaluates_every_rule(prometheus: Prometheus) -> None:
    prometheus.wait_for_job(OPEN)
    assert prometheus.rule_errors() == {}
