"""cargo-lambda's emulator of Lambda: for people who change the code, and for the package as it is."""

import json
import os
import socket
import zipfile

from demo.aws import CHECKOUT, CREDENTIALS, FUNCTION, PACKAGES
from demo.endpoint import Endpoint
from demo.processes import Child, Processes


def watch_command(watch_port: int) -> list[str]:
    """The emulator that builds the function from this checkout, and again after each change."""
    address = ["--invoke-address", "127.0.0.1", "--invoke-port", str(watch_port)]
    # `cargo run` starts the function by this, which says when, and as which process. RUST_LOG is cargo-lambda's own.
    script = 'echo "$$ ${QUERIES_FILE:-}" >"$FUNCTION_STARTED" && export RUST_LOG="$FUNCTION_LOG" && exec "$0" "$@"'
    runner = ["sh", "-c", script]
    return ["cargo", "lambda", "watch", "--config", f"target.'cfg(all())'.runner={json.dumps(runner)}", *address]


def run_package(
    processes: Processes, function_environment: dict[str, str], name: str = "function"
) -> tuple[Endpoint, Child]:
    """Starts an emulator and the function of the package in it, which is the process `name`."""
    emulator_port = processes.port()
    address = ["--invoke-address", "127.0.0.1", "--invoke-port", str(emulator_port)]
    command = ["cargo", "lambda", "watch", "--only-lambda-apis", *address]
    processes.start(f"{name}-emulator", command, cwd=CHECKOUT)
    emulator = f"http://127.0.0.1:{emulator_port}"
    processes.wait_for("cargo-lambda's emulator", lambda: listens(emulator_port))
    folder = processes.folder / name
    with zipfile.ZipFile(PACKAGES / FUNCTION / "bootstrap.zip") as package:
        package.extractall(folder)
    (folder / "bootstrap").chmod(0o755)
    environment = CREDENTIALS | function_environment
    environment |= {
        "PATH": os.environ["PATH"],
        "LAMBDA_TASK_ROOT": str(folder),
        "AWS_LAMBDA_FUNCTION_NAME": FUNCTION,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_RUNTIME_API": f"{emulator}/.rt/{FUNCTION}",
    }
    function = processes.start(name, [folder / "bootstrap"], environment, folder)
    url = f"{emulator}/lambda-url/{FUNCTION}"
    return Endpoint(url, url), function


def listens(emulator_port: int) -> bool:
    """Whether the emulator accepts connections. Any request to it would be an invocation."""
    socket.create_connection(("127.0.0.1", emulator_port), timeout=5).close()
    return True
