"""An Alertmanager with the configuration of examples/, and its API."""

import json
import shutil
import signal

import yaml

from demo.aws import CHECKOUT
from demo.endpoint import get
from demo.processes import Failure, Processes

CONFIGURATION = CHECKOUT / "examples" / "alertmanager.yml"


class Alertmanager:
    """A running Alertmanager. It notifies `webhooks`, each receiver at its own name as the path."""

    def __init__(self, processes: Processes, webhooks: str) -> None:
        # Debian's name, and everybody else's.
        program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
        if not program:
            raise Failure("no Alertmanager found: install the package prometheus-alertmanager")
        folder = processes.folder / "alertmanager"
        folder.mkdir()
        self.url = f"http://127.0.0.1:{processes.port()}"
        configuration = impatient(yaml.safe_load(CONFIGURATION.read_text()))
        for receiver in configuration["receivers"]:
            for webhook in receiver["webhook_configs"]:
                webhook["url"] = f"{webhooks}/{receiver['name']}"
        (folder / "alertmanager.yml").write_text(json.dumps(configuration, indent=2))  # JSON is YAML.
        command = [program, f"--config.file={folder / 'alertmanager.yml'}", f"--storage.path={folder / 'data'}"]
        command += [f"--web.listen-address={self.url.removeprefix('http://')}", "--cluster.listen-address="]
        processes.start("alertmanager", [*command, "--log.level=warn"], stop_signal=signal.SIGTERM)
        processes.wait_for("Alertmanager", lambda: get(f"{self.url}/-/ready").status == 200)

    def alerts(self) -> list[dict]:
        """The alerts that it has, with their labels, annotations, receivers and status."""
        return json.loads(get(f"{self.url}/api/v2/alerts").text)


def impatient(configuration: dict) -> dict:
    """The configuration as it is, but without waiting for more alerts of a group."""
    configuration["route"] |= {"group_wait": "0s", "group_interval": "1s"}
    return configuration
