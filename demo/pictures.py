"""`make pictures`: the pictures of docs/pictures/, of the landing page and of expressions of the dashboards as Prometheus
draws them, by Chromium."""

import json
import os
import shutil
import urllib.parse

from demo.aws import CHECKOUT, FUNCTION, SECRET, Aws
from demo.postgres import Postgres
from demo.processes import Failure, Processes, until_stopped
from demo.prometheus import Prometheus

PICTURES = CHECKOUT / "docs" / "pictures"
DASHBOARDS = CHECKOUT / "examples" / "grafana" / "dashboards"
MINUTES = 4
# A dashboard, one of its panels, and whether Prometheus stacks its series.
GRAPHS = {
    "transactions": ("server", "Transactions", False),
    "connections": ("server", "Connections by state", True),
    "wait-for-a-lock": ("server", "Longest wait for a lock", False),
}


def main() -> None:
    """Makes the pictures."""
    until_stopped("make pictures", make)


def make(running: Processes) -> None:
    """Runs what `make run PROMETHEUS=1` does until there is something to see."""
    if not shutil.which("chromium"):
        raise Failure("no Chromium found: install the package chromium")
    postgres = Postgres(running)
    postgres.keep_busy()
    aws = Aws(running)
    endpoint = aws.http_api(aws.deploy(aws.put_secret(SECRET, postgres.secret())))
    prometheus = Prometheus(running, {FUNCTION: endpoint})
    prometheus.wait_for_job(FUNCTION)
    print(f"Recording for {MINUTES} minutes ...", flush=True)
    # The first half without troubles, so that they begin in the pictures.
    wait_for_samples(running, prometheus, MINUTES * 30)
    postgres.go_wrong()
    wait_for_samples(running, prometheus, MINUTES * 60)
    PICTURES.mkdir(exist_ok=True)
    take(running, "landing-page", f"{endpoint.address}/", "1000,640")
    for name, (page, title, stacked) in GRAPHS.items():
        graph = {
            "g0.expr": expression(page, title),
            "g0.tab": "0",
            "g0.stacked": "1" if stacked else "0",
            "g0.range_input": f"{MINUTES}m",
        }
        take(running, name, f"{prometheus.url}/graph?{urllib.parse.urlencode(graph)}", "1000,760")


def wait_for_samples(running: Processes, prometheus: Prometheus, seconds: int) -> None:
    """Waits until Prometheus has what it scrapes in these seconds."""
    covered = f"max(timestamp(pg_up) - min_over_time(timestamp(pg_up)[1h:5s])) >= {seconds}"
    running.wait_for("samples", lambda: prometheus.query(covered), seconds * 4)


def expression(page: str, title: str) -> str:
    """The first expression of a panel, with the values of the demo for Grafana's variables."""
    model = json.loads((DASHBOARDS / f"{page}.json").read_text())
    panels = [inner for panel in model["panels"] for inner in (panel, *panel.get("panels", []))]
    [panel] = [panel for panel in panels if panel["title"] == title and panel["type"] != "row"]
    asked = panel["targets"][0]["expr"]
    for variable, value in {"$__rate_interval": "30s", "$job": FUNCTION, "$instance": ".+"}.items():
        asked = asked.replace(variable, value)
    return asked


def take(running: Processes, name: str, url: str, size: str) -> None:
    """A picture of a page."""
    picture = PICTURES / f"{name}.png"
    # Its sandbox is not for root. The pages are the demo's own.
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={running.folder / 'chromium'}", f"--window-size={size}", "--virtual-time-budget=20000"]
    answer = running.run([*command, f"--screenshot={picture}", url], dict(os.environ), CHECKOUT)
    if answer.returncode or not picture.exists():
        raise Failure(f"chromium: {answer.stderr.strip()}")
    print(f"{picture.relative_to(CHECKOUT)}: {picture.stat().st_size // 1000} KB", flush=True)
