"""Pasted texts about the driver's modules, GPUs and packages: which finding comes first, and which must not come."""

from __future__ import annotations

import pytest

from nvdiag.model.finding import Confidence, Severity
from tests.checks.diagnosing import diagnosed, first, ids
from tests.checks.pasting import saying


def refused(device: str, release: str) -> str:
    return f"""
[    4.101] nvidia-nvlink: Nvlink Core is being initialized, major device number 236
[    4.102] NVRM: The NVIDIA GPU 0000:01:00.0 (PCI ID: 10de:{device})
               NVRM: installed in this system is not supported by the
               NVRM: NVIDIA {release} driver release.
               NVRM: Please see 'Appendix A - Supported NVIDIA GPU Products'
               NVRM: in this release's README, available on the operating system
               NVRM: specific graphics driver download page at www.nvidia.com.
[    4.103] nvidia 0000:01:00.0: probe with driver nvidia failed with error -1
[    4.104] NVRM: The NVIDIA probe routine failed for 1 device(s).
[    4.105] NVRM: None of the NVIDIA devices were initialized.
"""


def refused_by_open(device: str) -> str:
    return f"""
kernel: NVRM: The NVIDIA GPU 0000:09:00.0 (PCI ID: 10de:{device})
             NVRM: installed in this system is not supported by open
             NVRM: nvidia.ko because it does not include the required GPU
             NVRM: System Processor (GSP).
             NVRM: Please see the 'Open Linux Kernel Modules' and 'GSP
             NVRM: Firmware' sections in the driver README
kernel: nvidia 0000:09:00.0: probe with driver nvidia failed with error -1
kernel: NVRM: The NVIDIA probe routine failed for 1 device(s).
"""


@pytest.mark.parametrize(
    ("device", "release", "identifier", "confidence"),
    [
        ("2d04", "550.163.01", "gpu-needs-newer-driver", Confidence.CERTAIN),  # GeForce RTX 5060 Ti
        ("2684", "515.105.01", "gpu-needs-newer-driver", Confidence.CERTAIN),  # GeForce RTX 4090
        ("2d04", "570.86.16", "gpu-needs-newer-driver", Confidence.LIKELY),
        ("3340", "580.95.05", "gpu-needs-newer-driver", Confidence.LIKELY),  # beyond the table
        ("1292", "304.116", "gpu-needs-newer-driver", Confidence.LIKELY),  # GeForce GT 740M
        ("1b81", "590.48.01", "gpu-needs-legacy-driver", Confidence.CERTAIN),  # GeForce GTX 1070
        ("102d", "535.183.01", "gpu-needs-legacy-driver", Confidence.CERTAIN),  # Tesla K80
        ("2236", "535.183.01", "gpu-init-failed", Confidence.LIKELY),  # A10, as a vGPU
        ("139b", "370.28", "gpu-init-failed", Confidence.LIKELY),  # GeForce GTX 960M, asleep
    ],
)
def test_a_refused_gpu_is_judged_by_its_generation(
    device: str, release: str, identifier: str, confidence: Confidence
) -> None:
    found = first(saying(refused(device, release)))
    assert (found.id, found.confidence) == (identifier, confidence)


def test_the_wording_of_old_releases_is_read_too() -> None:
    text = """
[ 2288.712311] NVRM: The NVIDIA GPU 0000:01:00.0 (PCI ID: 10de:1c8d)
[ 2288.712311] NVRM: installed in this system is not supported by the 340.108
[ 2288.712311] NVRM: NVIDIA Linux driver release.  Please see 'Appendix
[ 2288.712311] NVRM: A - Supported NVIDIA GPU Products' in this release's
"""
    found = first(saying(text))
    assert found.id == "gpu-needs-newer-driver"
    assert "340.108" in found.title
    assert "10de:1c8d" in found.title


def test_a_refusal_without_its_gpu_claims_neither_older_nor_newer() -> None:
    assert ids(saying("installed in this system is not supported by the NVIDIA 550.54.14 driver release")) == []


def test_a_gpu_without_gsp_under_the_open_module_needs_the_proprietary_one() -> None:
    found = first(saying(refused_by_open("1d01")))
    assert found.id == "gpu-needs-proprietary-module"
    assert found.confidence is Confidence.CERTAIN


