"""The passwords that the tests use, and the check that no process has printed one, in whatever form."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

SHORTEST = 8  # A shorter one could stand in a text by chance.

_passwords: set[str] = set()


def register(password: str) -> None:
    """From now on `password` must not be printed."""
    assert len(password) >= SHORTEST, "a password that is too short to be told from other text"
    _passwords.add(password)


def check(place: str, text: str) -> None:
    """Fails if one of the passwords stands in `text`, and does not repeat it."""
    for password in _passwords:
        for form in _forms(password):
            # Not an `assert`, for which pytest would show what is compared.
            if form in text:
                raise AssertionError(f"a password stands in {place}")


def check_logs(folder: Path) -> None:
    """The same of every log in a folder of `demo.processes`."""
    logs = list(folder.glob("*.log"))
    assert logs, "there are no logs"
    for log in logs:
        check(log.name, log.read_text(errors="replace"))


def _forms(password: str) -> Iterator[str]:
    yield password
    yield json.dumps(password)[1:-1]
    yield repr(password)[1:-1]
    yield quote(password, safe="")
    data = password.encode()
    for before in range(3):
        # What base64 has of it whatever stands around it: the characters whose six bits are all its own.
        encoded = base64.b64encode(bytes(before) + data).decode()
        yield encoded[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
