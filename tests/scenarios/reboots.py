"""Machines of each distribution, well and broken, with what is to be said of them: finding, verdict, first remedy."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from dataclasses import dataclass

from nvdiag.facts.reboot import Answer
from tests.host.archives import cpio, kernel, unified
from tests.scenarios import machines
from tests.scenarios.booting import (
    DKMS_KEY,
    EFIVARS,
    LOADER,
    bls,
    boot,
    extlinux,
    firmware,
    grub,
    ko,
    machine,
    modules,
    packages,
    secure_boot,
    utf16,
)  # fmt: skip
from tests.scenarios.tree import Tree

OLD, NEW = "570.169", "570.172.08"


@dataclass(frozen=True)
class Scenario:
    """A machine and what is to be said: the first finding (empty: none), the verdict, and words of what to do first.

    `says` stands in the verdict's sentence. `answer` None: the question does not arise there.
    """

    tree: Tree
    finding: str
    answer: Answer | None
    remedy: str = ""
    says: str = ""


# Debian: DKMS, module files called nvidia-current

D40, D41 = "6.1.0-40-amd64", "6.1.0-41-amd64"
D_OLD, D_NEW = "535.216.03", "535.261.03"
DEBIAN_PACKAGES = {
    "nvidia-driver": f"{D_NEW}-1", "nvidia-kernel-dkms": f"{D_NEW}-1", "libcuda1": f"{D_NEW}-1",
    "libnvidia-ml1": f"{D_NEW}-1", "firmware-nvidia-gsp": f"{D_NEW}-1",
}  # fmt: skip
NVIDIA_CONF = "install nvidia modprobe -i nvidia-current $CMDLINE_OPTS\nblacklist nouveau\n"


def debian(loaded: str, disk: dict[str, bytes], *parts: Tree, kernels: tuple[str, ...] = (D40,)) -> Tree:
    """`disk` is nvidia-current.ko for each kernel that has one."""
    each = [modules(one, {"updates/dkms/nvidia-current.ko": disk[one]} if one in disk else {}) for one in kernels]
    return machine(
        "debian", D40, loaded, D_NEW, *each, grub(kernels[::-1], name="Debian GNU/Linux"), firmware(D_NEW),
        packages("debian", DEBIAN_PACKAGES), Tree(files={"/etc/modprobe.d/nvidia.conf": NVIDIA_CONF}), *parts,
        flavour="proprietary",
    )  # fmt: skip


def d_ko(release: str, one: str = D40, signer: str = DKMS_KEY) -> bytes:
    return ko(release, one, flavour="proprietary", signer=signer)


def due(kernel: str, compiler: str) -> Tree:
    """DKMS has the sources and built them for the first kernel alone, although the other one's headers are there."""
    headers = f"/usr/src/linux-headers-{kernel}"
    return Tree(
        files={
            f"/var/lib/dkms/nvidia-current/{D_NEW}/{D40}/x86_64/log/make.log": "",
            f"/usr/src/nvidia-current-{D_NEW}/dkms.conf": f'PACKAGE_NAME="nvidia-current"\nPACKAGE_VERSION="{D_NEW}"\n',
            f"{headers}/Makefile": "",
            f"/boot/config-{kernel}": f'# Linux/x86\nCONFIG_CC_VERSION_TEXT="{compiler}"\nCONFIG_CC_IS_GCC=y\n',
        },
        links={f"/usr/lib/modules/{kernel}/build": headers},
    )


def gcc(major: str) -> Tree:
    """The compiler as Debian and Ubuntu install it."""
    return Tree(
        files={f"/usr/bin/x86_64-linux-gnu-gcc-{major}": ""},
        links={
            f"/usr/bin/gcc-{major}": f"x86_64-linux-gnu-gcc-{major}",
            "/usr/bin/x86_64-linux-gnu-gcc": f"x86_64-linux-gnu-gcc-{major}",
            "/usr/bin/gcc": f"gcc-{major}",
        },
    )