def test_a_gpu_with_gsp_that_the_open_module_cannot_read_needs_no_other_flavour() -> None:
    found = ids(saying(refused_by_open("2b85")))
    assert found[0] == "gpu-init-failed"
    assert "gpu-needs-proprietary-module" not in found


FIRST: list[tuple[str, str]] = [
    # the GPU and the flavour
    (
        "gpu-needs-open-module",
        """
[   38.36] NVRM: loading NVIDIA UNIX x86_64 Kernel Module  580.105.08  Wed Oct 29 23:15:11 UTC 2025
[   39.11] NVRM: The NVIDIA GPU 0000:02:00.0 (PCI ID: 10de:2c58)
               NVRM: installed in this system requires use of the NVIDIA open kernel modules.
[   39.12] NVRM: GPU 0000:02:00.0: RmInitAdapter failed! (0x22:0x56:884)
[   39.13] NVRM: GPU 0000:02:00.0: rm_init_adapter failed, device minor number 0
$ nvidia-smi
No devices were found
""",
    ),
    ("gpu-needs-proprietary-module", "nvidia.ko because it does not include the required GPU System Processor (GSP)."),
    (
        "gpu-needs-proprietary-module",
        "NVRM: Open nvidia.ko is only ready for use on Data Center GPUs.\nNVRM: GPU 0000:07:00.0: RmInitAdapter failed",
    ),
    (
        "gpu-needs-legacy-driver",
        """
[    5.2] NVRM: The NVIDIA GeForce GTX 1060 6GB GPU installed in this system is
              NVRM:  supported through the NVIDIA 580.xx Legacy drivers. Please
              NVRM:  visit http://www.nvidia.com/object/unix.html for more
              NVRM:  information.  The 590.44.01 NVIDIA driver will ignore
              NVRM:  this GPU.  Continuing probe...
[    5.3] NVRM: No NVIDIA GPU found.
[    5.4] nvidia-nvlink: Unregistered Nvlink Core, major device number 510
modprobe: ERROR: could not insert 'nvidia': No such device
""",
    ),
    (
        "gpu-needs-legacy-driver",
        """
WARNING: The NVIDIA Tesla K80 GPU installed in this system is supported through the
         NVIDIA 470.xx legacy Linux graphics drivers.  Please visit
         http://www.nvidia.com/object/unix.html for more information.  The 535.104.05
         NVIDIA Linux graphics driver will ignore this GPU.

WARNING: You do not appear to have an NVIDIA GPU supported by the 535.104.05 NVIDIA Linux
         graphics driver installed in this system.
""",
    ),
    ("gpu-needs-legacy-driver", "[ 3.1] NVRM: ignoring the legacy GPU 0000:03:00.0\n[ 3.2] NVRM: No NVIDIA GPU found."),
    ("gpu-needs-legacy-driver", "Uh oh. Your card is only supported by the 173.14 legacy drivers series, which is not"),
    # another driver
    (
        "gpu-bound-to-other-driver",
        """
[    7.205] NVRM: The NVIDIA probe routine was not called for 1 device(s).
[    7.206] NVRM: This can occur when another driver was loaded and
               NVRM: obtained ownership of the NVIDIA device(s).
[    7.207] NVRM: No NVIDIA devices probed.
$ sudo modprobe nvidia
modprobe: ERROR: could not insert 'nvidia': No such device
""",
    ),
    (
        "gpu-bound-to-other-driver",
        """
ERROR: The Nouveau kernel driver is currently in use by your system.  This driver is incompatible
       with the NVIDIA driver, and must be disabled before proceeding.
ERROR: Installation has failed.  Please see the file '/var/log/nvidia-installer.log' for details.
""",
    ),
    (
        "gpu-bound-to-other-driver",
        "│ The free nouveau kernel module is currently loaded and conflicts with the non-free nvidia kernel module.  │",
    ),
    # Secure Boot
    (
        "secure-boot-rejected",
        """
user@box:~$ sudo modprobe nvidia
modprobe: ERROR: could not insert 'nvidia': Key was rejected by service
user@box:~$ nvidia-smi
NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.
""",
    ),
    ("secure-boot-rejected", 'modprobe: ERROR: could not insert "nvidia_drm": Required key not available'),
    ("secure-boot-rejected", "insmod: ERROR: could not insert module ./kernel/nvidia.ko: Required key not available"),
    (
        "secure-boot-rejected",
        "systemd-modules-load[311]: Failed to insert module 'nvidia': Key was rejected by service",
    ),
    ("secure-boot-rejected", "[  8.2] Loading of module with unavailable key is rejected"),
    (
        "secure-boot-rejected",
        "[ 2.1] Lockdown: nvidia-modprobe: unsigned module loading is restricted; see man kernel_lockdown.7\n"
        "modprobe: ERROR: could not insert 'nvidia': Operation not permitted",
    ),
    (
        "secure-boot-rejected",
        """
ERROR: The kernel module failed to load. Secure boot is enabled on this system, so this is
       likely because it was not signed by a key that is trusted by the kernel. Please try
       installing the driver again, and sign the kernel module when prompted to do so.

ERROR: Unable to load the kernel module 'nvidia.ko'.  This happens most frequently when this
       kernel module was built against the wrong or improperly configured kernel sources
-> Kernel module load error: Key was rejected by service
""",
    ),
    # not loaded
    ("driver-not-loaded", "modprobe: FATAL: Module off not found in directory /lib/modules/5.15.0-91-generic"),
    (
        "driver-not-loaded",
        "modprobe: ERROR: ../libkmod/libkmod-module.c:990 command_do() Error running install command '/bin/false'"
        " for module nvidia: retcode 1",
    ),
    ("driver-not-loaded", "[    2.5] traps: Missing ENDBR: rm_ioctl+0x0/0x60 [nvidia]"),
    (
        "driver-not-loaded",
        "ERROR: Unable to load the kernel module 'nvidia-drm.ko'.  This happens most frequently when this kernel",
    ),
    # not built
    (
        "driver-not-built",
        """
Setting up nvidia-dkms-535 (535.183.01-0ubuntu0.22.04.1) ...
Building module:
Cleaning build area...
unset ARCH; [ ! -h /usr/bin/cc ] && export CC=/usr/bin/gcc; env NV_VERBOSE=1 make -j8 modules...(bad exit status: 2)
ERROR: Cannot create report: [Errno 17] File exists: '/var/crash/nvidia-dkms-535.0.crash'
Error! Bad return status for module build on kernel: 6.11.0-19-generic (x86_64)
Consult /var/lib/dkms/nvidia/535.183.01/build/make.log for more information.
dpkg: error processing package nvidia-dkms-535 (--configure):
 installed nvidia-dkms-535 package post-installation script subprocess returned error exit status 10
dpkg: dependency problems prevent configuration of nvidia-driver-535:
 nvidia-driver-535 depends on nvidia-dkms-535 (>= 535.183.01); however:
  Package nvidia-dkms-535 is not configured yet.
Errors were encountered while processing:
 nvidia-dkms-535
 nvidia-driver-535
E: Sub-process /usr/bin/dpkg returned an error code (1)
""",
    ),
    (
        "driver-not-built",
        "Error! Your kernel headers for kernel 6.1.0-18-amd64 cannot be found at /lib/modules/6.1.0-18-amd64/build or"
        " /lib/modules/6.1.0-18-amd64/source.",
    ),
    (
        "driver-not-built",
        "dkms autoinstall on 6.8.0-41-generic/x86_64 succeeded for virtualbox\n"
        "dkms autoinstall on 6.8.0-41-generic/x86_64 failed for v4l2loopback(10) nvidia(10)\n"
        "Error! One or more modules failed to install during autoinstall.",
    ),
    (
        "driver-not-built",
        "Module build for kernel 6.5.13-1-amd64 was skipped since the\n"
        "kernel headers for this kernel does not seem to be installed.",
    ),
    ("driver-not-built", "==> ERROR: Missing 6.9.1-arch1-1 kernel headers for module nvidia/550.78."),
    ("driver-not-built", "==> WARNING: `dkms install --no-depmod nvidia/550.78 -k 6.10.3-zen1' exited 10"),
    (
        "driver-not-built",
        """
$ sudo akmods --force
Checking kmods exist for 6.12.7-200.fc41.x86_64            [  OK  ]
Building and installing nvidia-kmod                        [FAILED]
Building rpms failed; see /var/cache/akmods/nvidia/565.77-1-for-6.12.7-200.fc41.x86_64.failed.log for details
""",
    ),
    (
        "driver-not-built",
        "FATAL: modpost: GPL-incompatible module nvidia-uvm.ko uses GPL-only symbol '__rcu_read_lock'",
    ),
    (
        "driver-not-built",
        'ERROR: modpost: "screen_info" [/var/lib/dkms/nvidia-current/525.147.05/build/nvidia.ko] undefined!',
    ),
    (
        "driver-not-built",
        "/var/lib/dkms/nvidia/470.223.02/build/nvidia/nv-acpi.c:84:19: error: initialization of"
        " \u2018void (*)(struct acpi_device *)\u2019 from incompatible pointer type",
    ),
    (
        "driver-not-built",
        "/tmp/selfgz31415/NVIDIA-Linux-x86_64-390.157/kernel/nvidia-drm/nvidia-drm-drv.c:64:10: fatal error:"
        " drm/drmP.h: No such file or directory",
    ),
    ("driver-not-built", "make[1]: *** /lib/modules/5.14.0-362.el9.x86_64/build: No such file or directory.  Stop."),
    ("driver-not-built", "gcc: error: unrecognized command-line option \u2018-ftrivial-auto-var-init=zero\u2019"),
    (
        "driver-not-built",
        "The kernel you are installing for is a PREEMPT_RT kernel!\n\n"
        "The NVIDIA driver does not support real-time kernels. If you",
    ),
    (
        "driver-not-built",
        """
  ERROR: Unable to find the kernel source tree for the currently running
         kernel.  Please make sure you have installed the kernel source files
         for your kernel and that they are properly configured
""",
    ),
    (
        "driver-not-built",
        'ERROR: An error occurred while performing the step: "Building kernel modules". See'
        " /var/log/nvidia-installer.log for details.",
    ),
    ("driver-not-built", "ERROR: Failed to run `/usr/sbin/dkms build -m nvidia -v 550.54.14 -k 6.8.0`:"),
    ("driver-not-built", "ERROR: Unable to find the development tool `make` in your path; please make sure"),
    ("driver-not-built", "modprobe: ERROR: could not insert 'nvidia_uvm': Exec format error"),
    ("driver-not-built", "insmod: error inserting './usr/src/nv/nvidia.ko': -1 Invalid module format"),
    ("driver-not-built", "modprobe: FATAL: Module nvidia not found in directory /lib/modules/6.8.0-85-generic"),
    ("driver-not-built", "modprobe: FATAL: Module nvidia-current not found in directory /lib/modules/6.1.0-18-amd64"),
    ("driver-not-built", "==> ERROR: module not found: `nvidia'"),
    ("driver-not-built", "E: Unable to locate package linux-headers-5.4.0-1103-aws"),
    ("driver-not-built", "kernel: nvidia: disagrees about version of symbol module_layout"),
    ("driver-not-built", "make[2]: *** [scripts/Makefile.build:480: nvidia-drm/nvidia-drm-drv.o] Error 1"),
    ("driver-not-built", " * ERROR: x11-drivers/nvidia-drivers-535.183.01::gentoo failed (compile phase):"),
    (
        "driver-not-built",
        "-> Kernel module load error: Exec format error\nERROR: Unable to load the kernel module 'nvidia.ko'.",
    ),
    ("driver-not-loaded", "modprobe: ERROR: module 'nvidia' is unsupported\nUse --allow-unsupported or set"),
    (
        "driver-not-loaded",
        "systemd[1]: Starting nvidia-fallback.service - Fallback to nouveau as nvidia did not load...",
    ),
    # modules of two releases
    (
        "driver-submodule-mismatch",
        "[ 9.1] nvidia-modeset: Version mismatch: nvidia.ko(535.54.03) nvidia-modeset.ko(535.104.05)",
    ),
    (
        "driver-submodule-mismatch",
        "nvidia_uvm: disagrees about version of symbol nvUvmInterfaceChannelDestroy\n"
        "nvidia_uvm: Unknown symbol nvUvmInterfaceChannelDestroy (err -22)\n"
        "modprobe: ERROR: could not insert 'nvidia_uvm': Invalid argument",
    ),
    # firmware
    (
        "gsp-firmware-missing",
        """
nvidia 0000:01:00.0: Direct firmware load for nvidia/595.71.05/gsp_ga10x.bin failed with error -2
NVRM: RmFetchGspRmImages: No firmware image found
NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x61:0x56:2074)
""",
    ),
    ("gsp-firmware-missing", "nvidia 0000:05:00.0: firmware: failed to load nvidia/550.163.01/gsp_tu10x.bin (-2)"),
    (
        "gsp-firmware-missing",
        "NVRM: GPU0 _kgspFwContainerVerifyVersion: GSP firmware image version mismatch:"
        " got version 570.172.08, expected version 570.190",
    ),
    # packages
    (
        "driver-package-conflict",
        """
Unpacking libnvidia-compute-550:amd64 (550.120-0ubuntu0.24.04.1) ...
dpkg: error processing archive /var/cache/apt/archives/libnvidia-compute-550_550.120_amd64.deb (--unpack):
 trying to overwrite '/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1', which is also in package libnvidia-compute-535
Errors were encountered while processing:
 /var/cache/apt/archives/libnvidia-compute-550_550.120_amd64.deb
E: Sub-process /usr/bin/dpkg returned an error code (1)
""",
    ),
    (
        "driver-package-conflict",
        """
The following packages have unmet dependencies:
 nvidia-driver-535 : Depends: nvidia-dkms-535 (<= 535.183.01-1)
                     Depends: nvidia-dkms-535 (>= 535.183.01) but it is not going to be installed
 libnvidia-gl-535 : Depends: libnvidia-common-535 but it is not going to be installed
E: Unable to correct problems, you have held broken packages.
""",
    ),
    (
        "driver-package-conflict",
        "nvidia-utils: /usr/lib/libnvidia-ml.so exists in filesystem (owned by nvidia-340xx-utils)",
    ),
    (
        "driver-package-conflict",
        ":: nvidia-utils-550.78-1 and nvidia-470xx-utils-470.239.06-1 are in conflict. Remove?",
    ),
    (
        "driver-package-conflict",
        ":: unable to satisfy dependency 'nvidia-utils=560.35.03' required by lib32-nvidia-utils",
    ),
    (
        "driver-package-conflict",
        "  file /usr/lib64/libnvidia-ml.so.1 from install of nvidia-driver-cuda-libs-3:560.35.03-1.fc40.x86_64"
        " conflicts with file from package xorg-x11-drv-nvidia-cuda-libs-3:560.35.03-5.fc40.x86_64",
    ),
    (
        "driver-package-conflict",
        " Problem: package nvidia-driver-3:560.35.03-1.fc40.x86_64 from cuda-fedora39-x86_64 requires nvidia-kmod ="
        " 3:560.35.03, but none of the providers can be installed",
    ),
    (
        "driver-package-conflict",
        "WARNING: The NVIDIA driver appears to have been installed previously using a different installer. To prevent",
    ),
    ("driver-package-conflict", "iF  nvidia-kernel-common-550  550.120-0ubuntu0.24.04.1  amd64  Shared files"),
    (
        "driver-package-conflict",
        "Error! Module version 535.183.01 for nvidia.ko\n"
        "is not newer than what is already found in kernel 6.8.0-45-generic (550.107.02).",
    ),
    ("driver-package-conflict", " nvidia-driver-550 : Dépend: libnvidia-gl-550 (= 550.120) mais ne sera pas installé"),
    (
        "driver-package-conflict",
        "Fehler traten auf beim Bearbeiten von:\n libnvidia-compute-550\n nvidia-utils-550\n"
        "E: Sub-process /usr/bin/dpkg returned an error code (1)",
    ),
    ("driver-package-conflict", " cuda-12-4 : Depends: nvidia-driver-550 (>= 550.54) but it is not installable"),
    # nothing there
    (
        "driver-not-installed",
        "Command 'nvidia-smi' not found, but can be installed with:\nsudo apt install nvidia-utils-550",
    ),
    (
        "driver-not-installed",
        "$ nvidia-smi\nzsh: command not found: nvidia-smi\n$ sudo modprobe nvidia\n"
        "modprobe: FATAL: Module nvidia not found in directory /lib/modules/6.8.0-85-generic",
    ),
]


