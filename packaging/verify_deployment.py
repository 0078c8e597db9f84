#!/usr/bin/env python3
"""Scrapes a deployed function once, as Prometheus would, and says what is wrong and where to look. What
`make verify-deployment` runs; with Python's standard library alone, so that it runs wherever the scrape has to work.

It never prints what it presents. The exit code is 0 where all is well, 1 where it is not, and 2 where it was called
wrongly; the word before the colon tells the findings apart.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import http.client
import re
import signal
import socket
import ssl
import sys
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

ACCEPT = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
"""What Prometheus 2 sends."""

LOG = "Its log: `aws logs tail GROUP --since 15m`; the group is what the deployment printed, and the stack's output LogGroup."


@dataclass(frozen=True)
class Finding:
    """What a scrape came to."""

    name: str
    """One word for it."""
    text: str
    """What it means and what to do, a sentence or more a line."""
    is_well: bool = False


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def is_whole(self) -> bool:
        """Whether the body is all of what was compressed."""
        return self._decompressed() is not None

    @property
    def text(self) -> str:
        """The body, decompressed."""
        return (self._decompressed() or b"").decode(errors="replace")

    def _decompressed(self) -> bytes | None:
        if self.headers.get("content-encoding") != "gzip":
            return self.body
        try:
            return gzip.decompress(self.body)
        except (OSError, EOFError, zlib.error):
            return None


CUT_OFF = Finding(
    "cut-off",
    "The exposition is not complete, and Prometheus refuses it. Something in front limits the size of an answer or ended it, "
    "or changes its compression.",
)


def get(url: SplitResult, authorization: str | None, seconds: float, host: str | None = None) -> Answer:
    """One scrape, over within so many seconds, however slowly an answer comes.

    Raises what reading from the network raises, and TimeoutError."""
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    # Few resolvers know the names under localhost, such as that of `make run` (RFC 6761, 6.3).
    is_below_localhost = (url.hostname or "").endswith(".localhost")
    connection = kind("localhost" if is_below_localhost else url.hostname or "", url.port, timeout=seconds)
    headers = {
        "Accept": ACCEPT,
        "Accept-Encoding": "gzip",
        "User-Agent": "pg-lambda-exporter verify-deployment",
        "X-Prometheus-Scrape-Timeout-Seconds": f"{seconds:g}",
    }
    if authorization:
        headers["Authorization"] = authorization
    if host or is_below_localhost:
        headers["Host"] = host or url.netloc
    begun = time.monotonic()
    signal.signal(signal.SIGALRM, out_of_time)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        connection.request("GET", f"{url.path or '/'}{'?' + url.query if url.query else ''}", headers=headers)
        response = connection.getresponse()
        body = response.read()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        connection.close()
    lowered = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, lowered, body, time.monotonic() - begun)


def out_of_time(*_: object) -> None:
    """Ends what waits, whatever it waits for: the time of a socket is that of one read."""
    raise TimeoutError


def no_answer(url: SplitResult, error: Exception) -> Finding:
    """Why there was no HTTP answer."""
    if isinstance(error, socket.gaierror):
        return Finding(
            "unresolvable",
            f"The name {url.hostname} has no address. Was the stack deleted, or is the API private? Then scrape from "
            "its VPC, with the endpoint's private DNS on.",
        )
    if isinstance(error, ssl.SSLError):
        return Finding("tls", f"TLS fails: {error.reason or error}. Does the domain have its certificate?")
    # Before Python 3.10 these are two.
    if isinstance(error, (TimeoutError, socket.timeout)):
        return Finding(
            "timeout",
            "No answer in time. A function in a VPC that cannot reach Secrets Manager or the database waits for both: "
            "it needs an interface endpoint for Secrets Manager or a NAT gateway, and security groups that let it out "
            "to the endpoint (443) and the database (5432). Or the path to the URL itself swallows packets.\n" + LOG,
        )
    if isinstance(error, ConnectionRefusedError):
        return Finding("refused", f"Nothing listens at {url.hostname}.")
    if isinstance(error, http.client.IncompleteRead):
        return CUT_OFF
    return Finding("unreachable", f"No answer: {error or type(error).__name__}.")


def not_ok(url: SplitResult, answer: Answer, is_authorized: bool) -> Finding:
    """What a status other than 200 means."""
    said = answer.text.strip()
    if answer.status == 401:
        if "AUTH_SECRET_ID" in said:
            return Finding("401", "The function is locked: neither AUTH_SECRET_ID nor AUTH=none is in its environment.")
        if not is_authorized:
            return Finding(
                "401", "It asks for authorization. Give TOKEN_FILE=..., or USER_NAME=... and PASSWORD_FILE=..., here and to "
                "Prometheus.",
            )
        if said.startswith("{"):
            return Finding("401", "Something in front of the function asks for authorization of its own: an authorizer.")
        return Finding(
            "401",
            "What was presented is not in the authorization secret. Compare the file with "
            "`aws secretsmanager get-secret-value --secret-id ARN`; after a rotation wait 3 seconds and try again.",
        )
    if answer.status == 403:
        return Finding(
            "403",
            "Something in front of the function refuses. A function URL needs permissions for both "
            "lambda:InvokeFunctionUrl and lambda:InvokeFunction (with InvokedViaFunctionUrl), or has AuthType AWS_IAM; "
            "an API has an authorizer, an API key or a resource policy, or its path is none that it "
            "knows: that of a REST API begins with the stage, https://HOST/STAGE/metrics.",
        )
    if answer.status == 404:
        if "Not Found" in said or said.startswith("{"):
            return Finding(
                "404",
                f"The API has no route for {url.path or '/'}. With a stage other than $default its name is part of the "
                "path: https://HOST/STAGE/metrics.",
            )
        return Finding("404", f"The function knows no {url.path or '/'}; the path ends in /metrics.")
    if answer.status in (500, 502):
        if "environment variables have a mistake" in said:
            return Finding("environment", "The function's environment variables have a mistake. Its log names each.\n" + LOG)
        if "no query can run" in said:
            return Finding(
                "no-queries",
                "No query can run: queries.yml is missing or each of its queries has a mistake. "
                "`make package` checks it; `pg-lambda-exporter check queries.yml` names each.\n" + LOG,
            )
        return Finding(
            str(answer.status),
            "The function failed before it could answer: it was built for the other architecture, is no `bootstrap`, "
            "ran out of memory, or was stopped at its timeout. Where its log has nothing of it, the API in front may not "
            "invoke it, or it is another one now, or a REST API asked for more at once than reserved concurrency "
            "allows.\n" + LOG,
        )
    if answer.status in (429, 503):
        if "authorization" in said:
            return Finding(
                "503",
                "The authorization secret cannot be read: is it there, may the role read it (secretsmanager:"
                "GetSecretValue, and kms:Decrypt with a key of its own), does a VPC have a way to Secrets Manager?\n" + LOG,
            )
        return Finding(
            str(answer.status),
            "Too many requests at once, by reserved concurrency or the API's throttling; or an HTTP API gave up after 30 "
            "seconds, as it does on a function that waits in a VPC.\n" + LOG,
        )
    if answer.status == 504:
        return Finding(
            "timeout",
            "API Gateway gave up waiting. Is the function's timeout above 29 seconds, or does it wait in a VPC without "
            "a way to Secrets Manager or the database?\n" + LOG,
        )
    return Finding(str(answer.status), f"An answer that was not expected, of {len(answer.body)} bytes.")


SAMPLE = re.compile(r'^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>(?:[^"}]|"(?:[^"\\]|\\.)*")*)\})? (?P<value>\S+)')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def samples(exposition: str) -> list[tuple[str, dict[str, str], float]]:
    """Names, labels and values, as far as this program needs them."""
    found = []
    # The format knows one end of a line; a label may hold what Python takes for others.
    for line in exposition.split("\n"):
        match = SAMPLE.match(line)
        if not match or line.startswith("#"):
            continue
        try:
            value = float(match["value"])
        except ValueError:
            continue
        found.append((match["name"], dict(LABEL.findall(match["labels"] or "")), value))
    return found


WHY = {
    "connection": "no connection to the database",
    "deadline": "no time was left",
    "timeout": "it was slower than its timeout",
    "permission": "the role may not read what it asks for",
    "syntax": "the server does not understand it",
    "undefined": "the server lacks a table, column, function or schema that it names",
    "predicate": "its predicate_query failed",
    "config": "its columns are not those of its result, or it has a mistake",
    "limit": "it gave more than a limit allows",
    "other": "the log says why",
}


def of_exposition(answer: Answer) -> Finding:
    """What an answer with status 200 means."""
    kind = answer.headers.get("content-type", "")
    text = answer.text
    is_openmetrics = kind.startswith("application/openmetrics-text")
    if not answer.is_whole or (is_openmetrics and "pg_up" in text and not text.endswith("# EOF\n")):
        return CUT_OFF
    if not kind.startswith(("application/openmetrics-text", "text/plain")) or "pg_up" not in text:
        if is_base64(text):
            return Finding(
                "base64",
                "The exposition comes as base64: a REST API without binaryMediaTypes, or something else in front, hands "
                "on what it should decode.",
            )
        return Finding("not-metrics", f"Something else answers ({kind or 'no Content-Type'}): is this the /metrics path?")
    found = samples(text)
    values = {name: value for name, labels, value in found if not labels}
    failures = {labels["query"]: labels["reason"] for name, labels, value in found if name == "pg_exporter_query_error" and value}
    skipped = {labels["query"]: labels["reason"] for name, labels, value in found if name == "pg_exporter_query_skipped" and value}
    queries = {labels["query"] for name, labels, _ in found if name.startswith("pg_exporter_query_") and "query" in labels}
    if values.get("pg_up") != 1:
        return Finding(
            "pg-up-0",
            f"The function answers in {answer.seconds:.1f} s, but has no connection to the database. The log has a line "
            '"no connection to the database" or "no credentials" with the reason: the secret, a name that cannot be '
            "resolved, a security group (timed out reaching the server), TLS, the password, pg_hba.conf, too many "
            "connections. docs/reliability.md lists them.\n" + LOG,
        )
    if queries <= set(skipped):
        lines = [f"{query}: {reason}" for query, reason in skipped.items()]
        which = "\n".join(["Every query was skipped:", *lines])
        return Finding("no-queries", which if lines else "No query ran: does collect[] or exclude[] in the URL leave any?")
    own = [name for name, _, _ in found if name.startswith("pg_exporter_") or name == "pg_up"]
    build = next((labels for name, labels, _ in found if name == "pg_exporter_build_info"), {})
    summary = (
        f"{len(found)} samples, {len(found) - len(own)} of them of {len(queries)} queries, in {answer.seconds:.2f} s"
        f"{', a cold start' if values.get('pg_exporter_cold_start') else ''}; version {build.get('version', 'unknown')}."
    )
    if failures:
        lines = [f"{query}: {reason}, {WHY.get(reason, 'the log says why')}" for query, reason in failures.items()]
        return Finding("queries-failed", "\n".join([summary, *lines, LOG]))
    if values.get("pg_exporter_last_scrape_error"):
        return Finding("scrape-error", f"{summary}\nSomething else went wrong, such as a file that cannot be read.\n{LOG}")
    return Finding("well", summary, is_well=True)


def is_base64(text: str) -> bool:
    """Whether a body is an exposition in base64, perhaps compressed."""
    try:
        decoded = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        return False
    return b"pg_up" in decoded or decoded.startswith(b"\x1f\x8b")


def verify(url: str, authorization: str | None = None, seconds: float = 28, host: str | None = None) -> Finding:
    """Scrapes once and says what it came to."""
    parts = urlsplit(url)
    try:
        answer = get(parts, authorization, seconds, host)
    except (OSError, http.client.HTTPException) as error:
        return no_answer(parts, error)
    if answer.status != 200:
        return not_ok(parts, answer, authorization is not None)
    return of_exposition(answer)


def presented(arguments: argparse.Namespace) -> str | None:
    """The Authorization header that the files give.

    Raises ValueError, which names the file and nothing in it."""
    if arguments.token_file:
        token = text_of(arguments.token_file).strip()
        # What a header cannot carry would be printed by the library that refuses it.
        if not re.fullmatch(r"[!-~]+", token):
            raise ValueError(f"{arguments.token_file}: not one token in printable ASCII")
        return f"Bearer {token}"
    if arguments.user and arguments.password_file:
        pair = f"{arguments.user}:{text_of(arguments.password_file).rstrip(chr(10))}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"
    return None


def text_of(file: Path) -> str:
    """What a file holds.

    Raises ValueError, which names the file and nothing in it."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{file}: not UTF-8") from None
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}") from None


