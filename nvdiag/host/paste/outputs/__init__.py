"""Outputs by their shape, whether or not the command is shown: each becomes the answer that it is on a machine.

A recogniser takes a block's lines, puts what it knows of them into a part, and passes over all else. What a filter
(`| grep`) let through is no whole listing, so nothing is taken for absent from it.
"""

from __future__ import annotations

from collections.abc import Callable

from nvdiag.host.paste.blocks import Block
from nvdiag.host.paste.document import Part
from nvdiag.host.paste.outputs import driver, files, smi, system

RECOGNISERS: tuple[Callable[[Block, Part], None], ...] = (
    driver.version_file, smi.smi_table, smi.smi_query, files.ldconfig, files.long_listing, driver.lsmod, driver.modinfo,
    driver.dkms, driver.lspci, system.dpkg, system.rpm_or_pacman, system.uname, system.os_release, system.nvcc,
    system.variables, system.python, files.ldd, files.file, files.not_listed, files.whereis,
    files.mounts,
)  # fmt: skip
"""Each takes a block; the first ones are those whose contradiction shows another machine or moment."""


def recognise(block: Block, part: Part) -> None:
    """Everything that a block's shape tells. Contradiction where it is of another machine or moment than the part."""
    for one in RECOGNISERS:
        one(block, part)
