"""Loading a library by name, as a program would, with the loader's own words where that fails."""

from __future__ import annotations

import ctypes

from nvdiag.probes.child import Say
from nvdiag.probes.memory import Json


def run(arguments: list[str], say: Say) -> dict[str, Json]:
    """`dlopen NAME`: `library` (the file that the loader took) or `dlopen_error` (dlerror's text)."""
    name = arguments[0]
    say(f"dlopen {name}", {})
    library, error = load(name)
    return {"dlopen_error": error} if library is None else {"library": library_path(name)}


def load(name: str) -> tuple[ctypes.CDLL | None, str]:
    """The library, or None and the loader's words (pynvml would drop them)."""
    try:
        return ctypes.CDLL(name), ""
    except OSError as error:
        return None, str(error)


def library_path(name: str) -> str | None:
    """The file behind a loaded library, from /proc/self/maps; None where no mapped file has this stem."""
    stem = name.rpartition("/")[2].partition(".so")[0] + ".so"
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            for line in maps:
                path = line.rstrip("\n").partition("/")[2]
                if path and path.rpartition("/")[2].startswith(stem):
                    return f"/{path}"
    except OSError:
        return None
    return None