def main(words: Sequence[str]) -> int:
    """Verifies the deployment that the command line names."""
    parser = argparse.ArgumentParser(prog="verify-deployment", description=__doc__.partition("\n\n")[0])
    parser.add_argument("url", help="what Prometheus scrapes, https://HOST/metrics")
    parser.add_argument("--token-file", type=Path, help="the bearer token, as credentials_file of Prometheus")
    parser.add_argument("--user", help="the user, as in basic_auth of Prometheus")
    parser.add_argument("--password-file", type=Path, help="the user's password")
    parser.add_argument("--timeout", type=float, default=20, help="in seconds; what scrape_timeout is")
    arguments = parser.parse_args(words)
    try:
        parts = urlsplit(arguments.url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 443) > 0
    except ValueError:
        is_good = False
    if not is_good or not re.fullmatch(r"[!-~]+", arguments.url):
        parser.error("URL must begin with https:// and be one in ASCII, with a host and a port that can be")
    if parts.username is not None or parts.password is not None:
        parser.error("URL must have no user and no password; USER_NAME and PASSWORD_FILE are for those")
    if bool(arguments.user) != bool(arguments.password_file):
        parser.error("USER_NAME and PASSWORD_FILE belong together")
    try:
        authorization = presented(arguments)
    except ValueError as error:
        parser.error(str(error))
    is_here = parts.hostname in ("localhost", "127.0.0.1", "::1") or parts.hostname.endswith(".localhost")
    if authorization and parts.scheme == "http" and not is_here:
        parser.error("URL must begin with https://, or what is presented would go in the clear")
    finding = verify(arguments.url, authorization, arguments.timeout)
    print(f"{finding.name}: {finding.text}")
    return 0 if finding.is_well else 1


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Without a traceback.
    sys.exit(main(sys.argv[1:]))
