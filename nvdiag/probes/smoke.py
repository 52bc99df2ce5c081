"""One GPU put to work through libcuda alone: a context, a page copied there, a kernel on it, and the page copied back.

`smoke ORDINAL` tries CUDA's device of this number, past any MPS server; `smoke ORDINAL mps` goes the way of every other
program, through the server. The first call that fails ends it, and what the GPU holds goes with the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from typing import Any

from nvdiag.probes.child import Say
from nvdiag.probes.cuda import NO_MPS, SONAME, error_name
from nvdiag.probes.dlopen import library_path, load
from nvdiag.probes.memory import Json

WORDS = 1024
"""Words of four bytes in the page."""
_THREADS = 128
_MASK = 0xFFFFFFFF

_ERROR_LOG, _ERROR_LOG_SIZE = 5, 6
"""CU_JIT_ERROR_LOG_BUFFER and CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES of cuda.h."""
_LOG_BYTES = 4096
_COMPUTE_MODE = 20
"""CU_DEVICE_ATTRIBUTE_COMPUTE_MODE of cuda.h: 0 default, 2 prohibited, 3 exclusive process."""

_OF_THE_USER = (
    "CUDA_DISABLE_PTX_JIT",
    "CUDA_DISABLE_JIT",
    "CUDA_ENABLE_COREDUMP_ON_EXCEPTION",
    "CUDA_ENABLE_USER_TRIGGERED_COREDUMP",
)
"""Variables by which programs do without the compiler that the kernel here needs, or write files (CUDA programming
guide, "CUDA Environment Variables"; CUDA-GDB, "GPU Core Dump Support")."""


class _Failed(Exception):
    """A call answered something else than 0."""


def run(arguments: list[str], say: Say) -> dict[str, Json]:
    """`steps`: each call with its CUresult, name (where it is not 0) and seconds.

    Beside these ordinal, library or dlopen_error, name, address, compute_mode, jit_log, and `compared`, the words that
    came back, with `wrong`, how many of them are not what they should be, and `first_wrong`.
    """
    _prepare(through_mps="mps" in arguments)
    document: dict[str, Json] = {"ordinal": int(arguments[0]), "steps": []}
    say(f"dlopen {SONAME}", document)
    library, error = load(SONAME)
    if library is None:
        return {**document, "dlopen_error": error}
    document["library"] = library_path(SONAME)
    with contextlib.suppress(_Failed):
        _work(_Steps(library, document, say), int(arguments[0]))
    return document


def _prepare(*, through_mps: bool) -> None:
    os.environ["CUDA_CACHE_DISABLE"] = "1"  # the compiled kernel would be kept in ~/.nv
    os.environ["CUDA_MODULE_LOADING"] = "EAGER"  # else it is compiled later, where no log is asked for
    for name in _OF_THE_USER:
        os.environ.pop(name, None)
    if not through_mps:
        os.environ["CUDA_MPS_PIPE_DIRECTORY"] = NO_MPS


class _Steps:
    """Makes one call after another and keeps what each answered."""

    def __init__(self, library: ctypes.CDLL, document: dict[str, Json], say: Say) -> None:
        self.library, self.document, self.say = library, document, say

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of libcuda; _Failed where it does not answer 0."""
        self.say(name, self.document)
        started = time.monotonic()
        result = getattr(self.library, name)(*arguments)
        step = {"call": name, "result": result, "seconds": round(time.monotonic() - started, 4)}
        self.document["steps"].append(step)
        if result != 0:
            step["name"] = error_name(self.library, result)
            raise _Failed

    def tell(self, name: str, function: str, *arguments: Any, value: Any) -> None:
        """Keep what a function says of the GPU, where it does: nothing depends on that."""
        self.say(function, self.document)
        told = getattr(self.library, function)(*arguments) == 0
        text = value.value.decode("utf-8", "replace") if isinstance(value.value, bytes) else value.value
        self.document[name] = text if told else None


def _work(steps: _Steps, ordinal: int) -> None:
    device, context, page = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
    module, kernel = ctypes.c_void_p(), ctypes.c_void_p()
    steps.call("cuInit", 0)
    steps.call("cuDeviceGet", ctypes.byref(device), ordinal)
    _introduce(steps, device)
    steps.call("cuCtxCreate_v2", ctypes.byref(context), 0, device)
    given = (ctypes.c_uint32 * WORDS)(*(index * 2654435761 & _MASK for index in range(WORDS)))
    size = ctypes.c_size_t(ctypes.sizeof(given))
    steps.call("cuMemAlloc_v2", ctypes.byref(page), size)
    steps.call("cuMemcpyHtoD_v2", page, given, size)
    _compile(steps, module)
    steps.call("cuModuleGetFunction", ctypes.byref(kernel), module, b"nvdiag_smoke")
    _launch(steps, kernel, page)
    steps.call("cuCtxSynchronize")
    got = (ctypes.c_uint32 * WORDS)()
    steps.call("cuMemcpyDtoH_v2", got, page, size)
    _compare(steps.document, given, got)
    steps.call("cuModuleUnload", module)
    steps.call("cuMemFree_v2", page)
    steps.call("cuCtxDestroy_v2", context)


def _introduce(steps: _Steps, device: ctypes.c_int) -> None:
    name, address, mode = ctypes.create_string_buffer(256), ctypes.create_string_buffer(32), ctypes.c_int()
    steps.tell("name", "cuDeviceGetName", name, len(name), device, value=name)
    steps.tell("address", "cuDeviceGetPCIBusId", address, len(address), device, value=address)
    steps.tell("compute_mode", "cuDeviceGetAttribute", ctypes.byref(mode), _COMPUTE_MODE, device, value=mode)


def _compile(steps: _Steps, module: ctypes.c_void_p) -> None:
    """Have the driver compile the kernel, and keep its compiler's words where it does not."""
    log = ctypes.create_string_buffer(_LOG_BYTES)
    options = (ctypes.c_int * 2)(_ERROR_LOG, _ERROR_LOG_SIZE)
    values = (ctypes.c_void_p * 2)(ctypes.addressof(log), _LOG_BYTES)
    try:
        steps.call("cuModuleLoadDataEx", ctypes.byref(module), kernel_text(), 2, options, values)
    except _Failed:
        steps.document["jit_log"] = log.value.decode("utf-8", "replace").strip()
        raise


def kernel_text() -> bytes:
    """The kernel, as PTX."""
    import pkgutil

    return pkgutil.get_data("nvdiag.probes", "smoke.ptx") or b""


def _launch(steps: _Steps, kernel: ctypes.c_void_p, page: ctypes.c_uint64) -> None:
    words = ctypes.c_uint32(WORDS)
    parameters = (ctypes.c_void_p * 2)(ctypes.addressof(page), ctypes.addressof(words))
    blocks = WORDS // _THREADS
    steps.call("cuLaunchKernel", kernel, blocks, 1, 1, _THREADS, 1, 1, 0, None, parameters, None)


def _compare(document: dict[str, Json], given: ctypes.Array[ctypes.c_uint32], got: Any) -> None:
    wanted = [(word * 1664525 + 1013904223 & _MASK) ^ index for index, word in enumerate(given)]
    wrong = [index for index in range(WORDS) if got[index] != wanted[index]]
    document.update(compared=WORDS, wrong=len(wrong))
    if wrong:
        first = wrong[0]
        document["first_wrong"] = {"word": first, "wanted": wanted[first], "got": got[first]}
