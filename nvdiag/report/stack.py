"""The stack: one row a layer from the GPU up to the toolkits, each with its version and where that was read.

What does not fit comes from the findings, which name their layers; rows only show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import replace

from nvdiag.facts.answers import DriverCuda, NvmlAnswer
from nvdiag.facts.cuda_libraries import CudaLibraries
from nvdiag.facts.frameworks import Framework, Frameworks
from nvdiag.facts.libraries import DriverLibraries, Kind, LibraryChoice
from nvdiag.facts.module_files import NextBootModule
from nvdiag.facts.modules import KernelModules, LoadedDriver
from nvdiag.facts.nvml_devices import NvmlDevice
from nvdiag.facts.pci import PciGpu, PciGpus
from nvdiag.facts.requirement_results import Answer, RequirementResults, shown
from nvdiag.facts.smoke import Smoke
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.toolkits import Toolkits
from nvdiag.model.dataclass import dataclass
from nvdiag.model.diagnosis import Diagnosis
from nvdiag.model.finding import Confidence, Layer, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.report import cuda_picture
from nvdiag.report.shown import fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One layer. `release` is what neighbours are compared by; `mark` is ok, bad, …; `told` False: not known.

    `subject` is what it alone of its layer is about: a GPU's PCI address.
    """

    layer: Layer
    value: str
    source: str = ""
    release: str | None = None
    mark: str = "none"
    told: bool = True
    subject: str = ""


def rows(diagnosis: Diagnosis) -> list[Row]:
    """The rows of the stack, from the hardware up, with their marks."""
    facts = diagnosis.facts
    shown = [
        *_around(fact(facts, Surroundings)),
        *_gpus(facts),
        _loaded(fact(facts, KernelModules), fact(facts, LoadedDriver)),
        _next_boot(fact(facts, NextBootModule)),
        *_libraries(fact(facts, DriverLibraries)),
        _cuda(fact(facts, DriverCuda)),
        *_toolkits(fact(facts, Toolkits)),
        *_frameworks(fact(facts, Frameworks)),
        *_cuda_libraries(fact(facts, CudaLibraries)),
        *_required(fact(facts, RequirementResults)),
    ]
    subjects = {row.subject for row in shown if row.subject}
    return [_marked(row, subjects - {row.subject}, diagnosis) for row in shown]


def _marked(row: Row, others: Set[str], diagnosis: Diagnosis) -> Row:
    """bad or warn where a finding names the layer, ok where it has a value and none does, else what the row says.

    A finding about one of the `others` is not about this row.
    """
    findings = (ranked.finding for ranked in diagnosis.findings)
    found = [one for one in findings if row.layer in one.layers and one.subject not in others]
    sure = [finding for finding in found if finding.confidence is not Confidence.POSSIBLE]
    if any(finding.severity is Severity.ERROR for finding in sure):
        mark = "bad"
    elif any(finding.severity is not Severity.INFO for finding in found):
        mark = "warn"
    else:
        mark = "ok" if row.mark == "none" else row.mark
    return replace(row, mark=mark)


def _unsure(layer: Layer, why: Unknown) -> Row:
    if isinstance(why, NotApplicable):
        return Row(layer=layer, value=f"not looked at: {why}", mark="skipped", told=False)
    return Row(layer=layer, value=f"cannot tell: {why}", mark="unsure", told=False)


def _around(around: Surroundings | Unknown) -> Iterator[Row]:
    """Which side this is, where it is not a host of its own."""
    if isinstance(around, Unknown) or not around.described:
        return
    rest = "; the kernel module is the host's, so run nvdiag there, too" if around.host == "the host" else ""
    yield Row(layer=Layer.SYSTEM, value=f"{around.described}{rest}", source=around.evidence[0].source, mark="skipped")


