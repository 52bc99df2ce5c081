"""nvidia-smi's table, its lists, and the sentence in their place."""

from __future__ import annotations

import re

from nvdiag.host.paste.blocks import Block
from nvdiag.host.paste.document import Part

_SMI_HEAD = re.compile(r"NVIDIA-SMI[ \t]{1,9}[0-9.]{1,20}[ \t]{1,60}(?:Driver|KMD) Version:", re.I)
_SMI_FAILED = re.compile(
    r"Failed to initialize NVML: |NVIDIA-SMI has failed because it couldn.t communicate|couldn.t find libnvidia-ml\.so"
    r"|No devices were found|Unable to determine the device handle",
    re.I,
)
_SMI_EXITS = (
    ("Driver/library version mismatch", 18),
    ("couldn't communicate", 9),
    ("Unknown Error", 255),
    ("Insufficient Permissions", 4),
    ("libnvidia-ml.so", 12),
    ("No devices", 6),
    ("blocked by", 17),
)
_ENGINES = frozenset(
    {"docker", "nvidia-docker", "podman", "nerdctl", "kubectl", "singularity", "apptainer", "lxc", "incus"}
)
_LISTED_VERSION = re.compile(r"^\s{0,8}(?:Driver|KMD) Version[ \t]{0,60}:?[ \t]{1,9}\d{2,4}\.[\d.]{1,12}\s{0,4}$")
_LISTED_GPU = re.compile(r"^[ \t]{0,8}GPU (\d{1,3}): (.{1,100}) \(UUID: (GPU-[0-9a-fA-F-]{4,40})\)")


def smi_table(block: Block, part: Part) -> None:
    """The table, from its head to its last border, or the sentence in its place."""
    heads = [index for index, line in enumerate(block.lines) if "SMI" in line and _SMI_HEAD.search(line)]
    if heads:
        part.state("nvidia-smi works", True)
        table = block.lines[max(0, heads[0] - 2) :]
        part.command(("nvidia-smi",), "\n".join(table))
        return
    listed = [line for line in block.lines if _LISTED_GPU.match(line) or line.lstrip().startswith("MIG ")]
    if any(_LISTED_GPU.match(line) for line in listed):
        part.state("nvidia-smi works", True)
        part.command(("nvidia-smi", "-L"), "\n".join(listed))
        return
    if not _is_smi(block) or not _SMI_FAILED.search(block.text):
        return
    for index, line in enumerate(block.lines):
        if _SMI_FAILED.search(line):
            words = "\n".join(block.lines[index : index + 2])
            code = next((code for words_of, code in _SMI_EXITS if words_of in words), 1)
            part.state("nvidia-smi works", False)
            own = block.command is not None and block.command.program == "nvidia-smi"
            part.command(block.command.argv if block.command is not None and own else ("nvidia-smi",), words, code)
            return


def _is_smi(block: Block) -> bool:
    """Whether nvidia-smi printed it: typed as it is, or handed to another machine or a job.

    What it says inside a container is no answer of the machine's, and the words alone tell of it.
    """
    if block.command is None:
        return True
    return block.command.program not in _ENGINES and any("nvidia-smi" in word for word in block.command.argv)


def smi_query(block: Block, part: Part) -> None:
    """`nvidia-smi -q`."""
    if any("NVSMI LOG" in line or ("Version" in line and _LISTED_VERSION.match(line)) for line in block.lines):
        part.command(("nvidia-smi", "-q"), block.text)
