"""The ways out of a mismatch that need no reboot, the least disruptive first, and what keeps it from coming back."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks import _holder_words, _package_ways, _reload
from nvdiag.facts.holders import Holder, ModuleHolders
from nvdiag.facts.libraries import DriverLibraries, Kind, LibraryCopy
from nvdiag.facts.module_files import RunningKernelModule
from nvdiag.facts.modules import LoadedDriver
from nvdiag.facts.system import Distribution
from nvdiag.facts.without_reboot import WithoutReboot
from nvdiag.model.finding import Evidence, Remedy
from nvdiag.model.text import listed
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import DriverRelease

_MOST_NAMED = 3


def now(
    loaded: LoadedDriver,
    installed: DriverRelease,
    disk: RunningKernelModule | Unknown,
    way: WithoutReboot,
    distribution: Distribution | Unknown,
) -> tuple[Remedy, ...]:
    """Reload, where the module on disk is the libraries' and fits this kernel; the libraries back to the module.

    Where the GPU is in use, to take the libraries back disturbs nobody, so it stands first.
    """
    reload_ways: tuple[Remedy, ...] = ()
    if _fits(disk, installed) and isinstance(disk, RunningKernelModule):
        reload_ways = _reload.ways(loaded.modules, way.holders, installed, f"the module on disk for {disk.kernel}")
    back = _package_ways.take_libraries_along(way.kept, installed, distribution)
    busy = isinstance(way.holders, ModuleHolders) and not _reload.free(way.holders)
    return (*back, *reload_ways) if busy else (*reload_ways, *back)


def later(way: WithoutReboot, distribution: Distribution | Unknown) -> tuple[Remedy, ...]:
    """What keeps it from happening again."""
    return _package_ways.keep_from_upgrades(way.guards, distribution)


def why_no_reload(way: WithoutReboot) -> str:
    """A sentence, after a blank, on why the modules cannot be taken out; empty where they can."""
    why = _reload.why_not(way.holders) if isinstance(way.holders, ModuleHolders) else ""
    return f" {why}" if why else ""


def going_on(way: WithoutReboot) -> str:
    """A sentence, after a blank, on what still has libraries that are gone from the disk; empty for nothing seen."""
    old = _with_old_libraries(way)
    if not old:
        return ""
    names = [_holder_words.called(one) for one in old[:_MOST_NAMED]]
    more = [f"{len(old) - _MOST_NAMED} more"] if len(old) > _MOST_NAMED else []
    return f" Still on the old ones, which are gone from the disk: {listed([*names, *more])}."


def _with_old_libraries(way: WithoutReboot) -> list[Holder]:
    return [one for one in way.holders.seen if one.old_libraries] if isinstance(way.holders, ModuleHolders) else []


def evidence(way: WithoutReboot) -> Iterator[Evidence]:
    """Who has the GPU open, and whose libraries are gone from the disk: those go on only until they end."""
    if not isinstance(way.holders, ModuleHolders):
        return
    yield from _holder_words.evidence(way.holders)
    for one in _with_old_libraries(way)[:_MOST_NAMED]:
        yield Evidence(source=f"/proc/{one.pid}/maps", excerpt=f"{one.old_libraries[0]} (deleted)")


def stray(loaded: LoadedDriver, libraries: DriverLibraries) -> tuple[LibraryCopy, LibraryCopy] | None:
    """A copy of another release that the loader takes before the one of the module's own release, and that one.

    Libraries that are newer than the module, found where they belong, are an upgrade, whatever else lies about.
    """
    for choice in (libraries.nvml, libraries.libcuda):
        own = next((one for one in choice.copies if one.kind is Kind.DRIVER and one.release == loaded.release), None)
        taken = choice.taken
        if own is None or taken is None or taken.kind is not Kind.DRIVER or taken.release in (None, loaded.release):
            continue
        if taken.found_by == "LD_LIBRARY_PATH" or (taken.release is not None and taken.release < loaded.release):
            return taken, own
    return None


def take_out(copy: LibraryCopy, own: LibraryCopy) -> Remedy:
    """Have the loader take the libraries of the module's release, which are there."""
    folder = copy.path.rpartition("/")[0]
    prediction = (
        f"the loader then takes {own.path}, which is {own.release} as the loaded module is; no reboot is needed"
    )
    if copy.found_by == "LD_LIBRARY_PATH":
        return Remedy(
            summary=f"take {folder} out of LD_LIBRARY_PATH",
            commands=("echo $LD_LIBRARY_PATH", "unset LD_LIBRARY_PATH; nvidia-smi"),
            prediction=prediction,
        )
    return Remedy(
        summary=f"see which package or installer left {copy.file}, take it away, and refresh the loader's cache",
        commands=("ldconfig -p | grep -E 'libcuda.so.1|libnvidia-ml.so.1'", "sudo ldconfig"),
        needs_root=True,
        prediction=prediction,
    )


def _fits(disk: RunningKernelModule | Unknown, installed: DriverRelease) -> bool:
    return (
        isinstance(disk, RunningKernelModule)
        and disk.file is not None
        and disk.file.release == installed
        and disk.file.built_for in (None, disk.kernel.text)
    )
