"""cuda-compat: a libcuda of a newer driver branch for an older kernel module, mostly brought by a container's image."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator

from nvdiag.facts import reading
from nvdiag.facts.answers import CudaAnswer
from nvdiag.facts.container_view import ContainerLibraries, Origin
from nvdiag.facts.libraries import DriverLibraries, Kind, LibraryCopy
from nvdiag.facts.modules import LoadedDriver
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.unknown import NotApplicable, ParseError, Unknown
from nvdiag.model.versions import CudaVersion, DriverRelease

DRIVER_MISMATCH, FORWARD_COMPATIBILITY_REFUSED = 803, 804
"""CUDA_ERROR_SYSTEM_DRIVER_MISMATCH and CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE of cuda.h: cuda-compat on a module,
and on a GPU, that it is not made for."""

CONFIGURATION = "/etc/ld.so.conf.d"
HOOKS_FILE = "00-compat-"
"""How the file's name begins by which NVIDIA's container toolkit puts compat first (its cudacompat.go)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaCompat:
    """The cuda-compat libcuda that programs get, of `release`, on the loaded module, of `base`.

    `covers` says whether it is made for modules of that branch: by the library's own note, by NVIDIA's table where it
    has none that can be read, None where neither tells; `told` and `source` are what said so. One of the module's own
    branch or an older one is not supported, whatever it says of itself. `chosen_by` shows what puts it first: a
    variable, lines of the loader's configuration, a mount. NotApplicable where programs get another libcuda.
    """

    copy: LibraryCopy
    release: DriverRelease
    base: DriverRelease
    covers: bool | None
    told: str
    source: str
    chosen_by: tuple[Evidence, ...]

    @classmethod
    def collect(
        cls, host: Host, libraries: DriverLibraries, loaded: LoadedDriver, origins: ContainerLibraries | Unknown
    ) -> CudaCompat:
        copy, base = libraries.libcuda.taken, loaded.release
        if copy is None or copy.release is None or copy.release == base or copy.kind in (Kind.EMPTY, Kind.DAMAGED):
            raise NotApplicable("the loader takes no cuda-compat library")
        mounted = isinstance(origins, ContainerLibraries) and origins.libcuda is Origin.COMPAT
        by_place = copy.kind is Kind.COMPAT or mounted
        if not by_place and (copy.release.branch <= base.branch or _is_of_a_set(libraries, copy)):
            raise NotApplicable("the loader takes no cuda-compat library")
        try:
            cuda, branches = parse_compat_note(str(host.elf_dynamic(copy.file).get("fwd_compatibility", "")))
            covers: bool | None = base.branch in branches
            told = f"CUDA {cuda or 'of unknown version'}, for modules of {', '.join(map(str, branches))}"
            source = f"the note .note.cuda.fwd_compatibility of {copy.file}"
        except (ParseError, Unknown) as why:
            if not by_place:
                raise NotApplicable("the loader takes no cuda-compat library") from why
            covers, told, source = _by_table(copy.release.branch, base.branch, f"{copy.file}: {why}")
        return cls(
            copy=copy,
            release=copy.release,
            base=base,
            covers=covers if copy.release.branch > base.branch else False,
            told=told,
            source=source,
            chosen_by=tuple(_chosen_by(host, copy, origins)),
        )

    def init(self, answer: CudaAnswer | Unknown) -> int | None:
        """What cuInit of this very library answered, which comes before all that a table says; None if not asked."""
        if isinstance(answer, Unknown) or answer.library is None:
            return None
        return answer.init if posixpath.basename(answer.library) == posixpath.basename(self.copy.file) else None


def _is_of_a_set(libraries: DriverLibraries, copy: LibraryCopy) -> bool:
    """Whether libnvidia-ml is of its release too: cuda-compat has none, so a whole driver was installed."""
    nvml = libraries.nvml.taken
    return nvml is not None and nvml.release == copy.release


def _by_table(branch: int, base: int, why: str) -> tuple[bool | None, str, str]:
    from nvdiag.knowledge.forward_compat import package_of_branch

    try:
        row = package_of_branch(branch)
        if row is None:
            return None, f"{why}; no cuda-compat package of branch {branch} is known", ""
        covers = row.runs_on(base)
    except Unknown as unknown:
        return None, f"{why}; {unknown}", ""
    return (
        covers,
        f"{row.name}: modules of {', '.join(map(str, row.bases)) or 'none'}",
        f"nvdiag's table: {row.source[0]}",
    )


def parse_compat_note(text: str) -> tuple[CudaVersion | None, tuple[int, ...]]:
    """The CUDA version and the driver branches of a note's JSON, whatever the case of its keys. ParseError.

    NVIDIA's container toolkit reads it (cuda-elf-header.go): `CUDA Version`, `Driver`, `Device`. That of Jetson names
    no branches.
    """
    start = text.find("{")
    try:
        document = json.loads(text[start : text.rfind("}") + 1])
        drivers = next(value for key, value in document.items() if "driver" in key.lower())
        versions = (value for key, value in document.items() if "cuda" in key.lower() and isinstance(value, str))
        return CudaVersion.or_none(next(versions, None)), tuple(int(str(one).partition(".")[0]) for one in drivers)
    except (ValueError, TypeError, AttributeError, StopIteration, RecursionError) as error:
        raise ParseError("no note of forward compatibility that names driver branches") from error


def _chosen_by(host: Host, copy: LibraryCopy, origins: ContainerLibraries | Unknown) -> Iterator[Evidence]:
    if copy.found_by == "LD_LIBRARY_PATH":
        yield Evidence(source="LD_LIBRARY_PATH", excerpt=copy.path.rpartition("/")[0])
        return
    if isinstance(origins, ContainerLibraries) and (mount := origins.mounts.get(copy.file)):
        yield mount.evidence
        return
    for name in reading.names(host, CONFIGURATION):
        line = re.search(
            r"^\s*(/\S{0,200}compat\S{0,100})\s*$", reading.text(host, f"{CONFIGURATION}/{name}") or "", re.M
        )
        if line:
            yield Evidence(source=f"{CONFIGURATION}/{name}", excerpt=line[1])
