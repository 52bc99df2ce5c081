"""What texts tell of the driver's kernel modules: not built, not loaded, refused, mixed, without firmware or GPU."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nvdiag.checks import _driver_remedies, _remedies, _said
from nvdiag.engine import check
from nvdiag.facts.messages import Messages, Said
from nvdiag.facts.system import Distribution
from nvdiag.model.finding import Confidence, Finding, Layer, Remedy, Risk, Severity
from nvdiag.model.unknown import NotApplicable, Unknown

WITHOUT_MODULE = frozenset(
    {
        "driver-not-loaded",
        "device-nodes-missing",
        "gpu-init-failed",
        "nvml-library-missing",
        "libcuda-missing",
        "no-cuda-device",
        "uvm-not-loaded",
        "driver-package-conflict",
    }
)
"""What follows where no module can be loaded; packages whose scripts build it are left half-configured."""

_HINTS_OF_NO_MODULE = (
    "modprobe-not-found",
    "systemd-module-not-found",
    "mkinitcpio-module-not-found",
    "dpkg-errors-dkms",
    "headers-package-unknown",
)
"""Messages that say that there is no module, and not that a build of it failed."""

_NO_HEADERS = (
    "dkms-no-headers", "dkms-build-skipped", "arch-dkms-no-headers", "akmods-no-devel", "kbuild-no-build-folder",
    "installer-no-kernel-source", "installer-bad-kernel-source", "headers-package-unknown", "kernel-target-unknown",
)  # fmt: skip
_FOR_ANOTHER_KERNEL = ("kernel-version-magic", "kernel-symbol-version", "modprobe-wrong-format")
_COMPILER = ("compiler-check-failed", "compiler-lacks-flag", "installer-no-compiler")
_SPECIAL_KERNEL = ("kernel-is-realtime", "kernel-is-xen", "dkms-autoinstall-skipped", "dkms-build-exclusive")


@check("driver-not-built", area="driver")
def the_texts_tell_of_no_failed_build(messages: Messages, distribution: Distribution | Unknown) -> Iterator[Finding]:
    """The driver's modules were built for the kernel, as far as the texts tell."""
    said = _said.about(messages, "driver-not-built")
    hints_only = all(one.message.name in _HINTS_OF_NO_MODULE for one in said)
    if hints_only and messages.named("nvidia-smi-command-missing"):
        raise NotApplicable("nothing of the driver is there, which driver-not-installed is about")
    if all(one.message.name == "compiler-lacks-flag" for one in said) and _builds_another(messages):
        raise NotApplicable("it is another module than the driver's that was not built")
    said = _telling_first(said)
    if _is_loaded_all_the_same(messages, said):
        raise NotApplicable("the release whose build failed is loaded, so that there is a build of it")
    yield _said.finding(
        said,
        "driver-not-built",
        detail=_why_not_built(said),
        remedies=_build_remedies(said, distribution),
        explains=WITHOUT_MODULE - {"driver-package-conflict"} if hints_only else WITHOUT_MODULE,
        layers=(Layer.LOADED_MODULE,),
    )


def _builds_another(messages: Messages) -> bool:
    """Whether the texts tell of a build of another module, and of none of the driver's."""
    return bool(messages.named("dkms-other-module")) and not any(
        "/nvidia" in one.text or "NVIDIA-" in one.text for one in messages.said
    )


def _is_loaded_all_the_same(messages: Messages, said: tuple[Said, ...]) -> bool:
    """Whether nvidia.ko speaks of itself as of the one release that the failed builds name."""
    failed = {release for one in said for release in re.findall(r"\bnvidia[-/](\d{3}\.\d{2,3}(?:\.\d\d)?)\b", one.text)}
    loaded = {one.groups.get("release") for one in messages.named("nvkms-version-mismatch")}
    return len(failed) == 1 and failed <= loaded


def _telling_first(said: tuple[Said, ...]) -> tuple[Said, ...]:
    """Reasons before the bare fact: that headers are missing says more than that a module is."""
    reasons = _NO_HEADERS + _FOR_ANOTHER_KERNEL + _COMPILER + _SPECIAL_KERNEL
    order = {"modpost-gpl-only": 1, "modpost-undefined": 1, "module-compile-error": 1}
    return tuple(sorted(said, key=lambda one: 0 if one.message.name in reasons else order.get(one.message.name, 2)))


def _has(said: tuple[Said, ...], names: tuple[str, ...]) -> bool:
    return any(one.message.name in names for one in said)


def _why_not_built(said: tuple[Said, ...]) -> str:
    if _has(said, _NO_HEADERS):
        return "A module is built against the headers of exactly one kernel, and those are not there."
    if _has(said, _SPECIAL_KERNEL):
        return "NVIDIA's driver is not made for such a kernel. Boot a standard kernel of the distribution."
    if _has(said, _COMPILER):
        return "A module must be built by the compiler that built the kernel, or one that knows the same options."
    if _has(said, _FOR_ANOTHER_KERNEL):
        return "There is a module file, and it belongs to another kernel or another build of this one."
    if _has(said, ("modpost-gpl-only", "modpost-undefined", "module-compile-error")):
        return "This release of the driver is older than the kernel, or was never made for it."
    return "A kernel module fits one kernel only; without one for the kernel that runs the GPU cannot be used."


