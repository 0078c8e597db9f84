"""What is between Prometheus, the function and AWS: the Internet with API Gateway's TLS, and a relay of calls to AWS."""

import contextlib
import http.client
import json
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "content-length"}
HOST = re.compile(r"(?P<id>[a-z0-9]+)\.execute-api\.eu-central-1\.amazonaws\.com(:443)?")


@dataclass(frozen=True)
class Call:
    """A call to AWS."""

    action: str
    parameters: dict


class Relay:
    """Forwards the function's calls to the stand-in for AWS, and records them."""

    def __init__(self, stand_in_port: int) -> None:
        self.calls: list[Call] = []
        self.lists: tuple[int, str] | None = None
        """The status and the body that ListSecrets is answered with. None: the stand-in's."""
        relay = self

        class Handler(Forwarder):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                action = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
                lists = relay.lists
                if action == "ListSecrets" and lists:
                    self.answer(lists[0], {"Content-Type": "application/x-amz-json-1.1"}, lists[1].encode())
                else:
                    self.forward(stand_in_port, self.path, dict(self.headers), body)
                # A call that is recorded has its answer.
                relay.calls.append(Call(action, json.loads(body)))

        self._handler = Handler

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        with serving(self._handler) as port:
            yield f"http://127.0.0.1:{port}"


class Internet:
    """An HTTP proxy through which the hosts of API Gateway are those of the stand-in, with TLS."""

    def __init__(self, folder: Path, stand_in_port: int) -> None:
        self.authority = folder / "authority.pem"
        key = folder / "authority.key"
        names = "subjectAltName=DNS:*.execute-api.eu-central-1.amazonaws.com"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=API Gateway"]
        command += ["-addext", names, "-keyout", str(key), "-out", str(self.authority)]
        subprocess.run(command, check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.authority, key)

        class Handler(Forwarder):
            def do_CONNECT(self) -> None:
                self.send_response(200)
                self.end_headers()
                # Prometheus gives up when its time is over.
                self.close_connection = True
                with contextlib.suppress(OSError):
                    self.connection = context.wrap_socket(self.connection, server_side=True)
                    self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
                    self.close_connection = False

            def do_GET(self) -> None:
                api = HOST.fullmatch(self.headers["Host"])
                assert api and self.connection.__class__ is ssl.SSLSocket, self.headers["Host"]
                # API Gateway sets them.
                forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Port": "443"}
                path = f"/_aws/execute-api/{api['id']}/$default{self.path}"
                self.forward(stand_in_port, path, dict(self.headers) | forwarded, b"")

        self._handler = Handler

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        with serving(self._handler) as port:
            yield f"http://127.0.0.1:{port}"


class Forwarder(BaseHTTPRequestHandler):
    """Answers requests by those of another server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def forward(self, port: int, path: str, headers: dict[str, str], body: bytes) -> None:
        onward = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        with contextlib.closing(onward):
            end_to_end = {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP}
            onward.request(self.command, path, body, end_to_end)
            answer = onward.getresponse()
            self.answer(answer.status, dict(answer.getheaders()), answer.read())

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in HOP_BY_HOP | {"date", "server"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(handler: Callable) -> Iterator[int]:
    """A server on a free port, which it gives."""
    with Threads(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


class Threads(ThreadingHTTPServer):
    request_queue_size = 128
    # A connection that is kept would be waited for.
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        # Prometheus gives up when its time is over.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)
