"""Strategies for what no machine writes but a file may hold: odd text, mutated samples, any JSON."""

from __future__ import annotations

import functools
import json
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from nvdiag.host.base import SECTIONS
from tests.facts.package_log_texts import APT_HISTORY, DNF_RPM, DPKG, INSTALLER, PACMAN, ZYPP
from tests.facts.sampled import texts
from tests.scenarios import machines

QUICK = settings(deadline=None, database=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
"""No test fails because the machine that it runs on is busy."""

ODD = (
    "", "\0", "²", "٣٤", "9" * 5000, "-" * 3, "--5", "\ud800", "\x1b[31m", "\u2028", "{", "[", "\n" * 3000, " " * 3000,
    "=", ":", "#" * 200, "0.0", "570.172.08", "1e999", "{}", "[]", "null", "../" * 50, "/" * 300, "(" * 300,
)  # fmt: skip
"""Digits that are none for int(), numbers that are too long for it, lone surrogates, escape sequences, …"""

NAMES = (
    "error", "exit", "stdout", "stderr", "mode", "uid", "gid", "rdev", "size", "class", "machine", "soname", "version",
    "license", "vermagic", "signed", "signer", "sig_id", "library", "dlopen_error", "nvml_version", "init", "init_text",
    "init_name", "driver_version", "cuda_driver_version", "count", "devices", "index", "handle", "errors", "pci",
    "memory_bytes", "total", "used", "compute_processes", "graphics_processes", "pid", "name", "stage", "state",
    "signal", "silent_seconds", "left_behind", "fwd_compatibility", "cuda", "cuda_nvcc", "driver", "DRIVER_VERSIONS",
    "modules", "others", "firmware", "kernels", "modprobe", "trouble", "release", "names",
)  # fmt: skip


def pieces() -> st.SearchStrategy[str]:
    """Any text, odd text, and short text that looks like versions and addresses."""
    return st.one_of(st.text(max_size=30), st.sampled_from(ODD), st.from_regex(r"[0-9a-f:.\-]{1,20}", fullmatch=True))


@st.composite
def mutated(draw: st.DrawFn, originals: tuple[str, ...]) -> str:
    """A real text with some places cut out, doubled, or replaced by odd text."""
    text = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        text = text[:start] + draw(st.one_of(pieces(), st.just(text[start:end] * 2))) + text[end:]
    return text


def any_text(*originals: str) -> st.SearchStrategy[str]:
    """Any text at all, and mutations of real ones."""
    real = tuple(originals) or tuple(texts())
    return st.one_of(st.text(), pieces(), mutated(real), st.lists(mutated(real), max_size=3).map("\n".join))


def any_json() -> st.SearchStrategy[Any]:
    """Any value that json.loads makes, Infinity and NaN among them, often under names that nvdiag looks for."""
    numbers = st.one_of(st.integers(), st.integers(-2, 20), st.floats(), st.sampled_from([10**400, -(10**30), 13000]))
    leaves = st.one_of(st.none(), st.booleans(), numbers, any_text())
    names = st.one_of(st.sampled_from(NAMES), st.text(max_size=8))
    return st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=5)),
        max_leaves=6,
    )


@functools.cache
def documents() -> tuple[str, ...]:
    """Recorded machines as JSON texts, to be changed by tests."""
    gpus = ("0000:01:00.0", "0000:02:00.0")
    trees = (
        machines.ubuntu_dkms(),
        machines.ubuntu_dkms("570.172.08", gpus=gpus),
        machines.ubuntu_dkms(None, None, None),
        machines.debian_current(),
        machines.rpm_machine("rocky", "570.169", "570.172.08", "570.172.08"),
        machines.arch(None),
        machines.docker("570.169"),
        machines.wsl(),
        machines.ubuntu_dkms().but(
            env={"CUDA_HOME": "/usr/local/cuda", "PATH": "/opt/c/bin:/usr/bin", "LD_LIBRARY_PATH": "/opt/c/lib"},
            links={"/usr/local/cuda": "cuda-13.0", "/opt/c/lib/libcuda.so.1": "/opt/c/compat/libcuda.so.580.1.2"},
            files={
                "/usr/local/cuda-13.0/version.json": '{"cuda": {"version": "13.0.2"}}',
                "/opt/c/bin/nvcc": '#!/bin/sh\nexec /usr/local/cuda-13.0/bin/nvcc "$@"\n',
                "/usr/local/cuda-13.0/bin/nvcc": "",
            },
            libraries={"/opt/c/compat/libcuda.so.580.1.2": 90_000_000},
        ),
        machines.ubuntu_dkms("570.169").but(
            files={
                "/var/log/apt/history.log": APT_HISTORY,
                "/var/log/dpkg.log": DPKG,
                "/var/log/dnf.rpm.log": DNF_RPM,
                "/var/log/zypp/history": ZYPP,
                "/var/log/pacman.log": PACMAN,
                "/var/log/nvidia-installer.log": INSTALLER,
            }
        ),
    )
    return tuple(json.dumps(tree.snapshot().document) for tree in trees)


