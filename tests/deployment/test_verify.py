"""`pg-lambda-exporter verify` distinguishes what can be wrong: with the real function behind an API where the function
answers, and with a server that answers as AWS does where something in front does."""

import base64
import contextlib
import gzip
import hashlib
import re
import socket
import socketserver
import ssl
import subprocess
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import Deployed
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from demo.aws import Aws

EXPOSITION = b'pg_up 1\npg_exporter_query_success{query="q"} 1\npg_exporter_build_info{version="1",revision="r"} 1\nq_v 1\n'
TOKEN = "a-token-that-nothing-prints"
Scrape = Callable[..., str]
Verify = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def verify(program: Path) -> Verify:
    """Runs the program, which logs all that it can. The token goes through a pipe, and no output has it."""

    def run(*arguments: str | Path, token: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        words = [program, "verify", *arguments, *(["--token-file", "/dev/stdin"] if token else [])]
        environment = {"RUST_LOG": "trace"} | environment
        done = subprocess.run(words, env=environment, input=f"{token}\n", capture_output=True, text=True, timeout=60)
        for secret in filter(None, (token, "secret-of")):
            assert secret not in done.stdout + done.stderr, done
            assert base64.b64encode(secret.encode()).decode().strip("=")[:-1] not in done.stdout + done.stderr, done
        assert "panicked" not in done.stderr and done.returncode in (0, 1, 2), done
        assert (done.returncode == 0) == done.stdout.startswith("ok: "), done
        assert all(len(line) <= 80 for line in done.stdout.splitlines()[1:]), done.stdout
        return done

    return run


@pytest.fixture
def function(aws: Aws, deployed: dict[str, Deployed], tokens: dict[str, str], verify: Verify) -> Iterator[Scrape]:
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
        for _ in range(2):
            found = verify(f"http://{api}.execute-api.localhost:{aws.port}{path}", token=token).stdout
            if not found.startswith("502"):
                return found
            # After a change of the variables, the stand-in sometimes answers 502 if other tests run too. Its log is shown.
            warnings.warn(f"{found}\n{aws.log()[-4000:]}", stacklevel=2)
        raise AssertionError(aws.function_log(stack.configuration["LoggingConfig"]["LogGroup"])[-4000:])

    yield verified
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": own})


def test_all_is_well(function: Scrape) -> None:
    assert re.match(r"ok: \d+ samples, \d+ from \d+ queries, in [\d.]+ s.*; version \d", function())


def test_401(function: Scrape) -> None:
    assert function(token=None).startswith("401: the function requires authorization\n")
    assert function(token="another-token-than-its-own").startswith("401: the function does not accept this credential\n")
    assert function(AUTH_SECRET_ID=None).startswith("401: the function denies every request: no authorization is ")


def test_a_token_by_its_digest(function: Scrape) -> None:
    digests = ",".join(hashlib.sha256(token.encode()).hexdigest() for token in ("next-token-1", "own-token-1"))
    found = function(token="own-token-1", AUTH_SECRET_ID=None, AUTH_TOKEN_SHA256=digests)
    assert found.startswith("ok: "), found
    assert function(token="next-token-1").startswith("ok: ")
    assert function(token="other-token-1").startswith("401: the function does not accept this credential")


def test_404_of_the_function(function: Scrape) -> None:
    assert "404: the function has no path /other; the path must end in /metrics" in function("/other")


def test_400_of_the_function(function: Scrape) -> None:
    found = function("/metrics?collect[]=no_such_query")
    assert re.match(r"400: the request was rejected: .*no_such_query", found), found


def test_503_of_the_authorization(function: Scrape) -> None:
    assert "503: the function cannot read the authorization secret" in function(AUTH_SECRET_ID="there/is/none")


def test_pg_up_0(function: Scrape) -> None:
    found = function(PGHOST="127.0.0.1", DB_SECRET_ID=None, PGPORT="1", PGUSER="nobody")
    assert found.startswith("pg-up-0: the function answers, but has no connection to the database\n")


def test_no_queries(function: Scrape) -> None:
    assert "no-queries: no query can run" in function(QUERIES_FILE="/nowhere/queries.yml")


def test_a_mistake_in_the_environment(function: Scrape) -> None:
    assert "environment: the function's environment variables have a mistake" in function(MAX_SERIES="many")


def test_the_parameters_of_the_url_reach_the_function(function: Scrape) -> None:
    assert re.match(r"ok: \d+ samples, \d+ from 1 query, ", function("/metrics?collect[]=pg_database"))


class Front:
    """A server that answers every request with the same, and keeps the headers of the last one."""

    def __init__(
        self, status: int, body: bytes, headers: dict[str, str], trickles: bool = False, tls: ssl.SSLContext | None = None
    ) -> None:
        front = self
        self._stopped = stopped = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                front.asked = dict(self.headers)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if tls:
                    # Python ends TLS without close_notify, so only a length says that the body is complete.
                    self.send_header("Content-Length", str(len(body)))
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
        if tls:
            # In the thread of its request, a handshake that fails ends nothing else.
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
            self._server.handle_error = lambda *_: None
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/metrics"

    def close(self) -> None:
        """Stops it."""
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()


TEXT = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
OPENMETRICS = {"Content-Type": "application/openmetrics-text; version=1.0.0; charset=utf-8"}
JSON = {"Content-Type": "application/json"}
GZIP = {"Content-Encoding": "gzip"}


@pytest.mark.parametrize(
    ("status", "body", "headers", "expected"),
    [
        (403, b'{"message":"Forbidden"}', JSON, "403: something in front of the function refused the request"),
        (403, b'{"message":"Missing Authentication Token"}', JSON, "403: "),
        (403, b'{"Message":"Forbidden. For troubleshooting Function URL ..."}', JSON, "403: "),
        (404, b'{"message":"Not Found"}', JSON, "404: the API has no route for /metrics\n  a stage"),
        (500, b'{"message":"Internal Server Error"}', JSON, "500: the function failed before it could answer"),
        (502, b'{"message":"Internal server error"}', JSON, "502: the function failed before it could answer"),
        (503, b'{"message":"Service Unavailable"}', JSON, "503: too many requests"),
        (504, b'{"message":"Endpoint request timed out"}', JSON, "timeout: API Gateway gave up waiting"),
        (418, b"", TEXT, "418: unexpected answer of 0 bytes"),
        (200, base64.b64encode(EXPOSITION), TEXT, "base64: the exposition is encoded as base64"),
        (200, base64.b64encode(gzip.compress(EXPOSITION)), TEXT, "base64: "),
        (200, b"<html>hello</html>", {"Content-Type": "text/html"}, "not-metrics: something else answered (text/html)"),
        (200, b"pg_up 1\n", TEXT, "no-queries: no query ran"),
        (
            200,
            EXPOSITION + b'pg_exporter_query_skipped{query="q",reason="version"} 1\n',
            TEXT,
            "no-queries: every query was skipped\n  q: version\n",
        ),
        (200, EXPOSITION + b'pg_exporter_query_error{query="q",reason="timeout"} 0\n', TEXT, "ok: 5 samples"),
        (200, b"pg_up 0\n", TEXT, "pg-up-0: "),
        (401, b'{"message":"Unauthorized"}', JSON, "401: an authorizer in front"),
        (429, b'{"message":"Too Many Requests"}', JSON, "429: too many requests"),
        (200, b"\x1f\x8bnot gzip", TEXT | GZIP, "cut-off: "),
        (200, gzip.compress(EXPOSITION)[:-9], TEXT | GZIP, "cut-off: "),
        (200, EXPOSITION, TEXT | {"Content-Length": "9999"}, "cut-off: "),
        (200, EXPOSITION, OPENMETRICS, "cut-off: "),
        (200, EXPOSITION + b"# EOF\n", OPENMETRICS, "ok: "),
        (200, EXPOSITION + "q_t{l=\"a\u2028pg_x abc\"} 1\n".encode(), TEXT, "ok: 5 samples"),
        (302, b"", {"Location": "https://elsewhere.example/"}, "302: something in front of the function redirects"),
        (200, EXPOSITION + b"pg_exporter_last_scrape_error 1\n", TEXT, "scrape-error: 5 samples"),
        (200, EXPOSITION, TEXT, "ok: 4 samples, 1 from 1 query"),
        (200, gzip.compress(EXPOSITION), TEXT | GZIP, "ok: 4 samples"),
        (200, gzip.compress(EXPOSITION + b"q_v 1\n" * (6 << 20)), TEXT | GZIP, "too-large: "),
        (400, b"\x1b[2Jpg_x\n", TEXT, "400: the request was rejected: \\u001b[2Jpg_x\n"),
        (
            200,
            EXPOSITION + b'pg_exporter_query_error{query="slow",reason="timeout"} 1\n',
            TEXT,
            "queries-failed: 5 samples, 1 from 2 queries, ",
        ),
    ],
)
def test_what_is_in_front(status: int, body: bytes, headers: dict[str, str], expected: str, verify: Verify) -> None:
    with closing(Front(status, body, headers)) as front:
        found = verify(front.url, token=TOKEN).stdout
        assert found.startswith(expected)
        assert "\n  slow: timeout, the query exceeded its timeout\n" in found or not found.startswith("queries-failed")
        asked = {name.lower(): value for name, value in front.asked.items()}
        assert asked["authorization"] == f"Bearer {TOKEN}"
        assert asked["x-prometheus-scrape-timeout-seconds"] == "20"
        assert asked["accept"].startswith("application/openmetrics-text;version=1.0.0,")


def test_no_one_answers(verify: Verify) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/metrics"
        found = verify(url, "--timeout", "0.5").stdout
        assert found.startswith("timeout: ") and "Secrets Manager needs an interface endpoint" in found
        assert verify(url.replace("http:", "https:"), "--timeout=500ms").stdout.startswith("timeout: ")
    assert verify(url).stdout.startswith("refused: nothing listens at 127.0.0.1\n")
    assert verify("https://no-such-api.invalid/metrics").stdout.startswith("unresolvable: no-such-api.invalid has no address")
    with closing(Front(200, EXPOSITION, TEXT)) as front:
        assert verify(front.url.replace("http:", "https:")).stdout.startswith("tls: ")


def test_an_answer_that_comes_byte_by_byte_is_not_waited_for(verify: Verify) -> None:
    """A read of each byte is in time, and the whole is not: Prometheus counts the whole."""
    with closing(Front(200, EXPOSITION, TEXT | {"Content-Length": "9999"}, trickles=True)) as front:
        assert verify(front.url, "--timeout", "1s").stdout.startswith("timeout: ")


def test_names_under_localhost_are_this_machine(verify: Verify) -> None:
    with closing(Front(200, EXPOSITION, TEXT)) as front:
        url = f"http://api.execute-api.localhost:{front.port}/metrics"
        # A proxy is for other machines.
        assert verify(url, token=TOKEN, HTTP_PROXY="http://127.0.0.1:1").returncode == 0
        assert front.asked["host"] == f"api.execute-api.localhost:{front.port}"


def certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A file with a certificate for a name, and a server's TLS with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(timezone.utc)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    public, private = folder / "certificate.pem", folder / "key.pem"
    public.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context


@contextlib.contextmanager
def proxy(port: int) -> Iterator[tuple[str, list[str]]]:
    """The URL of a proxy that connects to this port whatever it is asked for, and the first lines of its requests."""
    requests: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            requests.append(self.rfile.readline().decode().strip())
            while self.rfile.readline().strip():
                pass
            with socket.create_connection(("127.0.0.1", port)) as server:
                self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
                answers = threading.Thread(target=copy, args=(server, self.connection), daemon=True)
                answers.start()
                copy(self.connection, server)
                answers.join(10)

    def copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
        server.shutdown()


def test_tls_and_a_proxy(verify: Verify, tmp_path: Path) -> None:
    name = "metrics.invalid"
    file, context = certificate(tmp_path, name)
    trusted = {"SSL_CERT_FILE": str(file)}
    with closing(Front(200, EXPOSITION, TEXT, tls=context)) as front, proxy(front.port) as (proxied, requests):
        done = verify(f"https://{name}/metrics", token=TOKEN, HTTPS_PROXY=proxied, **trusted)
        assert (done.returncode, requests) == (0, [f"CONNECT {name}:443 HTTP/1.1"]), done
        done = verify(f"https://{name}/metrics", token=TOKEN, HTTPS_PROXY=proxied)
        assert done.stdout.startswith(f"tls: TLS with {name} failed: invalid peer certificate: UnknownIssuer\n")
        done = verify("https://other.invalid/metrics", HTTPS_PROXY=proxied, **trusted)
        assert done.stdout.startswith("tls: TLS with other.invalid failed: invalid peer certificate: ")
        done = verify(f"https://{name}/metrics", HTTPS_PROXY=proxied, NO_PROXY=".invalid")
        assert done.stdout.startswith(f"unresolvable: {name} has no address\n")
    done = verify(f"https://{name}/metrics", HTTPS_PROXY=proxied)
    assert done.stdout.startswith("refused: ") and "HTTPS_PROXY is set: the proxy may be the cause" in done.stdout
    done = verify(f"https://{name}/metrics", SSL_CERT_FILE="/dev/zero")
    assert done.returncode == 1 and "SSL_CERT_FILE: cannot be read: not a regular file" in done.stderr


def test_the_credential_is_read_from_files_and_never_printed(verify: Verify, tmp_path: Path) -> None:
    def file(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    token = file("token", b"secret-of-a-file\n")
    with closing(Front(200, EXPOSITION, TEXT)) as front:
        assert verify(f"{front.url}?collect[]=it's", "--token-file", token).returncode == 0
        assert front.asked["authorization"] == "Bearer secret-of-a-file"
        password = file("password", "secret-of-ö:\n".encode())
        assert verify(front.url, "--user", "prometheus", "--password-file", password).returncode == 0
        pair = base64.b64decode(front.asked["authorization"].removeprefix("Basic ")).decode()
        assert pair == "prometheus:secret-of-ö:"
        for wrong, expected in [
            (tmp_path / "absent", "absent: No such file"),
            (file("empty", b"\n"), "empty: must have one token"),
            (file("two", b"secret-of-line-one\nsecret-of-line-two\n"), "two: must have one token"),
            (file("binary", b"\xff\xfesecret-of-bytes"), "binary: not UTF-8"),
            (file("large", b"secret-of-many" * 10_000), "large: larger than 64 KiB"),
        ]:
            done = verify(front.url, "--token-file", wrong)
            assert (done.returncode, done.stdout, expected in done.stderr) == (2, "", True), done
