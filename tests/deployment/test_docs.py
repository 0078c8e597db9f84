"""What README.md and docs/ say of deployments: its parameters are the template's, its sums are right, its commands exist."""

import ast
import operator
import re
import shlex
from pathlib import Path

import botocore.session
import jmespath
import metrics_page
import pytest
from botocore import xform_name
from template import load, variable

from demo.aws import CHECKOUT

DOCS = CHECKOUT / "docs"
PAGES = [CHECKOUT / "README.md", *sorted(DOCS.glob("*.md"))]
DEPLOYMENT = (DOCS / "deployment.md").read_text()

CUSTOM = {
    ("logs", "tail"): {"since", "follow", "format", "region"},
    ("cloudformation", "deploy"): {"template-file", "stack-name", "parameter-overrides", "capabilities", "region"},
}
"""Commands that the AWS CLI has beside the operations of the services, with their options."""
EVERYWHERE = {"region", "query", "output", "profile"}


def test_every_parameter_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| (?:`([^`]*)`)? ?\| \S", DEPLOYMENT, re.M)
    template = load()["Parameters"]
    assert dict(rows) == {variable(name): str(parameter["Default"]) for name, parameter in template.items()}


def test_the_alarms_and_their_parameters_are_documented_as_they_are() -> None:
    template = load(CHECKOUT / "examples" / "rds-alarms.yaml")
    page = (DOCS / "cloudwatch.md").read_text()
    minutes = r"(above|below) `(\w+)` for (\d+) minutes"
    rows = re.findall(rf"^\| `(\w+)` \| `(\w+)` \| {minutes} \| [^|]+ \| ([^|]+) \|$", page, re.M)
    documented = {name: (metric, side, limit, int(length) * 60) for name, metric, side, limit, length, _ in rows}
    sides = {"GreaterThanThreshold": "above", "LessThanThreshold": "below"}
    alarms = {name: resource["Properties"] for name, resource in template["Resources"].items()}
    assert documented == {
        name: (
            alarm["MetricName"],
            sides[alarm["ComparisonOperator"]],
            alarm["Threshold"]["Ref"],
            alarm["Period"] * alarm["EvaluationPeriods"],
        )
        for name, alarm in alarms.items()
    }
    alerts = set(re.findall(r"^ +- alert: (\w+)$", (CHECKOUT / "examples" / "alerts.yml").read_text(), re.M))
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row[-1])} <= alerts
    parameters = re.findall(r"^\| `(\w+)` \| (?:`([^`]*)`)? ?\| [^|]+ \|$", page, re.M)
    assert dict(parameters) == {name: str(it.get("Default", "")) for name, it in template["Parameters"].items()}


def test_the_page_of_metrics_is_what_the_query_files_say() -> None:
    assert metrics_page.PAGE.read_text() == metrics_page.page(), "run `make metrics`"


def value(expression: str) -> float:
    """What an arithmetic expression of numbers comes to."""
    operators = {ast.Add: operator.add, ast.Mult: operator.mul, ast.Div: operator.truediv}

    def of(node: ast.AST) -> float:
        match node:
            case ast.Expression(body):
                return of(body)
            case ast.Constant(number) if isinstance(number, int | float):
                return number
            case ast.BinOp(left, sign, right):
                return operators[type(sign)](of(left), of(right))
        raise ValueError(expression)

    return of(ast.parse(expression, mode="eval"))


def test_the_sums_are_right() -> None:
    rows = re.findall(r"^\| (.+) \| `([^`]+)` \| \**([\d.]+)\** \|$", DEPLOYMENT, re.M)
    assert len(rows) == 11
    addends: list[str] = []
    for name, expression, said in rows:
        assert f"{value(expression):.2f}" == said, name
        if name.startswith("**Sum"):
            # Of what stands above, as it stands there.
            assert expression.split(" + ") == addends, name
            addends = []
        else:
            addends.append(said)
    scrapes = 730 * 60
    assert f"{scrapes:,}" in DEPLOYMENT and all(str(scrapes) in row[1] for row in rows[:3])
    assert "`730 * 0.01` is 7.30" in DEPLOYMENT and f"{730 * 0.01:.2f}" == "7.30"


def test_the_seconds_of_each_interval_are_right() -> None:
    """With the memory that the template gives and the time that the costs of a deployment are reckoned with."""
    memory = load()["Parameters"]["MemorySize"]["Default"]
    (milliseconds,) = re.findall(rf"^\| Billed time of a scrape, warm, at {memory} MiB \| (\d+) ms \|$", DEPLOYMENT, re.M)
    page = (DOCS / "prometheus.md").read_text()
    assert f"| GB-seconds, at {memory} MiB and {milliseconds} ms each |" in page
    rows = re.findall(r"^\| (\d+)([smh]) \| ([\d,]+) \| ([\d,]+) \|$", page, re.M)
    assert len(rows) == 4
    for number, unit, invocations, seconds in rows:
        scrapes = 30 * 86400 // (int(number) * {"s": 1, "m": 60, "h": 3600}[unit])
        assert invocations == f"{scrapes:,}"
        assert seconds == f"{scrapes * int(milliseconds) / 1000 * memory / 1024:,.0f}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_outputs_that_are_named_exist(page: Path) -> None:
    outputs = {*load()["Outputs"], *load(CHECKOUT / "examples" / "private-rest-api.yaml")["Outputs"]}
    sentences = re.split(r"[.;:|](?=\s)", page.read_text())
    for sentence in sentences:
        if re.search(r"\boutputs? |\boutput of", sentence):
            named = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)`", sentence))
            assert named <= outputs, sentence


COMMANDS = [
    (path.name, line)
    for path in PAGES
    for block in re.findall(r"^```aws\n(.*?)^```", path.read_text(), re.M | re.S)
    for line in block.splitlines()
]


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_commands_of_the_aws_cli_exist_with_their_options(page: str, line: str) -> None:
    program, service, command, *words = shlex.split(line)
    assert program == "aws"
    options = {word.removeprefix("--") for word in words if word.startswith("--")}
    if (service, command) in CUSTOM:
        known = CUSTOM[service, command]
    else:
        model = botocore.session.get_session().get_service_model(service)
        operations = {xform_name(name, "-"): name for name in model.operation_names}
        shape = model.operation_model(operations[command]).input_shape
        # What becomes of a local file has an option of its own.
        known = {xform_name(name, "-") for name in shape.members} | {"zip-file"} | EVERYWHERE
        required = {xform_name(name, "-") for name in shape.required_members}
        assert (required - {"content"}) <= options
    assert options <= known
    if "--query" in words:
        jmespath.compile(words[words.index("--query") + 1])


def test_commands_were_found() -> None:
    assert {page for page, _ in COMMANDS} > {"README.md", "deployment.md"}


def test_every_finding_of_the_verification_has_a_row() -> None:
    """By what an operator sees of it."""
    page = (DOCS / "troubleshooting.md").read_text()
    for symptom in ["401", "403", "404", "500", "502", "503", "deadline exceeded", "pg_up 0", "no query can run", "environment variables", "base64"]:
        assert re.search(rf"^\| .*{symptom}", page, re.M), symptom
