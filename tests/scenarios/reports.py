"""Bug reports of machines that do not exist, in the forms of real ones: each section as the script writes it."""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence

from nvdiag.host import bugreport
from nvdiag.host.bugreport import BugReportHost

LINE = "_" * 44
RELEASE = "535.230.02"
KERNEL = "5.15.0-153-generic"
GPU = "0000:01:00.0"
UNAME = f"Linux myhost {KERNEL} #163-Ubuntu SMP Thu Aug 7 16:37:18 UTC 2025 x86_64 x86_64 x86_64 GNU/Linux"
COULD_NOT = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA"
    " driver is installed and running.\n"
)


def head(date: str = "Sat Sep 13 09:50:48 AM UTC 2025", uname: str = UNAME, table: str = "") -> str:
    """What stands before the first section; `table` is the one of components that 570 and later put there."""
    return (
        f"{LINE}\n\nStart of NVIDIA bug report log file.  Please include this file, along\n"
        "with a detailed description of your problem, when reporting a graphics\n"
        "driver bug via the NVIDIA Linux forum (see forums.developer.nvidia.com)\n"
        "or by sending email to 'linux-bugs@nvidia.com'.\n\nnvidia-bug-report.sh Version: 35255295\n\n"
        f"Date: {date}\nuname: {uname}\ncommand line flags: \n\n{table}"
    )


def section(first: str, body: str = "") -> str:
    """A section that begins with this line; an empty line stands before the next."""
    return f"{LINE}\n\n{first}\n{body}\n"


def file(path: str, text: str, ls: str = "-r--r--r-- 1 root root 0", time: str = "2025-09-13 09:44:11.9 +0000") -> str:
    """A section with a file's text, with what ls says of it above."""
    return section(f"*** {path}", f"*** ls: {ls} {time} {path}\n{text}")


def missing(path: str) -> str:
    """A section of a file that was looked for in vain."""
    return section(f"*** {path} does not exist")


def command(line: str, output: str) -> str:
    """A section of a command; its output stands behind an empty line."""
    return section(line, f"\n{output}")


END = f"{LINE}\n\nEnd of NVIDIA bug report log file.\n"

VERSION = file(
    "/proc/driver/nvidia/./version",
    f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {RELEASE}  Fri Jan  3 17:27:14 UTC 2025\n"
    "GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04) \n",
)
NO_VERSION = missing("/proc/driver/nvidia/./version")
MODULES = file(
    "/proc/modules",
    "nvidia_uvm 1527808 0 - Live 0x0000000000000000 (POE)\n"
    "nvidia_drm 77824 1 - Live 0x0000000000000000 (POE)\n"
    "nvidia_modeset 1306624 2 nvidia_drm, Live 0x0000000000000000 (POE)\n"
    "nvidia 56844288 68 nvidia_uvm,nvidia_modeset, Live 0x0000000000000000 (POE)\n"
    "video 65536 0 - Live 0x0000000000000000\n",
)
NO_MODULES = file("/proc/modules", "video 65536 0 - Live 0x0000000000000000\n")
ISSUE = file("/etc/issue", "Ubuntu 22.04.5 LTS \\n \\l\n\n")
NO_INSTALLER_LOG = missing("/var/log/nvidia-installer.log")
INSTALLER_LOG = file(
    "/var/log/nvidia-installer.log",
    "nvidia-installer log file '/var/log/nvidia-installer.log'\ncreation time: Fri Jun  9 17:58:02 2023\n"
    "installer version: 525.116.04\n\n-> Installation of the NVIDIA Accelerated Graphics Driver for Linux-x86_64"
    " (version: 525.116.04) is now complete.\n",
)
MODINFO = command("/sbin/modinfo nvidia | grep vermagic", f"vermagic:       {KERNEL} SMP mod_unload modversions \n")
NO_MODINFO = section("/sbin/modinfo nvidia | grep vermagic", "")
MAKE_LOG = file(
    f"/var/lib/dkms/nvidia/{RELEASE}/{KERNEL}/x86_64/log/make.log",
    f"DKMS make.log for nvidia-{RELEASE} for kernel {KERNEL} (x86_64)\n ERROR: Kernel configuration is invalid.\n",
)
PROFILES = file(f"/usr/share/nvidia/nvidia-application-profiles-{RELEASE}-rc", "# Application profiles\n{\n}\n")
DMESG = "[    0.000000] Linux version 5.15.0-153-generic (buildd@host) #163-Ubuntu SMP\n"


