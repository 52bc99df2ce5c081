"""Keeping a probe from changing the machine, whatever NVIDIA's libraries try.

NVML's initialisation makes and chmods device nodes, replaces stale ones and starts the setuid nvidia-modprobe, which
loads modules (read in NVIDIA's published nvidia-modprobe sources and seen with the libraries of 535 and 550). A
seccomp filter answers those system calls with EPERM in the child; capabilities are dropped as a second wall.
Numbers are from the kernel's uapi headers: linux/prctl.h, linux/seccomp.h, linux/audit.h and each machine's unistd.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Collection

_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2
_RET_ERRNO = 0x00050000
_RET_ALLOW = 0x7FFF0000
_LOAD_WORD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_CAP_SYS_MODULE, _CAP_MKNOD = 16, 27

_X86_64 = {
    "chmod": 90, "fchmod": 91, "fchmodat": 268, "fchmodat2": 452,
    "chown": 92, "fchown": 93, "lchown": 94, "fchownat": 260,
    "mknod": 133, "mknodat": 259, "mkdir": 83, "mkdirat": 258, "rmdir": 84,
    "unlink": 87, "unlinkat": 263, "rename": 82, "renameat": 264, "renameat2": 316,
    "link": 86, "linkat": 265, "symlink": 88, "symlinkat": 266,
    "execve": 59, "execveat": 322, "init_module": 175, "finit_module": 313, "delete_module": 176,
}  # fmt: skip
_AARCH64 = {
    "fchmod": 52, "fchmodat": 53, "fchmodat2": 452, "fchownat": 54, "fchown": 55,
    "mknodat": 33, "mkdirat": 34, "unlinkat": 35, "renameat": 38, "renameat2": 276, "linkat": 37, "symlinkat": 36,
    "execve": 221, "execveat": 281, "init_module": 105, "finit_module": 273, "delete_module": 106,
}  # fmt: skip
_MACHINES = {"x86_64": (0xC000003E, _X86_64), "aarch64": (0xC00000B7, _AARCH64)}
"""AUDIT_ARCH value and the numbers of the system calls that change files, programs or modules."""

UNLINKING = ("unlink", "unlinkat")
"""What a client of MPS needs, to take away the files that it shares with its server: /dev/shm/cuda.shm.UID.PID.N."""


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def confine(spared: Collection[str] = ()) -> bool:
    """Confine this process for good, but for the calls `spared`; True where the system-call filter is in force."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (_CAP_SYS_MODULE, _CAP_MKNOD):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    code = filter_program(os.uname().machine, spared)
    if code is None:
        return False
    program = _Program(len(code) // 8, code)
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def filter_program(machine: str, spared: Collection[str] = ()) -> bytes | None:
    """The seccomp filter as BPF code (8 bytes an instruction); None for a machine whose numbers are not known here."""
    if machine not in _MACHINES:
        return None
    audit_arch, numbers = _MACHINES[machine]
    deny = sorted(number for name, number in numbers.items() if name not in spared)
    steps = [(_LOAD_WORD, 0, 0, 4), (_JUMP_EQUAL, 0, len(deny) + 1, audit_arch), (_LOAD_WORD, 0, 0, 0)]
    steps += [(_JUMP_EQUAL, len(deny) - index, 0, number) for index, number in enumerate(deny)]
    steps += [(_RETURN, 0, 0, _RET_ALLOW), (_RETURN, 0, 0, _RET_ERRNO | errno.EPERM)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
