"""What to do before a reboot so that it helps, by the reasons of the verdict; and the reboot itself where it will."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace

from nvdiag.checks import _driver_remedies, _remedies
from nvdiag.facts.module_files import NextBootModule
from nvdiag.facts.packages import DriverPackages
from nvdiag.facts.reasons import Reason, Why
from nvdiag.facts.reboot import Answer, RebootVerdict
from nvdiag.facts.system import Distribution, Family
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Remedy, Risk
from nvdiag.model.unknown import Unknown

_FIRMWARE_PACKAGES = (
    r"nvidia-firmware-.*|firmware-nvidia-gsp|nvidia-kmod-common|nvidia-gsp-firmware.*|kernel-firmware-nvidia-gsp.*"
)


@dataclass(frozen=True, slots=True)
class After:
    """The verdict with what its remedies need."""

    verdict: RebootVerdict | Unknown
    following: NextBootModule | Unknown
    packages: DriverPackages | Unknown
    distribution: Distribution | Unknown

    @property
    def prediction(self) -> str:
        """What a reboot does, in one sentence."""
        if isinstance(self.verdict, RebootVerdict):
            return self.verdict.prediction
        why = self.following if isinstance(self.following, Unknown) else self.verdict
        return f"cannot tell whether a reboot will fix it: {why}"

    def remedies(self) -> tuple[Remedy, ...]:
        """The reboot where it may help, else what to repair before it; a wait first while something is under way."""
        if isinstance(self.verdict, RebootVerdict) and self.verdict.answer is Answer.DOES_NOT_FIX:
            repairs = self.repairs()
            if repairs:
                return (replace(repairs[0], prediction=_joined(self.prediction, repairs[0].prediction)), *repairs[1:])
        return (*self.wait(), _remedies.reboot(self.prediction))

    def repairs(self) -> tuple[Remedy, ...]:
        """What to repair, by the reasons that decide, in their order, each way once."""
        if isinstance(self.verdict, Unknown) or isinstance(self.following, Unknown):
            return ()
        found: dict[str, Remedy] = {}
        for one in (
            *self.wait(),
            *self._space(),
            *(one for reason in self.verdict.reasons for one in self._for(reason)),
        ):
            found.setdefault(one.summary, one)
        return tuple(found.values())

    def wait(self) -> tuple[Remedy, ...]:
        """Waiting for what is under way; nothing where nothing is."""
        reason = self.verdict.about(Why.UNDER_WAY) if isinstance(self.verdict, RebootVerdict) else None
        if reason is None:
            return ()
        pids = [one.source.split("/")[2] for one in reason.evidence]
        return (
            Remedy(
                summary="wait until the change that is under way has ended, then run nvdiag again",
                commands=(f"ps -o pid,etime,args -p {','.join(pids)}",),
                prediction=reason.says,
            ),
        )

    def _space(self) -> tuple[Remedy, ...]:
        reason = self.verdict.about(Why.SPACE) if isinstance(self.verdict, RebootVerdict) else None
        if reason is None:
            return ()
        clean = {
            Family.DEBIAN: ("sudo apt autoremove --purge",),
            Family.UBUNTU: ("sudo apt autoremove --purge",),
            Family.FEDORA: ("sudo dnf remove $(dnf repoquery --installonly --latest-limit=-2 -q)",),
            Family.RHEL: ("sudo dnf remove $(dnf repoquery --installonly --latest-limit=-2 -q)",),
            Family.SUSE: ("sudo zypper purge-kernels",),
        }.get(_remedies.family(self.distribution), ())
        return (
            Remedy(
                summary="make room in /boot: take old kernels away, not the one that runs",
                commands=("df -h /boot", *clean),
                risk=Risk.DISRUPTIVE,
                needs_root=True,
                prediction=f"{reason.says}; whatever makes one fails until then",
            ),
        )

    def _for(self, reason: Reason) -> Iterator[Remedy]:
        if isinstance(self.following, Unknown):
            return
        file, kernel = self.following.file, self.following.kernel
        name = shlex.quote(kernel.text)
        early = bool(reason.evidence) and "initr" in reason.evidence[0].source
        match reason.why:
            case Why.INITRAMFS | Why.OTHER_RELEASE if early:
                yield new_initramfs(self.distribution, name, is_there="not there" not in reason.evidence[0].excerpt)
            case Why.NO_MODULE | Why.OTHER_RELEASE if reason.decides:
                yield from self._repaired_disk()
            case Why.OTHER_KERNEL:
                yield from _remedies.build_module(self.distribution, self.packages, kernel)
            case Why.NOT_LISTED:
                yield Remedy(
                    summary=f"let depmod list the modules of {kernel}",
                    commands=(f"sudo depmod {name}",),
                    needs_root=True,
                )
            case Why.KEPT_OUT:
                yield self._let_in(reason)
            case Why.SIGNATURE:
                yield from _driver_remedies.sign_module(_remedies.family(self.distribution))
            case Why.FIRMWARE:
                yield self._firmware(reason)
            case Why.COMPILER:
                yield compiler(self.distribution, reason)
            case Why.PUT_ASIDE if isinstance(self.verdict, RebootVerdict):
                yield from put_back(reason, self.verdict.wanted.text, name)
            case Why.COPIES if file is not None and "installer" in reason.says:
                yield Remedy(
                    summary="take away what NVIDIA's installer has put beside the packages",
                    commands=("sudo nvidia-uninstall", f"sudo depmod {name}"),
                    risk=Risk.DISRUPTIVE,
                    needs_root=True,
                    prediction="one installation is left then; install its packages again if a library is missing",
                )
            case _:
                return

    def _repaired_disk(self) -> tuple[Remedy, ...]:
        if isinstance(self.following, Unknown) or isinstance(self.verdict, Unknown):
            return ()
        return _remedies.repair_disk(
            self.distribution, self.packages, self.following.file, self.following.kernel, self.verdict.wanted
        )

    def _let_in(self, reason: Reason) -> Remedy:
        first = reason.evidence[0]
        if not first.source.startswith("/") or first.source == "/proc/cmdline":
            return Remedy(
                summary=f"take {first.excerpt} out of the kernel's command line",
                commands=("cat /proc/cmdline", "grep -rn nvidia /etc/default/grub /etc/kernel/cmdline"),
                prediction="then make the boot loader's configuration anew, as after any change to it",
            )
        files = " ".join(dict.fromkeys(shlex.quote(one.source) for one in reason.evidence))
        return Remedy(
            summary=f"take the line `{first.excerpt}` out of {first.source}",
            commands=(f"grep -n nvidia {files}", f"sudoedit {files}"),
            needs_root=True,
            prediction="where prime-select wrote it, sudo prime-select on-demand takes it away; rebuild the initramfs"
            " after the change",
        )

    def _firmware(self, reason: Reason) -> Remedy:
        return firmware_package(self.distribution, self.packages, reason.evidence[0].source)


def _joined(first: str, second: str) -> str:
    return f"{first}. {second[:1].upper()}{second[1:]}" if second else first


def new_initramfs(distribution: Distribution | Unknown, kernel: str, *, is_there: bool = True) -> Remedy:
    """Make the initramfs of a kernel anew, or for the first time; `kernel` is quoted for a command."""
    debian = f"sudo update-initramfs {'-u' if is_there else '-c'} -k {kernel}"
    command = {
        Family.DEBIAN: debian,
        Family.UBUNTU: debian,
        Family.FEDORA: f"sudo dracut --force --kver {kernel}",
        Family.RHEL: f"sudo dracut --force --kver {kernel}",
        Family.SUSE: f"sudo dracut --force --kver {kernel}",
        Family.ARCH: "sudo mkinitcpio -P",
    }.get(_remedies.family(distribution), f"{debian} || sudo dracut --force --kver {kernel}")
    return Remedy(
        summary="make the initramfs of that kernel anew",
        commands=(command,),
        needs_root=True,
        prediction="it then has the module that is on disk inside, or none",
    )


def compiler(distribution: Distribution | Unknown, reason: Reason) -> Remedy:
    """Install the compiler that the kernel was made by; its name is what the reason's evidence begins with."""
    made_by = reason.evidence[0].excerpt
    name = re.sub(r"^\w+-linux-gnu-", "", made_by.split()[0])
    version = re.fullmatch(r"(gcc|clang)-(\d{1,3})", name)
    install = {
        Family.DEBIAN: f"sudo apt install {name} make",
        Family.UBUNTU: f"sudo apt install {name} make",
        Family.FEDORA: f"sudo dnf install {name} make",
        Family.RHEL: f"sudo dnf install {name} make",
        Family.SUSE: f"sudo zypper install {version[1] + version[2] if version else name} make",
        Family.ARCH: "sudo pacman -Syu --needed base-devel",
    }.get(_remedies.family(distribution))
    return Remedy(
        summary=f"install the compiler that the kernel was made by, {name}",
        commands=("gcc --version", *((install,) if install else ())),
        needs_root=bool(install),
        prediction="the next build takes it by itself: DKMS asks the kernel's configuration for its name",
    )


