"""A Prometheus that scrapes the exporter, and its API."""

import json
import shutil
import signal
import urllib.parse

from demo.endpoint import Endpoint, get
from demo.processes import Failure, Processes, port


class Prometheus:
    """A running Prometheus."""

    def __init__(
        self, processes: Processes, jobs: dict[str, Endpoint], interval: str = "5s", preferred_port: int = 0
    ) -> None:
        program = shutil.which("prometheus")
        if not program:
            raise Failure("no Prometheus found: install the package prometheus")
        self._processes = processes
        folder = processes.folder / "prometheus"
        folder.mkdir()
        self.url = f"http://127.0.0.1:{port(preferred_port)}"
        configuration = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval},
            "scrape_configs": [job(name, endpoint) for name, endpoint in jobs.items()],
        }
        (folder / "prometheus.yml").write_text(json.dumps(configuration, indent=2))  # JSON is YAML.
        command = [program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
        command += [f"--web.listen-address={self.url.removeprefix('http://')}", "--log.level=warn"]
        processes.start("prometheus", command, stop_signal=signal.SIGTERM)
        processes.wait_for("Prometheus", self._is_ready)

    def query(self, expression: str) -> dict[tuple[tuple[str, str], ...], float]:
        """The instant vector that `expression` gives now: from labels, sorted, to values."""
        answer = self._get("/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        result = json.loads(answer)["data"]["result"]
        return {tuple(sorted(series["metric"].items())): float(series["value"][1]) for series in result}

    def value(self, expression: str) -> float | None:
        """The value of the one series that `expression` gives; None where it gives none."""
        values = list(self.query(expression).values())
        if len(values) > 1:
            raise Failure(f"{expression}: {len(values)} series where one was expected")
        return values[0] if values else None

    def wait_for_job(self, job: str) -> None:
        """Waits until the target of this job has been scraped and was up."""
        try:
            self._processes.wait_for(f"a scrape of {job}", lambda: self.query(f'up{{job="{job}"}} == 1'), 20)
        except Failure as failure:
            raise Failure(f"{failure}: {self.target_errors()[job]}") from failure

    def target_errors(self) -> dict[str, str]:
        """Why the last scrape of each job failed; empty text where it did not."""
        targets = json.loads(self._get("/api/v1/targets"))["data"]["activeTargets"]
        return {target["labels"]["job"]: target["lastError"] for target in targets}

    def type_of(self, family: str, job: str) -> str | None:
        """The type of a family, as the job's targets have told it; None where there is none."""
        parameters = {"metric": family, "match_target": f'{{job="{job}"}}'}
        told = json.loads(self._get("/api/v1/targets/metadata?" + urllib.parse.urlencode(parameters)))["data"]
        return told[0]["type"] if told else None

    def _is_ready(self) -> bool:
        return get(f"{self.url}/-/ready").status == 200

    def _get(self, path: str) -> str:
        return get(self.url + path).text


def job(name: str, endpoint: Endpoint) -> dict:
    """The part of the configuration that scrapes `endpoint`. Its instance is named as people know it."""
    address = urllib.parse.urlsplit(endpoint.address)
    instance = urllib.parse.urlsplit(endpoint.url).netloc
    return {
        "job_name": name,
        "scheme": address.scheme,
        "metrics_path": f"{address.path}/metrics",
        "static_configs": [{"targets": [address.netloc], "labels": {"instance": instance}}],
    }
