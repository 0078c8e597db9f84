"""The files that `make release` makes: what is in them, where the binary runs, and that every folder makes the same."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from demo.aws import CHECKOUT, FUNCTION
from demo.release import FOLDER, PACKAGE_FILES, TARGETS, Target

BUILT = [target for target in TARGETS if target.is_installed()]
EACH_TARGET = pytest.mark.parametrize("target", BUILT, ids=lambda target: target.architecture)
THIS_MACHINE = [target for target in BUILT if target.triple.startswith(os.uname().machine)]
EACH_THAT_RUNS_HERE = pytest.mark.parametrize("target", THIS_MACHINE, ids=lambda target: target.architecture)


def lines_of(*command: str) -> list[str]:
    """The lines that a program prints, in the checkout."""
    return subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout.splitlines()


def name() -> str:
    [version] = re.findall(r'^version = "(.+)"$', (CHECKOUT / "Cargo.toml").read_text(), re.M)
    return f"{FUNCTION}-{version}"


@pytest.fixture(scope="module")
def printed() -> str:
    """What `make release` prints. The package is there already, so it compiles nothing for this machine's processor."""
    done = subprocess.run(["make", "--no-print-directory", "release"], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def files(printed: str) -> dict[str, Path]:
    return {file.name: file for file in FOLDER.iterdir()}


@pytest.fixture(scope="module")
def unpacked(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of the command line, by their targets."""
    folder = tmp_path_factory.mktemp("unpacked")
    for target in BUILT:
        subprocess.run(["tar", "-xzf", files[f"{name()}-{target.triple}.tar.gz"]], cwd=folder, check=True)
    return {target.triple: folder / f"{name()}-{target.triple}" for target in BUILT}


def bill(files: dict[str, Path], target: Target) -> dict:
    return json.loads(files[f"{name()}-{target.triple}.cdx.json"].read_text())


def components(bill: dict) -> set[str]:
    """The crates of an SBOM, with their versions."""
    return {f"{it['name']} {it['version']}" for it in bill["components"] if it["name"] != "rust-std"}


def test_each_target_has_its_files(printed: str, files: dict[str, Path]) -> None:
    expected = {"SHA256SUMS"}
    for target in TARGETS:
        if target in BUILT:
            expected.add(f"{name()}-lambda-{target.architecture}.zip")
            expected |= {f"{name()}-{target.triple}.{end}" for end in ("tar.gz", "cdx.json", "third-party.txt")}
        else:
            hint = f"no files for {target.architecture}: run `rustup target add {target.triple}` first"
            assert hint in printed
    assert BUILT and set(files) == expected
    for file in files.values():
        assert f"target/dist/{file.name}: {file.stat().st_size} bytes\n" in printed


def test_sha256sum_checks_all_of_them(files: dict[str, Path]) -> None:
    done = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done
    assert set(done.stdout.splitlines()) == {f"{file}: OK" for file in set(files) - {"SHA256SUMS"}}


@EACH_TARGET
def test_the_zip_is_a_package_of_lambda(files: dict[str, Path], unpacked: dict[str, Path], target: Target) -> None:
    with zipfile.ZipFile(files[f"{name()}-lambda-{target.architecture}.zip"]) as archive:
        modes = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
        assert modes == {"bootstrap": 0o100755} | {file: 0o100644 for file in PACKAGE_FILES}
        for file in PACKAGE_FILES:
            assert archive.read(file) == (CHECKOUT / file).read_bytes()
        assert archive.read("bootstrap") == (unpacked[target.triple] / FUNCTION).read_bytes()


@EACH_THAT_RUNS_HERE
def test_the_command_line_runs_where_it_is_unpacked(unpacked: dict[str, Path], target: Target) -> None:
    folder = unpacked[target.triple]
    assert {file.name for file in folder.iterdir()} == {
        *(FUNCTION, "README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "THIRD-PARTY.txt", *PACKAGE_FILES)
    }
    for arguments, expected in {("--version",): name().replace("r-", "r "), ("check", "queries.yml"): "0 errors"}.items():
        done = subprocess.run([folder / FUNCTION, *arguments], cwd=folder, env={}, capture_output=True, text=True)
        assert done.returncode == 0 and expected in done.stdout, done


@EACH_TARGET
def test_the_binary_runs_with_the_glibc_of_lambda(unpacked: dict[str, Path], target: Target) -> None:
    """Amazon Linux 2023 has 2.34; Debian 12, Ubuntu 22.04 and RHEL 9 have at least that."""
    table = lines_of("readelf", "--version-info", "--wide", str(unpacked[target.triple] / FUNCTION))
    needed = {tuple(map(int, it.split("."))) for it in re.findall(r"Name: GLIBC_([\d.]+)", "\n".join(table))}
    assert needed and max(needed) <= (2, 34)


@EACH_TARGET
def test_the_binary_has_no_path_of_this_machine(unpacked: dict[str, Path], target: Target) -> None:
    binary = (unpacked[target.triple] / FUNCTION).read_bytes()
    cargo = os.environ.get("CARGO_HOME", str(Path.home() / ".cargo"))
    for path in (str(CHECKOUT), cargo, *lines_of("rustc", "--print", "sysroot"), "/tmp/", "/home/", "/root/"):
        assert path.encode() not in binary, path
    assert b"/registry/" in binary


@EACH_TARGET
def test_the_sbom_is_cyclonedx(files: dict[str, Path], target: Target) -> None:
    text = files[f"{name()}-{target.triple}.cdx.json"].read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    made = bill(files, target)
    references = {it["bom-ref"] for it in [*made["components"], made["metadata"]["component"]]}
    assert {it["ref"] for it in made["dependencies"]} | {"rust-std"} == references
    assert {to for it in made["dependencies"] for to in it["dependsOn"]} <= references


@EACH_TARGET
def test_the_sbom_names_the_crates_of_cargos_tree(files: dict[str, Path], target: Target) -> None:
    tree = ["cargo", "tree", "--locked", "--target", target.triple, "--prefix", "none", "--format", "{p}"]
    linked = {" ".join(line.split()[:2]).replace(" v", " ") for line in lines_of(*tree, "--edges", "normal")}
    macros = {line.split()[0] for line in lines_of(*tree, "--edges", "normal") if "(proc-macro)" in line}
    named = components(bill(files, target))
    assert named <= linked
    # The others are macros, and crates that only macros need.
    for crate in linked - named - {name().replace("r-", "r ")}:
        above = lines_of(*tree, "--edges", "normal", "--invert", crate.replace(" ", "@"))
        assert {line.split()[0] for line in above} & macros, crate
    assert not macros & {crate.split()[0] for crate in named}


@EACH_TARGET
def test_the_sbom_names_the_crates_that_the_compiler_made_for_the_binary(files: dict[str, Path], target: Target) -> None:
    """Cargo keeps the libraries for the target apart from those of macros and build scripts."""
    build = ["python3", "-m", "demo", "package", target.option, "--skip-target-check", "--message-format", "json"]
    compiled = set()
    for message in map(json.loads, filter(lambda line: line.startswith("{"), lines_of(*build))):
        if message["reason"] == "compiler-artifact" and any(f"/{target.triple}/release/" in it for it in message["filenames"]):
            if message["target"]["kind"] != ["bin"]:
                crate, version = re.search(r"([\w-]+)[@#]([^#@]+)$", message["package_id"]).groups()
                compiled.add(f"{crate} {version}")
    assert components(bill(files, target)) == compiled - {name().replace("r-", "r ")}


@EACH_TARGET
def test_the_sbom_names_the_crates_whose_sources_the_binary_names(
    files: dict[str, Path], unpacked: dict[str, Path], target: Target
) -> None:
    """Panics say where they come from, in Rust's standard library too."""
    binary = (unpacked[target.triple] / FUNCTION).read_bytes().decode("latin-1")
    made = bill(files, target)
    sources = set(re.findall(r"/registry/[\w.-]+/([\w-]+?)-(\d[\w.+-]*)/", binary))
    assert len(sources) > 20
    assert {" ".join(source) for source in sources} <= components(made)
    [library] = [it for it in made["components"] if it["name"] == "rust-std"]
    assert library["version"] in lines_of("rustc", "--version")[0]
    inside = {it["name"] for it in library["components"]}
    assert {"std", "core", "alloc"} <= inside
    assert {it.replace("-", "_") for it in re.findall(r"/rust/deps/([\w-]+?)-\d", binary)} <= inside


@EACH_TARGET
def test_each_crate_has_its_licence(files: dict[str, Path], unpacked: dict[str, Path], target: Target) -> None:
    text = files[f"{name()}-{target.triple}.third-party.txt"].read_text()
    assert text == (unpacked[target.triple] / "THIRD-PARTY.txt").read_text()
    rule = "\n" + "=" * 80 + "\n"
    summary, *parts = text.split(rule)
    with_text = {crate for heading in parts[::2] for crate in heading.split(", ")}
    assert all(part.strip() for part in parts[1::2])
    made = bill(files, target)
    assert with_text == components(made) | {"rust-std"}
    for it in made["components"]:
        [licence] = [licence["expression"] for licence in it["licenses"]]
        if it["name"] != "rust-std":
            assert f"\n{it['name']} {it['version']}: {licence} " in summary
    # The summary of the licences of its own parts.
    assert "hashbrown" in parts[-1] and "Copyright" in parts[-1]


CARGO = """#!/bin/sh
[ "$1" = lambda ] || exec "$CARGO" "$@"
while [ "$1" != --lambda-dir ]; do shift; done
mkdir "$2"/pg-lambda-exporter && cp "$PACKAGE" "$2"/pg-lambda-exporter/bootstrap.zip
"""


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """Another folder with the checkout, and an environment in which cargo-lambda gives the package of PACKAGE."""
    folder = tmp_path / "another folder" / "checkout"
    for file in lines_of("git", "ls-files"):
        if (CHECKOUT / file).exists():  # It may have been removed, and not yet for git.
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(CHECKOUT / file, folder / file)
            (folder / file).chmod(0o600)
            os.utime(folder / file, (1, 1))
    for file in PACKAGE_FILES:
        shutil.copyfile(CHECKOUT / file, folder / file)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "cargo").write_text(CARGO)
    (programs / "cargo").chmod(0o755)
    environment = os.environ | {"CARGO": shutil.which("cargo"), "PATH": f"{programs}:{os.environ['PATH']}"}
    environment |= {"TZ": "Pacific/Auckland", "SOURCE_DATE_EPOCH": lines_of("git", "log", "-1", "--format=%ct")[0]}
    yield folder, environment


def released(copy: tuple[Path, dict[str, str]], package: Path) -> subprocess.CompletedProcess[str]:
    """`make release` in the other folder, after its tools are there."""
    folder, environment = copy
    return subprocess.run(
        ["python3", "-m", "demo", "release"],
        cwd=folder,
        env=environment | {"PACKAGE": str(package)},
        umask=0o077,
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(len(BUILT) != 1, reason="the package is the same for both processors here")
def test_another_folder_makes_the_same_files(files: dict[str, Path], copy: tuple[Path, dict[str, str]]) -> None:
    """The binary is the same one here. CONTRIBUTING.md says how to compare two builds."""
    [target] = BUILT
    done = released(copy, files[f"{name()}-lambda-{target.architecture}.zip"])
    assert done.returncode == 0, done
    made = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (copy[0] / "target/dist").iterdir()}
    assert made == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files.values()}


def test_a_binary_for_a_newer_glibc_is_no_release(copy: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "new.zip", "w") as package:
        package.writestr("bootstrap", b"\x7fELF\0GLIBC_2.2.5\0GLIBC_2.36\0")
    done = released(copy, tmp_path / "new.zip")
    assert done.returncode == 1
    assert done.stderr == "make release: the binary needs glibc 2.36, and Lambda has 2.34\n"
    assert not (copy[0] / "target/dist").exists()


def test_archives_have_the_time_of_the_commit_and_no_owner(files: dict[str, Path]) -> None:
    time = int(lines_of("git", "log", "-1", "--format=%ct")[0])
    for target in BUILT:
        with tarfile.open(files[f"{name()}-{target.triple}.tar.gz"]) as archive:
            assert {(it.mtime, it.uid, it.gid, it.uname, it.gname) for it in archive} == {(time, 0, 0, "", "")}