def _gpus(facts: Mapping[type[object], object]) -> Iterator[Row]:
    gpus = fact(facts, PciGpus)
    nvml = fact(facts, NvmlAnswer)
    devices = {} if isinstance(nvml, Unknown) else {device.address: device for device in nvml.devices}
    if isinstance(gpus, Unknown):
        yield _unsure(Layer.GPU, gpus)
        return
    for gpu in gpus.gpus:
        yield Row(
            layer=Layer.GPU,
            value=_gpu(gpu, devices.get(gpu.address)),
            source=f"/sys/bus/pci/devices/{gpu.address}",
            subject=gpu.address,
        )
    if not gpus.gpus:
        around = fact(facts, Surroundings)
        elsewhere = isinstance(around, Surroundings) and (around.wsl or around.tegra)
        value = "through WSL or Tegra, not on a PCI bus" if elsewhere else "none on the PCI bus"
        yield Row(layer=Layer.GPU, value=value, source="/sys/bus/pci/devices", mark="skipped")


def _gpu(gpu: PciGpu, device: NvmlDevice | None) -> str:
    name = device.name if device and device.name else f"10de:{gpu.device_id}" if gpu.device_id else "NVIDIA GPU"
    driver = gpu.driver or ("not told" if gpu.driver_hidden else "none")
    return f"{name} at {gpu.address}, kernel driver {driver}"


def _loaded(modules: KernelModules | Unknown, told: LoadedDriver | Unknown) -> Row:
    if isinstance(modules, Unknown):
        if isinstance(told, Unknown):
            return _unsure(Layer.LOADED_MODULE, modules)
        return Row(layer=Layer.LOADED_MODULE, value=told.release.text, source=told.source, release=told.release.text)
    if modules.nvidia is None:
        return Row(layer=Layer.LOADED_MODULE, value="not loaded", source="/sys/module/nvidia", mark="skipped")
    release = modules.nvidia.release.text if modules.nvidia.release else None
    flavour = f", {modules.nvidia.flavour.value}" if modules.nvidia.flavour else ""
    return Row(
        layer=Layer.LOADED_MODULE,
        value=f"{release or 'without a release'}{flavour}",
        source=modules.nvidia.source,
        release=release,
    )


def _next_boot(following: NextBootModule | Unknown) -> Row:
    if isinstance(following, Unknown):
        return _unsure(Layer.NEXT_BOOT_MODULE, following)
    if following.file is None:
        return Row(
            layer=Layer.NEXT_BOOT_MODULE, value=f"none for {following.kernel}", source="/lib/modules", mark="skipped"
        )
    release = following.file.release.text if following.file.release else None
    return Row(
        layer=Layer.NEXT_BOOT_MODULE,
        value=f"{release or 'without a release'}, for {following.kernel}",
        source=following.file.path,
        release=release,
    )


def _libraries(libraries: DriverLibraries | Unknown) -> Iterator[Row]:
    for layer, name in ((Layer.NVML, "nvml"), (Layer.LIBCUDA, "libcuda")):
        if isinstance(libraries, Unknown):
            yield _unsure(layer, libraries)
        else:
            yield _library(layer, getattr(libraries, name))


def _library(layer: Layer, choice: LibraryChoice) -> Row:
    if choice.taken is None and choice.why_unknown is not None:
        return _unsure(layer, choice.why_unknown)
    if choice.taken is None:
        others = f"; one lies in {choice.copies[0].path.rpartition('/')[0]}" if choice.copies else ""
        return Row(layer=layer, value=f"not found by the loader{others}", source="ldconfig -p", mark="skipped")
    copy = choice.taken
    release = copy.release.text if copy.release else None
    value = release or copy.kind.value
    if copy.kind not in (Kind.DRIVER, Kind.UNVERSIONED) and release:
        value = f"{release}, {copy.kind.value}"
    elif release is None and copy.kind is not Kind.UNVERSIONED:
        value = f"a {copy.kind.value}"
    return Row(layer=layer, value=value, source=copy.path, release=release if copy.kind is Kind.DRIVER else None)


def _cuda(cuda: DriverCuda | Unknown) -> Row:
    if isinstance(cuda, Unknown):
        return _unsure(Layer.CUDA_DRIVER, cuda)
    return Row(layer=Layer.CUDA_DRIVER, value=cuda.version.text, source=cuda.source)


def _cuda_libraries(libraries: CudaLibraries | Unknown) -> Iterator[Row]:
    """What each framework here, or the named program, gets; nothing where none asks for CUDA's libraries."""
    if isinstance(libraries, CudaLibraries):
        for value, folder in cuda_picture.in_short(libraries):
            yield Row(layer=Layer.CUDA_LIBRARIES, value=value, source=folder)


