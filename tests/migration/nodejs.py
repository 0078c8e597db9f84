"""A handler in Node.js, as Lambda runs it: warm from one invocation to the next."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from demo.aws import CHECKOUT
from demo.processes import Failure

NODE = CHECKOUT / ".tools" / "nodejs" / "node_modules" / ".bin" / "node"
MODULES = CHECKOUT / ".tools" / "node" / "node_modules"
EVENT = CHECKOUT / "tests" / "events" / "http-api.json"
RUNTIME = Path(__file__).parent / "invoke.js"


class NodeJs:
    """One execution environment."""

    def __init__(self, folder: Path, files: Mapping[str, str], environment: Mapping[str, str]) -> None:
        if not NODE.exists() or not MODULES.is_dir():
            raise Failure("no Node.js, or not its modules: `make .tools/node/installed` installs both")
        for name, text in files.items():
            (folder / name).write_text(text)
        self._process = subprocess.Popen(
            [NODE, RUNTIME, folder / "index.js"],
            env={**environment, "LAMBDA_TASK_ROOT": str(folder), "NODE_PATH": str(MODULES)},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def invoke(self) -> dict:
        """What the handler answers to API Gateway."""
        event = json.dumps(json.loads(EVENT.read_text()))
        print(event, file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise Failure(f"Node.js ended with {self._process.wait()}, and what it has written to standard error")
        answer = json.loads(line)
        if "failed" in answer:
            raise Failure(answer["failed"])
        return answer

    def exposition(self) -> str:
        """That of an invocation that went well."""
        answer = self.invoke()
        assert (answer["statusCode"], answer["headers"]["Content-Type"].split(";")[0]) == (200, "text/plain"), answer
        return answer["body"]

    def stop(self) -> None:
        """Ends the environment."""
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()
