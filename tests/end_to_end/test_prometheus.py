"""The package, scraped by a real Prometheus on each way to the function. What Prometheus has is asserted."""

import pytest

from demo.postgres import Postgres
from demo.processes import Processes
from demo.prometheus import Prometheus


@pytest.fixture
def job(prometheus: Prometheus, way: str) -> str:
    """A way to the function that Prometheus has scraped."""
    prometheus.wait_for_job(way)
    return way


def test_the_target_and_the_database_are_up(prometheus: Prometheus, job: str) -> None:
    assert prometheus.value(f'up{{job="{job}"}}') == 1
    assert prometheus.value(f'pg_up{{job="{job}"}}') == 1
    assert prometheus.value(f'count({{job="{job}"}})') > 50


def test_values_are_the_servers(prometheus: Prometheus, postgres: Postgres, job: str) -> None:
    assert prometheus.value(f'pg_settings_max_connections{{job="{job}"}}') == int(postgres.sql("SHOW max_connections"))
    started = float(postgres.sql("SELECT extract(epoch FROM pg_postmaster_start_time())"))
    assert prometheus.value(f'pg_postmaster_start_time_seconds{{job="{job}"}}') == pytest.approx(started, abs=0.001)
    customers = f'pg_stat_user_tables_live_rows{{job="{job}",schemaname="public",relname="customers"}}'
    assert prometheus.value(customers) == 1000


def test_counters_move(running: Processes, prometheus: Prometheus, job: str) -> None:
    commits = f'pg_stat_database_xact_commit_total{{job="{job}",datname="shop"}}'
    first = prometheus.value(commits)
    assert first > 0
    running.wait_for("more commits", lambda: prometheus.value(commits) > first)


def test_the_histogram_is_one(prometheus: Prometheus, job: str) -> None:
    name = "pg_running_queries_duration_seconds"
    buckets = prometheus.query(f'{name}_bucket{{job="{job}"}}')
    counts = {dict(labels)["le"]: count for labels, count in buckets.items()}
    assert len(counts) == 9
    in_order = [counts[bound] for bound in sorted(counts, key=float)]
    assert in_order == sorted(in_order)
    assert counts["+Inf"] == prometheus.value(f'{name}_count{{job="{job}"}}')


def test_every_query_succeeds(prometheus: Prometheus, job: str) -> None:
    successes = prometheus.query(f'pg_exporter_query_success{{job="{job}"}}')
    assert len(successes) >= 10
    assert set(successes.values()) == {1}
    assert prometheus.query(f'pg_exporter_query_samples_dropped{{job="{job}",reason!="null"}} > 0') == {}
