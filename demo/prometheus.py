"""A Prometheus that scrapes the exporter, and its API."""

import json
import shutil
import signal
import urllib.parse
import urllib.request
from dataclasses import dataclass

from demo.processes import Failure, Processes, port


@dataclass(frozen=True)
class Job:
    """What to scrape. The targets' names need no resolver where the requests go through a proxy."""

    name: str
    url: str
    proxy: str | None = None

    def configuration(self) -> dict:
        """The job's part of Prometheus's configuration."""
        parts = urllib.parse.urlsplit(self.url)
        configuration = {
            "job_name": self.name,
            "scheme": parts.scheme,
            "metrics_path": parts.path,
            "static_configs": [{"targets": [parts.netloc]}],
        }
        return configuration | ({"proxy_url": self.proxy} if self.proxy else {})


class Prometheus:
    """A running Prometheus."""

    def __init__(self, processes: Processes, jobs: list[Job], interval: str = "5s", preferred_port: int = 0) -> None:
        program = shutil.which("prometheus")
        if not program:
            raise Failure("no Prometheus found: install the package prometheus")
        folder = processes.folder / "prometheus"
        folder.mkdir()
        self.url = f"http://127.0.0.1:{port(preferred_port)}"
        configuration = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval},
            "scrape_configs": [job.configuration() for job in jobs],
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

    def target_errors(self) -> dict[str, str]:
        """Why the last scrape of each job failed; empty text where it did not."""
        targets = json.loads(self._get("/api/v1/targets"))["data"]["activeTargets"]
        return {target["labels"]["job"]: target["lastError"] for target in targets}

    def _is_ready(self) -> bool:
        return bool(self._get("/-/ready"))

    def _get(self, path: str) -> str:
        direct = urllib.request.ProxyHandler({})
        with urllib.request.build_opener(direct).open(self.url + path, timeout=10) as answer:
            return answer.read().decode()
