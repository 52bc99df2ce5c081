"""What libcuda answers: the CUDA version that it implements, and, where that changes nothing, whether cuInit works.

`cuda` asks for the version alone, `cuda init` also for cuInit. cuDriverGetVersion needs neither driver nor GPU (its
number is the library's); cuInit may start nvidia-modprobe and an MPS server, so the caller decides.
"""

from __future__ import annotations

import ctypes
import os

from nvdiag.probes.child import Say
from nvdiag.probes.dlopen import library_path, load
from nvdiag.probes.memory import Json

SONAME = "libcuda.so.1"

NO_MPS = "/proc/nvdiag-asks-no-mps-server"
"""A folder for MPS's pipes that nobody can make: CUDA then goes on without an MPS server."""


def run(arguments: list[str], say: Say) -> dict[str, Json]:
    """library, dlopen_error, driver_version (12040 for CUDA 12.4), init (CUresult), init_name, count."""
    os.environ["CUDA_MPS_PIPE_DIRECTORY"] = NO_MPS
    document: dict[str, Json] = {}
    say(f"dlopen {SONAME}", document)
    library, error = load(SONAME)
    if library is None:
        return {**document, "dlopen_error": error}
    document["library"] = library_path(SONAME)
    say("cuDriverGetVersion", document)
    number = ctypes.c_int()
    result = library.cuDriverGetVersion(ctypes.byref(number))
    if result == 0:
        document["driver_version"] = number.value
    else:
        document["driver_version_error"] = result
    if "init" not in arguments:
        return document
    say("cuInit", document)
    document["init"] = library.cuInit(0)
    document["init_name"] = error_name(library, document["init"])
    if document["init"] == 0:
        say("cuDeviceGetCount", document)
        count = ctypes.c_int()
        result = library.cuDeviceGetCount(ctypes.byref(count))
        document["count" if result == 0 else "count_error"] = count.value if result == 0 else result
    return document


def error_name(library: ctypes.CDLL, number: int) -> str | None:
    """libcuda's own name for a CUresult, such as CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (cuGetErrorName, since CUDA 6)."""
    try:
        ask = library.cuGetErrorName
    except AttributeError:
        return None
    name = ctypes.c_char_p()
    if ask(number, ctypes.byref(name)) != 0 or name.value is None:
        return None
    return name.value.decode("ascii", "replace")
