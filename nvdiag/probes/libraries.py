"""Loading CUDA's own libraries and asking each for its version: what their files' names and wheels tell is then proved.

None of them needs a driver for that. They are loaded by their paths in the order that they are named in, so that a
library gets the copy of another that was loaded before it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from nvdiag.probes.child import Say
from nvdiag.probes.dlopen import load
from nvdiag.probes.memory import Json

_PROPERTY = ("cublas", "cufft", "curand", "cusolver", "cusparse")
"""Libraries with NAMEGetProperty(libraryPropertyType, int *): 0 major, 1 minor, 2 patch level (library_types.h)."""


def run(arguments: list[str], say: Say) -> dict[str, Json]:
    """`libraries PATH…`: `loaded` maps each path to its `version`, None where it tells none, or to `error`."""
    loaded: dict[str, Json] = {}
    for path in arguments:
        say(f"dlopen {path}", {"loaded": loaded})
        library, error = load(path)
        if library is None:
            loaded[path] = {"error": error}
            continue
        say(f"ask {path}", {"loaded": loaded})
        loaded[path] = {"version": _version(library, path.rpartition("/")[2].partition(".so")[0].removeprefix("lib"))}
    return {"loaded": loaded}


def _version(library: ctypes.CDLL, name: str) -> str | None:
    try:
        if name in _PROPERTY:
            return _of_properties(getattr(library, f"{name}GetProperty"))
        ask = _ASK.get(name)
        return None if ask is None else ask(library)
    except AttributeError:  # a release that does not have the function
        return None


def _of_properties(ask: Callable[..., int]) -> str | None:
    numbers = []
    for kind in range(3):
        number = ctypes.c_int()
        if ask(kind, ctypes.byref(number)) != 0:
            return None
        numbers.append(str(number.value))
    return ".".join(numbers)


def _of_number(number: int, major: int, minor: int) -> str:
    return f"{number // major}.{number % major // minor}.{number % minor}"


def _cudart(library: ctypes.CDLL) -> str | None:
    number = ctypes.c_int()
    result = library.cudaRuntimeGetVersion(ctypes.byref(number))
    return f"{number.value // 1000}.{number.value % 1000 // 10}" if result == 0 else None


def _two(function: Callable[..., int]) -> str | None:
    major, minor = ctypes.c_int(), ctypes.c_int()
    return f"{major.value}.{minor.value}" if function(ctypes.byref(major), ctypes.byref(minor)) == 0 else None


def _cudnn(library: ctypes.CDLL) -> str | None:
    library.cudnnGetVersion.restype = ctypes.c_size_t
    number = int(library.cudnnGetVersion())
    return _of_number(number, 10000, 100) if number >= 90000 else _of_number(number, 1000, 100)


def _nccl(library: ctypes.CDLL) -> str | None:
    number = ctypes.c_int()
    result = library.ncclGetVersion(ctypes.byref(number))
    return _of_number(number.value, 10000, 100) if result == 0 else None


_ASK: dict[str, Callable[[ctypes.CDLL], str | None]] = {
    "cudart": _cudart,
    "cudnn": _cudnn,
    "nccl": _nccl,
    "nvJitLink": lambda library: _two(library.nvJitLinkVersion),
    "nvrtc": lambda library: _two(library.nvrtcVersion),
}
