"""Many databases in one function, as docs/targets.md sets them up: its files, its jobs and its policy, with a real Prometheus,
and API Gateway, Lambda and Secrets Manager of the stand-in."""

import dataclasses
import fnmatch
import json
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import leaks
import pytest
import yaml
from between import Internet, Relay

from demo.aws import CHECKOUT, FUNCTION, PACKAGES, Aws
from demo.endpoint import Answer, Endpoint
from demo.postgres import Postgres
from demo.processes import Processes, processes
from demo.prometheus import Prometheus

PAGE = (CHECKOUT / "docs" / "targets.md").read_text()
SNIPPETS = re.findall(r"^```(\S+(?: \S+)?)\n(.*?)^```$", PAGE, re.M | re.S)
TOKEN = "targets-9fK2.x~3_Q"
TAG = {"Key": "metrics", "Value": "yes"}
DISCOVERED = ["ledger", "orders", "shop"]
RULE = {"TARGETS_TAG": "metrics=yes", "TARGETS_PREFIX": "prod/"}
INTERVAL = "10s"
PATIENCE_SECONDS = 150


def snippet(kind: str, part: str) -> str:
    """The one snippet of the page of this kind that has this part."""
    [text] = [text for language, text in SNIPPETS if language == kind and part in text]
    return text


QUERY = snippet("yaml", "target_databases:")
FILE = snippet("yaml targets", "archive:")
POLICY = json.loads(snippet("json", "secretsmanager:ListSecrets"))
EXAMPLE = {
    job["job_name"].removeprefix(f"{FUNCTION}-"): job
    for job in yaml.safe_load((CHECKOUT / "examples" / "prometheus.yml").read_text())["scrape_configs"]
}
TARGETS = {name: target for name, target in yaml.safe_load(FILE).items() if not name.startswith("x-")}


@dataclasses.dataclass
class World:
    """What the tests share."""

    running: Processes
    aws: Aws
    postgres: Postgres
    relay: Relay
    prometheus: Prometheus
    endpoints: dict[str, Endpoint]

    def instances(self, job: str) -> dict[str, dict]:
        """The targets of a job, by their instances."""
        return {it["labels"]["instance"]: it for it in self.prometheus.targets() if it["labels"]["job"] == job}

    def by_instance(self, expression: str) -> dict[str, float]:
        return {dict(labels)["instance"]: value for labels, value in self.prometheus.query(expression).items()}

    def wait_until_up(self, job: str, names: list[str]) -> None:
        def all_are_up() -> bool:
            return self.by_instance(f'up{{job="{job}"}} == 1 and pg_up == 1').keys() == set(names)

        try:
            self.running.wait_for(f"{names} of {job}", all_are_up, PATIENCE_SECONDS)
        except Exception as error:
            found = {name: target["lastError"] for name, target in self.instances(job).items()}
            raise AssertionError(f"{job}: {found}; {self.aws.function_log(f'/aws/lambda/{job}')[-2000:]}") from error

    def put(self, name: str, database: str, *tags: dict[str, str]) -> None:
        """Makes a secret that leads to a database of its own."""
        add_database(self.postgres, database)
        value = json.dumps(self.postgres.secret() | {"dbname": database})
        self.aws.client("secretsmanager").create_secret(Name=name, SecretString=value, Tags=list(tags))

    def get(self, job: str, path: str, token: str | None = TOKEN) -> Answer:
        return self.endpoints[job].get(path, **({"Authorization": f"Bearer {token}"} if token else {}))


def add_database(postgres: Postgres, name: str) -> None:
    """A database with a table that no other one has."""
    postgres.sql(f"CREATE DATABASE {name}", "postgres")
    postgres.sql(f"CREATE TABLE only_{name} AS SELECT 1 AS v; ANALYZE", name)


def package(path: Path, **files: str) -> bytes:
    """The package with further files, or with others."""
    with zipfile.ZipFile(PACKAGES / FUNCTION / "bootstrap.zip") as built, zipfile.ZipFile(path, "w") as own:
        for entry in built.infolist():
            if entry.filename.partition(".")[0] not in files:
                own.writestr(entry, built.read(entry), zipfile.ZIP_DEFLATED, 1)
        for name, text in files.items():
            own.writestr(f"{name}.yml", text)
    return path.read_bytes()


def own_job(job: dict, name: str, api: str, proxy: str, authority: Path, token: Path) -> dict:
    """A job as it is written, with this API, token and authority, and less patience."""
    text = re.sub(r"\w+(?=\.execute-api\.)", api, json.dumps(job))
    job = json.loads(text.replace("/etc/prometheus/pg-lambda-exporter.token", str(token)))
    reached = {"proxy_url": proxy, "tls_config": {"ca_file": str(authority)}}
    for discovery in job.get("http_sd_configs", []):
        discovery |= reached | {"refresh_interval": "2s"}
    return job | reached | {"job_name": name, "scrape_interval": INTERVAL, "scrape_timeout": INTERVAL}