def put_back(reason: Reason, wanted: str, kernel: str) -> Iterator[Remedy]:
    """Have DKMS put the module back that it has put aside, where that is of the libraries' release."""
    release, _, name = reason.evidence[0].excerpt.partition(", ")
    if release != wanted:
        return
    yield Remedy(
        summary=f"put the module {release} back, which DKMS moved away for its own",
        commands=(f"sudo dkms uninstall {shlex.quote(name)} -k {kernel}", "modinfo -F version nvidia"),
        risk=Risk.DISRUPTIVE,
        needs_root=True,
        prediction=f"modprobe then takes {release} for that kernel, as the libraries are",
    )


def firmware_package(distribution: Distribution | Unknown, packages: DriverPackages | Unknown, folder: str) -> Remedy:
    """Install the package again that brings the firmware, by its installed name; else look where it should be."""
    names = packages.matching(_FIRMWARE_PACKAGES) if isinstance(packages, DriverPackages) else ()
    family = _remedies.family(distribution)
    if family is Family.ARCH and isinstance(packages, DriverPackages):
        names = packages.matching(r"nvidia-utils")
    again = shlex.join(names)
    install = {
        Family.DEBIAN: f"sudo apt install --reinstall {again}",
        Family.UBUNTU: f"sudo apt install --reinstall {again}",
        Family.FEDORA: f"sudo dnf reinstall {again}",
        Family.RHEL: f"sudo dnf reinstall {again}",
        Family.SUSE: f"sudo zypper install --force {again}",
        Family.ARCH: f"sudo pacman -S {again}",
    }.get(family)
    look = f"ls -l {shlex.quote(re.sub(r'/[^/]+$', '', folder))}"
    return Remedy(
        summary="install the firmware of exactly the module's release",
        commands=(look, install) if names and install else (look,),
        needs_root=bool(names),
        prediction="the firmware comes with the driver's packages of the same release; the folder is named like it",
    )