def _toolkits(toolkits: Toolkits | Unknown) -> Iterator[Row]:
    if isinstance(toolkits, Unknown):
        yield _unsure(Layer.TOOLKITS, toolkits)
        return
    for toolkit in toolkits.found:
        version = toolkit.version.text if toolkit.version else "of unknown version"
        chosen = f", picked by {toolkit.chosen_by}" if toolkit.chosen_by else ""
        yield Row(layer=Layer.TOOLKITS, value=f"{version}{chosen}", source=toolkit.root)
    if not toolkits.found:
        yield Row(layer=Layer.TOOLKITS, value="none found (none is needed to run CUDA programs)", mark="skipped")


def _frameworks(frameworks: Frameworks | Unknown) -> Iterator[Row]:
    """The frameworks of the environment that this run is about, as far as they tell for which CUDA they are built."""
    if isinstance(frameworks, Unknown):
        return
    told = [f"{one.name} {one.version} {built}" for one in frameworks.found.values() if (built := _built(one))]
    if told:
        yield Row(layer=Layer.FRAMEWORKS, value=", ".join(sorted(told)), source=frameworks.environment.prefix)


def _built(framework: Framework) -> str:
    if framework.cpu_only:
        return "for the CPU alone"
    versions = [framework.cuda] if framework.cuda else framework.builds
    return f"for CUDA {listed([one.text for one in versions])}" if versions else ""


def _required(required: RequirementResults | Unknown) -> Iterator[Row]:
    """What was required and what it was held against, met or not."""
    marks = {Answer.MET: "ok", Answer.NOT_MET: "bad", Answer.UNKNOWN: "unsure"}
    for result in required.results if isinstance(required, RequirementResults) else ():
        told = shown(result.held) if result.held else result.why
        told = f"cannot tell: {told}" if result.answer is Answer.UNKNOWN else told
        sources = listed(list(dict.fromkeys(one.source for one in result.held)))
        value = f"{result.requirement.text}: {told}"
        yield Row(layer=Layer.REQUIRED, value=value, source=sources, mark=marks[result.answer])


def status_lines(diagnosis: Diagnosis) -> list[str]:
    """For each GPU that NVML answers for, one line: utilisation, memory, temperature, power, processes.

    Where the smoke test was asked for, what became of it on each GPU stands after these.
    """
    nvml, smoke = fact(diagnosis.facts, NvmlAnswer), fact(diagnosis.facts, Smoke)
    lines = [] if isinstance(nvml, Unknown) else [_status(device) for device in nvml.devices]
    if isinstance(smoke, Smoke):
        from nvdiag.report.smoke import line

        lines += [line(trial) for trial in smoke.trials]
    return lines


def _status(device: NvmlDevice) -> str:
    if device.handle_error is not None:
        return f"GPU {device.index}: NVML cannot reach it (error {device.handle_error})"
    words = [
        f"{device.utilisation} % busy" if device.utilisation is not None else "",
        f"{_gib(device.memory_used)}/{_gib(device.memory_total)} GiB" if device.memory_total else "",
        f"{device.temperature} °C" if device.temperature is not None else "",
        f"{_watts(device)} W" if device.power is not None else "",
        _processes(device),
    ]
    return f"GPU {device.index}: " + ", ".join(word for word in words if word)


def _gib(amount: int | None) -> str:
    return f"{(amount or 0) / 2**30:.1f}"


def _watts(device: NvmlDevice) -> str:
    limit = f"/{device.power_limit / 1000:.0f}" if device.power_limit else ""
    return f"{(device.power or 0) / 1000:.0f}{limit}"


def _processes(device: NvmlDevice) -> str:
    if device.processes is None:
        return ""
    if not device.processes:
        return "no process"
    names = [one.name or f"pid {one.pid}" for one in device.processes]
    shown = listed(names) if len(names) <= 3 else f"{', '.join(names[:3])} and {len(names) - 3} more"
    return f"{len(names)} process{'es' if len(names) > 1 else ''} ({shown})"