@pytest.mark.parametrize(("identifier", "text"), FIRST)
def test_a_text_gives_its_finding_first(identifier: str, text: str) -> None:
    found = first(saying(text))
    assert found.id == identifier
    assert found.confidence is not Confidence.POSSIBLE
    assert found.remedies
    assert "unknown" not in found.title


NOTHING: list[str] = [
    # said by every healthy installation, or of no consequence
    "nvidia: module license 'NVIDIA' taints kernel.",
    "nvidia: module verification failed: signature and/or required key missing - tainting kernel",
    "NVRM: RmFetchGspRmImages: Failed to load gsp_log_*.bin, no GSP-RM logs will be printed (non-fatal)",
    "nvidia 0000:05:00.0: firmware: failed to load nvidia/595.71.05/gsp_log_ga10x.bin (-2)",
    "nouveau 0000:01:00.0: Direct firmware load for nvidia/ga102/gsp/gsp-535.113.01.bin failed with error -2",
    "nvidia/550.90.07, 6.8.0-45-generic, x86_64: installed",
    "Autoinstall on 6.14.0-36-generic succeeded for module(s) nvidia.",
    "The following packages have been kept back:\n  nvidia-driver-550 libnvidia-compute-550",
    "gcc: warning: the compiler differs from the one used to build the kernel",
    "systemd[1]: Condition check resulted in nvidia-fallback.service - Fallback to nouveau as nvidia did not load"
    " being skipped.",
    # several causes, so none is claimed
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA"
    " driver is installed and running.",
    "modprobe: ERROR: could not insert 'nvidia': No such device",
    "modprobe: ERROR: could not insert 'nvidia': Operation not permitted",
    "E: Unable to correct problems, you have held broken packages.",
    "Error! One or more modules failed to install during autoinstall.",
    "nvidia 0000:82:00.0: loading /lib/firmware/nvidia/595.71.05/gsp_ga10x.bin failed with error -4\n"
    "NVRM: RmFetchGspRmImages: No firmware image found",
    "nouveau 0000:01:00.0: NVIDIA GP104 (134000a1)",
    # other software
    "modprobe: ERROR: could not insert 'vboxdrv': Key was rejected by service",
    "modprobe: FATAL: Module v4l2loopback not found in directory /lib/modules/6.8.0",
    "Error! Bad return status for module build on kernel: 6.8.0-41-generic (x86_64)\n"
    "Consult /var/lib/dkms/blackmagic/12.6a15/build/make.log for more information.",
    "dkms autoinstall on 6.5.2-arch1-1/x86_64 failed for linux-sgx-driver(10)",
    " trying to overwrite '/usr/bin/ncat', which is also in package nmap 7.93",
    " nvidia-container-toolkit : Depends: libnvidia-container1 (>= 1.17) but it is not going to be installed",
    " libreoffice : Depends: libreoffice-core but it is not going to be installed",
    "/home/me/llama.cpp/ggml/src/ggml-cuda/mmq.cu(12): error: identifier is undefined",
    "/usr/lib/python3/site-packages/nvidia/cuda_runtime/include/cuda_fp8.hpp:41:10: fatal error: x.h: No such file",
    "user@host:~$ nvidia-smi\nbash: nvidia-smi: command not found",
    "root@3f2a1b4c5d6e:/# nvidia-smi\nroot@3f2a1b4c5d6e:/# bash: nvidia-smi: command not found",
]


