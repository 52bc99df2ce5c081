"""Facts that texts and Python environments give, for the JSON report, and what to ask next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nvdiag.facts.cuda_compat import CudaCompat
from nvdiag.facts.cuda_libraries import CudaLibraries
from nvdiag.facts.device_code import DeviceCodes
from nvdiag.facts.frameworks import Framework, Frameworks
from nvdiag.facts.kernel_log import KernelLog
from nvdiag.facts.loaded_libraries import LoadedLibraries
from nvdiag.facts.messages import Messages
from nvdiag.facts.python_environments import PythonEnvironments
from nvdiag.facts.python_packages import PythonPackages, TorchBuild
from nvdiag.facts.smi_report import SmiReport
from nvdiag.model.diagnosis import Diagnosis
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.report import cuda_picture
from nvdiag.report.asks import question
from nvdiag.report.logged import logged_xids
from nvdiag.report.shown import fact

Json = Any


def told(facts: Mapping[type[object], object]) -> dict[str, Json]:
    """The members of `facts` that texts and Python environments give."""
    return {
        "nvidia_smi": _smi(fact(facts, SmiReport)),
        "frameworks": _frameworks(fact(facts, TorchBuild), fact(facts, Frameworks), fact(facts, DeviceCodes)),
        "python_environments": _environments(fact(facts, PythonEnvironments)),
        "cuda_libraries": cuda_picture.data(fact(facts, CudaLibraries), fact(facts, LoadedLibraries)),
        "cuda_compat": cuda_picture.compat(fact(facts, CudaCompat)),
        "python_packages": _packages(fact(facts, PythonPackages)),
        "messages": _messages(fact(facts, Messages)),
        "xids": _xids(fact(facts, KernelLog)),
    }


def open_question(diagnosis: Diagnosis) -> Json:
    """What is suspected and which commands would decide; None where a cause is claimed or no text was given."""
    asked = question(diagnosis)
    if asked is None:
        return None
    return {
        "suspected": list(asked.suspected),
        "commands": [{"command": one.command, "shows": one.shows, "decides": list(one.decides)} for one in asked.asks],
    }


def _why(unknown: Unknown) -> dict[str, Json]:
    return {"not_applicable" if isinstance(unknown, NotApplicable) else "unknown": str(unknown)}


def _xids(log: KernelLog | Unknown) -> Json:
    return _why(log) if isinstance(log, Unknown) else logged_xids(log.xids)


def _smi(smi: SmiReport | Unknown) -> Json:
    if isinstance(smi, Unknown):
        return _why(smi)
    header = smi.header
    return {
        "release": header.smi.text if header and header.smi else None,
        "driver": header.driver.text if header else None,
        "cuda": header.cuda.text if header and header.cuda else None,
        "cuda_text": header.cuda_text if header else "",
        "failure": smi.failure,
        "gpus": [
            {
                "index": gpu.index,
                "name": gpu.name,
                "address": gpu.address,
                "memory_used_mib": gpu.memory_used,
                "memory_total_mib": gpu.memory_total,
                "compute_mode": gpu.mode,
            }
            for gpu in smi.gpus
        ],
        "processes": [
            {"gpu": one.gpu, "pid": one.pid, "name": one.name, "memory_mib": one.memory} for one in smi.processes
        ],
    }


def _frameworks(torch: TorchBuild | Unknown, installed: Frameworks | Unknown, codes: DeviceCodes | Unknown) -> Json:
    if isinstance(torch, Unknown) and isinstance(installed, Unknown):
        return _why(torch)
    found = {} if isinstance(installed, Unknown) else {name: _framework(one) for name, one in installed.found.items()}
    if isinstance(torch, TorchBuild):
        found["torch"] = {
            "architectures": [],
            "builds": [],
            "cudnn": None,
            "torch": None,
            **found.get("torch", {}),
            "version": torch.version,
            "cuda": torch.cuda.text if torch.cuda else None,
            "cpu_only": torch.cpu_only,
            "nccl": torch.nccl,
            "source": torch.source,
        }
    for name, code in codes.held.items() if isinstance(codes, DeviceCodes) else ():
        found[name]["architectures"] = list(code.architectures)
    return found


def _framework(one: Framework) -> dict[str, Json]:
    return {
        "version": one.version,
        "cuda": one.cuda.text if one.cuda else None,
        "cpu_only": one.cpu_only,
        "nccl": None,
        "source": one.source,
        "architectures": list(one.architectures),
        "builds": [cuda.text for cuda in one.builds],
        "cudnn": one.cudnn.text if one.cudnn else None,
        "torch": one.torch,
    }


def _environments(environments: PythonEnvironments | Unknown) -> Json:
    if isinstance(environments, Unknown):
        return _why(environments)
    return [
        {"prefix": one.prefix, "python": one.python, "found_by": list(one.found_by), "folders": list(one.folders)}
        for one in environments.found
    ]


def _packages(packages: PythonPackages | Unknown) -> Json:
    if isinstance(packages, Unknown):
        return _why(packages)
    return {name: list(versions) for name, versions in packages.versions.items()}


def _messages(messages: Messages | Unknown) -> Json:
    if isinstance(messages, Unknown):
        return _why(messages)
    return [
        {
            "name": one.message.name,
            "by": one.message.by,
            "text": one.text,
            "source": one.source,
            "says": one.told,
            "proves": one.message.proves,
            "suggests": list(one.message.suggests),
            "values": dict(one.groups),
            "since_boot": one.since_boot,
        }
        for one in messages.said
    ]
