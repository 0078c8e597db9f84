"""What each way has deployed: that Prometheus gets its metrics of it, and that they are one and the same."""

import contextlib
import hashlib
import json
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import botocore.exceptions
import pytest
import yaml
from conftest import BUILT_FOR, OWN_TOKEN, Deploy, Deployed
from policies import BY_OTHERS, grants, matches, of_role
from relays import Answer, Call, Relay

from demo.aws import CHECKOUT, REGION, Aws
from demo.endpoint import get
from demo.processes import Processes

FRONTED = ["sam", "sam-url", "serverless", "cargo-lambda"]
"""Those that can be scraped at the URL that they print."""


def ask(internet: Relay, url: str, token: str | None = None) -> tuple[int, str]:
    """What a URL of AWS answers, by way of the proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": internet.url}))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    plain = url.replace("https://", "http://", 1)
    assert plain != url, "the URL is not one of HTTPS"
    try:
        with opener.open(urllib.request.Request(plain, headers=headers), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize("stack", FRONTED)
def test_it_answers_with_its_token_and_not_without(
    stack: str, deployed: dict[str, Deployed], tokens: dict[str, str], internet: Relay
) -> None:
    status, body = ask(internet, deployed[stack].url, tokens[stack])
    assert (status, "pg_up 1" in body) == (200, True), body
    for wrong in (None, tokens[stack][:-1]):
        status, body = ask(internet, deployed[stack].url, wrong)
        assert status == 401, body


@pytest.mark.parametrize("stack", FRONTED)
def test_the_root_and_every_other_path_lead_to_the_function(
    stack: str, deployed: dict[str, Deployed], internet: Relay
) -> None:
    root = deployed[stack].url.removesuffix("/metrics")
    assert ask(internet, f"{root}/healthz")[0] == 200
    assert ask(internet, f"{root}/")[0] == 401


def test_a_generated_token_is_long_and_each_stack_has_its_own(
    deployed: dict[str, Deployed], tokens: dict[str, str]
) -> None:
    generated = {stack: token for stack, token in tokens.items() if token != OWN_TOKEN}
    assert set(generated) == {"sam", "sam-url", "sam-private", "serverless"}
    assert all(len(token) == 43 and token.isalnum() for token in generated.values())
    assert len(set(generated.values())) == len(generated)
    for stack, way in deployed.items():
        assert tokens[stack] not in way.printed, f"the token of {stack} was printed"


def test_a_private_rest_api_answers_in_text(
    private_api: dict[str, str], tokens: dict[str, str], internet: Relay
) -> None:
    status, body = ask(internet, private_api["ScrapeUrl"], tokens["sam-private"])
    assert status == 200, body
    assert "pg_up 1" in body.splitlines()
    assert ask(internet, private_api["ScrapeUrl"])[0] == 401
    # The page that shows how each query ended.
    status, body = ask(internet, private_api["ScrapeUrl"].removesuffix("metrics"), tokens["sam-private"])
    assert (status, "<html" in body) == (200, True), body


@pytest.mark.parametrize(
    ("secret", "presented"),
    [
        ({"bearer_token": ["before-1", "after-2"]}, "after-2\n"),
        ([{"bearer_token": "alone-1"}, {"username": "prometheus", "password": "s3cr3t"}], "alone-1\n"),
        # Of these there is none, and what was there stays.
        ({"username": "prometheus", "password": "s3cr3t"}, "good\n"),
        ("no-json-1", "good\n"),
        (None, "good\n"),
    ],
)
def test_a_token_that_is_fetched_anew_takes_the_place_of_a_good_one_only(
    aws: Aws,
    deployed: dict[str, Deployed],
    environment: dict[str, str],
    tmp_path: Path,
    secret: object,
    presented: str,
) -> None:
    way = deployed["cargo-lambda"]
    file, here = way.scrape_config["authorization"]["credentials_file"], tmp_path / "token"
    here.write_text("good\n")
    here.chmod(0o640)
    secrets = aws.client("secretsmanager")
    told = f"rotated-{tmp_path.name}"
    if secret is not None:
        secrets.create_secret(Name=told, SecretString=secret if isinstance(secret, str) else json.dumps(secret))
    asked = re.search(r"--secret-id (\S+)", way.token_command)[1]
    command = way.token_command.replace(file, str(here)).replace(asked, told)
    answer = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True)
    assert here.read_text() == presented, answer
    assert (answer.returncode == 0) == (presented != "good\n")
    assert here.stat().st_mode & 0o777 == 0o640


def test_prometheus_scrapes_each_as_is_printed(
    deployed: dict[str, Deployed],
    private_api: dict[str, str],
    environment: dict[str, str],
    tokens: dict[str, str],
    internet: Relay,
    running: Processes,
) -> None:
    """The configuration and the command that are printed, with /etc/prometheus elsewhere, without TLS, and by way of
    the proxy."""
    folder = running.folder / "prometheus"
    folder.mkdir()
    configs = {stack: deployed[stack].scrape_config for stack in FRONTED}
    (configs["private-api"],) = yaml.safe_load(private_api["ScrapeConfig"])
    for name, config in configs.items():
        file = config["authorization"]["credentials_file"]
        assert file == f"/etc/prometheus/{name}.token"
        config["authorization"]["credentials_file"] = here = str(folder / f"{name}.token")
        if name == "private-api":
            (folder / f"{name}.token").write_text(tokens["sam-private"])
        else:
            command = deployed[name].token_command.replace(file, here)
            subprocess.run(["sh", "-ec", command], env=environment, check=True)
            assert (folder / f"{name}.token").read_text() == f"{tokens[name]}\n"
        assert config["scheme"] == "https"
        config |= {"scheme": "http", "proxy_url": internet.url, "scrape_interval": "2s", "scrape_timeout": "2s"}
    file = folder / "prometheus.yml"
    file.write_text(json.dumps({"scrape_configs": list(configs.values())}))
    url = f"http://127.0.0.1:{running.port()}"
    program = shutil.which("prometheus")
    assert program, "prometheus is missing: demo/packages.sh prometheus"
    running.start(
        "prometheus",
        [program, f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
        + [f"--web.listen-address={url.removeprefix('http://')}", "--log.level=warn"],
        stop_signal=signal.SIGTERM,
    )
    # Until then it answers 503, in words instead of JSON.
    running.wait_for("Prometheus", lambda: get(f"{url}/-/ready").status == 200, 30)

    def targets() -> dict[str, tuple[str, str]]:
        told = json.loads(get(f"{url}/api/v1/targets").text)["data"]["activeTargets"]
        return {target["labels"]["job"]: (target["health"], target["lastError"]) for target in told}

    def all_up() -> bool:
        health = targets()
        return set(health) == set(configs) and all(state == "up" for state, _ in health.values())

    try:
        running.wait_for("a scrape of each", all_up, 30)
    except Exception as failure:
        raise AssertionError(f"{failure}: {targets()}") from failure
    answer = json.loads(get(f"{url}/api/v1/query?query=pg_up").text)["data"]["result"]
    assert {series["metric"]["job"]: series["value"][1] for series in answer} == dict.fromkeys(configs, "1")


NETWORK = [
    *(("Allow", action, "*", "null") for action in BY_OTHERS if action.startswith("ec2:")),
    ("Deny", "ec2:*", "*", '{"Null": {"lambda:SourceFunctionArn": "false"}}'),
]
"""Statements of every role: Lambda needs them for a while after a function has left its VPC too."""


def tags_of(aws: Aws, way: Deployed) -> dict[str, str]:
    """The tags of a stack, or of a function, its role and its log group, which must have the same."""
    with contextlib.suppress(botocore.exceptions.ClientError):
        (stack,) = aws.client("cloudformation").describe_stacks(StackName=way.stack)["Stacks"]
        return {tag["Key"]: tag["Value"] for tag in stack["Tags"]}
    configuration = way.configuration
    function = aws.client("lambda").list_tags(Resource=configuration["FunctionArn"])["Tags"]
    role = aws.client("iam").list_role_tags(RoleName=configuration["Role"].rpartition("/")[2])["Tags"]
    assert function == {tag["Key"]: tag["Value"] for tag in role}
    group = configuration["LoggingConfig"]["LogGroup"]
    log = aws.client("logs").list_tags_log_group(logGroupName=group)["tags"]
    assert log.items() <= function.items()
    return log


def described(aws: Aws, way: Deployed) -> dict:
    """What a deployment is, with the names that it chose for itself taken out."""
    configuration = way.configuration
    role = configuration["Role"].rpartition("/")[2]
    iam, secrets = aws.client("iam"), aws.client("secretsmanager")
    variables = dict(configuration["Environment"]["Variables"])
    own = variables.pop("AUTH_SECRET_ID")
    group = configuration["LoggingConfig"]["LogGroup"]
    names = {
        own: "AUTHORIZATION",
        secrets.describe_secret(SecretId=own)["ARN"]: "AUTHORIZATION",
        f"arn:aws:logs:{aws.client('lambda').meta.region_name}:000000000000:log-group:{group}:*": "LOG",
    }
    policies = [
        (statement["Effect"], call.action, names.get(call.resource, call.resource), json.dumps(statement.get("Condition")))
        for statement in of_role(iam, role)
        for call in grants([statement], statement["Effect"])
    ]
    logs = aws.client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    (log,) = (log for log in logs if log["logGroupName"] == group)
    return {
        "role path": iam.get_role(RoleName=role)["Role"]["Path"],
        "runtime": configuration["Runtime"],
        "architectures": configuration["Architectures"],
        "memory": configuration["MemorySize"],
        "timeout": configuration["Timeout"],
        "environment": variables,
        "layers": [layer["Arn"] for layer in configuration.get("Layers", [])],
        "policies": sorted(policies),
        "logging": {key: value for key, value in configuration["LoggingConfig"].items() if key != "LogGroup"},
        "log retention": log["retentionInDays"],
    }


def test_all_ways_deploy_the_same(
    aws: Aws, deployed: dict[str, Deployed], parameters: dict[str, str]
) -> None:
    expected = {
        "role path": "/",
        "runtime": "provided.al2023",
        "architectures": [BUILT_FOR],
        "memory": 256,
        "timeout": 29,
        "environment": {
            "DB_SECRET_ID": parameters["DATABASE_SECRET_ARN"],
            "DB_AUTH": "password",
            "RESERVED_CONCURRENCY": "2",
        },
        "layers": [],
        "policies": [
            ("Allow", "logs:CreateLogStream", "LOG", "null"),
            ("Allow", "logs:PutLogEvents", "LOG", "null"),
            ("Allow", "secretsmanager:GetSecretValue", "AUTHORIZATION", "null"),
            ("Allow", "secretsmanager:GetSecretValue", parameters["DATABASE_SECRET_ARN"], "null"),
            *NETWORK,
        ],
        "logging": {"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "WARN"},
        "log retention": 30,
    }
    expected["policies"].sort()
    for stack in [*FRONTED, "sam-private"]:
        assert described(aws, deployed[stack]) == expected, stack


def test_all_parameters_reach_the_function_by_every_way(
    aws: Aws, deployed: dict[str, Deployed], parameters: dict[str, str], everything: dict[str, str]
) -> None:
    sam, cargo_lambda = (described(aws, deployed[stack]) for stack in ("sam-all", "cargo-lambda-all"))
    assert sam == cargo_lambda
    assert sam["environment"] == {
        "DB_SECRET_ID": parameters["DATABASE_SECRET_ARN"],
        "DB_AUTH": "iam",
        "PGHOST": everything["DATABASE_HOST"],
        "PGPORT": "6432",
        "PGDATABASE": everything["DATABASE_NAME"],
        "PGUSER": "exporter",
        "QUERIES_FILE": "/opt/queries.yml",
    }
    assert (sam["memory"], sam["timeout"], sam["log retention"]) == (512, 20, 7)
    assert sam["layers"] == [everything["QUERIES_LAYER_ARN"]]
    keys = [everything["AUTHORIZATION_SECRET_KEY_ARN"], everything["DATABASE_SECRET_KEY_ARN"]]
    through = '{"StringEquals": {"kms:ViaService": "secretsmanager.eu-central-1.amazonaws.com"}}'
    decrypt = [("Allow", "kms:Decrypt", key, through) for key in keys]
    assert [statement for statement in sam["policies"] if statement[1] == "kms:Decrypt"] == decrypt
    assert set(NETWORK) < set(sam["policies"])
    database = "arn:aws:rds-db:eu-central-1:000000000000:dbuser:cluster-ABCDEFGHIJKL01234/exporter"
    assert ("Allow", "rds-db:connect", database, "null") in sam["policies"]
    assert sam["role path"] == "/exporters/"
    tags = {"team": "db", "cost-center": "a b:c/d"}
    for stack in ("sam-all", "cargo-lambda-all", "serverless"):
        assert tags.items() <= tags_of(aws, deployed[stack]).items(), stack


def test_network_boundary_and_concurrency_reach_the_function_by_cargo_lambda(
    aws: Aws, deployed: dict[str, Deployed], everything: dict[str, str]
) -> None:
    """The stand-in's CloudFormation passes over these; test_templates.py has what the other ways say of them."""
    configuration = deployed["cargo-lambda-all"].configuration
    assert configuration["VpcConfig"]["SubnetIds"] == everything["SUBNET_IDS"].split(",")
    assert configuration["VpcConfig"]["SecurityGroupIds"] == [everything["SECURITY_GROUP_IDS"]]
    role = aws.client("iam").get_role(RoleName=configuration["Role"].rpartition("/")[2])["Role"]
    assert role["Path"] == everything["ROLE_PATH"]
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == everything["PERMISSIONS_BOUNDARY_ARN"]
    for stack, expected in (("cargo-lambda", 2), ("cargo-lambda-all", None)):
        told = aws.client("lambda").get_function_concurrency(FunctionName=deployed[stack].configuration["FunctionName"])
        assert told.get("ReservedConcurrentExecutions") == expected