def lspci(
    revision: str = "a1", driver: str | None = "nvidia", modules: str = "nvidiafb, nouveau, nvidia_drm, nvidia"
) -> str:
    """`lspci -nn` and `lspci -nnDvvvxxxx` of a machine with one GPU."""
    bound = f"\tKernel driver in use: {driver}\n" if driver else ""
    known = f"\tKernel modules: {modules}\n" if modules else ""
    return command(
        "/usr/bin/lspci -nn",
        "00:00.0 Host bridge [0600]: Intel Corporation Host Bridge/DRAM Registers [8086:3ec2] (rev 07)\n"
        "01:00.0 VGA compatible controller [0300]: NVIDIA Corporation AD104 [GeForce RTX 4070] [10de:2786]"
        f" (rev {revision})\n"
        "01:00.1 Audio device [0403]: NVIDIA Corporation Device [10de:22bc] (rev a1)\n",
    ) + command(
        "/usr/bin/lspci -nnDvvvxxxx",
        "0000:00:00.0 Host bridge [0600]: Intel Corporation Host Bridge/DRAM Registers [8086:3ec2] (rev 07)\n"
        "\tSubsystem: Hewlett-Packard Company Device [103c:84fd]\n\tKernel driver in use: skl_uncore\n"
        "00: 86 80 c2 3e 06 01 90 20 07 00 00 06 00 00 00 00\n\n"
        "0000:01:00.0 VGA compatible controller [0300]: NVIDIA Corporation AD104 [GeForce RTX 4070] [10de:2786]"
        f" (rev {revision}) (prog-if 00 [VGA controller])\n"
        "\tSubsystem: Device [1458:40ee]\n"
        "\tRegion 0: Memory at d7000000 (32-bit, non-prefetchable) [size=16M]\n"
        "\t\tLnkCap:\tPort #0, Speed 16GT/s, Width x16, ASPM L1, Exit Latency L1 <4us\n"
        "\t\tLnkSta:\tSpeed 2.5GT/s (downgraded), Width x1 (downgraded)\n"
        f"{bound}{known}"
        "00: de 10 86 27 07 04 10 00 a1 00 00 03 00 00 80 00\n\n"
        "0000:01:00.1 Audio device [0403]: NVIDIA Corporation Device [10de:22bc] (rev a1)\n"
        "\tKernel driver in use: snd_hda_intel\n\tKernel modules: snd_hda_intel\n\n",
    )


def smi(first: str, unit: str = "", program: str = "/usr/bin/nvidia-smi") -> str:
    """nvidia-smi's section: the outputs of --query and of further calls, without separators between them."""
    return section(f"{program} --query", f"\n{first}\n{program} --query --unit\n\n{unit or first}\n")


UNIT = (
    "\n==============NVSMI LOG==============\n\nTimestamp                                 : Sat Sep 13 09:51:46 2025\n"
    f"Driver Version                            : {RELEASE}\nCUDA Version                              : 12.2\n\n"
    "HIC Info                                  : N/A\nAttached Units                            : 0\n\n"
)
QUERY = (
    "\n==============NVSMI LOG==============\n\nTimestamp                                 : Sat Sep 13 09:51:46 2025\n"
    f"Driver Version                            : {RELEASE}\nCUDA Version                              : 12.2\n\n"
    "Attached GPUs                             : 1\nGPU 00000000:01:00.0\n"
    "    Product Name                          : NVIDIA GeForce RTX 4070\n"
    "    GPU UUID                              : GPU-00000000-0000-4000-8000-000000000001\n"
    "    Minor Number                          : 0\n"
    "    FB Memory Usage\n"
    "        Total                             : 12282 MiB\n        Reserved                          : 300 MiB\n"
    "        Used                              : 2 MiB\n        Free                              : 11979 MiB\n"
    "    BAR1 Memory Usage\n        Total                             : 256 MiB\n"
    "    Utilization\n        Gpu                               : 3 %\n"
    "    Temperature\n        GPU Current Temp                  : 41 C\n"
    "    Power Readings\n        Power Draw                        : 12.50 W\n"
)


def scan(**logs: str) -> str:
    """The scan of logs: kern, dmesg_file, and now, before, before_that for the journals of three boots."""
    names = {
        "kern": "/var/log/kern.log", "dmesg_file": "/var/log/dmesg", "now": "journalctl -b -0",
        "before": "journalctl -b -1", "before_that": "journalctl -b -2",
    }  # fmt: skip
    parts = "".join(f"\n  {names[name]}:\n{text}" for name, text in logs.items())
    return section("Scanning kernel log files for NVIDIA kernel messages:", parts)


HEALTHY: tuple[str, ...] = (
    ISSUE, NO_INSTALLER_LOG, MAKE_LOG, PROFILES, lspci(), MODINFO, scan(), command("dmesg:", DMESG),
    file("/proc/cmdline", "BOOT_IMAGE=/vmlinuz ro\n"), MODULES, VERSION, smi(QUERY, UNIT),
)  # fmt: skip


def text(*sections: str, start: str = "", end: str = END) -> bytes:
    """A whole report."""
    return ((start or head()) + "".join(sections) + end).encode()


def zipped(*blocks: bytes) -> bytes:
    """Blocks as members of one gzip file, as the script writes them, empty ones between."""
    return b"".join(gzip.compress(block) + gzip.compress(b"") for block in blocks)


def host(*sections: str, start: str = "", end: str = END) -> BugReportHost:
    """The machine of a report with these sections."""
    return of(text(*sections, start=start, end=end))


def of(data: bytes) -> BugReportHost:
    """The machine of a report's bytes."""
    return bugreport.read(io.BytesIO(data), "report.log")


def but(replaced: str, by: str, sections: Sequence[str] = HEALTHY) -> tuple[str, ...]:
    """These sections with one put in another's place."""
    assert replaced in sections
    return tuple(by if one == replaced else one for one in sections)
