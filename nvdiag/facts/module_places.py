"""Where a kernel's nvidia module lies on disk: by modules.dep, which is what modprobe reads, else by known folders."""

from __future__ import annotations

from nvdiag.facts import reading
from nvdiag.host import Absent, Host
from nvdiag.model.regex import regex
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import KernelRelease

MODULE_FOLDERS = ("/lib/modules", "/usr/lib/modules")

MAIN_MODULE = regex(r"(nvidia(?:-current|-tesla|-legacy|-\d+)?(?:-\d+(?:xx)?)?(?:-open)?)\.ko(?:\.(?:xz|zst|gz))?")
"""File names of nvidia.ko; Debian renames it (nvidia-current.ko, nvidia-tesla-470.ko, nvidia-legacy-390xx.ko)."""

KNOWN_FOLDERS = (
    "updates/dkms", "updates", "updates/nvidia", "extra", "extra/nvidia", "weak-updates", "weak-updates/nvidia",
    "extramodules", "kernel/drivers/video", "kernel/drivers/video/nvidia", "misc",
)  # fmt: skip
"""Where distributions, DKMS and NVIDIA's installer put them below /lib/modules/RELEASE; Ubuntu: kernel/nvidia-NNN."""


def is_unlisted(host: Host, path: str) -> bool:
    """Whether modules.dep can be read and does not have a file: then depmod did not run since it came."""
    folder, _, below = path.partition("/modules/")
    kernel, _, name = below.partition("/")
    try:
        lines = host.lines_with("nvidia", f"{folder}/modules/{kernel}/modules.dep")
    except Unknown:
        return False
    return not any(line.partition(":")[0] in (name, path) for line in lines)


def all_copies(host: Host, kernel: KernelRelease, system: str = "") -> tuple[str, ...]:
    """Every nvidia.ko of a kernel in the known folders, whichever modprobe takes."""
    found: dict[str, None] = {}
    for folder in MODULE_FOLDERS:
        found.update(dict.fromkeys(_in_known_folders(host, f"{system}{folder}/{kernel}")))
    merged = reading.link(host, f"{system}/lib") is not None
    return tuple(path for path in found if not (merged and path.startswith(f"{system}/lib/")))


def candidates(host: Host, kernel: KernelRelease, system: str = "") -> tuple[str, ...]:
    """The nvidia.ko files of a kernel: by modules.dep, which is what modprobe reads, else by the known folders.

    Unknown where neither could be looked at. `system` is the root of another deployment.
    """
    silent: Unknown | None = None
    looked = False
    for root in (f"{system}{folder}/{kernel}" for folder in MODULE_FOLDERS):
        try:
            lines = host.lines_with("nvidia", f"{root}/modules.dep")
        except Absent:
            looked = looked or not reading.names(host, root)
            lines = ()
        except Unknown as why:
            silent, lines = why, ()
        else:
            looked = True
        listed = [line.partition(":")[0] for line in lines]
        paths = [path if path.startswith("/") else f"{root}/{path}" for path in listed if _is_main(path)]
        paths = paths or _in_known_folders(host, root)
        if paths:
            return tuple(paths)
    recorded = [path for path in host.recorded("modinfo") if f"/modules/{kernel}/" in path and _is_main(path)]
    if not recorded and silent is not None and not looked:
        raise Unknown(f"which nvidia module {kernel} has: {silent}")
    return tuple(recorded)


def _is_main(path: str) -> bool:
    return MAIN_MODULE.fullmatch(path.rpartition("/")[2]) is not None


def _in_known_folders(host: Host, root: str) -> list[str]:
    ubuntu = [f"kernel/{name}" for name in reading.names(host, f"{root}/kernel") if name.startswith("nvidia-")]
    found = []
    for folder in (*KNOWN_FOLDERS, *ubuntu):
        found += [f"{root}/{folder}/{name}" for name in reading.names(host, f"{root}/{folder}") if _is_main(name)]
    return found