def routes(aws: Aws, way: Deployed) -> set[str]:
    """The routes of the HTTP APIs that lead to a deployment's function."""
    gateway = aws.client("apigatewayv2")
    found = set()
    for api in gateway.get_apis()["Items"]:
        integrations = {
            f"integrations/{integration['IntegrationId']}"
            for integration in gateway.get_integrations(ApiId=api["ApiId"])["Items"]
            if integration["IntegrationUri"] == way.configuration["FunctionArn"]
            and integration["PayloadFormatVersion"] == "2.0"
        }
        found |= {
            route["RouteKey"]
            for route in gateway.get_routes(ApiId=api["ApiId"])["Items"]
            if route["Target"] in integrations
        }
    return found


def test_the_fronts_are_those_that_were_asked_for(aws: Aws, deployed: dict[str, Deployed]) -> None:
    functions = aws.client("lambda")
    for stack, way in deployed.items():
        name = way.configuration["FunctionName"]
        urls = functions.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]
        expected_urls = 0 if stack in ("sam", "sam-private", "serverless") else 1
        assert len(urls) == expected_urls, stack
        assert routes(aws, way) == ({"GET /", "GET /{proxy+}"} if stack in ("sam", "serverless") else set()), stack
        if not expected_urls:
            continue
        assert urls[0]["AuthType"] == "NONE"
        policy = json.loads(functions.get_policy(FunctionName=name)["Policy"])
        # Both are needed since October 2025.
        permitted = {
            statement["Action"]: statement.get("Condition") for statement in policy["Statement"]
        }
        assert set(permitted) == {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"}, stack
        assert permitted["lambda:InvokeFunctionUrl"] == {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}}
        assert permitted["lambda:InvokeFunction"] == {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}


