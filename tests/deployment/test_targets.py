"""Functions with several targets: one for each source of targets, and what each may ask of AWS."""

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import demo.package
import deploy
import pytest
import yaml
from conftest import Deploy, Deployed, deployment, token
from policies import BY_OTHERS, allows, grants, of_role
from relays import Call, Relay
from test_deployed import ask, by_arn, described, role_of, start_anew

from demo.aws import CHECKOUT, REGION, Aws
from demo.postgres import Postgres

TAGS = {
    "fleet/eu-one": {"exporter": "yes"},
    "fleet/eu-two": {"exporter": "yes", "team": "db"},
    "fleet/eu-other": {"exporter": "no"},
    "fleet/eu-untagged": {},
    "fleet/three": {"exporter": "yes"},
    "fleet/other-key": {"exporters": "yes"},
    # The hyphen in its ARN is not of its name.
    "fleet/eu": {"exporter": "yes"},
}
"""The tags of the secrets, by their names. All have the address and the password of the database."""
PREFIX = "fleet/eu-"
KEY = f"arn:aws:kms:{REGION}:000000000000:key/01234567-89ab-cdef-0123-456789abcdef"


@dataclass(frozen=True)
class Case:
    """A source of targets."""

    targets: dict[str, str]
    """The names of the secrets by those of the targets."""
    variables: dict[str, str] = field(default_factory=dict)
    lists: bool = True
    """Whether the function lists the secrets."""


def named(*secrets: str) -> dict[str, str]:
    return dict(zip(secrets, secrets))


FILE = Case({"one": "fleet/eu-one", "three": "fleet/three"}, {"TARGETS_FILE": "targets.yml"}, lists=False)
BOTH = Case(
    named("fleet/eu-one", "fleet/eu-two"),
    {
        "TARGETS_TAG": "exporter=yes",
        "TARGETS_PREFIX": PREFIX,
        "TARGETS_KEY_ARNS": f"{KEY},{KEY[:-1]}0",
        "TARGETS_DATABASE_ARNS": f"arn:aws:rds-db:{REGION}:000000000000:dbuser:*/exporter",
        "PUBLIC_URL": "https://metrics.example.com/pg",
        "MAX_CONNECTIONS": "50",
        "MAX_DATABASES": "200",
    },
)
CASES = {
    "file": FILE,
    "tag": Case(
        named("fleet/eu-one", "fleet/eu-two", "fleet/three", "fleet/eu"), {"TARGETS_TAG": "exporter=yes"}
    ),
    "prefix": Case(
        named("fleet/eu-one", "fleet/eu-two", "fleet/eu-other", "fleet/eu-untagged"), {"TARGETS_PREFIX": PREFIX}
    ),
    "both": BOTH,
    "cargo-lambda-file": FILE,
    "cargo-lambda-both": BOTH,
}
"""The cases by the names of their stacks. SAM deploys those whose names do not begin with another way."""
EACH = pytest.mark.parametrize("stack", CASES)


@pytest.fixture(scope="module")
def arns(aws: Aws, postgres: Postgres) -> dict[str, str]:
    """The ARNs of the secrets by their names."""
    secrets, value = aws.client("secretsmanager"), json.dumps(postgres.secret())
    return {
        name: secrets.create_secret(
            Name=name, SecretString=value, Tags=[{"Key": key, "Value": value} for key, value in tags.items()]
        )["ARN"]
        for name, tags in TAGS.items()
    }