FAILED_LOG = (
    f"DKMS make.log for nvidia-current-{D_NEW} for kernel {D41} (x86_64)\nThu Sep 11 07:12:01 UTC 2025\n"
    "make[1]: Entering directory '/usr/src/linux-headers-6.1.0-41-amd64'\n"
    f"/var/lib/dkms/nvidia-current/{D_NEW}/build/nvidia/nv-mmap.c:493:5: error: implicit declaration of function"
    " 'vm_flags_set' [-Werror=implicit-function-declaration]\n"
    "make[2]: *** [scripts/Makefile.build:250: nvidia/nv-mmap.o] Error 1\nmake: *** [Makefile:82: modules] Error 2\n"
)
DEBIAN = {
    "debian-well": Scenario(debian(D_NEW, {D40: d_ko(D_NEW)}), "", Answer.KEEPS),
    "debian-without-firmware-well": Scenario(
        debian(D_NEW, {D40: d_ko(D_NEW)}).without("/usr/lib/firmware/nvidia/5"), "", Answer.KEEPS
    ),
    "debian-firmware-asked-for": Scenario(
        debian(
            D_NEW, {D40: d_ko(D_NEW)},
            Tree(files={"/etc/modprobe.d/gsp.conf": "options nvidia-current NVreg_EnableGpuFirmware=1\n"}),
        ).without("/usr/lib/firmware/nvidia/5"),
        "gsp-firmware-missing", Answer.BREAKS, "ls -l /lib/firmware/nvidia", "NVreg_EnableGpuFirmware=1 asks for it",
    ),
    "debian-upgraded": Scenario(
        debian(D_OLD, {D40: d_ko(D_NEW)}), "driver-library-mismatch", Answer.FIXES, "sudo rmmod",
        f"the module on disk for {D40}, which boots next (the only kernel in /boot), is {D_NEW}",
    ),
    "debian-build-failed": Scenario(
        debian(
            D_NEW, {D40: d_ko(D_NEW)},
            Tree(files={
                f"/var/lib/dkms/nvidia-current/{D_NEW}/build/make.log": FAILED_LOG,
                f"/var/lib/dkms/nvidia-current/{D_NEW}/{D40}/x86_64/log/make.log": "",
                f"/usr/src/linux-headers-{D41}/Makefile": "",
            }, links={f"/usr/lib/modules/{D41}/build": f"/usr/src/linux-headers-{D41}"}),
            kernels=(D40, D41),
        ),
        "driver-not-built", Answer.BREAKS, f"linux-headers-{D41}", "implicit declaration of function 'vm_flags_set'",
    ),
    "debian-extlinux": Scenario(
        debian(
            D_NEW, {D40: d_ko(D_NEW)}, extlinux((D41, D40)), kernels=(D40, D41)
        ).without("/boot/grub", "/etc/default/grub"),
        "driver-not-built", Answer.BREAKS, f"linux-headers-{D41}",
        f"no nvidia module for {D41}, which boots next (the default of /boot/extlinux/extlinux.conf)",
    ),
    "debian-extlinux-stays": Scenario(
        debian(
            D_NEW, {D40: d_ko(D_NEW)}, extlinux((D41, D40), default="l1"), kernels=(D40, D41)
        ).without("/boot/grub", "/etc/default/grub"),
        "", Answer.KEEPS, "", f"the module on disk for {D40}, which boots next (the default of /boot/extlinux",
    ),
    "debian-without-its-compiler": Scenario(
        debian(
            D_NEW, {D40: d_ko(D_NEW)}, due(D41, "gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0"), gcc("13"),
            kernels=(D40, D41),
        ),
        "driver-not-built", Answer.BREAKS, "sudo apt install gcc-12 make",
        "made by gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0, and a build here takes gcc of version 13",
    ),
    "debian-without-any-compiler": Scenario(
        debian(
            D_NEW, {D40: d_ko(D_NEW)}, due(D41, "gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0"), kernels=(D40, D41)
        ),
        "driver-not-built", Answer.BREAKS, "sudo apt install gcc-12 make", "no compiler is installed",
    ),
    "debian-key-not-enrolled": Scenario(
        debian(
            D_NEW, {D40: d_ko(D_NEW, signer="Debian Secure Boot CA"), D41: d_ko(D_NEW, D41)}, secure_boot(),
            kernels=(D40, D41),
        ),
        "secure-boot-rejected", Answer.BREAKS, "mokutil --import /var/lib/dkms/mok.pub", "is no enrolled key",
    ),
    "debian-key-enrolled": Scenario(
        debian(D_OLD, {D40: d_ko(D_NEW)}, secure_boot(DKMS_KEY)), "driver-library-mismatch", Answer.FIXES,
        "sudo rmmod", f"is {D_NEW} and signed by an enrolled key",
    ),
}  # fmt: skip


# Ubuntu: DKMS, Canonical's prebuilt modules, the server flavour, NVIDIA's installer over packages

U85, U90 = "6.8.0-85-generic", "6.8.0-90-generic"


def ubuntu_packages(*more: str, branch: str = "570", flavour: str = "-open") -> Tree:
    names = [
        f"nvidia-driver-{branch}{flavour}",
        f"libnvidia-compute-{branch}",
        f"nvidia-firmware-{branch}-{NEW}",
        *more,
    ]
    return packages("ubuntu", dict.fromkeys(names, f"{NEW}-0ubuntu0.24.04.1"))


def ubuntu(
    loaded: str | None, disk: dict[str, dict[str, bytes]], *parts: Tree, kernels: tuple[str, ...] = (U85,)
) -> Tree:
    """`disk` are the module files below /lib/modules/K for each kernel."""
    each = [modules(one, disk.get(one, {})) for one in kernels]
    return machine("ubuntu", U85, loaded, NEW, *each, grub(kernels[::-1]), firmware(NEW), *parts)


def dkms(release: str, one: str = U85, signer: str = DKMS_KEY) -> dict[str, bytes]:
    return {"updates/dkms/nvidia.ko.zst": ko(release, one, ".zst", signer=signer)}


def prebuilt(release: str, one: str = U85, folder: str = "nvidia-570") -> dict[str, bytes]:
    signer = "Canonical Ltd. Kernel Module Signing"
    return {f"kernel/{folder}/nvidia.ko": ko(release, one, signer=signer)}


BY_DKMS = ubuntu_packages("nvidia-dkms-570-open")
LINKED = ubuntu_packages(f"linux-modules-nvidia-570-open-{U85}")
SERVER = ubuntu_packages(f"linux-modules-nvidia-570-server-open-{U85}", flavour="-server-open")