def test_a_custom_domain_an_existing_role_and_alarms(aws: Aws, deploy_by: Deploy) -> None:
    gateway, zones = aws.client("apigatewayv2"), aws.client("route53")
    zone = zones.create_hosted_zone(Name="example.com", CallerReference="domain")["HostedZone"]["Id"].rpartition("/")[2]
    certificate = aws.client("acm").request_certificate(DomainName="metrics.example.com")["CertificateArn"]
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = aws.client("iam").create_role(RoleName="given", AssumeRolePolicyDocument=policy)["Role"]["Arn"]
    topic = aws.client("sns").create_topic(Name="on-call")["TopicArn"]
    variables = {
        "DOMAIN_NAME": "metrics.example.com",
        "DOMAIN_CERTIFICATE_ARN": certificate,
        "DOMAIN_HOSTED_ZONE_ID": zone,
        "ROLE_ARN": role,
        "ALARM_TOPIC_ARN": topic,
    }
    done = deploy_by("sam", "domain", variables)
    assert done.returncode == 0, done
    assert "Scrape URL: https://metrics.example.com/metrics\n" in done.stdout
    assert 'targets: ["metrics.example.com"]' in done.stdout
    (mapping,) = gateway.get_api_mappings(DomainName="metrics.example.com")["Items"]
    (stack,) = aws.client("cloudformation").describe_stacks(StackName="domain")["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    configuration = aws.client("lambda").get_function_configuration(FunctionName=outputs["FunctionName"])
    # The stand-in transforms the template with the default of RoleArn, which is empty. test_templates.py compares the role.
    resources = aws.client("cloudformation").list_stack_resources(StackName="domain")["StackResourceSummaries"]
    assert "ExporterRole" not in {resource["LogicalResourceId"] for resource in resources}
    (integration,) = gateway.get_integrations(ApiId=mapping["ApiId"])["Items"]
    assert integration["IntegrationUri"] == configuration["FunctionArn"]
    records = zones.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    aliases = {record["Type"]: record["AliasTarget"]["DNSName"].rstrip(".") for record in records if "AliasTarget" in record}
    assert aliases == dict.fromkeys(("A", "AAAA"), outputs["DomainTarget"])
    alarms = aws.client("cloudwatch").describe_alarms(AlarmNamePrefix="domain-")["MetricAlarms"]
    names = [alarm["MetricName"] for alarm in alarms]
    assert sorted(names) == ["Duration", "Errors", "Throttles"]
    assert all(alarm["AlarmActions"] == [topic] for alarm in alarms)


def test_without_its_url_nobody_may_call_the_function_any_more(
    aws: Aws, deploy_by: Deploy, own_secret: str
) -> None:
    functions = aws.client("lambda")
    for front, statements in (("function-url", 2), ("function-url", 2), ("none", 0)):
        done = deploy_by("cargo-lambda", "closing", {"AUTHORIZATION_SECRET_ARN": own_secret, "FRONT": front})
        assert done.returncode == 0, done
        try:
            policy = json.loads(functions.get_policy(FunctionName="closing")["Policy"])["Statement"]
        except functions.exceptions.ResourceNotFoundException:
            policy = []
        assert len(policy) == statements, [(s["Sid"], s["Action"], s.get("Condition")) for s in policy]


def test_a_new_function_has_its_authorization_before_its_url_and_a_new_role_is_waited_for(
    aws: Aws, deploy_by: Deploy, parameters: dict[str, str]
) -> None:
    """Lambda refuses a new role and its network permissions for some seconds. The stand-in does not."""
    unknown = {
        "POST /2015-03-31/functions": "The role defined for the function cannot be assumed by Lambda.",
        "PUT /2015-03-31/functions/digest/configuration": "The provided execution role does not have permissions to "
        "call CreateNetworkInterface on EC2",
    }
    asked: list[tuple[str, bytes]] = []

    def path(request: BaseHTTPRequestHandler, body: bytes) -> str | Answer:
        call = f"{request.command} {request.path}"
        if message := unknown.pop(call, None):
            return Answer(400, json.dumps({"code": "InvalidParameterValueException", "message": message}))
        asked.append((call, body))
        return request.path

    digest = hashlib.sha256(b"a-token").hexdigest()
    with Relay(lambda: aws.port, path).running() as relay:
        variables = {"AUTHORIZATION_TOKEN_SHA256": digest, "AWS_ENDPOINT_URL": relay.url}
        done = deploy_by("cargo-lambda", "digest", variables)
    assert done.returncode == 0 and unknown == {}, done
    calls = [call for call, _ in asked]
    created = calls.index("POST /2015-03-31/functions")
    told = json.loads(asked[created][1])["Environment"]["Variables"]
    secret = parameters["DATABASE_SECRET_ARN"]
    assert told == {
        "DB_SECRET_ID": secret,
        "DB_AUTH": "password",
        "RESERVED_CONCURRENCY": "2",
        "AUTH_TOKEN_SHA256": digest,
    }
    assert created < calls.index("POST /2015-03-31/functions/digest/policy")
    assert created < calls.index("POST /2021-10-31/functions/digest/url")
    read = {call.resource for call in grants(of_role(aws.client("iam"), f"digest-{REGION}")) if "Secret" in call.action}
    assert read == {secret}
    assert "aws secretsmanager" not in done.stdout and "Put the token" in done.stdout


@pytest.mark.parametrize("stack", ["sam", "sam-url", "serverless"])
def test_the_printed_job_is_that_of_the_stack(stack: str, aws: Aws, deployed: dict[str, Deployed]) -> None:
    (described,) = aws.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
    assert yaml.safe_load(outputs["ScrapeConfig"]) == [deployed[stack].scrape_config]


def test_an_update_changes_the_role_and_the_processor_too(aws: Aws, deploy_by: Deploy, own_secret: str) -> None:
    iam, functions = aws.client("iam"), aws.client("lambda")
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName="chosen", AssumeRolePolicyDocument=policy)["Role"]["Arn"]
    variables = {"AUTHORIZATION_SECRET_ARN": own_secret, "FRONT": "none"}
    assert deploy_by("cargo-lambda", "changing", variables).returncode == 0
    package = (CHECKOUT / "target" / "lambda" / "pg-lambda-exporter" / "bootstrap.zip").read_bytes()
    other = "arm64" if BUILT_FOR == "x86_64" else "x86_64"
    changed = functions.update_function_code(FunctionName="changing", ZipFile=package, Architectures=[other])
    assert changed["Architectures"] == [other], "the stand-in changes no processor"
    done = deploy_by("cargo-lambda", "changing", variables | {"ROLE_ARN": role})
    assert done.returncode == 0, done
    configuration = functions.get_function_configuration(FunctionName="changing")
    assert (configuration["Role"], configuration["Architectures"]) == (role, [BUILT_FOR])


