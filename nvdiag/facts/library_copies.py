"""A file of a CUDA library, and its version as the files around it tell it."""

from __future__ import annotations

import posixpath
import re

from nvdiag.facts import reading
from nvdiag.facts.cuda_sonames import COMPONENTS, numbered_wheels, stem
from nvdiag.facts.python_environments import parse_info
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import CudaVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaCopy:
    """One file of a CUDA library; `version` as its name, its wheel or its header tells it, None where none does."""

    path: str
    version: CudaVersion | None
    source: str


def copy_of(host: Host, path: str) -> CudaCopy:
    """A file with its version: in the name that its links lead to, else its wheel's, else in the header beside it."""
    file = host.resolve(path)
    if found := re.search(r"\.so\.(\d{1,2}(?:\.\d{1,4}){2,4})$", file):
        return CudaCopy(path=path, version=CudaVersion.of(found[1]), source=file)
    wheels = _wheels_of(host, path)
    if len(wheels) == 1:
        return CudaCopy(path=path, version=CudaVersion.or_none(wheels[0][1]), source=wheels[0][0])
    header = f"{posixpath.dirname(posixpath.dirname(file))}/include/{_HEADERS.get(stem(posixpath.basename(path)), '')}"
    version = _in_header(host, header) if not header.endswith("/") else None
    return CudaCopy(path=path, version=version, source=header if version else file)


_HEADERS = {"cudart": "cuda_runtime_api.h", "cudnn": "cudnn_version.h", "nccl": "nccl.h"}


def _in_header(host: Host, header: str) -> CudaVersion | None:
    """CUDNN_MAJOR, _MINOR and _PATCHLEVEL of cudnn_version.h; NCCL_MAJOR, … of nccl.h; CUDART_VERSION, as 13000."""
    try:
        if header.endswith("cuda_runtime_api.h"):
            number = re.search(
                r"CUDART_VERSION\s{1,20}(\d{4,6})\b", "".join(host.lines_with("#define CUDART_", header))
            )
            return CudaVersion.from_number(int(number[1])) if number else None
        text = "\n".join((*host.lines_with("#define CUDNN_", header), *host.lines_with("#define NCCL_", header)))
    except Unknown:
        return None
    numbers = dict(re.findall(r"#define \w{4,5}_(MAJOR|MINOR|PATCH)(?:LEVEL)? (\d{1,4})\b", text))
    return CudaVersion.or_none(".".join(numbers.get(name, "") for name in ("MAJOR", "MINOR", "PATCH")))


def _wheels_of(host: Host, path: str) -> list[tuple[str, str]]:
    """The wheels that write the folder of this file, each with its .dist-info and version.

    They are several where wheels for two CUDA majors overwrite each other: then neither tells what is there.
    """
    place = re.match(r"(.{1,4000})/nvidia/(\w{1,40})/lib/", path)
    if place is None:
        return []
    names = numbered_wheels(place[2].replace("_", "-"))
    if re.fullmatch(r"cu\d\d", place[2]):
        names = [f"nvidia-{COMPONENTS.get(stem(posixpath.basename(path)), '')}"]
    infos = ((name, parse_info(name)) for name in reading.names(host, place[1]) if name.startswith("nvidia_"))
    return [(f"{place[1]}/{name}", told[1]) for name, told in infos if told is not None and told[0] in names]
