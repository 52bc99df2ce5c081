"""The JSON report, schema_version 1. Additive only: `schema.json` beside this file is the contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nvdiag import __version__
from nvdiag.facts.answers import CudaAnswer, DriverCuda, NvmlAnswer
from nvdiag.facts.boot import NextBootKernel
from nvdiag.facts.chosen_module import ModuleFile
from nvdiag.facts.history import DriverHistory
from nvdiag.facts.libraries import DriverLibraries, LibraryChoice, LibraryCopy
from nvdiag.facts.module_files import ModuleInstallation, NextBootModule, RunningKernelModule
from nvdiag.facts.modules import KernelModules, LoadedModule, VersionFile
from nvdiag.facts.nodes import DeviceNodes, NodeAccess
from nvdiag.facts.packages import DriverPackages
from nvdiag.facts.pci import PciGpus
from nvdiag.facts.reboot import RebootVerdict
from nvdiag.facts.requirement_results import RequirementResults
from nvdiag.facts.smoke import Smoke
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.system import BootTime, Distribution, RunningKernel
from nvdiag.facts.toolkits import Toolkits
from nvdiag.model.diagnosis import Diagnosis, Part, Ranked
from nvdiag.model.finding import Severity
from nvdiag.model.text import as_json
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.report import timeline, told_facts
from nvdiag.report.container import container
from nvdiag.report.elsewhere import elsewhere
from nvdiag.report.gpus import gpus
from nvdiag.report.job import job
from nvdiag.report.shown import fact
from nvdiag.report.without_reboot import without_reboot
from nvdiag.unsaid import secrets_among

SCHEMA_VERSION = 1
Json = Any


def render(diagnosis: Diagnosis, areas: Mapping[str, str], fail_on: Severity, strict: bool) -> str:
    """The report as text with a final newline. `areas` maps finding ids to their areas."""
    told = document(diagnosis, areas, fail_on, strict)
    own = {one["name"] for one in told["checks"]}  # which are nvdiag's words, however they read
    secrets = secrets_among(_texts(told) - own)
    return as_json(_unsaid(told, secrets) if secrets else told)


def _texts(document: Json) -> set[str]:
    """All texts that are values in a document."""
    found, left = set(), [document]
    while left:
        value = left.pop()
        if isinstance(value, str):
            found.add(value)
        elif isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list):
            left += value
    return found


def _unsaid(value: Json, secrets: Mapping[str, str]) -> Json:
    """A value of the document with what is said in place of each text that holds a secret."""
    if isinstance(value, str):
        return secrets.get(value, value)
    if isinstance(value, list):
        return [_unsaid(one, secrets) for one in value]
    return {key: _unsaid(one, secrets) for key, one in value.items()} if isinstance(value, dict) else value


def document(diagnosis: Diagnosis, areas: Mapping[str, str], fail_on: Severity, strict: bool) -> dict[str, Json]:
    """The report as the value that the schema describes."""
    source = diagnosis.source
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "nvdiag", "version": __version__},
        "source": {"kind": source.kind, "name": source.name, "captured_at": source.captured_at},
        "verdict": diagnosis.verdict(fail_on, strict).value,
        "exit_code": diagnosis.exit_code(fail_on, strict),
        "seconds": round(diagnosis.seconds, 3),
        "findings": [_finding(ranked, areas) for ranked in diagnosis.findings],
        "left_out": list(diagnosis.left_out),
        "checks": [
            {
                "name": one.name,
                "area": one.area,
                "status": one.status.value,
                "reason": one.reason,
                "seconds": round(one.seconds, 4),
            }
            for one in diagnosis.checks
        ],
        "facts": {**_facts(diagnosis.facts), "parts": [_part(part) for part in diagnosis.parts]},
        "next": told_facts.open_question(diagnosis),
    }


def _finding(ranked: Ranked, areas: Mapping[str, str]) -> dict[str, Json]:
    finding = ranked.finding
    return {
        "key": finding.key,
        "id": finding.id,
        "subject": finding.subject,
        "area": areas.get(finding.id, "engine"),
        "severity": finding.severity.value,
        "confidence": finding.confidence.value,
        "class": finding.kind.value,
        "title": finding.title,
        "detail": finding.detail,
        "evidence": [{"source": one.source, "excerpt": one.excerpt} for one in finding.evidence],
        "remedies": [
            {
                "summary": remedy.summary,
                "commands": list(remedy.commands),
                "risk": remedy.risk.value,
                "needs_root": remedy.needs_root,
                "reboots": remedy.reboots,
                "prediction": remedy.prediction,
            }
            for remedy in finding.remedies
        ],
        "caused_by": ranked.caused_by,
        "links": list(finding.links),
    }


def _facts(facts: Mapping[type[object], object]) -> dict[str, Json]:
    return {
        "system": _system(facts),
        "kernel": {
            "release": _or_why(fact(facts, RunningKernel), lambda kernel: kernel.release.text),
            "next_boot": _or_why(
                fact(facts, NextBootKernel), lambda kernel: {"release": kernel.release.text, "how": kernel.how}
            ),
        },
        "driver": _driver(facts),
        "gpus": gpus(fact(facts, PciGpus), fact(facts, NvmlAnswer)),
        "libraries": _or_why(
            fact(facts, DriverLibraries),
            lambda libraries: {
                "libnvidia-ml": _choice(libraries.nvml),
                "libcuda": _choice(libraries.libcuda),
            },
        ),
        "toolkits": _or_why(
            fact(facts, Toolkits),
            lambda toolkits: [
                {
                    "root": one.root,
                    "version": one.version.text if one.version else None,
                    "source": one.source,
                    "found_by": list(one.found_by),
                    "nvcc": one.nvcc,
                }
                for one in toolkits.found
            ],
        ),
        "container": container(facts),
        "requirements": _or_why(fact(facts, RequirementResults), _requirements),
        "smoke": _or_why(fact(facts, Smoke), _smoke),
        "packages": _or_why(
            fact(facts, DriverPackages),
            lambda packages: [
                {"name": one.name, "version": one.version, "state": one.state} for one in packages.packages
            ],
        ),
        "history": _or_why(fact(facts, DriverHistory), timeline.data),
        **told_facts.told(facts),
        **job(facts),
    }


def _part(part: Part) -> dict[str, Json]:
    """One of several machines or moments."""
    return {"label": part.label, "facts": _facts(part.facts)}


def _requirements(required: RequirementResults) -> Json:
    return [
        {
            "requirement": result.requirement.text,
            "answer": result.answer.value,
            "why": result.why,
            "held": [
                {"of": one.of, "value": one.value, "source": one.source, "holds": one.holds} for one in result.held
            ],
        }
        for result in required.results
    ]


def _smoke(tried: Smoke) -> Json:
    from nvdiag.report import smoke

    return smoke.data(tried)


def _or_why(value: Any, show: Callable[[Any], Json]) -> Json:
    """The shown fact, or why there is none."""
    return _why(value) if isinstance(value, Unknown) else show(value)


def _why(unknown: Unknown) -> dict[str, Json]:
    return {"not_applicable" if isinstance(unknown, NotApplicable) else "unknown": str(unknown)}


def _system(facts: Mapping[type[object], object]) -> dict[str, Json]:
    return {
        "distribution": _or_why(
            fact(facts, Distribution),
            lambda one: {"id": one.id, "version": one.version, "name": one.name, "family": one.family.value},
        ),
        "booted_at": _or_why(fact(facts, BootTime), lambda boot: boot.iso),
        "surroundings": _or_why(
            fact(facts, Surroundings),
            lambda one: {
                "container": one.container,
                "sandbox": one.sandbox,
                "virtual_machine": one.virtual_machine,
                "wsl": one.wsl,
                "tegra": one.tegra,
                "driver_root": one.driver_root,
                "described": one.described or None,
                "evidence": [{"source": seen.source, "excerpt": seen.excerpt} for seen in one.evidence],
            },
        ),
        **elsewhere(facts),
    }


def _driver(facts: Mapping[type[object], object]) -> dict[str, Json]:
    return {
        "modules": _or_why(
            fact(facts, KernelModules), lambda modules: {one.name: _module(one) for one in modules.loaded}
        ),
        "version_file": _or_why(fact(facts, VersionFile), lambda version: version.line),
        "module_of_running_kernel": _or_why(fact(facts, RunningKernelModule), lambda disk: _file(disk.file)),
        "module_of_next_boot": _or_why(fact(facts, NextBootModule), lambda following: _file(following.file)),
        "dkms": _or_why(
            fact(facts, ModuleInstallation),
            lambda installation: [f"{release} for {kernel}" for release, kernel in installation.builds],
        ),
        "reboot": _or_why(fact(facts, RebootVerdict), _reboot),
        "device_nodes": _or_why(
            fact(facts, DeviceNodes),
            lambda nodes: {
                path: {
                    "mode": stat.mode,
                    "uid": stat.uid,
                    "gid": stat.gid,
                    "rdev": f"{stat.rdev[0]}:{stat.rdev[1]}" if stat.rdev else None,
                }
                for path, stat in sorted(nodes.nodes.items())
            },
        ),
        "opens": _or_why(fact(facts, NodeAccess), lambda access: dict(access.opens)),
        "cuda": _or_why(fact(facts, DriverCuda), lambda cuda: {"version": cuda.version.text, "source": cuda.source}),
        "nvml": _or_why(fact(facts, NvmlAnswer), _nvml),
        "libcuda": _or_why(fact(facts, CudaAnswer), _cuda),
        **without_reboot(facts),
    }


def _reboot(verdict: RebootVerdict) -> dict[str, Json]:
    return {
        "answer": verdict.answer.value,
        "prediction": verdict.prediction,
        "kernel": verdict.kernel.text if verdict.kernel else None,
        "known_by": verdict.how,
        "wanted": verdict.wanted.text,
        "loads": verdict.loads.text if verdict.loads else None,
        "reasons": [
            {
                "why": reason.why.value,
                "says": reason.says,
                "decides": reason.decides,
                "evidence": [{"source": one.source, "excerpt": one.excerpt} for one in reason.evidence],
            }
            for reason in verdict.reasons
        ],
    }


def _module(module: LoadedModule) -> dict[str, Json]:
    return {
        "release": module.release.text if module.release else None,
        "flavour": module.flavour.value if module.flavour else None,
        "users": module.refcount,
        "source": module.source,
    }


def _file(file: ModuleFile | None) -> Json:
    if file is None:
        return None
    return {
        "path": file.path,
        "kernel": file.kernel.text,
        "release": file.release.text if file.release else None,
        "how": file.how,
        "built_for": file.built_for,
        "flavour": file.flavour.value if file.flavour else None,
        "signer": file.signer,
        "signed": file.signed,
    }


def _choice(choice: LibraryChoice) -> dict[str, Json]:
    return {
        "soname": choice.soname,
        "taken": _copy(choice.taken) if choice.taken else None,
        "copies": [_copy(copy) for copy in choice.copies],
    }


def _copy(copy: LibraryCopy) -> dict[str, Json]:
    return {
        "path": copy.path,
        "file": copy.file,
        "found_by": copy.found_by,
        "kind": copy.kind.value,
        "release": copy.release.text if copy.release else None,
        "elf_class": copy.elf_class,
        "machine": copy.machine,
    }


def _nvml(nvml: NvmlAnswer) -> dict[str, Json]:
    return {
        "library": nvml.library,
        "dlopen_error": nvml.dlopen_error,
        "release": nvml.release.text if nvml.release else None,
        "init": nvml.init,
        "init_text": nvml.init_text,
        "driver": nvml.driver.text if nvml.driver else None,
        "count": nvml.count,
        "trouble": nvml.trouble,
    }


def _cuda(cuda: CudaAnswer) -> dict[str, Json]:
    return {
        "library": cuda.library,
        "dlopen_error": cuda.dlopen_error,
        "version": cuda.version.text if cuda.version else None,
        "init": cuda.init,
        "init_name": cuda.init_name,
        "count": cuda.count,
        "trouble": cuda.trouble,
    }
