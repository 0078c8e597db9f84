"""`make verify-deployment` tells apart what can be wrong: with the real function behind an API where it is the function
that answers, and with a server that answers as AWS does where it is something in front."""

import base64
import gzip
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import Deployed
from verify_deployment import verify

from demo.aws import CHECKOUT, Aws

EXPOSITION = b'pg_up 1\npg_exporter_query_success{query="q"} 1\npg_exporter_build_info{version="1",revision="r"} 1\nq_v 1\n'
Scrape = Callable[..., str]


@pytest.fixture
def function(aws: Aws, deployed: dict[str, Deployed], tokens: dict[str, str]) -> Iterator[Scrape]:
    """Verifies the function behind its HTTP API, with its token and these variables instead of its own."""
    stack = deployed["serverless"]
    api = re.match(r"https://([^.]+)\.", stack.url)[1]
    functions = aws.client("lambda")
    name = stack.configuration["FunctionArn"]
    own = functions.get_function(FunctionName=name)["Configuration"]["Environment"]["Variables"]

    def verified(path: str = "/metrics", token: str | None = tokens["serverless"], **variables: str | None) -> str:
        changed = {key: value for key, value in (own | variables).items() if value is not None}
        if variables:
            functions.update_function_configuration(FunctionName=name, Environment={"Variables": changed})
        authorization = f"Bearer {token}" if token else None
        finding = verify(f"http://127.0.0.1:{aws.port}{path}", authorization, 20, f"{api}.execute-api.localhost:{aws.port}")
        assert not token or token not in finding.text
        return f"{finding.name}: {finding.text}"

    yield verified
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": own})


def test_all_is_well(function: Scrape) -> None:
    assert re.match(r"well: \d+ samples, \d+ of them of \d+ queries, in [\d.]+ s.*; version \d", function())


def test_401(function: Scrape) -> None:
    assert "401: It asks for authorization" in function(token=None)
    assert "401: What was presented is not in the authorization secret" in function(token="another-token-than-its-own")
    assert "401: The function is locked" in function(AUTH_SECRET_ID=None)


def test_404_of_the_function(function: Scrape) -> None:
    assert "404: The function knows no /other; the path ends in /metrics" in function("/other")


def test_503_of_the_authorization(function: Scrape) -> None:
    assert "503: The authorization secret cannot be read" in function(AUTH_SECRET_ID="there/is/none")


def test_pg_up_0(function: Scrape) -> None:
    found = function(PGHOST="127.0.0.1", DB_SECRET_ID=None, PGPORT="1", PGUSER="nobody")
    assert "pg-up-0: The function answers" in found
    assert "no connection to the database" in found


def test_no_queries(function: Scrape) -> None:
    assert "no-queries: No query can run" in function(QUERIES_FILE="/nowhere/queries.yml")


def test_a_mistake_in_the_environment(function: Scrape) -> None:
    assert "environment: The function's environment variables have a mistake" in function(MAX_SERIES="many")


def test_the_parameters_of_the_url_reach_the_function(function: Scrape) -> None:
    assert re.match(r"well: \d+ samples, \d+ of them of 1 queries", function("/metrics?collect[]=pg_database"))