def initramfs(
    release: str,
    one: str = U85,
    *,
    with_firmware: bool = True,
    share: float = 1.0,
    modprobe: str = "",
    pack: Callable[[bytes], bytes] = lambda data: gzip.compress(data, mtime=0),
) -> Tree:
    """An initramfs with the driver inside, as MODULES in initramfs-tools puts it there; perhaps cut short."""
    files: dict[str, bytes] = {
        f"usr/lib/modules/{one}/updates/dkms/nvidia.ko.zst": ko(release, one, ".zst"),
        "init": b"#!/bin/sh\n",
    }
    if with_firmware:
        files[f"usr/lib/firmware/nvidia/{release}/gsp_ga10x.bin.zst"] = b"firmware"
    if modprobe:
        files["etc/modprobe.d/nvidia-installer-disable.conf"] = modprobe.encode()
    data = cpio({"kernel/x86/microcode/GenuineIntel.bin": bytes(3000)}) + pack(cpio(files))
    return Tree(images={f"/boot/initrd.img-{one}": data[: int(len(data) * share)]})


FULL = {"exit": 0, "stderr": "", "stdout": (
    "Filesystem     1024-blocks   Used Available Capacity Mounted on\n"
    "/dev/nvme0n1p2      478892 470100      2048      100% /boot\n"
)}  # fmt: skip
UBUNTU = {
    "ubuntu-dkms-well": Scenario(ubuntu(NEW, {U85: dkms(NEW)}, BY_DKMS), "", Answer.KEEPS),
    "ubuntu-dkms-upgraded": Scenario(
        ubuntu(OLD, {U85: dkms(NEW), U90: dkms(NEW, U90)}, BY_DKMS, kernels=(U85, U90)),
        "driver-library-mismatch", Answer.FIXES, "sudo rmmod",
        f"{U90}, which boots next (the first entry of /boot/grub/grub.cfg), is {NEW}",
    ),
    "ubuntu-dkms-old-sources": Scenario(
        ubuntu(
            OLD, {U85: dkms(OLD)}, BY_DKMS,
            Tree(files={
                f"/var/lib/dkms/nvidia/{NEW}/{U85}/x86_64/log/make.log": "",
                f"/usr/src/nvidia-{NEW}/dkms.conf": f'PACKAGE_VERSION="{NEW}"\n',
                f"/usr/src/nvidia-{NEW}/Kbuild": f'ccflags-y += -DNV_VERSION_STRING=\\"{OLD}\\"\n',
            }),
        ),
        "driver-disk-mismatch", Answer.DOES_NOT_FIX, "dpkg -l '*nvidia*'", f"nvidia-{NEW} are those of {OLD}",
    ),
    "ubuntu-dkms-no-headers": Scenario(
        ubuntu(
            NEW, {U85: dkms(NEW)}, BY_DKMS,
            Tree(files={f"/var/lib/dkms/nvidia/{NEW}/{U85}/x86_64/log/make.log": ""}), kernels=(U85, U90),
        ),
        "driver-not-built", Answer.BREAKS, f"sudo apt install linux-headers-{U90}", f"headers of {U90}",
    ),
    "ubuntu-dkms-put-aside": Scenario(
        ubuntu(
            OLD, {U85: dkms(OLD)}, BY_DKMS,
            Tree(
                files={f"/var/lib/dkms/nvidia/{OLD}/{U85}/x86_64/log/make.log": ""},
                links={f"/var/lib/dkms/nvidia/kernel-{U85}-x86_64": f"{OLD}/{U85}/x86_64"},
                images={f"/var/lib/dkms/nvidia/original_module/{U85}/x86_64/nvidia.ko": ko(NEW, U85)},
            ),
        ),
        "driver-disk-mismatch", Answer.DOES_NOT_FIX, "dpkg -l '*nvidia*'",
        f"DKMS has put another module of {U85} aside, {NEW}, and puts it back where nvidia/{OLD} is uninstalled",
    ),
    "ubuntu-initramfs-old": Scenario(
        ubuntu(OLD, {U85: dkms(NEW)}, BY_DKMS, initramfs(OLD)), "driver-disk-mismatch", Answer.DOES_NOT_FIX,
        f"sudo update-initramfs -u -k {U85}", f"/boot/initrd.img-{U85} has {OLD} inside",
    ),
    "ubuntu-initramfs-cut": Scenario(
        ubuntu(OLD, {U85: dkms(NEW)}, BY_DKMS, initramfs(NEW, share=0.5)).but(commands={"df -Pk /boot": FULL}),
        "driver-library-mismatch", Answer.DOES_NOT_FIX, "sudo rmmod", "is not whole (",
    ),
    "ubuntu-initramfs-missing": Scenario(
        ubuntu(NEW, {U85: dkms(NEW), U90: dkms(NEW, U90)}, BY_DKMS, kernels=(U85, U90)).without(
            f"/boot/initrd.img-{U90}"
        ),
        "driver-disk-mismatch", Answer.BREAKS, f"sudo update-initramfs -c -k {U90}",
        f"the initramfs /boot/initrd.img-{U90} is not there, so that kernel",
    ),
    "ubuntu-initramfs-refuses-its-copy": Scenario(
        ubuntu(OLD, {U85: dkms(NEW)}, BY_DKMS, initramfs(OLD, modprobe="blacklist nvidia\nalias  nvidia off\n")),
        "driver-library-mismatch", Answer.FIXES, "sudo rmmod", f"the module on disk for {U85}",
    ),
    "ubuntu-initramfs-holds-its-copy-back": Scenario(
        ubuntu(OLD, {U85: dkms(NEW)}, BY_DKMS, initramfs(OLD, modprobe="blacklist nvidia\n")),
        "driver-library-mismatch", Answer.CANNOT_TELL, "sudo rmmod", "the line 'blacklist nvidia' in it",
    ),
    "ubuntu-initramfs-whole-in-well": Scenario(
        ubuntu(NEW, {U85: dkms(NEW)}, BY_DKMS, initramfs(NEW, pack=lzma.compress)), "", Answer.KEEPS,
    ),
    "ubuntu-initramfs-cut-in-well": Scenario(
        ubuntu(NEW, {U85: dkms(NEW)}, BY_DKMS, initramfs(NEW, pack=lzma.compress, share=0.9)),
        "driver-disk-mismatch", Answer.BREAKS, f"sudo update-initramfs -u -k {U85}", "is not whole (it ends too soon)",
    ),
    "ubuntu-initramfs-in-well": Scenario(
        ubuntu(
            NEW, {U85: dkms(NEW)}, BY_DKMS, initramfs(OLD),
            Tree(files={"/etc/initramfs-tools/modules": "# List of modules\nnvidia\nnvidia-drm\n"}),
        ),
        "driver-disk-mismatch", Answer.BREAKS, f"sudo update-initramfs -u -k {U85}", "inside",
    ),
    "ubuntu-shadowed": Scenario(
        ubuntu(OLD, {U85: {**dkms(OLD), **prebuilt(NEW)}}, LINKED).but(
            files=machines.modules_dep(f"/usr/lib/modules/{U85}", "updates/dkms/nvidia.ko.zst")
        ),
        "driver-disk-mismatch", Answer.DOES_NOT_FIX, "dpkg -l '*nvidia*'",
        f"which hides /usr/lib/modules/{U85}/kernel/nvidia-570/nvidia.ko of {NEW}",
    ),
    "ubuntu-apt-runs": Scenario(
        ubuntu(OLD, {U85: dkms(OLD)}, BY_DKMS, Tree(files={
            "/proc/4711/comm": "dpkg\n", "/proc/4711/cmdline": "", "/proc/900/comm": "unattended-upgr\n",
        })),
        "driver-disk-mismatch", Answer.CANNOT_TELL, "ps -o pid,etime,args -p 4711",
        "dpkg (process 4711) is at work now",
    ),
    "ubuntu-prime-intel": Scenario(
        ubuntu(NEW, {U85: dkms(NEW)}, BY_DKMS, Tree(files={
            "/usr/lib/modprobe.d/blacklist-nvidia.conf": "blacklist nvidia\nalias nvidia off\nalias nvidia-drm off\n",
        })),
        "driver-not-loaded", Answer.BREAKS, "grep -n nvidia /usr/lib/modprobe.d/blacklist-nvidia.conf",
        "keeps the module out (alias nvidia off)",
    ),
    "ubuntu-command-line": Scenario(
        machine(
            "ubuntu", U85, NEW, NEW, modules(U85, dkms(NEW)), modules(U90, dkms(NEW, U90)), firmware(NEW), BY_DKMS,
            grub((U90, U85), options="ro module_blacklist=nouveau,nvidia"),
        ),
        "driver-not-loaded", Answer.BREAKS, "cat /proc/cmdline", "the entry that boots next keeps the module out",
    ),
    "ubuntu-firmware-missing": Scenario(
        ubuntu(NEW, {U85: dkms(NEW)}, BY_DKMS).without(f"/usr/lib/firmware/nvidia/{NEW}").but(
            files={f"/usr/lib/firmware/nvidia/{OLD}/gsp_ga10x.bin": ""}
        ),
        "gsp-firmware-missing", Answer.BREAKS, "ls -l /lib/firmware/nvidia", f"GSP firmware of {NEW} is not in",
    ),
    "ubuntu-unlisted": Scenario(
        ubuntu(NEW, {U85: dkms(NEW)}, BY_DKMS).but(files=machines.modules_dep(f"/usr/lib/modules/{U85}")),
        "driver-disk-mismatch", Answer.BREAKS, f"sudo depmod {U85}", "modules.dep does not have",
    ),
    "ubuntu-prebuilt-well": Scenario(
        ubuntu(NEW, {U85: prebuilt(NEW)}, LINKED, secure_boot()), "", Answer.KEEPS, "", "is 570.172.08 and signed",
    ),
    "ubuntu-prebuilt-upgraded": Scenario(
        ubuntu(OLD, {U85: prebuilt(NEW)}, LINKED), "driver-library-mismatch", Answer.FIXES, "sudo rmmod",
    ),
    "ubuntu-prebuilt-half": Scenario(
        ubuntu(
            NEW, {U85: prebuilt(NEW)},
            ubuntu_packages(f"linux-modules-nvidia-570-open-{U85}", f"linux-modules-nvidia-570-open-{U90}"),
            Tree(files={
                f"/usr/lib/modules/{U90}/kernel/nvidia-570/bits/nvidia/nv.o": "",
                f"/usr/lib/modules/{U90}/kernel/nvidia-570/bits/nvidia.ko.sig": "",
            }), kernels=(U85, U90),
        ),
        "driver-not-built", Answer.BREAKS, f"sudo apt install --reinstall linux-modules-nvidia-570-open-{U90}",
        "objects (bits) of a prebuilt module that was never linked",
    ),
    "ubuntu-server-well": Scenario(
        ubuntu(NEW, {U85: prebuilt(NEW, folder="nvidia-570srv-open")}, SERVER), "", Answer.KEEPS
    ),
    "ubuntu-server-new-kernel": Scenario(
        ubuntu(NEW, {U85: prebuilt(NEW, folder="nvidia-570srv-open")}, SERVER, kernels=(U85, U90)),
        "driver-not-built", Answer.BREAKS, f"sudo apt install linux-modules-nvidia-570-server-open-{U90}",
        f"there is no nvidia module for {U90}",
    ),
    "run-well": Scenario(
        ubuntu(NEW, {U85: {"kernel/drivers/video/nvidia.ko": ko(NEW, U85)}}), "", Answer.KEEPS
    ),
    "run-over-apt": Scenario(
        ubuntu(OLD, {U85: {**dkms(OLD), "kernel/drivers/video/nvidia.ko": ko(NEW, U85)}}, BY_DKMS).but(
            files=machines.modules_dep(f"/usr/lib/modules/{U85}", "updates/dkms/nvidia.ko.zst")
        ),
        "driver-disk-mismatch", Answer.DOES_NOT_FIX, "dpkg -l '*nvidia*'", "two installations overlap",
    ),
}  # fmt: skip


