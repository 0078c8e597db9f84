"""That the check of what the processes print, which ends the session, fails when one prints a password."""

import base64
import json
from collections.abc import Iterator

import leaks
import pytest

from demo.endpoint import Endpoint
from demo.postgres import Postgres
from demo.processes import Processes, processes

PASSWORD = 'printed \'on\' "purpose"/?'


@pytest.fixture
def printing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    """Processes of their own, whose folder nobody else checks, with a password that is none afterwards."""
    monkeypatch.setattr(leaks, "_passwords", set())
    leaks.register(PASSWORD)
    with processes() as running:
        yield running


@pytest.mark.parametrize(
    "printed",
    [
        PASSWORD,
        json.dumps({"password": PASSWORD}),
        repr(PASSWORD),
        base64.b64encode(f"exporter:{PASSWORD}".encode()).decode(),
        base64.b64encode(f"x:{PASSWORD}, and more".encode()).decode(),
        "postgres://exporter:printed%20%27on%27%20%22purpose%22%2F%3F@localhost/shop",
    ],
)
def test_a_process_that_prints_a_password_is_found(printing: Processes, printed: str) -> None:
    printing.start("quiet", ["echo", "nothing of interest"]).process.wait()
    leaks.check_logs(printing.folder)
    printing.start("talkative", ["echo", printed]).process.wait()
    with pytest.raises(AssertionError, match="^a password stands in talkative.log$"):
        leaks.check_logs(printing.folder)


def test_without_logs_nothing_is_proven(printing: Processes) -> None:
    with pytest.raises(AssertionError, match="no logs"):
        leaks.check_logs(printing.folder)


def test_no_answer_has_the_password(endpoint: Endpoint, postgres: Postgres) -> None:
    assert postgres.password
    for path in ("/metrics", "/", "/healthz", "/nothing"):
        answer = endpoint.get(path)
        leaks.check(path, f"{answer.headers}{answer.body.decode(errors='replace')}")
