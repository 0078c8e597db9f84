"""What stands between the function, AWS and the Internet here: a recorder of the function's calls to AWS, and a proxy
through which the URLs that the deployments print lead to the stand-in."""

import contextlib
import http.client
import json
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOP_BY_HOP = {"connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "content-length"}

CREDENTIAL_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")

FRONTS = [
    # The name of a private REST API has its endpoint behind its own.
    (re.compile(r"(?P<id>[a-z0-9]+)-vpce-[0-9a-f]+\.execute-api\.[a-z0-9-]+\.amazonaws\.com"), "execute-api/{id}"),
    (re.compile(r"(?P<id>[a-z0-9]+)\.execute-api\.[a-z0-9-]+\.amazonaws\.com"), "execute-api/{id}/$default"),
    (re.compile(r"(?P<id>[a-z0-9]+)\.lambda-url\.[a-z0-9-]+\.on\.aws"), "lambda-url/{id}"),
]
"""Hosts of AWS, and where the stand-in has what they serve."""


@dataclass(frozen=True)
class Call:
    """A call to AWS, as a policy knows it."""

    action: str
    resource: str


class Relay:
    """A server that hands each request on to the stand-in, and the answer back."""

    def __init__(self, stand_in_port: Callable[[], int], path: Callable[[BaseHTTPRequestHandler, bytes], str]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def relay(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
                onward = http.client.HTTPConnection("127.0.0.1", stand_in_port(), timeout=30)
                onward.request(self.command, path(self, body), body, headers)
                answer = onward.getresponse()
                content = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in HOP_BY_HOP:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                onward.close()

            do_GET = do_POST = do_PUT = do_DELETE = relay

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextlib.contextmanager
    def running(self) -> Iterator["Relay"]:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()


def recorder(stand_in_port: Callable[[], int], calls: list[Call]) -> Relay:
    """A relay for calls to AWS, which it adds to `calls`."""

    def path(request: BaseHTTPRequestHandler, body: bytes) -> str:
        calls.append(call(request.headers, f"{request.command} {request.path}", body))
        return request.path

    return Relay(stand_in_port, path)


def call(headers, otherwise: str, body: bytes) -> Call:
    """The call that a request is. One that is not understood is a call too, which no policy allows."""
    scope = CREDENTIAL_SCOPE.search(headers.get("Authorization", ""))
    target = headers.get("X-Amz-Target")
    if not scope or not target:
        return Call(otherwise, "?")
    action = f"{scope['service']}:{target.rpartition('.')[2]}"
    return Call(action, json.loads(body).get("SecretId", "?"))


def internet(stand_in_port: Callable[[], int]) -> Relay:
    """An HTTP proxy in which the hosts of API Gateway and of function URLs are those of the stand-in."""
    return Relay(stand_in_port, lambda request, _body: front_path(request.path))


def front_path(url: str) -> str:
    """Where the stand-in has what AWS has at `url`."""
    parts = urllib.parse.urlsplit(url)
    for host, place in FRONTS:
        if match := host.fullmatch(parts.hostname or ""):
            return f"/_aws/{place.format(id=match['id'])}{parts.path}"
    raise LookupError(f"no host of a front: {parts.hostname}")