# RHEL: NVIDIA's repository, DKMS in extra, modules of an older kernel through weak-updates

R42, R55 = "5.14.0-570.42.2.el9_6.x86_64", "5.14.0-570.55.1.el9_6.x86_64"
ROCKY_PACKAGES = packages("rocky", {
    "nvidia-driver": f"{NEW}-1.el9", "kmod-nvidia-open-dkms": f"{NEW}-1.el9", "nvidia-kmod-common": f"{NEW}-1.el9",
    "libnvidia-ml": f"{NEW}-1.el9",
})  # fmt: skip


def rocky(loaded: str, *parts: Tree, saved: str = R55, kernels: tuple[str, ...] = (R55, R42)) -> Tree:
    return machine("rocky", R42, loaded, NEW, bls(kernels, saved=saved), firmware(NEW), ROCKY_PACKAGES, *parts)


def extra(release: str, one: str, suffix: str = ".xz") -> Tree:
    return modules(one, {f"extra/nvidia.ko{suffix}": ko(release, one, suffix, signer=DKMS_KEY)})


WEAK = Tree(
    files=machines.modules_dep(f"/usr/lib/modules/{R55}", "weak-updates/nvidia.ko.xz"),
    links={f"/usr/lib/modules/{R55}/weak-updates/nvidia.ko.xz": f"/lib/modules/{R42}/extra/nvidia.ko.xz"},
)
RHEL = {
    "rocky-weak-updates-well": Scenario(rocky(NEW, extra(NEW, R42), WEAK), "", Answer.KEEPS, "", f"{R55}, which boots"),
    "rocky-weak-updates-upgraded": Scenario(
        rocky(OLD, extra(NEW, R42), WEAK), "driver-library-mismatch", Answer.FIXES, "sudo rmmod",
        "grubenv's saved_entry",
    ),
    "rocky-weak-updates-dangling": Scenario(
        rocky(NEW, extra(NEW, R42), WEAK).without(f"/usr/lib/modules/{R42}/extra"), "driver-not-built", Answer.BREAKS,
        f"sudo dnf install kernel-devel-{R55}", "weak-updates/nvidia.ko.xz leads to",
    ),
    "rocky-saved-entry-is-old": Scenario(
        rocky(OLD, extra(OLD, R42), extra(NEW, R55), saved=R42), "driver-disk-mismatch", Answer.DOES_NOT_FIX,
        "rpm -qa '*nvidia*'", f"the module on disk for {R42}, which boots next (grubenv's saved_entry), is {OLD}",
    ),
    "rocky-initramfs-missing": Scenario(
        rocky(NEW, extra(NEW, R42), extra(NEW, R55)).without(f"/boot/initramfs-{R55}.img"),
        "driver-disk-mismatch", Answer.BREAKS, f"sudo dracut --force --kver {R55}", "is not there",
    ),
    "rocky-initramfs-empty": Scenario(
        rocky(NEW, extra(NEW, R42), extra(NEW, R55)).but(files={f"/boot/initramfs-{R55}.img": ""}),
        "driver-disk-mismatch", Answer.BREAKS, f"sudo dracut --force --kver {R55}", "is empty",
    ),
    "rocky-newest-boots": Scenario(
        rocky(OLD, extra(OLD, R42), extra(NEW, R55), saved=""), "driver-library-mismatch", Answer.FIXES, "sudo reboot",
        f"the module on disk for {R55}",
    ),
}  # fmt: skip


