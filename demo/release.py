"""`make release`: the files of a release, in target/dist/.

The same commit gives the same files in every folder: archives have the commit's time, no owner and one order, and the
binary has no path of the machine that built it (demo/package.py). Another version of Rust, cargo-lambda or zlib makes
other bytes."""

import gzip
import hashlib
import html
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import time
import tomllib
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from demo.aws import CHECKOUT, FUNCTION
from demo.package import alone, build, mode
from demo.processes import Failure, Processes, uninterrupted

FOLDER = CHECKOUT / "target" / "dist"
PACKAGE_FILES = ["queries.yml", "rds-authorities.pem"]
"""The files beside the binary in the package of Lambda."""
DOCUMENTS = ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"]
GLIBC = (2, 34)
"""That of Amazon Linux 2023, Lambda's provided.al2023."""
LICENCE_FILE = re.compile(r"(licen[cs]es?|copying|copyright|notice|unlicense)([-_.][\w.-]*)?", re.IGNORECASE)
SOURCE_CODE = {".rs", ".py", ".html", ".json", ".toml", ".yml"}


@dataclass(frozen=True)
class Target:
    """A processor, by the names that Lambda, cargo-lambda and Rust have for it."""

    architecture: str
    option: str
    triple: str

    def is_installed(self) -> bool:
        """Whether Rust can compile for it."""
        return any(self.libraries)

    @cached_property
    def libraries(self) -> list[str]:
        """The crates of Rust's standard library."""
        folder = Path(output("rustc", "--print", "target-libdir", "--target", self.triple).strip())
        return sorted({file.name[3:].rsplit("-", 1)[0] for file in folder.glob("lib*.rlib")})


TARGETS = [
    Target("x86_64", "--x86-64", "x86_64-unknown-linux-gnu"),
    Target("arm64", "--arm64", "aarch64-unknown-linux-gnu"),
]


@dataclass(frozen=True, order=True)
class Crate:
    """A crate that is linked into the binary."""

    name: str
    version: str
    licence: str
    repository: str

    @property
    def purl(self) -> str:
        return f"pkg:cargo/{self.name}@{self.version}"


def main() -> None:
    """Makes the files for every target that Rust has."""
    alone(release)


def release(running: Processes) -> None:
    """Builds for each target that is installed and puts the files into `FOLDER`."""
    folder = running.folder / "dist"
    folder.mkdir()
    for target in TARGETS:
        if not target.is_installed():
            print(f"make release: no files for {target.architecture}: run `rustup target add {target.triple}` first")
            continue
        package = build(running, [target.option, "--skip-target-check"])
        with zipfile.ZipFile(package) as archive:
            write_target(folder, target, archive.read("bootstrap"))
    if not any(folder.iterdir()):
        raise Failure("make release: no target is installed")
    write_sums(folder)
    with uninterrupted():
        shutil.rmtree(FOLDER, ignore_errors=True)
        shutil.move(folder, FOLDER)
    for file in sorted(FOLDER.iterdir()):
        print(f"{file.relative_to(CHECKOUT)}: {file.stat().st_size} bytes")


def write_target(folder: Path, target: Target, binary: bytes) -> None:
    """Writes the files of one target."""
    needed = max(tuple(map(int, found.split(b"."))) for found in re.findall(rb"\0GLIBC_(\d+\.\d+)", binary))
    if needed > GLIBC:
        raise Failure(f"make release: the binary needs glibc {needed[0]}.{needed[1]}, and Lambda has {GLIBC[0]}.{GLIBC[1]}")
    linked = Linked(target)
    name = f"{FUNCTION}-{linked.root.version}"
    notices = third_party(linked).encode()
    documents = {file: (CHECKOUT / file).read_bytes() for file in PACKAGE_FILES + DOCUMENTS}
    package = {"bootstrap": binary} | {file: documents[file] for file in PACKAGE_FILES}
    write_zip(folder / f"{name}-lambda-{target.architecture}.zip", package)
    command_line = {FUNCTION: binary, "THIRD-PARTY.txt": notices} | documents
    write_tar(folder / f"{name}-{target.triple}.tar.gz", f"{name}-{target.triple}", command_line)
    (folder / f"{name}-{target.triple}.third-party.txt").write_bytes(notices)
    (folder / f"{name}-{target.triple}.cdx.json").write_text(json.dumps(bill_of_materials(linked), indent=2) + "\n")


def write_zip(file: Path, contents: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name, time.gmtime(commit_time())[:6])
            entry.create_system = 3  # Unix, whose modes Lambda reads.
            entry.external_attr = (0o100000 | mode(name)) << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)


def write_tar(file: Path, folder: str, contents: Mapping[str, bytes]) -> None:
    with file.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=commit_time()) as compressed:
        with tarfile.open(mode="w", fileobj=compressed, format=tarfile.USTAR_FORMAT) as archive:
            for name, content in contents.items():
                entry = tarfile.TarInfo(f"{folder}/{name}")
                entry.size, entry.mtime, entry.mode = len(content), commit_time(), mode(name)
                archive.addfile(entry, io.BytesIO(content))


def write_sums(folder: Path) -> None:
    """What `sha256sum --check` reads."""
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(folder.iterdir())]
    (folder / "SHA256SUMS").write_text("".join(lines))


