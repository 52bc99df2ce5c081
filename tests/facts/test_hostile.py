"""No text whatever makes a parser raise anything but its own error; no snapshot whatever makes nvdiag itself fail."""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nvdiag.cli import delivering, running
from nvdiag.facts import (
    answers,
    boot_entries,
    boot_extlinux,
    boot_grub,
    cdi_document,
    container_toolkit,
    cuda_compat,
    framework_builds,
    host_compiler,
    kernel_log,
    libraries,
    modules,
    packages,
    pci,
    python_environments,
    recognised,
    search_path,
    smi,
    smi_query,
    system,
    toolkits,
    wheel_pins,
    xid,
)
from nvdiag.host import engine_files, modinfo, snapshot
from nvdiag.host.snapshot import NotASnapshot, SnapshotHost
from nvdiag.model.diagnosis import Diagnosis, Status
from nvdiag.model.unknown import ParseError
from tests.facts.hostile import QUICK, any_change, any_json, any_text, documents, machine, odd_answer
from tests.scenarios import containers_host, machines
from tests.scenarios.booting import grub_cfg

LDCONFIG = "\tlibcuda.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libcuda.so.1\n"
DPKG = "ii  nvidia-driver-570-open 570.172.08-0ubuntu0.24.04.1\nrc  libcuda1 1\n"
NOTE = '{"CUDA Compat": 1, "Driver": ["535", "550"]}'
GRUBENV = "# GRUB Environment Block\nsaved_entry=Ubuntu, with Linux 6.8.0-85-generic\n####"
HEALTH = (
    "GPU 00000000:07:00.0\n  Remapped Rows\n    Pending  : Yes\n  ECC Errors\n  Aggregate\n DRAM Uncorrectable : 2\n"
)
MENU = boot_entries.parse_grub_cfg(grub_cfg(("6.8.0-90-generic", "6.8.0-85-generic")))
SPECIFICATION = containers_host.as_yaml(containers_host.specification())
MODINFO = "filename: /a/nvidia.ko\nversion:  570.172.08\nlicense:  Dual MIT/GPL\n"