def test_a_function_of_somebody_else_is_not_taken_over(
    aws: Aws, deploy_by: Deploy, deployed: dict[str, Deployed], own_secret: str
) -> None:
    functions = aws.client("lambda")
    name = deployed["serverless"].configuration["FunctionName"]
    before = functions.get_function(FunctionName=name)["Configuration"]
    done = deploy_by("cargo-lambda", name, {"AUTHORIZATION_SECRET_ARN": own_secret})
    assert done.returncode == 1 and f"the function {name} exists and belongs to" in done.stderr, done
    assert functions.get_function(FunctionName=name)["Configuration"] == before


def test_a_role_of_somebody_else_is_not_taken_over(aws: Aws, deploy_by: Deploy, own_secret: str) -> None:
    iam = aws.client("iam")
    name, trust = f"taken-{REGION}", json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
    )
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    iam.put_role_policy(RoleName=name, PolicyName="theirs", PolicyDocument=trust)
    done = deploy_by("cargo-lambda", "taken", {"AUTHORIZATION_SECRET_ARN": own_secret})
    assert done.returncode == 1 and f"the role {name} exists and belongs to" in done.stderr and "ROLE_ARN" in done.stderr, done
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == ["theirs"]
    kept = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    assert (json.loads(kept) if isinstance(kept, str) else kept) == json.loads(trust)


