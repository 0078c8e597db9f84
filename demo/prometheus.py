"""A Prometheus that scrapes the exporter and evaluates the rules of examples/, and its API."""

import json
import re
import shutil
import signal
import urllib.parse
from collections.abc import Sequence

import yaml

from demo.aws import CHECKOUT
from demo.endpoint import Endpoint, get
from demo.processes import Failure, Processes


RULES = [CHECKOUT / "examples" / name for name in ("recording.yml", "alerts.yml")]
# Nobody who tries it waits for the minutes of examples/alerts.yml.
LONGEST_FOR_SECONDS = 10
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}


class Prometheus:
    """A running Prometheus."""

    def __init__(
        self,
        processes: Processes,
        jobs: dict[str, Endpoint],
        interval: str = "5s",
        preferred_port: int = 0,
        alertmanager: str | None = None,
        scrape_configs: Sequence[dict] = (),
    ) -> None:
        """`scrape_configs` are further jobs, as Prometheus reads them."""
        program = shutil.which("prometheus")
        if not program:
            raise Failure("no Prometheus found: install the package prometheus")
        self._processes = processes
        folder = processes.folder / "prometheus"
        folder.mkdir()
        self.url = f"http://127.0.0.1:{processes.port(preferred_port)}"
        for file in RULES:
            (folder / file.name).write_text(json.dumps(impatient(yaml.safe_load(file.read_text()))))  # JSON is YAML.
        configuration = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "rule_files": [file.name for file in RULES],
            "scrape_configs": [*(job(name, endpoint) for name, endpoint in jobs.items()), *scrape_configs],
        }
        if alertmanager:
            targets = [{"static_configs": [{"targets": [urllib.parse.urlsplit(alertmanager).netloc]}]}]
            configuration["alerting"] = {"alertmanagers": targets}
        (folder / "prometheus.yml").write_text(json.dumps(configuration, indent=2))
        command = [program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
        command += [f"--web.listen-address={self.url.removeprefix('http://')}", "--log.level=warn"]
        processes.start("prometheus", command, stop_signal=signal.SIGTERM)
        processes.wait_for("Prometheus", self._is_ready)

    def query(self, expression: str, at: float | None = None) -> dict[tuple[tuple[str, str], ...], float]:
        """The instant vector that `expression` gives now or at this Unix time: from labels, sorted, to values."""
        time = {} if at is None else {"time": at}
        answer = self._get("/api/v1/query?" + urllib.parse.urlencode({"query": expression} | time))
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
        return {target["labels"]["job"]: target["lastError"] for target in self.targets()}

    def targets(self) -> list[dict]:
        """The targets that it scrapes, as its API has them."""
        return json.loads(self._get("/api/v1/targets?state=active"))["data"]["activeTargets"]

    def alerts(self, state: str = "firing") -> dict[str, list[dict[str, str]]]:
        """The alerts in this state: their labels, by name."""
        found: dict[str, list[dict[str, str]]] = {}
        for alert in json.loads(self._get("/api/v1/alerts"))["data"]["alerts"]:
            if alert["state"] == state:
                found.setdefault(alert["labels"]["alertname"], []).append(alert["labels"])
        return found

    def rule_errors(self) -> dict[str, str]:
        """The last error of each rule that has one."""
        groups = json.loads(self._get("/api/v1/rules"))["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return {rule["name"]: rule["lastError"] for rule in rules if rule.get("lastError")}

    def type_of(self, family: str, job: str) -> str | None:
        """The type of a family, as the job's targets have told it; None where there is none."""
        parameters = {"metric": family, "match_target": f'{{job="{job}"}}'}
        told = json.loads(self._get("/api/v1/targets/metadata?" + urllib.parse.urlencode(parameters)))["data"]
        return told[0]["type"] if told else None

    def _is_ready(self) -> bool:
        return get(f"{self.url}/-/ready").status == 200

    def _get(self, path: str) -> str:
        return get(self.url + path).text


def impatient(rules: dict) -> dict:
    """The rules as they are, but evaluated as often as Prometheus scrapes, and with short times of waiting."""
    for group in rules["groups"]:
        group.pop("interval", None)
        for rule in group["rules"]:
            if "for" in rule and seconds(rule["for"]) > LONGEST_FOR_SECONDS:
                rule["for"] = f"{LONGEST_FOR_SECONDS}s"
    return rules


def seconds(duration: str) -> int:
    """A duration of the examples, such as 1h30m, in seconds."""
    return sum(int(number) * UNIT_SECONDS[unit] for number, unit in re.findall(r"(\d+)([smh])", duration))


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