# Fedora: RPM Fusion's akmods

F5, F8 = "6.16.5-200.fc42.x86_64", "6.16.8-200.fc42.x86_64"
FEDORA_PACKAGES = packages("fedora", {
    "akmod-nvidia": f"3:{NEW}-1.fc42", "xorg-x11-drv-nvidia-cuda-libs": f"3:{NEW}-1.fc42",
    "nvidia-gsp-firmware": f"3:{NEW}-1.fc42",
})  # fmt: skip


def fedora(loaded: str, *parts: Tree, kernels: tuple[str, ...] = (F8, F5)) -> Tree:
    return machine("fedora", F5, loaded, NEW, bls(kernels), firmware(NEW), FEDORA_PACKAGES, *parts)


def akmod(release: str, one: str) -> Tree:
    return modules(one, {"extra/nvidia/nvidia.ko.xz": ko(release, one, ".xz", signer="akmods local signing CA")})


AKMODS_LOG = (
    "2025/09/16 08:01:00 akmodsbuild: + make -j8 KERNEL_UNAME=6.16.8-200.fc42.x86_64 modules\n"
    "2025/09/16 08:02:10 akmodsbuild: nvidia-drm/nvidia-drm-drv.c:246:20: error: initialization of 'struct fb"
    " *' from incompatible pointer type [-Wincompatible-pointer-types]\n"
    "2025/09/16 08:02:11 akmodsbuild: make[3]: *** [scripts/Makefile.build:287: nvidia-drm/nvidia-drm-drv.o] Error 1\n"
    "2025/09/16 08:02:11 akmodsbuild: error: Bad exit status from /var/tmp/rpm-tmp.Xx (%build)\n"
)


