"""Evidence that several checks cite, in one wording."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.chosen_module import ModuleFile
from nvdiag.facts.libraries import LibraryCopy
from nvdiag.facts.module_files import NextBootModule, RunningKernelModule
from nvdiag.facts.modules import LoadedDriver, VersionFile
from nvdiag.facts.reboot import RebootVerdict
from nvdiag.model.finding import Evidence
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import KernelRelease


def of_loaded(loaded: LoadedDriver, version: VersionFile | Unknown) -> Iterator[Evidence]:
    """The loaded module's release, from sysfs and from the driver's own file."""
    yield Evidence(source=loaded.source, excerpt=loaded.release.text)
    if isinstance(version, VersionFile):
        yield Evidence(source="/proc/driver/nvidia/version", excerpt=version.line)


def of_library(copy: LibraryCopy) -> Evidence:
    """Which file a soname leads to, and by which rule the loader finds it."""
    shown = copy.path if copy.path == copy.file else f"{copy.path} -> {copy.file.rpartition('/')[2]}"
    return Evidence(source=f"{copy.soname} through {copy.found_by}", excerpt=shown)


def of_nvml(nvml: NvmlAnswer | Unknown) -> Iterator[Evidence]:
    """What NVML's initialisation said, with its number, and the library's own release."""
    if not isinstance(nvml, NvmlAnswer):
        return
    if nvml.init is not None and nvml.init != 0:
        yield Evidence(source="nvmlInit", excerpt=f"{nvml.init} {nvml.init_text}".strip())
    if nvml.release is not None:
        yield Evidence(source="nvmlSystemGetNVMLVersion", excerpt=nvml.release.text)


def of_verdict(verdict: RebootVerdict | Unknown, shown: tuple[Evidence, ...]) -> tuple[Evidence, ...]:
    """What the verdict on a reboot rests on besides what is shown already."""
    sources = {one.source for one in shown}
    return (
        tuple(one for one in verdict.evidence if one.source not in sources)
        if isinstance(verdict, RebootVerdict)
        else ()
    )


def of_disk(following: NextBootModule | Unknown, disk: RunningKernelModule | Unknown) -> Iterator[Evidence]:
    """The modules on disk, for the kernel that boots next and for the one that runs; once where they are the same."""
    same = (
        isinstance(following, NextBootModule)
        and isinstance(disk, RunningKernelModule)
        and following.kernel == disk.kernel
    )
    if isinstance(following, NextBootModule):
        yield _of_file(following.file, following.kernel, "which runs and boots next" if same else "which boots next")
    if isinstance(disk, RunningKernelModule) and not same:
        yield _of_file(disk.file, disk.kernel, "which runs")


def _of_file(file: ModuleFile | None, kernel: KernelRelease, role: str) -> Evidence:
    if file is None:
        return Evidence(source=f"modules of {kernel}, {role}", excerpt="no nvidia module")
    return Evidence(source=file.how, excerpt=f"{file.release or 'no release'}, for {kernel}, {role}")
