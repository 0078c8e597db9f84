"""`make invoke`: sends a recorded event to the function of a running `make watch` and prints the answer's body."""

import base64
import gzip
import json
import subprocess
import sys
import time

from demo.emulator import listens
from demo.processes import Failure, port_setting
from demo.watch import function

NOTICE_SECONDS = 15
"""How long cargo-lambda may take to notice a change."""


def main() -> None:
    """Prints what the function answers to the event in the file that the command line names."""
    (event,) = sys.argv[1:]
    try:
        sys.stdout.write(body(answer(event, port_setting("WATCH_PORT", 9000))))
    except Failure as failure:
        sys.exit(f"make invoke: {failure}")


def answer(event: str, watch_port: int) -> dict:
    """The response of a function that has the queries and the code of now."""
    for _ in range(10):
        wait_until_a_change_is_noticed(watch_port)
        response = invoke(event, watch_port)
        asked = function(watch_port)
        if asked is None:
            print("make invoke: not the function of a `make watch`: its queries may be old", file=sys.stderr)
        if response and not (asked and asked.change()):
            return response
    raise Failure("the function ends before it answers; see what `make watch` prints")


def wait_until_a_change_is_noticed(watch_port: int) -> None:
    """A function whose files have changed is ended by cargo-lambda, with the request that it is at. The next request
    starts a new one."""
    deadline = time.monotonic() + NOTICE_SECONDS
    while (asked := function(watch_port)) and asked.is_running() and (change := asked.change()):
        if time.monotonic() > deadline:
            raise Failure(f"{change} has changed, and the function is still the one of before. Restart `make watch`")
        time.sleep(0.1)


def invoke(event: str, watch_port: int) -> dict | None:
    """The function's response, as it would go to API Gateway; None where the function was ended before it answered."""
    try:
        listens(watch_port)
    except OSError:
        raise Failure(f"nothing listens on port {watch_port}. Start `make watch` in another terminal first") from None
    address = ["--invoke-address", "127.0.0.1", "--invoke-port", str(watch_port)]
    command = ["cargo", "lambda", "invoke", *address, "--data-file", event, "--output-format", "json"]
    # The one that gets the event, unless it has ended already: then that is the next one.
    ended = function(watch_port)
    if ended and ended.is_running():
        ended = None
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as asking:
        is_told = False
        while True:
            try:
                output, errors = asking.communicate(timeout=2)
                break
            except subprocess.TimeoutExpired:
                if not is_told:
                    print("make invoke: waiting for the function; `make watch` shows its build", file=sys.stderr)
                is_told = True
                asked = function(watch_port)
                if asked and asked != ended and not asked.is_running():
                    asking.kill()
                    return None
    if asking.returncode:
        raise Failure(f"cargo lambda invoke: {errors.strip()}")
    response = json.loads(output)
    if "body" not in response:
        raise Failure(f"the function failed: {output.strip()}")
    return response


def body(response: dict) -> str:
    """The text of a response, whichever way it is packed."""
    if not response.get("isBase64Encoded"):
        return response["body"]
    packed = base64.b64decode(response["body"])
    headers = {name.lower(): value for name, value in response["headers"].items()}
    return (gzip.decompress(packed) if headers.get("content-encoding") == "gzip" else packed).decode()
