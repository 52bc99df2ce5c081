"""The machines that reports are tried on, and a short way from a machine to its reports."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from nvdiag.cli import running
from nvdiag.host import Host
from nvdiag.host.snapshot import SnapshotHost
from nvdiag.model.diagnosis import Diagnosis
from nvdiag.model.finding import Severity
from nvdiag.report import as_json, terminal
from tests.scenarios import containers, jetson, machines, pythons, vgpu, wsl
from tests.scenarios.tree import Tree

WELL = "570.172.08"
TWO = (machines.GPU, "0000:02:00.0")
PROBES = ("nvml", "cuda", "driver-files", "nodes")


def mismatch() -> Tree:
    """570.169 is loaded, 570.172.08 installed, and one submodule is of a third release."""
    return machines.ubuntu_dkms("570.169", WELL, WELL).but(files={"/sys/module/nvidia_uvm/version": "570.158.01\n"})


def named_environment() -> Tree:
    """PyTorch, and ONNX Runtime that finds nothing, in an environment that was asked for and is looked at deeply."""
    own = pythons.package("onnxruntime-gpu", "1.31.1", pythons.onnxruntime("onnxruntime-gpu", "1.31.1", "13.0"))
    provider = f"{pythons.site()}/onnxruntime/capi/libonnxruntime_providers_cuda.so"
    older = "/usr/local/cuda-12.1/lib64/libnccl.so.2.17.1"
    said = {f"{pythons.site()}/nvidia/nccl/lib/libnccl.so.2": {"version": "2.27.3"}}
    return machines.joined(
        machines.ubuntu_dkms(WELL),
        pythons.venv(pythons.torch_with_cuda(), own, pythons.library(provider, ("libcublas.so.13", "libcuda.so.1"))),
        Tree(libraries={older: 5_000_000}, links={"/usr/local/cuda-12.1/lib64/libnccl.so.2": "libnccl.so.2.17.1"}),
    ).but(
        env={
            "NVDIAG_PYTHON": f"{pythons.VENV}/bin/python",
            "NVDIAG_DEEP": "1",
            "LD_LIBRARY_PATH": "/usr/local/cuda-12.1/lib64",
        },
        probes={"libraries": {"loaded": said}},
    )


def troubled(answer: Mapping[str, Any]) -> Tree:
    """A machine on which no probe comes back with an answer."""
    return machines.ubuntu_dkms(WELL).but(probes={name: dict(answer) for name in PROBES})


KERNEL_LOG = """
[   12.500000] NVRM: Xid (PCI:0000:3b:00): 31, pid=4711, name=python3, Ch 00000008, intr 00000000. MMU Fault
[   14.250000] NVRM: Xid (PCI:0000:3b:00): 31, pid=4711, name=python3, Ch 00000009, intr 00000000. MMU Fault
NVRM: Xid (0000:5e:00): 119, Timeout after 6s of waiting for RPC response from GPU1 GSP!
"""
HUNG = {"error": "hung", "stage": "nvmlInit", "state": "D", "left_behind": True, "silent_seconds": 10.2}
SLOW = {"error": "hung", "stage": "nvmlInit", "state": "S", "left_behind": False, "silent_seconds": 2.0}
CRASHED = {"error": "crashed", "stage": "dlopen libnvidia-ml.so.1", "signal": "SIGBUS"}

MACHINES: Mapping[str, Callable[[], Host]] = {
    "mismatch": lambda: machines.ubuntu_dkms("570.169", WELL, WELL).host(),
    "mismatch with a consequence": lambda: mismatch().host(),
    "mismatch on the disk too": lambda: machines.ubuntu_dkms("570.169", "570.169", WELL).host(),
    "healthy": lambda: machines.ubuntu_dkms(WELL).host(),
    "healthy, as recorded": lambda: machines.ubuntu_dkms(WELL).snapshot(),
    "module not loaded": lambda: machines.ubuntu_dkms(None).host(),
    "no libraries": lambda: machines.ubuntu_dkms(WELL, WELL, None).host(),
    "two GPUs": lambda: machines.ubuntu_dkms(WELL, gpus=TWO).host(),
    "a container": lambda: containers.docker_legacy("570.169").host(),
    "no GPU": lambda: machines.ubuntu_dkms(None, gpus=()).host(),
    "nothing but a GPU": lambda: machines.kernel_side(None).host(),
    "every probe hung": lambda: troubled(HUNG).host(),
    "every probe crashed": lambda: troubled(CRASHED).host(),
    "an empty snapshot": lambda: SnapshotHost({"nvdiag_snapshot": 1, "captured_at": ""}, "empty.json"),
    "a kernel log": lambda: SnapshotHost({"nvdiag_snapshot": 1, "captured_at": "", "messages": [KERNEL_LOG]}, "a log"),
    "Jetson": lambda: jetson.board(jetson.R36).host(),
    "WSL": lambda: wsl.without_driver().host(),
    "vGPU": lambda: vgpu.guest(licensed=False).host(),
    "an environment by its name": lambda: named_environment().host(),
    "a toolkit": lambda: (
        machines.ubuntu_dkms(WELL)
        .but(
            files={
                "/usr/local/cuda-13.0/version.json": '{"cuda_nvcc": {"version": "13.0.48"}}',
                "/usr/local/cuda-13.0/bin/nvcc": "",
            },
            env={"PATH": "/usr/local/cuda-13.0/bin:/usr/bin"},
        )
        .host()
    ),
}


def diagnosed(host: Host) -> Diagnosis:
    return running.diagnosed(running.begun(host), running.chosen((), ()))


def as_document(diagnosis: Diagnosis, fail_on: Severity = Severity.ERROR, strict: bool = False) -> dict[str, Any]:
    """The JSON report, read back from its text."""
    areas = running.chosen((), ()).areas
    document: dict[str, Any] = json.loads(as_json.render(diagnosis, areas, fail_on, strict))
    return document


def as_lines(
    diagnosis: Diagnosis, *, width: int = 80, colour: bool = False, unicode: bool = True, verbose: bool = False
) -> list[str]:
    look = terminal.Look(width=width, colour=colour, unicode=unicode, verbose=verbose)
    return terminal.render(diagnosis, look).splitlines()


def commands(diagnosis: Diagnosis) -> set[str]:
    return {command for one in diagnosis.findings for remedy in one.finding.remedies for command in remedy.commands}
