"""Ways out of a mismatch by the package manager: the libraries back to the module that runs, and no next time."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from nvdiag.checks import _remedies
from nvdiag.facts.kept_packages import KeptPackages
from nvdiag.facts.system import Distribution, Family
from nvdiag.facts.update_guards import UpdateGuards
from nvdiag.model.finding import Remedy
from nvdiag.model.text import listed
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import DriverRelease

BLACKLIST = "/etc/apt/apt.conf.d/52keep-nvidia-driver"
"""Read after the distribution's own 50unattended-upgrades; apt appends to a list that is there (apt.conf(5))."""


def take_libraries_along(
    kept: KeptPackages | Unknown, installed: DriverRelease, distribution: Distribution | Unknown
) -> tuple[Remedy, ...]:
    """Bring every package of the libraries' release to the loaded module's; nothing unless all are to be had.

    Packages of one driver depend on each other's exact release: a part of them would take others away.
    """
    if isinstance(kept, Unknown) or kept.lacking:
        return ()
    family = _remedies.family(distribution)
    joint = "=" if family in (Family.DEBIAN, Family.UBUNTU, Family.SUSE) else "-"
    paths = [shlex.quote(path) for path in kept.files.values()]
    versions = [shlex.quote(f"{name}{joint}{version}") for name, version in kept.versions.items()]
    back = kept.release < installed
    commands = _change(family, " ".join((*paths, *versions)), back)
    where = "in the package cache" if not versions else "in the archive" if not paths else "in cache and archive"
    return (
        Remedy(
            summary=f"take the libraries {'back ' if back else ''}to {kept.release}, which is loaded: running jobs go"
            " on untouched",
            commands=commands,
            needs_root=True,
            prediction=f"new programs work at once with the module that runs: all {len(paths) + len(versions)} packages"
            f" of {kept.release} are {where}. See first what it would do, and stop if it would remove a package;"
            f" keep them there afterwards, or the next upgrade takes them forward again."
            f" {_afterwards(kept, distribution)}",
        ),
    )


def _afterwards(kept: KeptPackages, distribution: Distribution | Unknown) -> str:
    if _remedies.family(distribution) is Family.ARCH and not all(
        "dkms" in name or "utils" in name for name in kept.files
    ):
        return "A prebuilt module fits one kernel only, so run sudo pacman -Syu right before the next reboot"
    if kept.beside:
        return (
            f"{listed(kept.beside[:2])} stay{'s' if len(kept.beside) == 1 else ''} as on disk, so bring all to one"
            " release right before the next reboot"
        )
    return "Modules that come with or are built from these packages are then of that release on disk, too"


def _change(family: Family, packages: str, back: bool) -> tuple[str, ...]:
    """Show what it would do, then do it: apt-get(8), zypper(8), pacman(8) and dnf(8)."""
    match family:
        case Family.DEBIAN | Family.UBUNTU:
            way = f"install {'--allow-downgrades ' if back else ''}{packages}"
            return (f"apt-get --simulate {way}", f"sudo apt-get {way}")
        case Family.SUSE:
            way = f"{'--oldpackage ' if back else ''}{packages}"
            return (f"sudo zypper install --dry-run {way}", f"sudo zypper install {way}")
        case Family.ARCH:
            return (f"pacman -U --print {packages}", f"sudo pacman -U {packages}")
        case _:
            verb = "downgrade" if back else "install"
            return (f"sudo dnf {verb} --assumeno {packages}", f"sudo dnf {verb} {packages}")


def keep_from_upgrades(guards: UpdateGuards | Unknown, distribution: Distribution | Unknown) -> tuple[Remedy, ...]:
    """Keep the complete set of installed packages together; nothing where all of it is kept already."""
    if isinstance(guards, Unknown) or not guards.loose:
        return ()
    family = _remedies.family(distribution)
    unattended = guards.automatic is not None and family in (Family.DEBIAN, Family.UBUNTU)
    packages = (*guards.loose, *guards.kernels)
    return (
        Remedy(
            summary="so that it does not happen again: upgrade the driver only when a reboot or reload can follow",
            commands=_blacklist(packages) if unattended else _hold(family, packages, guards.plugin_missing),
            needs_root=True,
            prediction="; ".join(_why(guards, unattended, family)),
        ),
    )


def _why(guards: UpdateGuards, unattended: bool, family: Family) -> list[str]:
    words = []
    if guards.automatic:
        words.append(f"upgrades come by themselves here ({guards.automatic.source}: {guards.automatic.excerpt})")
    if guards.kept:
        rules = list(dict.fromkeys(guards.kept.values()))
        words.append(
            f"{len(guards.kept)} of {len(guards.kept) + len(guards.loose)} packages are kept now ({rules[0]}), and a"
            " part that is kept alone makes mismatches itself"
        )
    if unattended:
        words.append("only what comes by itself is stopped: apt upgrade still takes them, at a time of your choosing")
    else:
        words.append(f"before a planned upgrade take it back: {_undo(family)}")
    if guards.kernels:
        words.append(
            f"{listed(guards.kernels)} {'are' if len(guards.kernels) > 1 else 'is'} among them, since a kernel without"
            " its prebuilt module has no driver; upgrade them, too, for the kernel's security fixes"
        )
    return words


def _blacklist(packages: Sequence[str]) -> tuple[str, ...]:
    """Whole names: a pattern is matched at a name's start only, so each is closed with a $."""
    entries = [f'"{re.escape(name).replace(chr(92) + "-", "-")}$";' for name in packages]
    lines = ("Unattended-Upgrade::Package-Blacklist {", *(f"  {entry}" for entry in entries), "};")
    return (f"printf '%s\\n' {' '.join(shlex.quote(line) for line in lines)} | sudo tee {BLACKLIST}",)


def _hold(family: Family, packages: Sequence[str], plugin_missing: bool) -> tuple[str, ...]:
    names = shlex.join(packages)
    match family:
        case Family.DEBIAN | Family.UBUNTU:
            return (f"sudo apt-mark hold {names}",)
        case Family.SUSE:
            return (f"sudo zypper addlock {names}",)
        case Family.ARCH:
            return (f"sudo sed -i '/^\\[options\\]/a IgnorePkg = {' '.join(packages)}' /etc/pacman.conf",)
        case _:
            plugin = ("sudo dnf install python3-dnf-plugin-versionlock",) if plugin_missing else ()
            return (*plugin, f"sudo dnf versionlock add {names}")


def _undo(family: Family) -> str:
    return {
        Family.DEBIAN: "sudo apt-mark unhold with the same names",
        Family.UBUNTU: "sudo apt-mark unhold with the same names",
        Family.SUSE: "sudo zypper removelock with the same names",
        Family.ARCH: "take the line out of /etc/pacman.conf",
    }.get(family, "sudo dnf versionlock delete with the same names")
