"""Outputs by their shape, whether or not the command is shown: each becomes the answer that it is on a machine.

A recogniser takes a block's lines, puts what it knows of them into a part, and passes over all else. What a filter
(`| grep`) let through is no whole listing, so nothing is taken for absent from it.
"""

from __future__ import annotations

from collections.abc import Callable

from nvdiag.host.paste.blocks import Block
from nvdiag.host.paste.document import Part
from nvdiag.host.paste.outputs import driver, files, packages, processes, secure_boot, smi, system

Recogniser = Callable[[Block, Part], None]

RECOGNISERS: tuple[tuple[Recogniser, tuple[str, ...]], ...] = (
    (driver.version_file, ("NVRM version:",)),
    (smi.smi_table, ("NVIDIA-SMI", "NVML", "UUID: GPU-", "No devices were found", "device handle")),
    (smi.smi_query, ("NVSMI LOG", "Driver Version", "KMD Version")),
    (files.ldconfig, ("=> /", "ldconfig")),
    (files.long_listing, ("rw-", "rwx", "r-x", "r--")),
    (driver.lsmod, ("lsmod", "nvidia", "nouveau")),
    (driver.modinfo, ("modinfo", "filename:")),
    (driver.dkms, ("nvidia",)),
    (driver.lspci, ("lspci", "controller", "NVIDIA", "bridge")),
    (system.dpkg, ("ii  ", "rc  ", "iU  ", "iF  ", "hi  ", "ri  ", "pn  ", "un  ", "iH  ", "iW  ", "it  ", "ii ")),
    (system.rpm_or_pacman, ("rpm", "pacman")),
    (system.uname, ("Linux ", "uname")),
    (system.os_release, ("ID=", "NAME=")),
    (system.nvcc, ("ompilation tools, release",)),
    (system.compiler, ("gcc (", "g++ (", "clang version", "gcc-", "g++-")),
    (system.variables, ("=", "echo", "env")),
    (system.python, ("torch", "pip", "conda", "==", "Name: ", "PyTorch", "python")),
    (files.ldd, ("=> ",)),
    (files.file, ("cat ", "less ", "more ", "head ", "tail ")),
    (files.not_listed, ("cannot access", "No such file", "ls:")),
    (files.whereis, ("libcuda:", "libcuda.so")),
    (files.mounts, (" on /", "mount")),
    (processes.fuser, ("PID ACCESS COMMAND", "fuser")),
    (processes.lsof, (" CHR ",)),
    (secure_boot.mokutil, ("SecureBoot", "mokutil")),
    (packages.package_logs, ("nvidia", "libcuda", "linux", "kernel")),
    (packages.history, ("Transaction ID", "rpm-ostree")),
)
"""Each takes a block in which one of the words beside it stands, in its command line or in what came back.

The first ones are those whose contradiction shows another machine or moment.
"""


def recognise(block: Block, part: Part) -> None:
    """Everything that a block's shape tells. Contradiction where it is of another machine or moment than the part."""
    words = block.words if block.heading or block.command is None else f"{block.command.line}\n{block.text}"
    for one, needles in RECOGNISERS:
        for needle in needles:  # an any() over a generator takes several times as long, and this is asked of each block
            if needle in words:
                one(block, part)
                break
