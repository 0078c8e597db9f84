"""The receivers of Alertmanager's webhooks: what each has been told."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class Receivers:
    """A server that takes notifications while it is entered."""

    def __init__(self) -> None:
        self._told: list[tuple[str, dict]] = []
        told = self._told

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                told.extend((self.path.strip("/"), alert) for alert in body["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def told(self, receiver: str, name: str, status: str) -> list[dict]:
        """The alerts of this name that a receiver was told of, in this status: firing or resolved."""
        about = [alert for to, alert in self._told if to == receiver]
        return [alert for alert in about if alert["labels"]["alertname"] == name and alert["status"] == status]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