def akmods(*logs: str) -> Tree:
    """The sources of akmod-nvidia, and logs of builds that failed."""
    files = {f"/usr/src/akmods/nvidia-kmod-{NEW}-1.fc42.src.rpm": ""}
    files |= {f"/var/cache/akmods/nvidia/{name}": AKMODS_LOG for name in logs}
    return Tree(
        files=files | {"/var/cache/akmods/akmods.log": ""},
        links={"/usr/src/akmods/nvidia-kmod.latest": f"nvidia-kmod-{NEW}-1.fc42.src.rpm"},
    )


HEADERS_F8 = Tree(
    files={f"/usr/src/kernels/{F8}/Makefile": ""}, links={f"/usr/lib/modules/{F8}/build": f"/usr/src/kernels/{F8}"}
)
FEDORA = {
    "fedora-akmods-failed": Scenario(
        fedora(
            NEW, akmod(NEW, F5), modules(F8, {}), HEADERS_F8,
            akmods(f"{NEW}-1-for-{F8}.failed.log", f"{OLD}-1-for-{F5}.failed.log"),
        ),
        "driver-not-built", Answer.BREAKS, f"sudo akmods --force --kernels {F8}",
        f"akmods failed to build {NEW} for {F8}: nvidia-drm/nvidia-drm-drv.c:246:20: error: initialization of",
    ),
    "fedora-no-headers": Scenario(
        fedora(NEW, akmod(NEW, F5), modules(F8, {}), akmods()), "driver-not-built", Answer.BREAKS,
        f"sudo dnf install kernel-devel-{F8}", f"the headers of {F8}, which a build needs, are not installed",
    ),
    "fedora-failed-before-it-was-built": Scenario(
        fedora(OLD, akmod(NEW, F5), akmod(NEW, F8), HEADERS_F8, akmods(f"{NEW}-1-for-{F8}.failed.log")),
        "driver-library-mismatch", Answer.FIXES, "sudo rmmod",
    ),
    "fedora-well": Scenario(fedora(NEW, akmod(NEW, F5), akmod(NEW, F8)), "", Answer.KEEPS),
    "fedora-upgraded": Scenario(
        fedora(OLD, akmod(NEW, F5), akmod(NEW, F8)), "driver-library-mismatch", Answer.FIXES, "sudo rmmod"
    ),
    "fedora-not-built-yet": Scenario(
        fedora(NEW, akmod(NEW, F5), modules(F8, {})), "driver-not-built", Answer.BREAKS,
        f"sudo dnf install kernel-devel-{F8}", f"no nvidia module for {F8}",
    ),
    "fedora-akmods-runs": Scenario(
        fedora(OLD, akmod(OLD, F5), modules(F8, {}), Tree(files={"/proc/77/comm": "akmods\n"})),
        "driver-not-built", Answer.CANNOT_TELL, "ps -o pid,etime,args -p 77", "akmods (process 77) is at work now",
    ),
    "fedora-unsigned": Scenario(
        fedora(NEW, akmod(NEW, F5), modules(F8, {"extra/nvidia/nvidia.ko.xz": ko(NEW, F8, ".xz")}), secure_boot()),
        "secure-boot-rejected", Answer.BREAKS, "sudo mokutil --import /etc/pki/akmods/certs/public_key.der",
        "it is not signed",
    ),
}  # fmt: skip


# SUSE: signed kernel module packages, which weak-updates links to from newer kernels

S65, S70 = "6.4.0-150600.23.65-default", "6.4.0-150600.23.70-default"
SUSE_PACKAGES = packages("suse", {
    "nvidia-open-driver-G06-signed-kmp-default": f"{NEW}_k6.4.0_150600.23.65-1", "nvidia-compute-G06": f"{NEW}-1",
})  # fmt: skip


def suse(loaded: str, disk: str) -> Tree:
    file = "updates/nvidia.ko.zst"
    kmp = modules(S65, {file: ko(disk, S65, ".zst", signer="SUSE Linux Enterprise Secure Boot CA")})
    linked = Tree(
        files=machines.modules_dep(f"/usr/lib/modules/{S70}", f"weak-updates/{file}"),
        links={f"/usr/lib/modules/{S70}/weak-updates/{file}": f"/lib/modules/{S65}/{file}"},
    )
    menu = grub((S70, S65), name="openSUSE Leap 15.6")
    files = {path.replace("/boot/grub/", "/boot/grub2/"): text for path, text in menu.files.items()}
    return machine(
        "suse", S65, loaded, NEW, kmp, linked, Tree(files=files), firmware(NEW), SUSE_PACKAGES, secure_boot()
    )


SUSE = {
    "suse-well": Scenario(suse(NEW, NEW), "", Answer.KEEPS, "", f"{S70}, which boots next"),
    "suse-upgraded": Scenario(suse(OLD, NEW), "driver-library-mismatch", Answer.FIXES, "sudo rmmod"),
    "suse-kmp-behind": Scenario(
        suse(OLD, OLD), "driver-disk-mismatch", Answer.DOES_NOT_FIX, "rpm -qa '*nvidia*'", f"is {OLD}, not {NEW}"
    ),
}  # fmt: skip


# Arch: kernels without a release in their names; systemd-boot