@pytest.mark.parametrize("text", NOTHING)
def test_a_text_that_proves_nothing_of_the_driver_gives_no_finding(text: str) -> None:
    assert ids(saying(text)) == []


def test_headers_that_are_missing_stand_in_the_title_rather_than_the_package_that_waits() -> None:
    found = first(
        saying(
            "Error! Your kernel headers for kernel 6.8.0-45-generic cannot be found at /lib/modules/6.8.0-45-generic\n"
            "dpkg: error processing package nvidia-dkms-550 (--configure):\n"
            " installed nvidia-dkms-550 package post-installation script subprocess returned error exit status 21"
        )
    )
    assert found.id == "driver-not-built"
    assert "headers" in found.detail
    assert "linux-headers-6.8.0-45-generic" in " ".join(found.remedies[0].commands)


def test_packages_that_wait_for_a_failed_build_are_no_conflict() -> None:
    text = """
dpkg: error processing package nvidia-dkms-550 (--configure):
 installed nvidia-dkms-550 package post-installation script subprocess returned error exit status 10
dpkg: dependency problems prevent configuration of nvidia-driver-550:
Errors were encountered while processing:
 nvidia-dkms-550
 nvidia-driver-550
"""
    assert ids(saying(text)) == ["driver-not-built"]


def test_a_module_that_waits_for_a_file_conflict_is_its_consequence() -> None:
    text = """
dpkg: error processing archive /tmp/apt-dpkg-install/08-nvidia-kernel-common-550_550.120_amd64.deb (--unpack):
 trying to overwrite '/usr/bin/nvidia-sleep.sh', which is also in package nvidia-kernel-common-535 535.183.01
dpkg: dependency problems prevent configuration of nvidia-dkms-550:
Errors were encountered while processing:
 nvidia-dkms-550
"""
    assert first(saying(text)).id == "driver-package-conflict"