def _build_remedies(said: tuple[Said, ...], distribution: Distribution | Unknown) -> tuple[Remedy, ...]:
    which = _driver_remedies.family(distribution, said)
    build = _driver_remedies.build_for(which, _driver_remedies.kernel_of(said))
    if _has(said, _COMPILER):
        return (_COMPILER_OF_KERNEL, _driver_remedies.READ_BUILD_LOG, build)
    if _has(said, _SPECIAL_KERNEL):
        return (_driver_remedies.OTHER_KERNEL_OR_BRANCH,)
    if _has(said, _NO_HEADERS + _FOR_ANOTHER_KERNEL + _HINTS_OF_NO_MODULE):
        return (build, _driver_remedies.READ_BUILD_LOG)
    return (_driver_remedies.READ_BUILD_LOG, build, _driver_remedies.OTHER_KERNEL_OR_BRANCH)


_COMPILER_OF_KERNEL = Remedy(
    summary="install the compiler that built the kernel",
    commands=("cat /proc/version", "gcc --version", "sudo apt install gcc-12 || sudo dnf install gcc"),
    needs_root=True,
    prediction="/proc/version names the compiler and its version; install that one (gcc-12 is an example), and build"
    " again with CC set to it",
)


@check("secure-boot-rejected", area="driver")
def the_texts_tell_of_no_refused_signature(
    messages: Messages, distribution: Distribution | Unknown
) -> Iterator[Finding]:
    """The kernel takes the signature of the driver's modules, as far as the texts tell."""
    said = _said.about(messages, "secure-boot-rejected")
    if messages.named("other-module-refused") and all(_names_no_module(one) for one in said):
        raise NotApplicable("the module that was refused is another than the driver's")
    yield _said.finding(
        said,
        "secure-boot-rejected",
        detail="With Secure Boot on, the kernel loads only modules that are signed by a key which it, or the firmware's"
        " list of machine owner keys, trusts. The module itself may be well.",
        remedies=_driver_remedies.sign_module(_driver_remedies.family(distribution, said)),
        explains=WITHOUT_MODULE | {"driver-not-built", "gpu-bound-to-other-driver"},
        layers=(Layer.LOADED_MODULE,),
    )


def _names_no_module(said: Said) -> bool:
    """Whether the kernel's line about a refused module leaves open which one it was."""
    return said.message.name == "kernel-unsigned-rejected" and "nvidia" not in said.text.lower()


@check("driver-not-loaded", area="driver")
def the_texts_tell_of_no_module_that_stays_out(messages: Messages) -> Iterator[Finding]:
    """Nothing keeps the nvidia module from loading, as far as the texts tell."""
    said = _said.about(messages, "driver-not-loaded")
    yield _said.finding(
        said,
        "driver-not-loaded",
        detail=_why_not_loaded(said),
        remedies=(_WITHOUT_BRANCH_TRACKING,)
        if _has(said, ("kernel-missing-endbr",))
        else (_UNBLOCK,)
        if _has(said, ("modprobe-alias-off", "modprobe-install-false"))
        else (_driver_remedies.REPORT_WHAT_REFUSES,),
        explains=WITHOUT_MODULE - {"driver-not-loaded", "driver-package-conflict"},
        layers=(Layer.LOADED_MODULE,),
    )


def _why_not_loaded(said: tuple[Said, ...]) -> str:
    if _has(said, ("modprobe-alias-off", "modprobe-install-false")):
        return "Tools that switch a laptop's GPU off (prime-select, bumblebee) write such lines, and so do people."
    if _has(said, ("kernel-missing-endbr",)):
        return "Kernels from 5.18 on can check indirect branches (IBT); drivers before branch 515 are not built for it."
    return "The kernel log has the reason, right after the attempt to load it."


_UNBLOCK = Remedy(
    summary="find the line that keeps it out, take it away, and load the module",
    commands=(
        "grep -rnE 'nvidia' /etc/modprobe.d /lib/modprobe.d /usr/lib/modprobe.d",
        "sudo modprobe nvidia",
    ),
    needs_root=True,
    prediction="look for `alias nvidia off`, `install nvidia /bin/false` and `blacklist nvidia`; where prime-select"
    " wrote it, sudo prime-select on-demand takes it away. Rebuild the initramfs after the change",
)

_WITHOUT_BRANCH_TRACKING = Remedy(
    summary="install a driver of branch 515 or newer; until then boot with ibt=off",
    commands=("cat /proc/cmdline",),
    risk=Risk.DISRUPTIVE,
    reboots=True,
    prediction="add ibt=off to the kernel's command line in the boot loader's configuration",
)