A7, A_LTS = "6.16.7-arch1-1", "6.12.46-1-lts"
ARCH_PACKAGES = packages("arch", {
    "linux": "6.16.7.arch1-1", "linux-lts": "6.12.46-1", "nvidia-open": f"{NEW}-3", "nvidia-utils": f"{NEW}-3",
})  # fmt: skip


def arch(loaded: str, *parts: Tree, default: str = "arch.conf", running: str = A7, lts: bool = True) -> Tree:
    names = {"linux": A7, **({"linux-lts": A_LTS} if lts else {})}
    files = {
        "/boot/loader/loader.conf": f"default {default}\ntimeout 3\n",
        f"{EFIVARS}/LoaderInfo-{LOADER}": utf16("systemd-boot 257.9"),
    }
    for name, one in names.items():
        entry = "arch" if name == "linux" else "arch-lts"
        files |= {
            f"/boot/loader/entries/{entry}.conf": (
                f"title Arch Linux\nlinux /vmlinuz-{name}\ninitrd /amd-ucode.img\ninitrd /initramfs-{name}.img\n"
                "options root=UUID=1 rw\n"
            ),
            f"/boot/initramfs-{name}.img": "…",
            f"/usr/lib/modules/{one}/pkgbase": f"{name}\n",
            f"/usr/lib/modules/{one}/vmlinuz": "",
        }
    images = {f"/boot/vmlinuz-{name}": kernel(one) for name, one in names.items()}
    return machine("arch", running, loaded, NEW, Tree(files=files, images=images), firmware(NEW), ARCH_PACKAGES, *parts)


def extramodules(release: str, one: str) -> Tree:
    return modules(one, {"extramodules/nvidia.ko.zst": ko(release, one, ".zst")})


UKIS = Tree(
    files={f"{EFIVARS}/LoaderEntryOneShot-{LOADER}": utf16("arch-linux.efi")},
    images={
        "/efi/EFI/Linux/arch-linux.efi": unified(
            A7, "root=UUID=1 rw modprobe.blacklist=nouveau", gzip.compress(cpio({"init": b""}), mtime=0)
        )
    },
)
ARCH = {
    "arch-well": Scenario(
        arch(NEW, extramodules(NEW, A7), extramodules(NEW, A_LTS)), "", Answer.KEEPS, "", "the default in loader.conf"
    ),
    "arch-kernel-upgraded": Scenario(
        arch(OLD, extramodules(NEW, A7), modules("6.16.5-arch1-1", {}), running="6.16.5-arch1-1", lts=False).without(
            "/usr/lib/modules/6.16.5-arch1-1"
        ),
        "driver-library-mismatch", Answer.FIXES, "sudo reboot", f"the module on disk for {A7}",
    ),
    "arch-lts-boots-next": Scenario(
        arch(NEW, extramodules(NEW, A7), modules(A_LTS, {}), default="arch-lts.conf"),
        "driver-not-built", Answer.BREAKS, "sudo pacman -Syu", f"no nvidia module for {A_LTS}",
    ),
    "arch-unified-image-once": Scenario(
        arch(OLD, extramodules(NEW, A7), extramodules(OLD, A_LTS), UKIS, default="arch-lts.conf"),
        "driver-library-mismatch", Answer.FIXES, "sudo rmmod", "LoaderEntryOneShot, for one boot",
    ),
    "arch-secure-boot-without-lockdown": Scenario(
        arch(
            NEW, extramodules(NEW, A7), extramodules(NEW, A_LTS),
            secure_boot(lockdown="[none] integrity confidentiality"),
        ),
        "", Answer.KEEPS,
    ),
}  # fmt: skip


# An ostree image: the next boot goes into another deployment, whose /usr is not the one that runs

COMMITS = {"now": "a" * 64, "next": "b" * 64}


def ostree(loaded: str, libraries: str, ahead: Tree | None, *, staged: bool = False) -> Tree:
    """Fedora Silverblue with a deployment that runs and one that boots next, or is staged to."""
    folders = {name: f"/ostree/deploy/fedora/deploy/{commit}.0" for name, commit in COMMITS.items()}
    csum = "c" * 64
    entries = {"now": 1} if staged else {"next": 2, "now": 1}
    files, links = {"/run/ostree-booted": ""}, {}
    for name, version in entries.items():
        one = F5 if name == "now" else F8
        link = f"/ostree/boot.1/fedora/{csum if name == 'next' else 'd' * 64}/0"
        files[f"/boot/loader/entries/ostree-{version}-fedora.conf"] = (
            f"title Fedora Linux 42 (Silverblue) (ostree:{2 - version})\nversion {version}\n"
            f"options root=UUID=1 rw ostree={link}\nlinux /ostree/fedora-{csum}/vmlinuz-{one}\n"
            f"initrd /ostree/fedora-{csum}/initramfs-{one}.img\n"
        )
        links[link] = f"../../../../..{folders[name]}"
    if staged:
        files["/run/ostree/staged-deployment"] = f"\0\0target\0\0fedora\0{COMMITS['next']}\0\0\0"
    now = modules(F5, {"extra/nvidia/nvidia.ko.xz": ko(loaded, F5, ".xz")}, folder=f"{folders['now']}/usr")
    parts = [Tree(files=files, links=links), now, modules(F5, {"extra/nvidia/nvidia.ko.xz": ko(loaded, F5, ".xz")})]
    if ahead is not None:
        parts.append(ahead)
    return machine("fedora", F5, loaded, libraries, firmware(libraries), FEDORA_PACKAGES, *parts)


