"""packaging/Containerfile: what it takes of this checkout, from where, and with which rights its program runs."""

from __future__ import annotations

import re

import nvdiag
from tests.packaging.installed import PACKAGING, ROOT
from tests.packaging.running_pod import INIT

TEXT = (PACKAGING / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
STEPS = [line.split(None, 1) for line in TEXT.splitlines() if line and not line.startswith("#")]


def of(instruction: str) -> list[str]:
    return [rest for name, rest in STEPS if name == instruction]


def test_the_base_is_pinned_and_every_stage_starts_from_it() -> None:
    assert re.search(r"^BASE=docker\.io/library/python:3\.\d+-slim-\w+@sha256:[0-9a-f]{64}$", of("ARG")[0])
    assert all(base.split()[0] == "${BASE}" for base in of("FROM"))


def test_it_takes_what_the_package_is_built_from_and_nothing_else() -> None:
    copied = {name for line in of("COPY") if not line.startswith("--from") for name in line.split()[:-1]}
    assert all((ROOT / name).exists() for name in copied)
    build = (ROOT / "packaging" / "github" / "preflight.py").read_text(encoding="utf-8")
    named = re.search(r"INSTALLED_FROM = \((.*)\)", build)
    assert named is not None
    assert copied == set(re.findall(r'"(.*?)"', named[1]))


def test_its_program_runs_without_rights_and_asks_for_the_driver() -> None:
    user, group = of("USER")[-1].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert of("ENTRYPOINT") == ['["nvdiag"]']
    assert {"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=utility,compute"} <= set(of("ENV")[0].split())


def test_it_is_labelled_with_this_version() -> None:
    labels = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", TEXT))
    assert labels == {"title", "description", "licenses", "source", "version", "revision"}
    assert f"VERSION={nvdiag.__version__}" in of("ARG")
    assert INIT["image"].endswith(f":{nvdiag.__version__}")