class Front:
    """A server that answers every request with the same."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str], trickles: bool = False) -> None:
        self._stopped = stopped = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                # Until the client has gone.
                while trickles and not stopped.wait(0.05):
                    try:
                        self.wfile.write(b"\n")
                    except OSError:
                        break

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/metrics"

    def close(self) -> None:
        """Stops it."""
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()


TEXT = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
OPENMETRICS = {"Content-Type": "application/openmetrics-text; version=1.0.0; charset=utf-8"}
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("status", "body", "headers", "expected"),
    [
        (403, b'{"message":"Forbidden"}', JSON, "403: Something in front of the function refuses"),
        (403, b'{"message":"Missing Authentication Token"}', JSON, "403: "),
        (403, b'{"Message":"Forbidden. For troubleshooting Function URL ..."}', JSON, "403: "),
        (404, b'{"message":"Not Found"}', JSON, "404: The API has no route for /metrics. With a stage"),
        (500, b'{"message":"Internal Server Error"}', JSON, "500: The function failed before it could answer"),
        (502, b'{"message":"Internal server error"}', JSON, "502: The function failed before it could answer"),
        (503, b'{"message":"Service Unavailable"}', JSON, "503: Too many requests at once"),
        (504, b'{"message":"Endpoint request timed out"}', JSON, "timeout: API Gateway gave up waiting"),
        (418, b"", TEXT, "418: An answer that was not expected"),
        (200, base64.b64encode(EXPOSITION), TEXT, "base64: The exposition comes as base64"),
        (200, base64.b64encode(gzip.compress(EXPOSITION)), TEXT, "base64: "),
        (200, b"<html>hello</html>", {"Content-Type": "text/html"}, "not-metrics: Something else answers (text/html)"),
        (200, b"pg_up 1\n", TEXT, "no-queries: No query ran"),
        (200, EXPOSITION + b'pg_exporter_query_skipped{query="q",reason="version"} 1\n', TEXT, "no-queries: Every query was skipped"),
        (200, EXPOSITION + b'pg_exporter_query_error{query="q",reason="timeout"} 0\n', TEXT, "well: 5 samples"),
        (200, b"pg_up 0\n", TEXT, "pg-up-0: "),
        (401, b'{"message":"Unauthorized"}', JSON, "401: Something in front"),
        (429, b'{"message":"Too Many Requests"}', JSON, "429: Too many requests at once"),
        (200, b"\x1f\x8bnot gzip", TEXT | {"Content-Encoding": "gzip"}, "cut-off: "),
        (200, gzip.compress(EXPOSITION)[:-9], TEXT | {"Content-Encoding": "gzip"}, "cut-off: "),
        (200, EXPOSITION, TEXT | {"Content-Length": "9999"}, "cut-off: "),
        (200, EXPOSITION, OPENMETRICS, "cut-off: "),
        (200, EXPOSITION + b"# EOF\n", OPENMETRICS, "well: "),
        (200, EXPOSITION + "q_t{l=\"a\u2028pg_x abc\"} 1\n".encode(), TEXT, "well: 5 samples"),
        (302, b"", {"Location": "https://elsewhere.example/"}, "302: An answer that was not expected"),
        (200, EXPOSITION + b"pg_exporter_last_scrape_error 1\n", TEXT, "scrape-error: 5 samples"),
        (200, EXPOSITION, TEXT, "well: 4 samples, 1 of them of 1 queries"),
        (200, gzip.compress(EXPOSITION), TEXT | {"Content-Encoding": "gzip"}, "well: 4 samples"),
        (
            200,
            EXPOSITION + b'pg_exporter_query_error{query="slow",reason="timeout"} 1\n',
            TEXT,
            "queries-failed: 5 samples, 1 of them of 2 queries",
        ),
    ],
)
def test_what_stands_in_front(status: int, body: bytes, headers: dict[str, str], expected: str) -> None:
    with closing(Front(status, body, headers)) as front:
        finding = verify(front.url, "Bearer of-no-meaning-here")
        assert f"{finding.name}: {finding.text}".startswith(expected)
        assert "slow: timeout, it was slower than its timeout" in finding.text or finding.name != "queries-failed"


def test_nobody_answers() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/metrics"
        finding = verify(url, seconds=0.5)
        assert (finding.name, "interface endpoint for Secrets Manager" in finding.text) == ("timeout", True)
        assert verify(url.replace("http:", "https:"), seconds=0.5).name == "timeout"
    assert verify(url).name == "refused"
    assert verify("https://no-such-api.invalid/metrics").name == "unresolvable"
    with closing(Front(200, EXPOSITION, TEXT)) as front:
        assert verify(front.url.replace("http:", "https:")).name == "tls"


def test_an_answer_that_comes_byte_by_byte_is_not_waited_for() -> None:
    """A read of each byte is in time, and the whole is not: Prometheus counts the whole."""
    with closing(Front(200, EXPOSITION, TEXT | {"Content-Length": "9999"}, trickles=True)) as front:
        assert verify(front.url, seconds=1).name == "timeout"


def test_the_target_reads_the_files_and_tells_by_its_exit_code(tmp_path: Path) -> None:
    def make(*variables: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "--no-print-directory", "verify-deployment", *variables]
        return subprocess.run(command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, capture_output=True, text=True)

    two = tmp_path / "two"
    two.write_text("secret-of-line-one\nsecret-of-line-two\n")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfesecret-of-bytes")
    token = tmp_path / "token"
    token.write_text("a-token-in-a-file\n")
    with closing(Front(200, EXPOSITION, TEXT)) as front:
        done = make(f"URL={front.url}", f"TOKEN_FILE={token}")
        assert (done.returncode, done.stdout.startswith("well: ")) == (0, True), done
        done = make(f"URL={front.url}?collect[]=it's&x=\"y\"", f"TOKEN_FILE={token}")
        assert (done.returncode, done.stdout.startswith("well: ")) == (0, True), done
        done = make(f"URL={front.url}", "USER_NAME=prometheus", f"PASSWORD_FILE={token}")
        assert (done.returncode, done.stdout.startswith("well: ")) == (0, True), done
        for wrong, expected in [
            ([], "URL is missing"),
            (["URL=ftp://host/metrics"], "URL must begin with https://"),
            ([f"URL={front.url}", "USER_NAME=prometheus"], "USER_NAME and PASSWORD_FILE belong together"),
            ([f"URL={front.url}", f"TOKEN_FILE={tmp_path}/absent"], "absent: No such file"),
            ([f"URL={front.url}", f"TOKEN_FILE={two}"], "two: not one token"),
            ([f"URL={front.url}", f"TOKEN_FILE={binary}"], "binary: not UTF-8"),
            (["URL=https://host:abc/metrics"], "URL must begin with https://"),
            (["URL=https://me:secret-in-the-url@host/metrics"], "URL must have no user"),
            (["URL=http://metrics.example/metrics", f"TOKEN_FILE={token}"], "would go in the clear"),
        ]:
            done = make(*wrong)
            assert done.returncode != 0 and expected in done.stderr, done
            assert "Traceback" not in done.stderr and "secret-of" not in done.stdout + done.stderr, done
    with closing(Front(403, b"", JSON)) as front:
        done = make(f"URL={front.url}")
        assert done.returncode != 0 and done.stdout.startswith("403: "), done