PARSERS: tuple[tuple[Callable[[str], object], tuple[str, ...]], ...] = (
    (modules.parse_version_file, ()),
    (system.parse_os_release, (machines.UBUNTU_RELEASE, machines.ROCKY_RELEASE)),
    (boot_grub.parse_grubenv, (GRUBENV,)),
    (boot_entries.parse_grub_cfg, (grub_cfg(("6.8.0-90-generic", "6.8.0-85-generic")),)),
    (lambda text: boot_entries.parse_entry("a.conf", text), ("title A\nlinux /vmlinuz\noptions ro",)),
    (
        lambda text: boot_extlinux.parse_extlinux(text, "/boot"),
        ("default l0\nlabel l0\n\tlinux /vmlinuz\n\tinitrd /i\n",),
    ),
    (boot_entries.paths_of, ("/@/boot/vmlinuz", "(hd0,gpt1)/boot/vmlinuz")),
    (lambda text: boot_grub.picked(MENU.entries, text), ("1>0", "Ubuntu", "gnulinux>a>>b")),
    (search_path.parse_ldconfig, (LDCONFIG,)),
    (python_environments.parse_pyvenv, ("home = /usr/bin\nversion = 3.12.3\n",)),
    (python_environments.parse_info, ("torch-2.9.1+cu128.dist-info",)),
    (framework_builds.parse_torch_version, ("__version__ = '2.8.0'\ncuda: Optional[str] = '12.8'\n",)),
    (wheel_pins.parse_lowest, ('Requires-Dist: nvidia-cudnn-cu12<10.0,>=9.8; extra == "with-cuda"\n',)),
    (wheel_pins.parse_pins, ('Requires-Dist: nvidia-cudnn-cu12==9.10.2.21; platform_system == "Linux"\n',)),
    (libraries.release_in, ("/usr/lib/libcuda.so.570.172.08", "libcuda.so.1")),
    (cuda_compat.parse_compat_note, (NOTE,)),
    (host_compiler.parse_version, ("g++ (GCC) 14.2.1 20250110", "Debian clang version 15.0.6")),
    (lambda text: host_compiler.limit_in((text,), "clang"), ("#if (__clang_major__ >= 18) || (__clang_major__ < 3)",)),
    (toolkits.parse_version_json, ('{"cuda": {"version": "13.0.2"}, "cuda_nvcc": {"version": "13.0.88"}}',)),
    (toolkits.parse_version_txt, ("CUDA Version 10.2.89\n",)),
    (toolkits.parse_nvcc, ()),
    (toolkits.parse_cuda_header, ("#define CUDA_VERSION 13000\n",)),
    (lambda text: list(packages.parse_packages(text)), (DPKG,)),
    (pci.normal_address, ("00000000:01:00.0",)),
    (smi.parse_smi_header, ()),
    (xid.parse_xid, ()),
    (xid.parse_sxid, ("nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 28006, Non-fatal, Link 46 MC TS (First)",)),
    (lambda text: kernel_log.xids_in(text, "log"), ()),
    (lambda text: list(smi_query.health_lines(text, "query")), (HEALTH,)),
    (recognised.recognised, ()),
    (container_toolkit.parse_config, (containers_host.CONFIG_TOML,)),
    (lambda text: cdi_document.parse_specification(text, "a.yaml"), (SPECIFICATION,)),
    (lambda text: cdi_document.parse_specification(text, "a.json"), ()),
    (lambda text: engine_files.settings("docker", text), (containers_host.daemon_json(),)),
    (lambda text: engine_files.settings("containerd", text), (containers_host.CONTAINERD_2,)),
    (lambda text: engine_files.settings("cri-o", text), (containers_host.CRIO_TOML,)),
    (lambda text: engine_files.settings("podman", text), ('[engine]\nhooks_dir = ["/a"]\n',)),
    (modinfo.parse_listing, (MODINFO,)),
    (lambda text: modinfo.parse_section(text.encode("utf-8", "surrogatepass")), ("version=570.1\0license=NVIDIA",)),
)


@pytest.mark.parametrize(("parse", "originals"), PARSERS, ids=lambda value: getattr(value, "__name__", ""))
def test_parser_raises_nothing_but_its_own_error(parse: Callable[[str], object], originals: tuple[str, ...]) -> None:
    @QUICK
    @given(any_text(*originals))
    def read(text: str) -> None:
        with contextlib.suppress(ParseError):
            parse(text)

    read()


@QUICK
@given(st.binary())
def test_section_of_any_bytes_is_read(data: bytes) -> None:
    modinfo.parse_section(data)


@QUICK
@given(any_json())
def test_json_in_place_of_a_toolkits_version_or_a_note_is_a_parse_error_or_read(value: Any) -> None:
    for parse in (toolkits.parse_version_json, cuda_compat.parse_compat_note):
        with contextlib.suppress(ParseError):
            parse(json.dumps(value))


@QUICK
@given(odd_answer("probes", machines.nvml_healthy("570.172.08")))
def test_any_object_is_a_probes_document(document: Any) -> None:
    if isinstance(document, dict):
        answers.parse_nvml(document)
        answers.parse_cuda(document)


DEEP = b'{"nvdiag_snapshot": 1, "files": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@QUICK
@given(
    st.one_of(
        st.binary(),
        any_json().map(lambda value: json.dumps(value).encode()),
        st.sampled_from([DEEP, gzip.compress(DEEP), gzip.compress(b"{}")[:-9], b"\x1f\x8b", b"9" * 5000]),
        any_text('{"nvdiag_snapshot": 1, "files": {"/a": null}}').map(lambda text: text.encode("utf-8", "replace")),
    )
)
def test_any_bytes_are_a_snapshot_or_clearly_none(data: bytes) -> None:
    for given_bytes in (data, gzip.compress(data, 1)):
        with contextlib.suppress(NotASnapshot):
            assert isinstance(snapshot.parse(given_bytes, "input"), SnapshotHost)