def test_the_log_is_where_is_printed(aws: Aws, deployed: dict[str, Deployed]) -> None:
    for stack, way in deployed.items():
        group = re.search(r"^Its log: +aws logs tail (\S+) --since 15m", way.printed, re.M)[1]
        assert group == way.configuration["LoggingConfig"]["LogGroup"], stack


def by_arn(aws: Aws, call: Call) -> Call:
    """A call of Secrets Manager with the ARN of its secret. The stand-in's `Ref` of a secret is its name where AWS's is
    the ARN, and a targets file may have names."""
    if not call.action.startswith("secretsmanager:") or call.resource == "*" or call.resource.startswith("arn:"):
        return call
    return Call(call.action, aws.client("secretsmanager").describe_secret(SecretId=call.resource)["ARN"])


def role_of(way: Deployed) -> str:
    return way.configuration["Role"].rpartition("/")[2]


def start_anew(aws: Aws, way: Deployed) -> None:
    """Gives a function a new environment, which has everything to ask for."""
    name, variables = way.configuration["FunctionName"], way.configuration["Environment"]["Variables"]
    aws.client("lambda").update_function_configuration(
        FunctionName=name, Environment={"Variables": variables | {"EXTRA_LABELS": "environment=new"}}
    )


def test_the_policy_allows_what_the_function_asks_of_aws_and_nothing_more(
    aws: Aws, deployed: dict[str, Deployed], tokens: dict[str, str], internet: Relay, calls: list[Call]
) -> None:
    for stack in FRONTED:
        way = deployed[stack]
        start_anew(aws, way)
        calls.clear()
        status, body = ask(internet, way.url, tokens[stack])
        assert status == 200 and "pg_up 1" in body, body
        asked = {by_arn(aws, call) for call in calls}
        assert len(asked) == 2, asked
        allowed = {by_arn(aws, grant) for grant in grants(of_role(aws.client("iam"), role_of(way)))}
        for call in asked:
            assert any(matches(grant, call) for grant in allowed), f"{stack}: {call} is not allowed"
        for grant in allowed:
            needed = grant.action in BY_OTHERS or any(matches(grant, call) for call in asked)
            assert needed, f"{stack}: {grant} is needed by no call"