@check("gpu-bound-to-other-driver", area="driver")
def the_texts_tell_of_no_other_driver(messages: Messages, distribution: Distribution | Unknown) -> Iterator[Finding]:
    """No other kernel driver has a GPU, as far as the texts tell."""
    said = messages.proving("gpu-bound-to-other-driver") or _nouveau_in_use(messages)
    if not said:
        raise NotApplicable("no message in the text tells of it")
    driver = _holder(messages, said)
    reserved = driver == "vfio-pci"
    yield _said.finding(
        said,
        "gpu-bound-to-other-driver",
        severity=Severity.WARNING if reserved else Severity.ERROR,
        detail="vfio-pci keeps a GPU for a virtual machine, which is mostly on purpose."
        if reserved
        else "A GPU has one driver at a time. While the other one holds it, the nvidia module gets no device.",
        remedies=(_GIVE_BACK,)
        if reserved
        else (_SEE_HOLDER, _remedies.keep_from_loading(driver or "nouveau", distribution)),
        confidence=None if messages.proving("gpu-bound-to-other-driver") else Confidence.LIKELY,
        explains=frozenset({"driver-not-loaded", "gpu-init-failed", "device-nodes-missing", "no-cuda-device"}),
        layers=(Layer.GPU,),
    )


_MORE_TELLING = (
    "driver-not-built", "driver-not-installed", "secure-boot-rejected", "driver-library-mismatch", "gpu-switched-off",
)  # fmt: skip


def _nouveau_in_use(messages: Messages) -> tuple[Said, ...]:
    """nouveau at work where nothing tells why NVIDIA's driver is not: in the list of modules or in the kernel's log.

    Distributions load it where they find no nvidia module, so that what says why there is none tells more. In the list
    it tells where NVIDIA's driver does not answer; in the log it tells of the memory and outputs that it set up.
    """
    if any(messages.proving(identifier) for identifier in _MORE_TELLING):
        return ()
    listed = messages.named("lsmod-nouveau")
    silent = messages.named("nvidia-smi-cannot-communicate", "modprobe-no-such-device", "nvml-driver-not-loaded")
    if listed and silent:
        return (*listed[:1], *silent[:1])
    at_work = tuple(one for one in messages.named("nouveau-drives-gpu") if " drm: " in one.text.lower())
    return at_work[:1] if at_work and not messages.named("nvrm-loading") else ()


def _holder(messages: Messages, said: tuple[Said, ...]) -> str:
    """The driver that holds the GPU: named by the nvidia module, by who speaks, else not known."""
    named = next((one.groups["driver"] for one in said if "driver" in one.groups), "")
    if named:
        return named
    if _has(said, ("installer-nouveau-in-use", "debian-nouveau-loaded", "lsmod-nouveau")) or messages.named(
        "nouveau-drives-gpu"
    ):
        return "nouveau"
    return "nova_core" if messages.named("nova-drives-gpu") else ""


_SEE_HOLDER = Remedy(
    summary="see which driver has the GPU",
    commands=("lspci -nnk -d 10de:",),
    prediction="`Kernel driver in use` names it; nvidia should stand there",
)

_GIVE_BACK = Remedy(
    summary="if the GPU is meant for this system, take it out of vfio-pci's list",
    commands=("grep -rE 'vfio|10de' /etc/modprobe.d /etc/default/grub /proc/cmdline", "lspci -nnk -d 10de:"),
    risk=Risk.DISRUPTIVE,
    reboots=True,
    prediction="without its id after vfio-pci.ids= and `options vfio-pci ids=` the nvidia module gets it at the next"
    " boot; rebuild the initramfs first",
)


@check("driver-submodule-mismatch", area="driver")
def the_texts_tell_of_modules_of_one_release(messages: Messages) -> Iterator[Finding]:
    """The driver's modules are of one release, as far as the texts tell."""
    said = _said.about(messages, "driver-submodule-mismatch")
    yield _said.finding(
        said,
        "driver-submodule-mismatch",
        detail="The modules of one driver must be of one build. Mixed ones come from an upgrade without a reboot, or"
        " from two installations whose files lie in different folders below /lib/modules.",
        remedies=(
            Remedy(
                summary="see which files modprobe takes, and of which release they are",
                commands=(
                    "modinfo -F filename nvidia; modinfo -F filename nvidia-uvm; modinfo -F filename nvidia-modeset",
                    "modinfo -F version nvidia; modinfo -F version nvidia-uvm; modinfo -F version nvidia-modeset",
                ),
                prediction="all must be of one release; what lies in another folder is left from another installation",
            ),
            _remedies.reboot("a reboot loads all modules afresh, from what is on disk then"),
        ),
        explains=frozenset({"no-cuda-device", "driver-not-loaded", "gpu-init-failed"}),
        layers=(Layer.LOADED_MODULE,),
    )
