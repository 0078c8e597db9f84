"""template.yaml, examples/private-rest-api.yaml and serverless.yml in the regions and partitions of AWS: cfn-lint and
`sam validate --lint` find nothing in any of them, for each pair of values of the parameters that change resources."""

import functools
import itertools
import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import deploy
import pytest
import template as description
from cfnlint.config import ConfigMixIn
from cfnlint.decode.decode import decode_str
from cfnlint.helpers import REGIONS as KNOWN_REGIONS
from cfnlint.runner import Runner
from cfnlint.schema import ResourceNotFoundError
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from conditions import Evaluation, partition
from test_templates import (
    AUTHORIZATIONS,
    DATABASES,
    FRONTS,
    FUNCTION,
    ROLE,
    SURROUNDINGS,
    decided,
    osls,
    transformed,
)

from demo.aws import CHECKOUT, CREDENTIALS, REGION

REGIONS = (
    *("us-east-1", "eu-central-1", "ap-northeast-2", "me-central-1", "il-central-1"),
    *("us-gov-west-1", "cn-north-1"),
)
EVERYTHING = SURROUNDINGS[1]
CHOICES = [
    DATABASES,
    AUTHORIZATIONS,
    FRONTS,
    [{}, {name: EVERYTHING[name] for name in ("SubnetIds", "SecurityGroupIds")}],
    [{}, {"QueriesLayerArn": EVERYTHING["QueriesLayerArn"]}],
    [{}, {name: EVERYTHING[name] for name in ("RolePath", "PermissionsBoundaryArn")}, {"RoleArn": ROLE}],
    [{}, {"AlarmTopicArn": EVERYTHING["AlarmTopicArn"]}],
    [{}, {"ReservedConcurrency": ""}],
    [{}, {"Architecture": "arm64"}],
]
"""What can be chosen of each part of a deployment."""

Numbers = tuple[int, ...]
"""The number of the choice for each part."""


def pairs(numbers: Numbers) -> set[tuple[tuple[int, int], ...]]:
    return set(itertools.combinations(enumerate(numbers), 2))


