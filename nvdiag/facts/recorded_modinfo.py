"""The module that a recorded `modinfo nvidia` tells of, beside lspci: most recordings have no module files."""

from __future__ import annotations

import re

from nvdiag.facts.chosen_module import ModuleFile, built_by_dkms, flavour_of_licence
from nvdiag.host import Host
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import DriverRelease, KernelRelease

MODINFO = "modinfo nvidia"


def by_modinfo_nvidia(host: Host, running: KernelRelease | None) -> ModuleFile | None:
    """By a recorded `modinfo nvidia`, which tells of the module that modprobe takes for the running kernel."""
    if "modinfo nvidia" not in host.recorded("commands"):
        return None
    fields = parse_modinfo(host.run("modinfo", "nvidia").stdout)
    path = fields.get("filename", "")
    named = re.search(r"/modules/([^/]{3,80})/", path) or re.match(r"(\S{3,80})", fields.get("vermagic", ""))
    kernel = running or (KernelRelease(named[1]) if named else None)
    release = DriverRelease.or_none(fields.get("version"))
    if kernel is None or (release is None and not path):
        return None
    return ModuleFile(
        path=path or "nvidia",
        kernel=kernel,
        release=release,
        how="modinfo nvidia",
        built_for=fields.get("vermagic", "").partition(" ")[0] or None,
        flavour=flavour_of_licence(fields.get("license")),
        signer=fields.get("signer"),
        signed=("sig_id" in fields or "signer" in fields) or None,
    )


def parse_modinfo(text: str) -> dict[str, str]:
    """modinfo's output, `name:  value` a line; of a name that is there several times, the first value."""
    found: dict[str, str] = {}
    for name, value in re.findall(r"^([a-z_]{2,20}):[ \t]{1,40}(\S.{0,1000})$", text, re.M):
        found.setdefault(name, value.strip())
    return found


def as_modinfo_told(host: Host, kernel: KernelRelease, why: Unknown) -> ModuleFile | None:
    """The module that a recorded `modinfo nvidia` found for the running kernel; perhaps only its vermagic was kept.

    That it found none proves nothing alone: distributions gave the file other names. With lspci's word that no module
    of the driver is known for the GPU (it reads the running kernel's modules.alias), it does.
    """
    if MODINFO not in host.recorded("commands"):
        raise why
    told = host.run(*MODINFO.split()).stdout
    fields = {name: value.strip() for name, _, value in (line.partition(":") for line in told.splitlines())}
    if "vermagic" not in fields:
        known = _modules_by_lspci(host)
        if known and not any(re.match(r"nvidia(?!fb)", name) for name in known):
            return None
        raise why
    release = DriverRelease.or_none(fields.get("version")) or _recorded_release(host)
    how = MODINFO
    if release is None and (release := built_by_dkms(host, kernel)):
        how = f"{MODINFO}, and DKMS's build for {kernel}"
    return ModuleFile(
        path="nvidia", kernel=kernel, release=release, how=how, built_for=fields["vermagic"].partition(" ")[0]
    )


def _recorded_release(host: Host) -> DriverRelease | None:
    command = f"{MODINFO.partition(' ')[0]} -F version nvidia"
    return DriverRelease.or_none(host.run(*command.split()).stdout) if command in host.recorded("commands") else None


def _modules_by_lspci(host: Host) -> tuple[str, ...]:
    """The modules that a recorded lspci names for GPUs, bound or not."""
    names: list[str] = []
    for command in host.recorded("commands"):
        if command.startswith("lspci -nnvs "):
            told = host.run(*command.split()).stdout
            if re.search(r"^\S{1,20} (?:VGA compatible|3D|Display) controller", told):
                names += re.findall(r"[\w-]+", " ".join(re.findall(r"^\s*Kernel modules: (.{1,400})$", told, re.M)))
    return tuple(dict.fromkeys(names))