def test_a_gpu_kept_for_a_virtual_machine_is_a_warning() -> None:
    found = first(
        saying(
            "NVRM: GPU 0000:01:00.0 is already bound to vfio-pci.\n"
            "NVRM: The NVIDIA probe routine was not called for 1 device(s)."
        )
    )
    assert (found.id, found.severity) == ("gpu-bound-to-other-driver", Severity.WARNING)


def test_nouveau_is_the_one_to_keep_out_where_the_text_names_it() -> None:
    found = first(
        saying(
            "nouveau 0000:01:00.0: NVIDIA GP104 (134000a1)\n"
            "NVRM: The NVIDIA probe routine was not called for 1 device(s)."
        )
    )
    assert found.id == "gpu-bound-to-other-driver"
    assert any("blacklist nouveau" in command for remedy in found.remedies for command in remedy.commands)


def test_names_out_of_a_text_are_quoted_in_commands() -> None:
    found = first(saying("NVRM: GPU 0000:01:00.0 is already bound to other-driver."))
    assert all(";" not in command or "'" in command for remedy in found.remedies for command in remedy.commands)


def test_an_initialisation_that_is_not_supported_is_a_hint_at_the_open_modules_and_no_more() -> None:
    ranked = diagnosed(saying("NVRM: GPU 0000:02:00.0: RmInitAdapter failed! (0x22:0x56:884)")).findings
    assert [(one.finding.id, one.finding.confidence) for one in ranked] == [
        ("gpu-init-failed", Confidence.LIKELY),
        ("gpu-needs-open-module", Confidence.POSSIBLE),
    ]


def test_an_initialisation_that_ends_at_fetching_firmware_is_likely_the_firmware() -> None:
    found = first(saying("NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x61:0x56:1927)"))
    assert (found.id, found.confidence) == ("gsp-firmware-missing", Confidence.LIKELY)


def test_secure_boot_is_the_cause_of_a_module_that_is_not_loaded() -> None:
    found = ids(
        saying(
            "ERROR: Unable to load the kernel module 'nvidia.ko'.  This happens most frequently when this kernel\n"
            "modprobe: ERROR: could not insert 'nvidia': Key was rejected by service"
        )
    )
    assert found == ["secure-boot-rejected", "driver-not-loaded"]


def test_a_legacy_gpu_names_itself_and_its_branch() -> None:
    found = first(
        saying(
            "NVRM: The NVIDIA GeForce GT 710 GPU installed in this system is\n"
            "NVRM:  supported through the NVIDIA 470.xx Legacy drivers. Please\n"
        )
    )
    assert "GeForce GT 710" in found.title
    assert "470" in found.remedies[0].summary