def pairwise() -> Iterator[Numbers]:
    """Few combinations that have every choice together with every other one."""
    everything = list(itertools.product(*(range(len(part)) for part in CHOICES)))
    missing = set().union(*map(pairs, everything))
    # The first of a sample is good enough, and the same in each run.
    sample = everything[:: len(everything) // 997]
    while missing:
        best = max(sample, key=lambda numbers: len(pairs(numbers) & missing))
        if not pairs(best) & missing:
            best = next(numbers for numbers in everything if pairs(numbers) & missing)
        missing -= pairs(best)
        yield best


COMBINATIONS = list(pairwise())


def values_of(numbers: Numbers, region: str) -> dict[str, str]:
    """The parameters of a combination, with the ARNs that they have in this partition."""
    values = {name: value for part, number in zip(CHOICES, numbers) for name, value in part[number].items()}
    return {name: value.replace("arn:aws:", f"arn:{partition(region)}:") for name, value in values.items()}


def variants(source: dict) -> dict[str, list[str]]:
    """The different templates that the combinations give, as texts, with the regions of each."""
    found: dict[str, list[str]] = {}
    for numbers, region in itertools.product(COMBINATIONS, REGIONS):
        values = values_of(numbers, region)
        if not Evaluation(source, values, region).broken_rules():
            text = json.dumps(decided(source, values, region))
            found.setdefault(text, []).append(region)
    return found


@functools.cache
def linter(regions: tuple[str, ...]) -> Runner:
    """cfn-lint, whose rules take longer to read than a template."""
    return Runner(ConfigMixIn(regions=list(regions)))


def complaints(text: str, regions: tuple[str, ...] = REGIONS) -> list[str]:
    template, unreadable = decode_str(text)
    found = unreadable or linter(regions).validate_template(template)
    return [f"{match.rule.id} {match.message} ({match.path_string})" for match in found]


@functools.cache
def source() -> dict:
    return transformed()


def test_each_condition_is_decided_both_ways() -> None:
    """Otherwise the linters would never see one side of it."""
    seen = {
        condition
        for numbers, region in itertools.product(COMBINATIONS, REGIONS)
        for condition in Evaluation(source(), values_of(numbers, region), region).conditions.items()
    }
    # In no region of these is it true.
    regions = Evaluation(source(), {}, "ca-west-1").conditions.items()
    missing = set(itertools.product(source()["Conditions"], (True, False))) - seen - set(regions)
    assert not missing


def test_only_function_urls_are_refused_in_some_regions() -> None:
    refused = {
        (region, *broken)
        for numbers, region in itertools.product(COMBINATIONS, REGIONS)
        if (broken := Evaluation(source(), values_of(numbers, region), region).broken_rules())
    }
    said = "Front is function-url, but this region has no function URLs; set Front to http-api"
    assert refused == {(region, said) for region in ("me-central-1", "il-central-1", "us-gov-west-1", "cn-north-1")}


def test_function_urls_are_refused_wherever_cloudformation_has_none() -> None:
    def has_urls(region: str) -> bool:
        try:
            return bool(PROVIDER_SCHEMA_MANAGER.get_resource_schema(region, "AWS::Lambda::Url"))
        except ResourceNotFoundError:
            return False

    values = DATABASES[0] | {"Front": "function-url"}
    evaluations = {region: Evaluation(source(), values, region) for region in KNOWN_REGIONS}
    allowed = {region for region, evaluation in evaluations.items() if not evaluation.broken_rules()}
    lacking = {region for region in KNOWN_REGIONS if not has_urls(region)}
    assert lacking and not lacking & allowed
    # The rule and the conditions each have a list of regions. CloudFormation cannot share one.
    assert {region for region in KNOWN_REGIONS if evaluations[region].conditions["HasFunctionUrl"]} == allowed


def test_arns_of_every_partition_are_accepted() -> None:
    parameters = source()["Parameters"]
    arns = {name: value for part in CHOICES for choice in part for name, value in choice.items() if "arn:" in value}
    assert set(arns) == {name for name in parameters if name.endswith(("Arn", "Arns"))}
    for name, value in arns.items():
        for other in ("aws", "aws-cn", "aws-us-gov", "aws-eusc", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f"):
            assert re.fullmatch(parameters[name]["AllowedPattern"], value.replace("arn:aws:", f"arn:{other}:")), name


@pytest.mark.parametrize("file", ["template.yaml", "examples/private-rest-api.yaml", "examples/rds-alarms.yaml"])
def test_no_partition_is_written_down(file: str) -> None:
    text = (CHECKOUT / file).read_text()
    suffixes = re.findall(r"\S+\.amazonaws\.\w+", text)
    # Service principals have this suffix in all partitions.
    assert set(suffixes) - {"com.amazonaws.REGION"} <= {"lambda.amazonaws.com", "apigateway.amazonaws.com"}
    assert set(re.findall(r"\barn:(?:\$\{.*?\}|[^:]+):", text)) <= {"arn:${AWS::Partition}:", "arn:aws[a-z-]*:"}


@pytest.mark.parametrize("file", ["template.yaml", "examples/private-rest-api.yaml", "examples/rds-alarms.yaml"])
def test_cfn_lint_finds_nothing_in_a_whole_template(file: str) -> None:
    assert complaints((CHECKOUT / file).read_text()) == []


def test_cfn_lint_finds_nothing_in_what_osls_makes(tmp_path: Path) -> None:
    osls("package", "--package", str(tmp_path))
    found = complaints((tmp_path / "cloudformation-template-update-stack.json").read_text())
    # serverless.yml reads these four from the environment, and osls writes some DependsOn that a Ref implies.
    unused = ("Architecture", "MemorySize", "Timeout", "LogRetentionDays")
    known = {f"W2001 Parameter {name} not used. (Parameters/{name})" for name in unused}
    assert [line for line in found if line not in known and not line.startswith("W3005 ")] == []


def test_cfn_lint_finds_nothing_in_any_combination() -> None:
    texts = variants(source())
    assert {region for regions in texts.values() for region in regions} == set(REGIONS)
    with ProcessPoolExecutor(2, get_context("spawn")) as processes:
        found = list(processes.map(complaints, texts, map(tuple, texts.values()), chunksize=4))
    assert not any(found), [lines for lines in found if lines][:5]


def test_cfn_lint_finds_mistakes() -> None:
    """Otherwise the tests above would show nothing."""
    broken = json.loads(json.dumps(source()))
    broken["Resources"][FUNCTION]["Properties"]["Runtime"] = "provided.al1999"
    broken["Resources"]["ApiStage"]["Properties"]["ApiId"] = {"Ref": "Nothing"}
    found = complaints(json.dumps(broken), (REGION,))
    assert {complaint.split()[0] for complaint in found} >= {"E3030", "E1020"}, found


def test_cfn_lint_knows_that_a_region_has_no_function_urls() -> None:
    text = json.dumps(decided(source(), DATABASES[0] | {"Front": "function-url"}, "eu-central-1"))
    assert complaints(text, ("eu-central-1",)) == []
    for region in ("me-central-1", "il-central-1", "us-gov-west-1"):
        assert [line.split()[0] for line in complaints(text, (region,))] == ["E3006"], region


ALARMS = CHECKOUT / "examples" / "rds-alarms.yaml"
EVERYWHERE = {"CpuUtilization", "FreeableMemory", "DbLoad", "DiskQueue"}


@pytest.mark.parametrize("topic", [{}, {"TopicArn": f"arn:aws:sns:{REGION}:123456789012:on-call"}], ids=["silent", "told"])
@pytest.mark.parametrize(
    ("values", "alarms"),
    [
        ({}, {"FreeStorageSpace"}),
        ({"Burstable": "yes", "BurstingStorage": "yes"}, {"FreeStorageSpace", "CpuCreditBalance", "BurstBalance"}),
        ({"Engine": "aurora"}, {"FreeLocalStorage"}),
        # Aurora's storage earns no credits.
        ({"Engine": "aurora", "Burstable": "yes", "BurstingStorage": "yes"}, {"FreeLocalStorage", "CpuCreditBalance"}),
    ],
    ids=["rds", "rds with credits", "aurora", "aurora with credits"],
)
def test_each_kind_of_database_has_its_alarms(topic: dict[str, str], values: dict[str, str], alarms: set[str]) -> None:
    source = description.load(ALARMS)
    template = decided(source, {"DBInstanceIdentifier": "shop"} | topic | values)
    assert complaints(json.dumps(template)) == []
    assert set(template["Resources"]) == EVERYWHERE | alarms
    for alarm in template["Resources"].values():
        properties = alarm["Properties"]
        assert properties["Dimensions"] == [{"Name": "DBInstanceIdentifier", "Value": {"Ref": "DBInstanceIdentifier"}}]
        actions = [properties.get(name) for name in ("AlarmActions", "OKActions")]
        assert actions == ([[{"Ref": "TopicArn"}]] * 2 if topic else [None, None])


SAM_LINT = """
import sys
from click.testing import CliRunner
from samcli.cli.main import cli
for line in sys.stdin:
    file, region = line.split()
    done = CliRunner().invoke(cli, ["validate", "--lint", "--template", file, "--region", region])
    if done.exit_code:
        print(region, file, done.output, done.exception)
"""


def sam_lint(files: list[tuple[Path, str]]) -> str:
    """What `sam validate --lint` finds in files, each with a region. One process reads the rules once."""
    halves = [
        subprocess.Popen(
            [deploy.SAM.parent / "python", "-c", SAM_LINT],
            env=CREDENTIALS | {"SAM_CLI_TELEMETRY": "0", "HOME": str(files[0][0].parent), "PATH": "/usr/bin:/bin"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for number, half in enumerate(halves):
        half.stdin.write("".join(f"{file} {region}\n" for file, region in files[number::2]))
        half.stdin.close()
    found = "".join(half.stdout.read() for half in halves)
    assert [half.wait() for half in halves] == [0, 0]
    return found


def test_sam_validate_finds_nothing(tmp_path: Path) -> None:
    # It takes long with all conditions: one region of each partition, since cfn-lint has had all of them.
    files = [(CHECKOUT / "template.yaml", region) for region in (REGION, "us-gov-west-1", "cn-north-1")]
    template = description.load()
    for number, (text, regions) in enumerate(variants(template).items()):
        file = tmp_path / f"{number}.json"
        file.write_text(text)
        # Each combination in each partition, and in one region of it: cfn-lint has had them all.
        files.append((file, regions[number % len(regions)]))
    assert sam_lint(files) == ""


def test_sam_validate_finds_mistakes(tmp_path: Path) -> None:
    template = description.load()
    template["Resources"][FUNCTION]["Properties"]["MemorySize"] = "much"
    file = tmp_path / "template.json"
    file.write_text(json.dumps(template))
    assert "E3012" in sam_lint([(file, REGION), (file, "cn-north-1")])
