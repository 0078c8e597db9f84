"""`make invoke`: sends a recorded event to the function of a running `make watch` and prints the answer's body."""

import base64
import gzip
import json
import subprocess
import sys

from demo.emulator import listens
from demo.processes import Failure, port_setting


def main(event: str) -> None:
    """Prints what the function answers to the event in the file `event`."""
    try:
        sys.stdout.write(body(invoke(event, port_setting("WATCH_PORT", 9000))))
    except Failure as failure:
        sys.exit(f"make invoke: {failure}")


def invoke(event: str, watch_port: int) -> dict:
    """The function's response, as it would go to API Gateway."""
    try:
        listens(watch_port)
    except OSError:
        raise Failure(f"nothing listens on port {watch_port}. Start `make watch` in another terminal first") from None
    address = ["--invoke-address", "127.0.0.1", "--invoke-port", str(watch_port)]
    command = ["cargo", "lambda", "invoke", *address, "--data-file", event, "--output-format", "json"]
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if answer.returncode:
        raise Failure(f"cargo lambda invoke: {answer.stderr.strip()}")
    response = json.loads(answer.stdout)
    if "body" not in response:
        raise Failure(f"the function failed: {answer.stdout.strip()}")
    return response


def body(response: dict) -> str:
    """The text of a response, whichever way it is packed."""
    if not response.get("isBase64Encoded"):
        return response["body"]
    packed = base64.b64decode(response["body"])
    headers = {name.lower(): value for name, value in response["headers"].items()}
    return (gzip.decompress(packed) if headers.get("content-encoding") == "gzip" else packed).decode()


if __name__ == "__main__":
    main(sys.argv[1])