@functools.cache
def questions() -> tuple[tuple[str, str], ...]:
    """Every section and key that facts ask for on those machines."""
    asked = {(section, key) for text in documents() for section in SECTIONS for key in json.loads(text)[section]} | {
        ("probes", name) for name in ("nvml", "cuda", "cuda init", "driver-files", "nodes /dev/nvidiactl", "other")
    }
    return tuple(sorted(asked))


@st.composite
def any_change(draw: st.DrawFn) -> tuple[int, dict[str, Any]]:
    """Which of the recorded machines (-1: none), and the answers of it to replace, by "section key" or "section"."""
    which = draw(st.integers(-1, len(documents()) - 1))
    before = machine(which, {})
    changes: dict[str, Any] = {}
    for section, key in draw(st.lists(st.sampled_from(questions()), max_size=8)):
        changes[f"{section} {key}"] = draw(odd_answer(section, before[section].get(key)))
    if draw(st.integers(0, 9)) == 0:
        changes[draw(st.sampled_from((*SECTIONS, "captured_at", "messages")))] = draw(any_json())
    return which, changes


def machine(which: int, changes: dict[str, Any]) -> dict[str, Any]:
    """The snapshot of a recorded machine with some answers replaced."""
    document: dict[str, Any] = {section: {} for section in SECTIONS}
    if which >= 0:
        document = json.loads(documents()[which])
    for place, value in changes.items():
        section, _, key = place.partition(" ")
        if key:
            document[section][key] = value
        else:
            document[section] = value
    return document


def odd_answer(section: str, original: Any) -> st.SearchStrategy[Any]:
    """Any JSON, and answers of the section's own form with odd contents."""
    before = tuple(text for text in (original, (original or {}).get("stdout") if isinstance(original, dict) else None)
                   if isinstance(text, str) and text)  # fmt: skip
    words = any_text(*before) if before else any_text()
    of_form: st.SearchStrategy[Any] = st.fixed_dictionaries({"error": words})
    match section:
        case "files" | "links" | "opens" | "env":
            of_form = words
        case "folders":
            of_form = st.lists(st.one_of(words, any_json()), max_size=5)
        case "commands":
            of_form = st.fixed_dictionaries({"exit": st.integers(), "stdout": st.one_of(words, any_json())})
        case "stats":
            of_form = st.fixed_dictionaries({"mode": any_json(), "uid": st.integers(), "rdev": words})
        case "modinfo" | "elf" | "probes" | "contents":
            of_form = st.one_of(
                st.dictionaries(st.sampled_from(NAMES), any_json(), max_size=8), _changed(original, any_json())
            )
        case _:
            raise AssertionError(f"no such section: {section}")
    return st.one_of(of_form, any_json(), st.none(), st.fixed_dictionaries({"error": words}))


@st.composite
def _changed(draw: st.DrawFn, original: Any, values: st.SearchStrategy[Any]) -> dict[str, Any]:
    """An object with some of its values, and of the first object in a list of it, replaced."""
    found = dict(original) if isinstance(original, dict) else {}
    for name in draw(st.lists(st.sampled_from((*found, *NAMES)), max_size=4)):
        found[name] = draw(values)
    devices = found.get("devices")
    if isinstance(devices, list) and devices and isinstance(devices[0], dict):
        found["devices"] = [draw(_changed(devices[0], values)), *devices[1:]]
    return found
