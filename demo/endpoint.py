"""A URL that the function answers at, and asking it."""

import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def lines(self) -> list[str]:
        """The lines of an exposition."""
        return self.text.splitlines()


@dataclass(frozen=True)
class Endpoint:
    """Where the function answers; paths follow, each with its slash."""

    url: str
    """For people. Its host may be a name that curl resolves and other programs do not: something.localhost."""
    address: str
    """The same for programs."""

    def get(self, path: str, **headers: str) -> Answer:
        """Asks for a path. Underscores in the names of headers are hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return get(self.address + path, named)


def get(url: str, headers: dict[str, str] | None = None) -> Answer:
    """Asks for a URL of this machine, whatever proxies the environment names."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(urllib.request.Request(url, headers=headers or {}), timeout=30) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers, error.read())
