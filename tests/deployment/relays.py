"""What stands between the function, AWS and the Internet here: a recorder of the function's calls to AWS, and a proxy
through which the URLs that the deployments print lead to the stand-in."""

import contextlib
import functools
import http.client
import json
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import botocore.session
from botocore.model import OperationModel

HOP_BY_HOP = {"connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "content-length"}

CREDENTIAL_SCOPE = re.compile(r"Credential=(?P<key>[^/]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")

FRONTS = [
    # The name of a private REST API has its endpoint behind its own.
    (re.compile(r"(?P<id>[a-z0-9]+)-vpce-[0-9a-f]+\.execute-api\.[a-z0-9-]+\.amazonaws\.com"), "execute-api/{id}"),
    (re.compile(r"(?P<id>[a-z0-9]+)\.execute-api\.[a-z0-9-]+\.amazonaws\.com"), "execute-api/{id}/$default"),
    (re.compile(r"(?P<id>[a-z0-9]+)\.lambda-url\.[a-z0-9-]+\.on\.aws"), "lambda-url/{id}"),
]
"""Hosts of AWS, and where the stand-in has what they serve."""


@dataclass(frozen=True)
class Call:
    """A call to AWS, as a policy knows it."""

    action: str
    resource: str


@dataclass(frozen=True)
class Answer:
    """What AWS answers where the stand-in would answer something else."""

    status: int
    body: str


class Relay:
    """A server that forwards each request to the stand-in, at the path that a function returns for it."""

    def __init__(
        self, stand_in_port: Callable[[], int], path: Callable[[BaseHTTPRequestHandler, bytes], str | Answer]
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            def relay(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
                place = path(self, body)
                if isinstance(place, Answer):
                    self.send_response(place.status)
                    self.send_header("Content-Length", str(len(place.body)))
                    self.end_headers()
                    self.wfile.write(place.body.encode())
                    return
                onward = http.client.HTTPConnection("127.0.0.1", stand_in_port(), timeout=30)
                onward.request(self.command, place, body, headers)
                answer = onward.getresponse()
                content = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in HOP_BY_HOP:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                onward.close()

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = relay

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextlib.contextmanager
    def running(self) -> Iterator["Relay"]:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()


def recorder(stand_in_port: Callable[[], int], calls: list[Call]) -> Relay:
    """A relay for calls to AWS, which it adds to `calls`."""

    def path(request: BaseHTTPRequestHandler, body: bytes) -> str:
        calls.append(call(request.headers, f"{request.command} {request.path}", body))
        return request.path

    return Relay(stand_in_port, path)


def call(headers, otherwise: str, body: bytes) -> Call:
    """The call that a request is. One that is not understood is a call too, which no policy allows."""
    scope = CREDENTIAL_SCOPE.search(headers.get("Authorization", ""))
    target = headers.get("X-Amz-Target")
    if not scope or not target:
        return Call(otherwise, "?")
    action = f"{scope['service']}:{target.rpartition('.')[2]}"
    # A list is not about one secret.
    unnamed = "*" if action == "secretsmanager:ListSecrets" else "?"
    return Call(action, json.loads(body).get("SecretId", unnamed))


ACTIONS = {
    "CompleteMultipartUpload": "PutObject",
    "CopyObject": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "DeleteObjects": "DeleteObject",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListBuckets": "ListAllMyBuckets",
    "ListObjectVersions": "ListBucketVersions",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "UploadPart": "PutObject",
}
"""Operations of S3 whose IAM action has another name (Service Authorization Reference, Amazon S3). PutObject and
CopyObject differ in a header only."""


def signer(request: BaseHTTPRequestHandler) -> tuple[str, str]:
    """The access key and the session token that a request was signed with."""
    scope = CREDENTIAL_SCOPE.search(request.headers.get("Authorization", ""))
    return scope["key"] if scope else "", request.headers.get("X-Amz-Security-Token", "")


def deployer_recorder(stand_in_port: Callable[[], int], calls: list[Call], signers: set[tuple[str, str]]) -> Relay:
    """A relay for the calls of tools that deploy. It adds to `calls` what the deployer's policy must allow."""

    def path(request: BaseHTTPRequestHandler, body: bytes) -> str:
        signers.add(signer(request))
        calls.extend(deployer_calls(request, body))
        return request.path

    return Relay(stand_in_port, path)


def deployer_calls(request: BaseHTTPRequestHandler, body: bytes) -> Iterator[Call]:
    scope = CREDENTIAL_SCOPE.search(request.headers.get("Authorization", ""))
    if not scope:
        yield Call(f"{request.command} {request.path}", "?")
        return
    service, parameters = scope["service"], {}
    if target := request.headers.get("X-Amz-Target"):
        operation, parameters = target.rpartition(".")[2], json.loads(body)
    elif request.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
        parameters = dict(urllib.parse.parse_qsl(body.decode()))
        operation = parameters["Action"]
    else:
        operation, parameters = rest_operation(service, request.command, request.path)
        if request.headers.get("Content-Type", "").startswith("application/json") and body:
            parameters |= json.loads(body)
    action = ACTIONS.get(operation, operation) if service == "s3" else operation
    yield Call(f"{service}:{action}", resource(service, parameters))
    if "Role" in parameters and service == "lambda":
        yield Call("iam:PassRole", parameters["Role"])
    if action == "GetFunction":
        # Lambda leaves the tags out of its answer otherwise (AWS Lambda API Reference, GetFunction).
        yield Call("lambda:ListTags", resource(service, parameters))


def resource(service: str, parameters: dict[str, str]) -> str:
    """The ARN of the resource that a call with these parameters is about."""
    account = "000000000000"
    match service, parameters:
        case _, {"Resource": str(arn)} | {"resourceArn": str(arn)} | {"TopicArn": str(arn)}:
            return arn
        case "cloudformation", {"StackName": str(name)}:
            return name if name.startswith("arn:") else f"arn:aws:cloudformation:eu-central-1:{account}:stack/{name}/id"
        case "iam", {"RoleName": str(name)}:
            return f"arn:aws:iam::{account}:role/{name}"
        case "lambda", {"FunctionName": str(name)}:
            return name if name.startswith("arn:") else f"arn:aws:lambda:eu-central-1:{account}:function:{name}"
        case "logs", {"logGroupName": str(name)}:
            return f"arn:aws:logs:eu-central-1:{account}:log-group:{name}"
        case "s3", {"Bucket": str(bucket)}:
            return "/".join(filter(None, [f"arn:aws:s3:::{bucket}", parameters.get("Key")]))
    return "*"


@functools.cache
def operations(service: str) -> list[OperationModel]:
    model = botocore.session.get_session().get_service_model(service)
    return [model.operation_model(name) for name in model.operation_names]


def rest_operation(service: str, method: str, url: str) -> tuple[str, dict[str, str]]:
    """The operation of a REST request, and the parameters in its path, by botocore's model of the service."""
    parts = urllib.parse.urlsplit(url)
    query = urllib.parse.parse_qs(parts.query, keep_blank_values=True)
    found = []
    for operation in operations(service):
        template, _, required = operation.http["requestUri"].partition("?")
        pattern = re.sub(r"\{(\w+)\+\}", r"(?P<\1>.+)", re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template.rstrip("/")))
        path = re.fullmatch(pattern, urllib.parse.unquote(parts.path).rstrip("/") if service == "s3" else parts.path.rstrip("/"))
        needed = urllib.parse.parse_qs(required, keep_blank_values=True)
        if operation.http["method"] == method and path and needed.keys() <= query.keys():
            named = query.get("x-id", [operation.name])[0] == operation.name
            found.append((named, len(needed), operation.name, path.groupdict()))
    named, _, name, parameters = max(found, key=lambda each: each[:2])
    return name, {key: urllib.parse.unquote(value) for key, value in parameters.items()}


def internet(stand_in_port: Callable[[], int]) -> Relay:
    """An HTTP proxy in which the hosts of API Gateway and of function URLs are those of the stand-in."""
    return Relay(stand_in_port, lambda request, _body: front_path(request.path))


def front_path(url: str) -> str:
    """Where the stand-in has what AWS has at `url`."""
    parts = urllib.parse.urlsplit(url)
    for host, place in FRONTS:
        if match := host.fullmatch(parts.hostname or ""):
            query = f"?{parts.query}" if parts.query else ""
            return f"/_aws/{place.format(id=match['id'])}{parts.path}{query}"
    raise LookupError(f"no host of a front: {parts.hostname}")
