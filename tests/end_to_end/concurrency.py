"""Lambda with a reserved concurrency, behind a function URL: an execution environment serves one request at a time, and a
request that finds none idle is throttled. Each environment is a process of the package."""

import base64
import contextlib
import json
import os
import queue
import random
import re
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from between import Forwarder, serving

from demo.aws import CHECKOUT, CREDENTIALS
from demo.processes import Child, Processes

EVENT = json.loads((CHECKOUT / "tests" / "events" / "function-url.json").read_text())
TIMEOUT_SECONDS = 29
"""The function's timeout in the templates."""
THROTTLED = b'{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}'


class Environment:
    """An execution environment: what it is asked, and what it answers."""

    def __init__(self) -> None:
        self.events: queue.Queue[dict] = queue.Queue()
        self.answers: queue.Queue[dict] = queue.Queue()
        self.process: Child

    def anonymous_kilobytes(self) -> int:
        """Its memory without what it shares with others, such as the program's file."""
        status = Path(f"/proc/{self.process.process.pid}/status").read_text()
        return int(re.search(r"^RssAnon:\s+(\d+) kB$", status, re.M)[1])

    def connections(self, ports: set[int]) -> int:
        """Its TCP connections to these ports of 127.0.0.1."""
        process = Path(f"/proc/{self.process.process.pid}")
        links = [os.readlink(link) for link in (process / "fd").iterdir()]
        sockets = {link.removeprefix("socket:[").rstrip("]") for link in links if link.startswith("socket:")}
        rows = [line.split() for line in (process / "net" / "tcp").read_text().splitlines()[1:]]
        established = "01"
        return sum(row[9] in sockets and row[3] == established and int(row[2].split(":")[1], 16) in ports for row in rows)


class Function:
    """The function, its environments and what they were asked."""

    def __init__(self, environments: int) -> None:
        self.environments = [Environment() for _ in range(environments)]
        self.idle = list(self.environments)
        self.invocations = self.throttled = self.most_busy = 0
        self.lock = threading.Lock()

    def invoke(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """The status, the headers and the body that a request gets."""
        with self.lock:
            if not self.idle:
                self.throttled += 1
                return 429, {"Content-Type": "application/json"}, THROTTLED
            self.invocations += 1
            # Any of them, so that no environment knows a target better than another.
            environment = self.idle.pop(random.randrange(len(self.idle)))
            self.most_busy = max(self.most_busy, len(self.environments) - len(self.idle))
        environment.events.put(event(path, headers))
        answer = environment.answers.get(timeout=TIMEOUT_SECONDS + 10)
        with self.lock:
            self.idle.append(environment)
        body = answer["body"].encode()
        return answer["statusCode"], answer["headers"], base64.b64decode(body) if answer["isBase64Encoded"] else body

    def reset(self) -> None:
        """Counts from now on."""
        with self.lock:
            self.invocations = self.throttled = self.most_busy = 0


def event(path: str, headers: dict[str, str]) -> dict:
    """The event of a request at a function URL."""
    raw_path, _, query = path.partition("?")
    lower = {name.lower(): value for name, value in headers.items()}
    context = EVENT["requestContext"]
    http = context["http"] | {"path": raw_path}
    more = {"rawPath": raw_path, "rawQueryString": query, "requestContext": context | {"http": http}}
    return EVENT | more | {"headers": lower | {"x-forwarded-proto": "http"}}


@contextlib.contextmanager
def reserved(running: Processes, folder: Path, variables: dict[str, str], concurrency: int) -> Iterator[tuple[str, Function]]:
    """The function of the package in `folder` with so many environments, and its address."""
    function = Function(concurrency)

    class Url(Forwarder):
        def do_GET(self) -> None:
            self.answer(*function.invoke(self.path, dict(self.headers)))

    class RuntimeApi(Forwarder):
        """AWS Lambda, "Using the Lambda runtime API". Paths begin with the number of the environment."""

        def do_GET(self) -> None:
            event = self.environment().events.get()
            deadline = int((time.time() + TIMEOUT_SECONDS) * 1000)
            headers = {"Aws-Request-Id": str(uuid.uuid4()), "Deadline-Ms": str(deadline)}
            headers |= {"Invoked-Function-Arn": "arn:aws:lambda:eu-central-1:123456789012:function:f"}
            named = {f"Lambda-Runtime-{name}": value for name, value in headers.items()}
            self.answer(200, named, json.dumps(event).encode())

        def do_POST(self) -> None:
            body = self.body()
            if "/runtime/invocation/" not in self.path:
                # No extensions.
                self.answer(404, {}, b"")
                return
            self.answer(202, {}, b"")
            self.environment().answers.put(json.loads(body))

        def environment(self) -> Environment:
            return function.environments[int(self.path.split("/")[1])]

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

    with serving(RuntimeApi) as runtime_api, serving(Url) as url:
        for number, environment in enumerate(function.environments):
            own = {
                "PATH": os.environ["PATH"],
                "LAMBDA_TASK_ROOT": str(folder),
                "AWS_LAMBDA_FUNCTION_NAME": "f",
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
                "AWS_LAMBDA_RUNTIME_API": f"http://127.0.0.1:{runtime_api}/{number}",
            }
            name = f"environment-{concurrency}-{number}"
            environment.process = running.start(name, [folder / "bootstrap"], CREDENTIALS | variables | own, folder)
        try:
            yield f"127.0.0.1:{url}", function
        finally:
            for environment in function.environments:
                running.stop(environment.process)
                # What waits for an event is answered, and ends.
                environment.events.put({})
