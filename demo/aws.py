"""A stand-in for AWS on this machine (ministack: API Gateway, Lambda, Secrets Manager), and the exporter in it."""

import json
import os
import sys
from pathlib import Path

import boto3

from demo.endpoint import Endpoint, get
from demo.processes import Failure, Processes

CHECKOUT = Path(__file__).parent.parent
FUNCTION = "pg-lambda-exporter"
PACKAGES = CHECKOUT / "target" / "lambda"
SECRET = "shop/exporter"
REGION = "eu-central-1"
# The stand-in believes anybody; the SDKs want to sign with something.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo", "AWS_REGION": REGION}
ROLE = "arn:aws:iam::000000000000:role/pg-lambda-exporter"


class Aws:
    """The running stand-in."""

    def __init__(self, processes: Processes, preferred_port: int = 0, function_endpoint: str | None = None) -> None:
        """`function_endpoint` is where every function finds AWS, whatever its own environment says."""
        self._processes = processes
        self.port = processes.port(preferred_port)
        self.endpoint = f"http://127.0.0.1:{self.port}"
        folder = processes.folder / "aws"
        folder.mkdir()
        environment = {
            "PATH": os.environ["PATH"],
            # All files of the stand-in and of the function go where they are removed.
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "STATE_DIR": str(folder / "state"),
            "S3_DATA_DIR": str(folder / "s3"),
            "BIND_HOST": "127.0.0.1",
            # These two listen on every address of the machine.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "GATEWAY_PORT": str(self.port),
            "MINISTACK_REGION": REGION,
            "LOG_LEVEL": "WARNING",
        }
        if function_endpoint:
            environment["AWS_ENDPOINT_URL"] = function_endpoint
        processes.start("aws", [sys.executable, "-m", "ministack"], environment)
        processes.wait_for("the AWS stand-in", self._is_healthy)

    def client(self, service: str):
        """A client of boto3."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )

    def put_secret(self, name: str, value: dict[str, str | int]) -> str:
        """Makes a secret and gives its ARN."""
        return self.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(value))["ARN"]

    def function_environment(self, secret: str) -> dict[str, str]:
        """What the exporter is told about where it runs."""
        return {"DB_SECRET_ID": secret, "AUTH": "none", "AWS_ENDPOINT_URL": self.endpoint}

    def deploy(self, secret: str) -> str:
        """Deploys the package as its users do, and gives the function's ARN."""
        command = ["cargo", "lambda", "deploy", "--endpoint-url", self.endpoint, "--region", REGION]
        command += ["--lambda-dir", str(PACKAGES), "--iam-role", ROLE, "--memory", "128", "--timeout", "29"]
        for name, value in self.function_environment(secret).items():
            command += ["--env-var", f"{name}={value}"]
        environment = os.environ | CREDENTIALS | {"TMPDIR": str(self._processes.folder)}
        answer = self._processes.run([*command, FUNCTION], environment, CHECKOUT)
        if answer.returncode:
            raise Failure(f"cargo lambda deploy:\n{answer.stdout}{answer.stderr}")
        return self.client("lambda").get_function(FunctionName=FUNCTION)["Configuration"]["FunctionArn"]

    def create_function(self, name: str, variables: dict[str, str], package: bytes) -> str:
        """Makes a function of a package, and gives its ARN."""
        return self.client("lambda").create_function(
            FunctionName=name,
            Role=ROLE,
            Runtime="provided.al2023",
            Handler="bootstrap",
            Timeout=29,
            Code={"ZipFile": package},
            Environment={"Variables": variables},
        )["FunctionArn"]

    def http_api(self, function: str) -> Endpoint:
        """Puts an HTTP API in front of the function."""
        gateway = self.client("apigatewayv2")
        api = gateway.create_api(Name=FUNCTION, ProtocolType="HTTP")["ApiId"]
        integration = gateway.create_integration(
            ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=function, PayloadFormatVersion="2.0"
        )["IntegrationId"]
        for path in ("/", "/{proxy+}"):
            gateway.create_route(ApiId=api, RouteKey=f"GET {path}", Target=f"integrations/{integration}")
        gateway.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
        self._permit(function, api)
        return self._endpoint(api, "$default", "")

    def rest_api(self, function: str) -> Endpoint:
        """Puts a REST API in front of the function, with its stage in the URL."""
        gateway = self.client("apigateway")
        api = gateway.create_rest_api(name=FUNCTION, endpointConfiguration={"types": ["REGIONAL"]})["id"]
        root = gateway.get_resources(restApiId=api)["items"][0]["id"]
        proxy = gateway.create_resource(restApiId=api, parentId=root, pathPart="{proxy+}")["id"]
        for resource in (root, proxy):
            gateway.put_method(restApiId=api, resourceId=resource, httpMethod="GET", authorizationType="NONE")
            gateway.put_integration(
                restApiId=api,
                resourceId=resource,
                httpMethod="GET",
                type="AWS_PROXY",
                integrationHttpMethod="POST",
                uri=f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{function}/invocations",
            )
        gateway.create_deployment(restApiId=api, stageName="prod")
        self._permit(function, api)
        return self._endpoint(api, "prod", "/prod")

    def function_log(self, group: str = f"/aws/lambda/{FUNCTION}") -> str:
        """What the function has written into this log group."""
        logs = self.client("logs")
        try:
            events = logs.filter_log_events(logGroupName=group)["events"]
        except logs.exceptions.ResourceNotFoundException:
            return ""
        return "".join(event["message"].rstrip("\n") + "\n" for event in events)

    def log(self) -> str:
        """Warnings of the stand-in itself."""
        return (self._processes.folder / "aws.log").read_text()

    def _is_healthy(self) -> bool:
        return get(f"{self.endpoint}/_ministack/health").status == 200

    def _endpoint(self, api: str, stage: str, path: str) -> Endpoint:
        return Endpoint(
            url=f"http://{api}.execute-api.localhost:{self.port}{path}",
            address=f"{self.endpoint}/_aws/execute-api/{api}/{stage}",
        )

    def _permit(self, function: str, api: str) -> None:
        self.client("lambda").add_permission(
            FunctionName=function,
            StatementId=f"api-{api}",
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=f"arn:aws:execute-api:{REGION}:000000000000:{api}/*",
        )