@pytest.fixture(scope="module")
def package(arns: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with a targets file, which names one secret by its ARN and the other by its name."""
    file = tmp_path_factory.mktemp("package") / "with-targets.zip"
    shutil.copy(deploy.PACKAGE, file)
    secrets = {"one": arns["fleet/eu-one"], "three": "fleet/three"}
    targets = {name: {"secret": secret, "labels": {"team": name}} for name, secret in secrets.items()}
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("targets.yml", yaml.safe_dump(targets))
    return file


@pytest.fixture(scope="module")
def fleet(
    aws: Aws,
    deploy_by: Deploy,
    arns: dict[str, str],
    own_secret: str,
    package: Path,
) -> dict[str, Deployed]:
    def run(stack: str) -> Deployed:
        case = CASES[stack]
        variables = {"DATABASE_SECRET_ARN": ""} | case.variables
        if "TARGETS_FILE" in variables:
            listed = ",".join(arns[secret] for secret in case.targets.values())
            variables |= {"TARGETS_SECRET_ARNS": listed, "ZIP": str(package)}
        way = "sam"
        if stack.startswith("cargo-lambda"):
            way = "cargo-lambda"
            variables |= {"AUTHORIZATION_SECRET_ARN": own_secret}
        return deployment(aws, deploy_by, way, f"fleet-{stack}", variables)

    # SAM's first deployment makes the bucket of the others.
    first, *others = CASES
    with ThreadPoolExecutor() as together:
        return {first: run(first), **dict(zip(others, together.map(run, others)))}


@pytest.fixture
def get(internet: Relay, aws: Aws, fleet: dict[str, Deployed], stack: str) -> Callable[[str], tuple[int, str]]:
    """Sends requests to the function of a stack, with its token."""
    root = fleet[stack].url.removesuffix("/targets")
    return lambda path: ask(internet, f"{root}{path}", token(aws, fleet[stack]))


Get = Callable[[str], tuple[int, str]]


@EACH
def test_the_targets_of_each_source_are_listed_and_scraped(stack: str, get: Get) -> None:
    status, body = get("/targets")
    assert status == 200, body
    groups = {group["labels"]["instance"]: group for group in json.loads(body)}
    assert set(groups) == set(CASES[stack].targets)
    for name, group in groups.items():
        labels = group["labels"]
        assert labels["__param_target"] == name
        assert labels["__metrics_path__"] == ("/pg/probe" if CASES[stack] is BOTH else "/probe")
        assert CASES[stack] is not BOTH or group["targets"] == ["metrics.example.com"]
        assert CASES[stack] is not FILE or labels["team"] == name
        status, body = get(f"/probe?target={name}")
        assert status == 200 and "pg_up 1" in body.splitlines(), body


@EACH
def test_no_other_secret_is_a_target(stack: str, get: Get) -> None:
    others = set(TAGS) - set(CASES[stack].targets)
    assert others
    for name in others:
        assert get(f"/probe?target={name}")[0] == 404, name
    assert get("/metrics")[0] == 400


@EACH
def test_targets_and_probes_are_behind_the_authorization_of_the_function(
    stack: str, fleet: dict[str, Deployed], internet: Relay, postgres: Postgres
) -> None:
    root, (name, *_) = fleet[stack].url.removesuffix("/targets"), CASES[stack].targets
    for path in ("/targets", f"/probe?target={name}", "/probe?target=unknown", "/metrics", "/"):
        # A target's secret authorizes nobody.
        for wrong in (None, "wrong", postgres.password):
            assert ask(internet, f"{root}{path}", wrong)[0] == 401, path


@EACH
def test_the_policy_allows_the_calls_for_the_targets_and_nothing_more(
    stack: str, aws: Aws, fleet: dict[str, Deployed], arns: dict[str, str], calls: list[Call], get: Get
) -> None:
    way, case, secrets = fleet[stack], CASES[stack], aws.client("secretsmanager")
    start_anew(aws, way)
    calls.clear()
    for path in ("/targets", *(f"/probe?target={name}" for name in case.targets)):
        status, body = get(path)
        assert status == 200, body
    asked = {by_arn(aws, call) for call in calls}
    read = {arns[secret] for secret in case.targets.values()}
    own = secrets.describe_secret(SecretId=way.configuration["Environment"]["Variables"]["AUTH_SECRET_ID"])["ARN"]
    expected = {Call("secretsmanager:GetSecretValue", arn) for arn in read | {own}}
    assert asked == expected | ({Call("secretsmanager:ListSecrets", "*")} if case.lists else set())

    statements = of_role(aws.client("iam"), role_of(way))
    unasked = {grant.action for grant in grants(statements)} - {call.action for call in asked}
    assert unasked <= BY_OTHERS.keys()
    statements = [statement for statement in statements if "secretsmanager" in json.dumps(statement["Action"])]
    for statement in statements:
        statement["Resource"] = [by_arn(aws, grant).resource for grant in grants([statement])]
    if case.lists:
        assert allows(statements, Call("secretsmanager:ListSecrets", "*"), {})
    everything = [secret for page in secrets.get_paginator("list_secrets").paginate() for secret in page["SecretList"]]
    assert {secret["Name"] for secret in everything} > set(TAGS)
    allowed = {
        secret["ARN"]
        for secret in everything
        if allows(
            statements,
            Call("secretsmanager:GetSecretValue", secret["ARN"]),
            {tag["Key"]: tag["Value"] for tag in secret.get("Tags", [])},
        )
    }
    assert allowed == read | {own}


@pytest.mark.parametrize("stack", ["file", "both"])
def test_sam_and_cargo_lambda_deploy_the_same(stack: str, aws: Aws, fleet: dict[str, Deployed]) -> None:
    described_by_sam = described(aws, fleet[stack])
    assert described_by_sam == described(aws, fleet[f"cargo-lambda-{stack}"])
    variables = {"DB_AUTH": "password", "RESERVED_CONCURRENCY": "2"} | CASES[stack].variables
    only_policies = {"TARGETS_KEY_ARNS", "TARGETS_DATABASE_ARNS"}
    assert described_by_sam["environment"] == {name: variables[name] for name in variables.keys() - only_policies}
    policies = {(action, resource): condition for _, action, resource, condition in described_by_sam["policies"]}
    through = '{"StringEquals": {"kms:ViaService": "secretsmanager.eu-central-1.amazonaws.com"}}'
    keys = {resource: condition for (action, resource), condition in policies.items() if action == "kms:Decrypt"}
    assert keys == ({KEY: through, f"{KEY[:-1]}0": through} if stack == "both" else {})
    users = [resource for action, resource in policies if action == "rds-db:connect"]
    assert users == ([BOTH.variables["TARGETS_DATABASE_ARNS"]] if stack == "both" else [])


@pytest.mark.parametrize("stack", ["both", "cargo-lambda-both"])
def test_the_documented_policy_is_that_of_the_role(stack: str, aws: Aws, fleet: dict[str, Deployed]) -> None:
    page = (CHECKOUT / "docs" / "targets.md").read_text()
    (policy,) = re.findall(r"^```json\n(.*?)^```", page, re.M | re.S)
    for documented, here in (
        (":123456789012:", ":000000000000:"),
        (":secret:prod/", f":secret:{PREFIX}"),
        ('ResourceTag/metrics"', 'ResourceTag/exporter"'),
    ):
        assert documented in policy
        policy = policy.replace(documented, here)

    def single(statement: dict) -> tuple[str, str, str, dict]:
        (grant,) = grants([statement])
        return statement["Effect"], grant.action, grant.resource, statement.get("Condition", {})

    of_targets = [
        statement
        for statement in of_role(aws.client("iam"), role_of(fleet[stack]))
        if "ListSecrets" in json.dumps(statement) or "ResourceTag" in json.dumps(statement)
    ]
    assert sorted(map(str, map(single, of_targets))) == sorted(map(str, map(single, json.loads(policy)["Statement"])))


@EACH
def test_the_printed_job_discovers_the_targets_with_the_token(
    stack: str, aws: Aws, fleet: dict[str, Deployed]
) -> None:
    way = fleet[stack]
    authorization = {"credentials_file": f"/etc/prometheus/{way.stack}.token"}
    assert way.url.endswith("/targets")
    assert way.scrape_config == {
        "job_name": way.stack,
        "scheme": "https",
        "scrape_interval": "1m",
        "scrape_timeout": "20s",
        "authorization": authorization,
        "http_sd_configs": [{"url": way.url, "authorization": authorization}],
    }
    if not stack.startswith("cargo-lambda"):
        (described,) = aws.client("cloudformation").describe_stacks(StackName=way.stack)["Stacks"]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
        assert yaml.safe_load(outputs["ScrapeConfig"]) == [way.scrape_config]
        assert outputs["ScrapeUrl"] == way.url


def test_the_package_has_the_targets_file_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo.package, "CHECKOUT", tmp_path)
    monkeypatch.setattr(demo.package, "PACKAGE", tmp_path / "there" / "bootstrap.zip")
    with zipfile.ZipFile(tmp_path / "built.zip", "w") as archive:
        archive.writestr("bootstrap", "program")
    for expected in (["bootstrap"], ["bootstrap", "targets.yml"]):
        demo.package.put(tmp_path / "built.zip")
        with zipfile.ZipFile(demo.package.PACKAGE) as archive:
            assert archive.namelist() == expected
        (tmp_path / "targets.yml").write_text("shop: {secret: prod/shop}\n")
        (tmp_path / "targets.yml").chmod(0o600)
    with zipfile.ZipFile(demo.package.PACKAGE) as archive:
        assert archive.read("targets.yml") == b"shop: {secret: prod/shop}\n"
        # Lambda's user is another one than the owner.
        assert archive.getinfo("targets.yml").external_attr >> 16 & 0o444 == 0o444
