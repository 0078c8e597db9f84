"""The handlers of docs/migration.md in Node.js, and the queries that replace them, on one database."""

from collections.abc import Callable

import pytest

from conftest import Scrape
from demo.postgres import Postgres
from document import snippet
from exposition import OWN, Family, assert_same, families, series
from nodejs import NodeJs

NodeJsWith = Callable[[str, dict[str, str]], NodeJs]
CODE, FILE = "Metrics in code", "Metrics from a file"
DEFAULT = ("process_", "nodejs_")
"""What collectDefaultMetrics() gives."""


def test_metrics_in_code(nodejs: NodeJsWith, scrape: Scrape) -> None:
    after = families(scrape(snippet(CODE, "yaml")), OWN)
    exact = quantiles(after, "shop_customer_euros")
    assert len(exact) == 2
    environment = nodejs(snippet(CODE, "js"), {})
    # Of the second invocation, too: nothing has been added up.
    for _ in range(2):
        before = families(environment.exposition(), DEFAULT)
        assert exact == pytest.approx(quantiles(before, "shop_customer_euros"), rel=0.02)
        assert_same(before, after)


def test_a_file_of_queries_is_read_by_both(nodejs: NodeJsWith, scrape: Scrape) -> None:
    queries = snippet(FILE, "yaml")
    environment = nodejs(snippet(FILE, "js"), {"queries.yml": queries})
    after = families(scrape(queries), OWN)
    for _ in range(2):
        assert_same(families(environment.exposition(), ()), after)


def test_a_state_that_nobody_has_any_more_stays_in_a_warm_register_only(
    nodejs: NodeJsWith, scrape: Scrape, postgres: Postgres
) -> None:
    postgres.sql("INSERT INTO orders (customer, state, amount_cents) VALUES (1, 'odd', 100)")
    environment = nodejs(snippet(CODE, "js"), {})
    odd = series("shop_orders_count", {"state": "odd"})
    queries = snippet(CODE, "yaml")
    expositions = [families(environment.exposition(), DEFAULT), families(scrape(queries), OWN)]
    assert [of["shop_orders_count"].samples.get(odd) for of in expositions] == [1, 1]
    postgres.sql("UPDATE orders SET state = 'paid' WHERE state = 'odd'")
    expositions = [families(environment.exposition(), DEFAULT), families(scrape(queries), OWN)]
    assert [of["shop_orders_count"].samples.get(odd) for of in expositions] == [1, None]


def quantiles(found: dict[str, Family], name: str) -> dict[str, float]:
    """Takes the quantiles of a summary away, and gives them."""
    samples = found[name].samples
    keys = [key for key in samples if key[0] == name]
    return {dict(key[1])["quantile"]: samples.pop(key) for key in keys}