class Linked:
    """The crates that are linked into the binary of a target, and on what each depends."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.dependencies: dict[Crate, set[Crate]] = {}
        above: list[Crate] = []
        for depth, crate in crates(target.triple):
            self.dependencies.setdefault(crate, set())
            del above[depth:]
            if above:
                self.dependencies[above[-1]].add(crate)
            above.append(crate)
        [self.root] = [crate for crate in self.dependencies if crate.name == FUNCTION]
        self.crates = sorted(set(self.dependencies) - {self.root})


def crates(triple: str) -> Iterator[tuple[int, Crate]]:
    """Cargo's tree of dependencies, without those that only build or test."""
    edges = ["--edges", "normal,no-proc-macro", "--target", triple, "--prefix", "depth", "--format", "|{p}|{l}|{r}|"]
    for line in output("cargo", "tree", "--locked", *edges).splitlines():
        depth, package, licence, repository, _ = line.split("|")
        name, version = package.split()[:2]
        # The slash is how Cargo wrote OR before it took SPDX's expressions.
        yield int(depth), Crate(name, version.removeprefix("v"), re.sub(" ?/ ?", " OR ", licence), repository)


def bill_of_materials(linked: Linked) -> dict:
    """The SBOM, as CycloneDX 1.6."""
    locked = tomllib.loads((CHECKOUT / "Cargo.lock").read_text())["package"]
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in locked}

    def component(crate: Crate, kind: str) -> dict:
        made = {"type": kind, "bom-ref": crate.purl, "name": crate.name, "version": crate.version, "purl": crate.purl}
        made["licenses"] = [{"expression": crate.licence}]
        if checksum := checksums[crate.name, crate.version]:
            made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        if crate.repository:
            made["externalReferences"] = [{"type": "vcs", "url": crate.repository}]
        return made

    library = {
        "type": "library",
        "bom-ref": "rust-std",
        "name": "rust-std",
        "version": rust_version(),
        "description": "Rust's standard library, with the crates that it has in it",
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
        "externalReferences": [{"type": "vcs", "url": "https://github.com/rust-lang/rust"}],
        "components": [{"type": "library", "name": name} for name in linked.target.libraries],
    }
    dependencies = [
        {"ref": crate.purl, "dependsOn": [each.purl for each in sorted(needed)]}
        for crate, needed in sorted(linked.dependencies.items())
    ]
    made = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(commit_time())),
            "component": component(linked.root, "application"),
            "properties": [{"name": "target", "value": linked.target.triple}],
        },
        "components": [component(crate, "library") for crate in linked.crates] + [library],
        "dependencies": dependencies,
    }
    return made | {"serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(made)).urn}


def third_party(linked: Linked) -> str:
    """The licences of the dependencies: a list of the crates, and each text once."""
    metadata = json.loads(output("cargo", "metadata", "--locked", "--format-version", "1"))
    packages = {(package["name"], package["version"]): package for package in metadata["packages"]}
    uses: dict[str, list[str]] = {}
    for crate in linked.crates:
        for text in texts(crate, packages[crate.name, crate.version]):
            uses.setdefault(text, []).append(f"{crate.name} {crate.version}")
    lines = [
        f"{linked.root.name} {linked.root.version} for {linked.target.triple} has these crates in it, and Rust's standard library",
        f"(rust-std {rust_version()}, MIT OR Apache-2.0). The texts of the licences follow.",
        "",
        *(f"{crate.name} {crate.version}: {crate.licence} {crate.repository}".rstrip() for crate in linked.crates),
    ]
    for text, names in [*uses.items(), (standard_library(), ["rust-std"])]:
        lines += ["", "=" * 80, ", ".join(names), "=" * 80, "", text]
    return "\n".join(lines) + "\n"


def texts(crate: Crate, package: Mapping) -> Iterator[str]:
    """The licence files of a crate. One without has the text of the licence that its Cargo.toml names."""
    folder = Path(package["manifest_path"]).parent
    files = sorted(
        file
        for file in folder.rglob("*")
        if LICENCE_FILE.fullmatch(file.name) and file.suffix not in SOURCE_CODE and file.is_file()
    )
    for file in files:
        yield file.read_text(errors="replace").replace("\r\n", "\n").strip()
    if files:
        return
    if "Apache-2.0" in crate.licence:
        yield (CHECKOUT / "LICENSE-APACHE").read_text().strip()
    elif crate.licence == "MIT":
        holders = ", ".join(package["authors"]) or f"the authors of {crate.name}"
        text = (CHECKOUT / "LICENSE-MIT").read_text().strip()
        yield re.sub("^Copyright .*$", f"Copyright (c) {holders}", text, flags=re.MULTILINE)
    else:
        raise Failure(f"make release: {crate.name} {crate.version} has no licence file, and {crate.licence} is not known here")


def standard_library() -> str:
    """The licences of Rust's standard library, which Rust brings as a page."""
    sysroot = Path(output("rustc", "--print", "sysroot").strip())
    file = sysroot / "share" / "doc" / "rust" / "COPYRIGHT-library.html"
    if not file.exists():
        raise Failure(f"make release: {file} is missing; Rust by rustup has it")
    text = html.unescape(re.sub(r"<[^>]*>", "", re.sub(r"(?s)<(head|style)>.*?</\1>", "", file.read_text())))
    return re.sub(r"\n\s*\n+", "\n\n", text).strip()


def rust_version() -> str:
    return output("rustc", "--version").split()[1]


def commit_time() -> int:
    """The time that all files have (reproducible-builds.org, SOURCE_DATE_EPOCH)."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or output("git", "log", "-1", "--format=%ct"))


def output(*command: str) -> str:
    """What a program prints."""
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"{' '.join(command[:2])} has failed: {done.stderr.strip()}")
    return done.stdout