def deployment(release: str | None, libraries: str) -> Tree:
    """What the deployment that boots next holds."""
    root = f"/ostree/deploy/fedora/deploy/{COMMITS['next']}.0"
    files = {"extra/nvidia/nvidia.ko.xz": ko(release, F8, ".xz")} if release else {}
    return machines.joined(
        modules(F8, files, folder=f"{root}/usr"),
        firmware(libraries, f"{root}/usr/lib/firmware"),
        Tree(
            files={f"{root}/usr/lib64/libnvidia-ml.so.{libraries}": ""},
            links={f"{root}/usr/lib64/libnvidia-ml.so.1": f"libnvidia-ml.so.{libraries}"},
        ),
    )


OSTREE = {
    "ostree-well": Scenario(
        ostree(OLD, OLD, deployment(NEW, NEW)), "", Answer.KEEPS, "", f"the deployment that boots first, {'b' * 10}"
    ),
    "ostree-staged-well": Scenario(
        ostree(OLD, OLD, deployment(NEW, NEW), staged=True), "", Answer.KEEPS, "", "a deployment is staged"
    ),
    "ostree-staged-without-module": Scenario(
        ostree(OLD, OLD, deployment(None, NEW), staged=True), "driver-not-built", Answer.BREAKS, "rpm-ostree status",
        f"no nvidia module for {F8}",
    ),
    "ostree-next-is-mixed": Scenario(
        ostree(OLD, OLD, deployment(OLD, NEW)), "driver-disk-mismatch", Answer.BREAKS, "rpm-ostree status",
        f"is {OLD}, not {NEW}",
    ),
}  # fmt: skip


# An image of bootc's composefs backend: its / is the image itself, and there is no ostree

DIGESTS = {"now": "e" * 128, "next": "f" * 128}


def composefs(loaded: str, libraries: str, disk: str, *, first: str = "now", staged: bool = False) -> Tree:
    """A bootc system whose first entry is the image that runs, or another one."""
    order = (first, *(one for one in DIGESTS if one != first))
    files = {
        "/proc/self/mountinfo": f"30 1 0:30 / / ro,relatime - overlay composefs:{DIGESTS['now']} ro,verity=require\n",
        "/proc/cmdline": f"root=UUID=1 rw composefs={DIGESTS['now']}\n",
    }
    for index, name in enumerate(order):
        folder = f"/bootc_composefs-{DIGESTS[name]}"
        files[f"/boot/loader/entries/bootc_fedora-42.2025091{1 - index}.0-{1 - index}.conf"] = (
            f"title Fedora Linux 42\nversion 42.20250911.0\nsort-key bootc-fedora-{index}\nlinux {folder}/vmlinuz\n"
            f"initrd {folder}/initrd\noptions root=UUID=1 rw composefs={DIGESTS[name]}\n"
        )
        files |= {f"/boot{folder}/vmlinuz": "…", f"/boot{folder}/initrd": "…"}
    if staged:
        files["/run/composefs/staged-deployment"] = "{}"
    module = modules(F5, {"extra/nvidia/nvidia.ko.xz": ko(disk, F5, ".xz")})
    return machine("fedora", F5, loaded, libraries, firmware(disk), FEDORA_PACKAGES, module, Tree(files=files))


COMPOSEFS = {
    "composefs-well": Scenario(composefs(NEW, NEW, NEW), "", Answer.KEEPS, "", "the image that runs boots again"),
    "composefs-mixed": Scenario(
        composefs(OLD, NEW, OLD), "driver-disk-mismatch", Answer.DOES_NOT_FIX, "sudo bootc upgrade", f"not {NEW}"
    ),
    "composefs-another-image": Scenario(
        composefs(NEW, NEW, NEW, first="next"), "", Answer.CANNOT_TELL, "", "another image than the one that runs"
    ),
    "composefs-staged": Scenario(
        composefs(NEW, NEW, NEW, staged=True), "", Answer.CANNOT_TELL, "", "an image is staged"
    ),
}  # fmt: skip


# Systems of which the next boot cannot be told, or is not theirs

LIVE = "612 1 0:61 / / rw,relatime - overlay /cow rw,lowerdir=/l,upperdir=/u,workdir=/w\n"
OTHERS = {
    "live-system": Scenario(
        ubuntu(OLD, {U85: dkms(NEW)}, BY_DKMS).but(files={"/proc/self/mountinfo": LIVE}), "driver-library-mismatch",
        Answer.CANNOT_TELL, "sudo rmmod", "/ is an overlay",
    ),
    "net-booted": Scenario(
        ubuntu(OLD, {U85: dkms(NEW)}, BY_DKMS).but(
            files={"/proc/self/mountinfo": "21 1 0:40 / / rw,relatime - nfs4 server:/root rw\n"}
        ),
        "driver-library-mismatch", Answer.CANNOT_TELL, "sudo rmmod", "the server that starts this machine",
    ),
    "kexec-waits": Scenario(
        ubuntu(OLD, {U85: dkms(NEW), U90: dkms(NEW, U90)}, BY_DKMS, kernels=(U85, U90)).but(
            files={"/sys/kernel/kexec_loaded": "1\n"}
        ),
        "driver-library-mismatch", Answer.CANNOT_TELL, "sudo rmmod", "a kernel waits for kexec",
    ),
    "container": Scenario(machines.docker(OLD, NEW), "container-library-mismatch", None),
}  # fmt: skip

SCENARIOS = {**DEBIAN, **UBUNTU, **RHEL, **FEDORA, **SUSE, **ARCH, **OSTREE, **COMPOSEFS, **OTHERS}
__all__ = ("SCENARIOS", "Scenario", "boot")