@functools.cache
def choice() -> running.Choice:
    return running.chosen((), ())


def failures(diagnosis: Diagnosis) -> list[str]:
    """What of nvdiag itself failed; a probe that failed when the snapshot was made is no failure now."""
    findings: Iterable[str] = (
        f"{ranked.finding.title}: {ranked.finding.evidence}"
        for ranked in diagnosis.findings
        if ranked.finding.id == "check-failed" and not ranked.finding.subject.startswith("probe ")
    )
    checks = (f"{one.name}: {one.reason}" for one in diagnosis.checks if one.status is Status.FAILED)
    return [*findings, *checks]


@pytest.mark.slow
@settings(QUICK, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(any_change())
def test_no_snapshot_makes_a_check_fail(change: tuple[int, dict[str, Any]]) -> None:
    diagnosis = running.diagnosed(running.begun(SnapshotHost(machine(*change), "hostile")), choice())
    assert failures(diagnosis) == []
    for form in ("json", "terminal"):
        report = delivering.rendered(diagnosis, choice(), delivering.Wanted(form=form), to_file=True)
        assert report.encode("utf-8")


def test_recorded_machines_themselves_do_not_fail() -> None:
    for text in documents():
        diagnosis = running.diagnosed(running.begun(SnapshotHost(json.loads(text), "recorded")), choice())
        assert failures(diagnosis) == []


ODD_ANSWERS: dict[str, Any] = {
    "files /sys/module/nvidia/refcnt": "²",
    "files /sys/module/nvidia_uvm/refcnt": "--5",
    "files /proc/sys/kernel/osrelease": "9" * 5000,
    "folders /boot": ["vmlinuz-6.8." + "9" * 5000, "vmlinuz-6.8.0"],
    "folders /dev": ["nvidiactl", "nvidia" + "9" * 5000, "nvidia٣"],
    "stats /dev/nvidiactl": {"mode": "crw-rw-rw-", "uid": 0, "gid": 0, "rdev": "²:³"},
    "commands grep -F btime /proc/stat": {"exit": 0, "stdout": "btime 999999999999\n"},
    "elf /usr/lib/x86_64-linux-gnu/libcuda.so.570.172.08": {"class": "64", "machine": ["x86-64"], "size": "1"},
    "elf /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.570.172.08": {"size": {}},
    "probes nvml": {"error": "hung", "silent_seconds": 10**400},
    "probes cuda": {"error": "hung", "silent_seconds": float("nan")},
    "elf": [1, 2],
    "links": 5,
    "probes": 7,
}


@pytest.mark.parametrize("place", ODD_ANSWERS)
def test_odd_answer_costs_one_fact_and_no_check(place: str) -> None:
    host = SnapshotHost(machine(0, {place: ODD_ANSWERS[place]}), "odd")
    diagnosis = running.diagnosed(running.begun(host), choice())
    assert failures(diagnosis) == []
    assert delivering.rendered(diagnosis, choice(), delivering.Wanted(form="json"), to_file=True)


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("files /etc/default/grub", "\n" * 500_000),
        ("files /etc/modprobe.d/nvidia.conf", "install nvidia " + "modprobe -i" * 50_000),
        ("files /etc/modprobe.d/nvidia.conf", "\n" * 500_000),
    ],
)
def test_reading_takes_time_in_proportion_to_the_text(place: str, text: str) -> None:
    """With a pattern that goes back over the text this takes minutes."""
    changes = {place: text, "folders /boot": ["vmlinuz-6.8.0-85-generic", "vmlinuz-6.8.0-90-generic"]}
    started = time.process_time()
    running.diagnosed(running.begun(SnapshotHost(machine(3, changes), "long")), choice())
    assert time.process_time() - started < 10
