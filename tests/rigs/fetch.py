"""Fetches what tests run on: NVIDIA's real user-space libraries from Debian's non-free packages, Podman and promtool.

The libraries may not be redistributed with this project, so all goes to an ignored cache folder. The address and the
signing key come from this machine's own apt sources, whose configuration stays as it is: lists and packages have a
private root.

    python tests/rigs/fetch.py [--into DIR]
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "rigs"
SUITES = {"535": "bookworm", "550": "trixie"}
"""Driver branch and the Debian suite whose libnvidia-ml1 is of it."""

ENGINE = ("podman", "conmon", "runc", "golang-github-containers-common", "libsubid4", "libgpgme11", "libassuan0",
          "libseccomp2", "libdevmapper1.02.1", "libbtrfs0")  # fmt: skip
"""A container engine that reads CDI specifications, with what it runs and what of its libraries may be missing."""

PROMETHEUS = ("prometheus",)
"""promtool, which says what is wrong with metrics."""

TOOLS_SUITE = "bookworm"

PACKAGES = ("libnvidia-ml1", "libcuda1", "nvidia-smi", "libnvidia-ptxjitcompiler1")


class Impossible(Exception):
    """The packages cannot be had here; `str()` says why in one line."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--into", type=Path, default=CACHE, help="the cache folder")
    into = parser.parse_args().into
    try:
        for branch, suite in SUITES.items():
            print(f"{branch}: {fetch(branch, suite, into)}")
        print(f"podman: {fetch_tool('podman', ENGINE, into)}")
        print(f"promtool: {fetch_tool('prometheus', PROMETHEUS, into)}")
    except (Impossible, OSError, subprocess.TimeoutExpired) as why:
        print(f"the rigs' libraries cannot be fetched: {why}", file=sys.stderr)
        return 1
    return 0


def fetch(branch: str, suite: str, into: Path) -> str:
    """Put lib/, bin/ and the file `release` of a branch below `into`; the full release. Once is enough."""
    done = into / branch / "release"
    if done.exists():
        return done.read_text(encoding="ascii").strip()
    work = into / f"{branch}.new"
    _unpack(PACKAGES, suite, "non-free", work / "tree")
    release = _arrange(work)
    shutil.rmtree(into / branch, ignore_errors=True)
    work.rename(into / branch)
    done.write_text(release + "\n", encoding="ascii")
    return release


def fetch_tool(name: str, packages: tuple[str, ...], into: Path) -> str:
    """Put the files of these packages, of which one is `name`, below `into`/name; its version. Once is enough."""
    done = into / name / "release"
    if done.exists():
        return done.read_text(encoding="ascii").strip()
    work = into / f"{name}.new"
    files = _unpack(packages, TOOLS_SUITE, "main", work / "tree")
    version = next(path.name.split("_")[1] for path in files if path.name.startswith(f"{name}_"))
    shutil.rmtree(into / name, ignore_errors=True)
    work.rename(into / name)
    done.write_text(version + "\n", encoding="ascii")
    return version


def _unpack(names: tuple[str, ...], suite: str, component: str, tree: Path) -> list[Path]:
    """Download packages of a suite and unpack them below a folder, which is made anew; their files."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise Impossible("this is no Debian-like machine (no apt-get)")
    if platform.machine() != "x86_64":
        raise Impossible(f"only x86_64 libraries are known here, this is {platform.machine()}")
    shutil.rmtree(tree.parent, ignore_errors=True)
    tree.mkdir(parents=True)
    apt = tree.parent / "apt"
    options = _private_apt(apt, suite, component)
    _run(["apt-get", *options, "-q", "update"], apt)
    _run(["apt-get", *options, "-q", "download", *names], apt)
    packages = sorted(apt.glob("*.deb"))
    for package in packages:
        _run(["dpkg", "-x", str(package), str(tree)], apt)
    shutil.rmtree(apt)
    return packages


def _private_apt(root: Path, suite: str, component: str) -> list[str]:
    """Options that give apt a root of its own, and a sources file made from the machine's with another suite."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "private.sources").write_text(_sources(suite, component), encoding="utf-8")
    settings = {
        "Dir::Etc::SourceList": root / "private.sources",
        "Dir::Etc::SourceParts": "-",
        "Dir::State::Lists": root / "lists",
        "Dir::Cache": root / "cache",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def _sources(suite: str, component: str) -> str:
    """A deb822 source of `suite` at the address and with the key that this machine uses for Debian itself."""
    for path in sorted(Path("/etc/apt/sources.list.d").glob("*.sources")):
        for stanza in path.read_text(encoding="utf-8").split("\n\n"):
            fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.M))
            if "-security" not in fields.get("Suites", "") and "main" in fields.get("Components", ""):
                return _stanza(fields["URIs"].split()[0], suite, component, fields.get("Signed-By"))
    for path in (Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.list"))):
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for options, uri, _suite in re.findall(r"^deb\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+main\b", text, re.M):
            if "security" not in uri:
                key = re.search(r"signed-by=(\S+?)[\s\]]", options)
                return _stanza(uri, suite, component, key[1] if key else None)
    raise Impossible("no apt source of Debian's main component was found to take the address from")


def _stanza(uri: str, suite: str, component: str, key: str | None) -> str:
    lines = ["Types: deb", f"URIs: {uri}", f"Suites: {suite}", f"Components: {component}"]
    return "\n".join([*lines, *([f"Signed-By: {key}"] if key else [])]) + "\n"


def _run(argv: list[str], where: Path) -> None:
    env = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(argv, cwd=where, env=env, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
        raise Impossible(f"{argv[0]} failed: {last[0]}")


def _arrange(work: Path) -> str:
    """Flatten the packages' trees to lib/ and bin/ with the links that ldconfig would make; the release."""
    lib, binaries = work / "lib", work / "bin"
    for folder in (lib, binaries):
        folder.mkdir(parents=True, exist_ok=True)
    release = ""
    for path in sorted((work / "tree").rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        match = re.fullmatch(r"(lib[\w-]+\.so)\.(\d{3,}(?:\.\d+)+)", path.name)
        if match:
            shutil.copy2(path, lib / path.name)
            (lib / f"{match[1]}.1").symlink_to(path.name)
            release = match[2] if match[1] == "libnvidia-ml.so" else release
        elif path.name == "nvidia-smi" and path.read_bytes()[:4] == b"\x7fELF":
            shutil.copy2(path, binaries / path.name)
            (binaries / path.name).chmod(0o755)
    if not release:
        raise Impossible("the packages hold no libnvidia-ml")
    shutil.rmtree(work / "tree")
    return release


if __name__ == "__main__":
    sys.exit(main())