@pytest.fixture(scope="module")
def world(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("targets")
    folder.chmod(0o755)
    (folder / "token").write_text(TOKEN)
    leaks.register(TOKEN)
    relay, internet = Relay(aws.port), Internet(folder, aws.port)
    with processes() as running, relay.running() as aws_url, internet.running() as proxy:
        # Each environment that the stand-in starts keeps a connection for each target.
        postgres = Postgres(running, max_connections=300)
        leaks.register(postgres.password)
        world = World(running, aws, postgres, relay, None, {})
        aws.client("secretsmanager").create_secret(Name="exporter/scrape", SecretString=TOKEN)
        for name in DISCOVERED:
            world.put(f"prod/{name}", f"discovered_{name}", {"Key": "team", "Value": "a"}, TAG)
        world.put("prod/untagged", "untagged")
        for name, target in TARGETS.items():
            world.put(target["secret"], f"file_{name}")
        for name in ("shop_eu", "shop_us"):
            add_database(postgres, name)
            postgres.sql("CREATE TABLE orders AS SELECT 'paid' AS state FROM generate_series(1, 3)", name)
            postgres.sql(f"GRANT SELECT ON orders TO {postgres.role}", name)
        add_database(postgres, "elsewhere")

        common = {"AUTH_SECRET_ID": "exporter/scrape", "AWS_ENDPOINT_URL": aws_url}
        queries = (CHECKOUT / "queries.yml").read_text() + QUERY
        functions = {
            "discovery": (RULE, {}),
            "file": ({}, {"targets": FILE}),
            "databases": ({"DB_SECRET_ID": "prod/untagged"}, {"queries": queries}),
        }
        for name, (variables, files) in functions.items():
            function = aws.create_function(name, common | variables, package(folder / f"{name}.zip", **files))
            world.endpoints[name] = aws.http_api(function)
        single = EXAMPLE[FUNCTION] | {"static_configs": EXAMPLE[FUNCTION]["static_configs"][:1]}
        page = yaml.safe_load(snippet("yaml", "http_sd_configs:"))["scrape_configs"][0]
        classic_of_page = yaml.safe_load(snippet("yaml", "metrics_path: /probe"))["scrape_configs"][0]
        jobs = {
            "discovery": EXAMPLE["targets"],
            "file": page,
            "file-classic": EXAMPLE["probe"],
            "page-classic": classic_of_page,
            "databases": single,
        }
        configs = [
            own_job(job, name, world.endpoints[name.replace("page", "file").removesuffix("-classic")].address.split("/")[-2], proxy,
                    internet.authority, folder / "token")
            for name, job in jobs.items()
        ]
        world.prometheus = Prometheus(running, {}, interval=INTERVAL, scrape_configs=configs)
        yield world
        for name in functions:
            leaks.check(f"the log of {name}", aws.function_log(f"/aws/lambda/{name}"))
        leaks.check_logs(running.folder)


def test_prometheus_finds_the_tagged_secrets_and_scrapes_each(world: World) -> None:
    names = [f"prod/{name}" for name in DISCOVERED]
    world.wait_until_up("discovery", names)
    found = world.instances("discovery")
    assert sorted(found) == names
    for name, target in found.items():
        assert target["scrapeUrl"].startswith("https://") and ".amazonaws.com:443/probe?target=prod%2F" in target["scrapeUrl"]
        assert target["labels"] == {"instance": name, "job": "discovery"}
        # Its own database's, and nobody else's.
        tables = world.prometheus.query(f'pg_stat_user_tables_live_rows{{job="discovery",instance="{name}"}}')
        assert [dict(labels)["relname"] for labels in tables] == [f"only_discovered_{name.removeprefix('prod/')}"]
        assert world.prometheus.value(f'count({{job="discovery",instance="{name}"}})') > 50


def test_a_file_of_ten_targets_is_scraped_with_its_labels(world: World) -> None:
    assert len(TARGETS) == 10
    world.wait_until_up("file", list(TARGETS))
    world.wait_until_up("file-classic", EXAMPLE["probe"]["static_configs"][0]["targets"])
    for name, target in TARGETS.items():
        labels = {"job": "file", "instance": name} | target["labels"]
        assert world.instances("file")[name]["labels"] == labels
        tables = world.prometheus.query(f'pg_stat_user_tables_live_rows{{job="file",instance="{name}"}}')
        [series] = map(dict, tables)
        assert series["relname"] == f"only_file_{name}"
        assert labels.items() <= series.items()
        [up] = map(dict, world.prometheus.query(f'up{{job="file",instance="{name}"}}'))
        assert labels.items() <= up.items()
    # The page's other job has a list of names too.
    world.wait_until_up("page-classic", ["ledger", "reports", "shop"])


def test_a_query_runs_in_each_of_the_databases_of_a_server(world: World) -> None:
    totals = 'app_orders_total{job="databases"}'
    found = world.running.wait_for("the orders", lambda: world.prometheus.query(totals), PATIENCE_SECONDS)
    by_database = {dict(labels)["datname"]: (dict(labels)["state"], value) for labels, value in found.items()}
    assert by_database["shop_eu"] == by_database["shop_us"] == ("paid", 3)
    # `shop*` is the demonstration's own too.
    assert by_database.keys() == {"shop_eu", "shop_us", "shop"}
    succeeded = 'pg_exporter_query_success{job="databases",query="app_orders"}'
    assert {dict(labels)["database"] for labels in world.prometheus.query(f"{succeeded} == 1")} >= {"shop_eu", "shop_us"}


@pytest.mark.parametrize("job", ["discovery", "file"])
@pytest.mark.parametrize("path", ["/targets", "/probe?target={}", "/"])
def test_authorization_is_in_front(world: World, job: str, path: str) -> None:
    path = path.format("prod%2Fshop" if job == "discovery" else next(iter(TARGETS)))
    for token in (None, "targets-9fK2.x~3_", world.postgres.password):
        assert world.get(job, path, token).status == 401
    assert world.get(job, path).status == 200


def test_a_target_is_a_known_name_only(world: World) -> None:
    for name in ("prod%2Funtagged", "exporter%2Fscrape", "127.0.0.1"):
        answer = world.get("discovery", f"/probe?target={name}")
        assert answer.status == 404 and "prod/ledger, prod/orders, prod/shop" in answer.text, answer.text


def test_the_policy_of_the_page_allows_what_discovery_asks_and_nothing_more(world: World) -> None:
    world.wait_until_up("discovery", [f"prod/{name}" for name in DISCOVERED])
    secrets = {it["ARN"]: it for it in world.aws.client("secretsmanager").list_secrets(MaxResults=100)["SecretList"]}

    def is_allowed(statement: dict, action: str, resource: str) -> bool:
        tags = {f"secretsmanager:ResourceTag/{tag['Key']}": tag["Value"] for tag in secrets.get(resource, {}).get("Tags", [])}
        condition = statement.get("Condition", {}).get("StringEquals", {})
        pattern = statement["Resource"].replace("123456789012", "000000000000")
        is_named = action == statement["Action"] and fnmatch.fnmatchcase(resource, pattern)
        return is_named and condition.items() <= tags.items()

    own = {f"prod/{name}" for name in DISCOVERED}
    used = set()
    for call in world.relay.calls:
        resource = call.parameters.get("SecretId", "*")
        name = secrets.get(resource, {}).get("Name", resource)
        # The other functions' secrets, and the authorization's, are in other statements.
        if resource == "*" or name in own:
            allowing = [index for index, it in enumerate(POLICY["Statement"]) if is_allowed(it, f"secretsmanager:{call.action}", resource)]
            assert allowing, call
            used |= set(allowing)
    assert used == set(range(len(POLICY["Statement"])))
    allowed = {it["Name"] for arn, it in secrets.items() if is_allowed(POLICY["Statement"][1], "secretsmanager:GetSecretValue", arn)}
    assert allowed == own


@pytest.mark.parametrize("answer", [(500, '{"__type": "InternalServiceError"}'), (200, '{"SecretList": []}')])
def test_prometheus_keeps_its_targets_while_the_secrets_cannot_be_listed(world: World, answer: tuple[int, str]) -> None:
    names = [f"prod/{name}" for name in DISCOVERED]
    world.wait_until_up("discovery", names)

    def keeps(seconds: float = 5) -> None:
        """It asks for the list every two seconds."""
        begun = time.monotonic()
        while time.monotonic() < begun + seconds:
            assert sorted(world.instances("discovery")) == names
            time.sleep(0.2)

    try:
        world.relay.lists = answer
        before = len(world.relay.calls)
        world.running.wait_for(
            "a list that fails", lambda: any(call.action == "ListSecrets" for call in world.relay.calls[before:])
        )
        # The function keeps its list.
        assert len(json.loads(world.get("discovery", "/targets").text)) == len(names)
        keeps()
        assert world.by_instance('up{job="discovery"} == 1').keys() == set(names)
        # An environment without a list says so, and Prometheus keeps the targets that it has.
        variables = world.aws.client("lambda").get_function_configuration(FunctionName="discovery")["Environment"]["Variables"]
        world.aws.client("lambda").update_function_configuration(
            FunctionName="discovery", Environment={"Variables": variables | {"MAX_DATABASES": str(answer[0])}}
        )
        world.running.wait_for("an environment without a list", lambda: world.get("discovery", "/targets").status == 503)
        keeps()
        world.running.wait_for("a scrape without a list", lambda: world.by_instance('up{job="discovery"} == 0').keys() == set(names))
        assert sorted(world.instances("discovery")) == names
    finally:
        world.relay.lists = None
    world.wait_until_up("discovery", names)


def test_a_secret_that_is_added_appears_and_one_that_is_deleted_goes(world: World) -> None:
    names = [f"prod/{name}" for name in DISCOVERED]
    world.put("prod/added", "added", TAG)
    try:
        world.wait_until_up("discovery", ["prod/added", *names])
    finally:
        world.aws.client("secretsmanager").delete_secret(SecretId="prod/added", RecoveryWindowInDays=7)
    world.running.wait_for("its end", lambda: sorted(world.instances("discovery")) == names)
    up = 'up{job="discovery",instance="prod/added"}'
    world.running.wait_for("the end of its series", lambda: world.prometheus.value(up) is None)
    assert world.get("discovery", "/probe?target=prod%2Fadded").status == 404
