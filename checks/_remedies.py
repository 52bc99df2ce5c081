"""Ways out that several checks offer, with the commands of this machine's distribution.

Package names come from the packages that are installed.
"""

from __future__ import annotations

import re
import shlex

from nvdiag.facts.chosen_module import ModuleFile
from nvdiag.facts.modules import UNLOAD_ORDER, KernelModules
from nvdiag.facts.packages import DriverPackages
from nvdiag.facts.system import Distribution, Family
from nvdiag.model.finding import Remedy, Risk
from nvdiag.model.text import listed
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import DriverRelease, KernelRelease


def is_image(distribution: Distribution | Unknown) -> bool:
    """Whether this is an ostree or similar system: packages are layered onto its next deployment (rpm-ostree(1))."""
    return isinstance(distribution, Distribution) and distribution.image_based


def family(distribution: Distribution | Unknown) -> Family:
    """The distribution's family; OTHER where it is not known."""
    return distribution.family if isinstance(distribution, Distribution) else Family.OTHER


def reload_modules(modules: KernelModules, wanted: DriverRelease, source: str) -> Remedy:
    """Take the old modules out and load the ones on disk, without a reboot."""
    loaded = [name for name in UNLOAD_ORDER if name == "nvidia" or name in modules.others]
    again = [name for name in reversed(loaded) if name != "nvidia_peermem"]
    users = busy(modules)
    if users:
        prediction = (
            f"it will end the mismatch once nothing uses the GPU; now rmmod would refuse, since {listed(users)}."
            " Stop what fuser shows first"
        )
    else:
        prediction = f"it will end the mismatch: {source} is {wanted}, and nothing holds the modules now"
    return Remedy(
        summary="reload the kernel modules, without a reboot (interrupts everything that uses the GPU, displays too)",
        commands=(
            "sudo fuser -v /dev/nvidia*",
            f"sudo rmmod {' '.join(loaded)}",
            *(f"sudo modprobe {name.replace('_', '-')}" for name in again),
        ),
        risk=Risk.DISRUPTIVE,
        needs_root=True,
        prediction=prediction,
    )


def busy(modules: KernelModules) -> list[str]:
    """What holds the modules beyond each other, by NVIDIA's own test on their use counts (nvidia-installer)."""
    counts = {module.name: module.refcount for module in modules.loaded}
    own = {
        "nvidia": sum(1 for name in ("nvidia_uvm", "nvidia_modeset", "nvidia_peermem") if name in counts),
        "nvidia_modeset": 1 if "nvidia_drm" in counts else 0,
    }
    held = [(name, (count or 0) - own.get(name, 0)) for name, count in counts.items()]
    return [f"{name} has {extra} user{'s' if extra > 1 else ''}" for name, extra in held if extra > 0]


def reboot(prediction: str) -> Remedy:
    """A reboot, with what it will do."""
    return Remedy(
        summary="reboot",
        commands=("sudo reboot",),
        risk=Risk.DISRUPTIVE,
        needs_root=True,
        reboots=True,
        prediction=prediction,
    )


def build_module(
    distribution: Distribution | Unknown, packages: DriverPackages | Unknown, kernel: KernelRelease
) -> tuple[Remedy, ...]:
    """Get a module of the installed driver for a kernel: prebuilt where the distribution has it, else built here."""
    if is_image(distribution):
        return (_next_deployment(distribution, f"get a module for {kernel} with the next deployment"),)
    commands = _module_commands(distribution, packages, shlex.quote(kernel.text))
    by_akmods = any("akmods" in command for command in commands)
    built = by_akmods or any("dkms" in command for command in commands)
    log = "its .failed.log below /var/cache/akmods" if by_akmods else "its make.log below /var/lib/dkms"
    return (
        Remedy(
            summary=f"{'build' if built else 'install'} the module for {kernel}",
            commands=commands,
            needs_root=True,
            prediction=f"if the build fails, the last lines of {log} say why" if built else "",
        ),
    )


def _next_deployment(distribution: Distribution | Unknown, summary: str) -> Remedy:
    """An image's modules come with a deployment: nothing is built or installed in the running system."""
    tool = "bootc" if without_ostree(distribution) else "rpm-ostree"
    status = "sudo bootc status" if tool == "bootc" else "rpm-ostree status"
    return Remedy(
        summary=summary,
        commands=(status, f"sudo {tool} upgrade", "sudo systemctl reboot"),
        risk=Risk.DISRUPTIVE,
        needs_root=True,
        reboots=True,
        prediction=f"modules and libraries of one deployment are one release; sudo {tool} rollback takes it back",
    )


def without_ostree(distribution: Distribution | Unknown) -> bool:
    """Whether this is an image that rpm-ostree does not know: bootc's composefs backend."""
    return isinstance(distribution, Distribution) and distribution.without_ostree


def _module_commands(
    distribution: Distribution | Unknown, packages: DriverPackages | Unknown, kernel: str
) -> tuple[str, ...]:
    build = f"sudo dkms autoinstall -k {kernel}"
    match family(distribution):
        case Family.UBUNTU:
            return _ubuntu_module(packages, kernel)
        case Family.DEBIAN:
            return (f"sudo apt install linux-headers-{kernel}", *_reinstall(packages), build)
        case Family.FEDORA | Family.RHEL:
            return _rpm_module(packages, kernel)
        case Family.SUSE:
            kmp = matching(packages, r"nvidia-.*-kmp-\w+")
            return (f"sudo zypper install --force {shlex.join(kmp)}" if kmp else "zypper search nvidia",)
        case Family.ARCH:
            by_dkms = matching(packages, r"nvidia.*-dkms")
            return ("sudo pacman -S --needed linux-headers", build) if by_dkms else ("sudo pacman -Syu",)
        case _:
            return (build,)


def _ubuntu_module(packages: DriverPackages | Unknown, kernel: str) -> tuple[str, ...]:
    """Ubuntu's signed prebuilt module of the installed branch, or DKMS where that is what is installed.

    A prebuilt package that is there and has left no module was not configured to its end: it is installed again.
    """
    if matching(packages, r"nvidia-dkms-.*"):
        return (f"sudo apt install linux-headers-{kernel}", *_reinstall(packages), f"sudo dkms autoinstall -k {kernel}")
    drivers = matching(packages, r"nvidia-(driver|headless|headless-no-dkms)-\d+(-server)?(-open)?")
    found = re.search(r"-(\d+(?:-server)?(?:-open)?)$", drivers[0]) if drivers else None
    if found is None:
        return ("ubuntu-drivers list", f"apt-cache search linux-modules-nvidia | grep {kernel}")
    package = f"linux-modules-nvidia-{found[1]}-{kernel}"
    again = " --reinstall" if matching(packages, re.escape(package)) else ""
    return (f"sudo apt install{again} {package}",)


def _rpm_module(packages: DriverPackages | Unknown, kernel: str) -> tuple[str, ...]:
    if matching(packages, r"akmod-nvidia.*"):
        return (f"sudo dnf install kernel-devel-{kernel}", f"sudo akmods --force --kernels {kernel}")
    return (f"sudo dnf install kernel-devel-{kernel}", f"sudo dkms autoinstall -k {kernel}")


def _reinstall(packages: DriverPackages | Unknown) -> tuple[str, ...]:
    """Installing a DKMS package again registers and builds its sources, whatever state the tree was left in."""
    dkms = matching(packages, r"nvidia-.*dkms.*")
    return (f"sudo apt install --reinstall {shlex.join(dkms)}",) if dkms else ()


def matching(packages: DriverPackages | Unknown, pattern: str) -> tuple[str, ...]:
    """The installed packages of these names, none where they are not known."""
    return packages.matching(pattern) if isinstance(packages, DriverPackages) else ()


def repair_disk(
    distribution: Distribution | Unknown,
    packages: DriverPackages | Unknown,
    file: ModuleFile | None,
    kernel: KernelRelease,
    wanted: DriverRelease,
) -> tuple[Remedy, ...]:
    """Bring the module on disk to the libraries' release: look at the packages, finish them, build again."""
    if is_image(distribution):
        return (_next_deployment(distribution, "bring module and libraries to one release with the next deployment"),)
    look = {
        Family.DEBIAN: ("dpkg -l '*nvidia*' | grep -v '^un'", "dkms status", "sudo apt --fix-broken install"),
        Family.UBUNTU: ("dpkg -l '*nvidia*' | grep -v '^un'", "dkms status", "sudo apt --fix-broken install"),
        Family.FEDORA: ("rpm -qa '*nvidia*'", "sudo dnf distro-sync '*nvidia*'"),
        Family.RHEL: ("rpm -qa '*nvidia*'", "dkms status", "sudo dnf distro-sync '*nvidia*'"),
        Family.SUSE: ("rpm -qa '*nvidia*'", "sudo zypper verify"),
        Family.ARCH: ("pacman -Qs nvidia", "sudo pacman -Syu"),
    }.get(family(distribution), ("dkms status",))
    where = f" ({file.path} is {file.release})" if file and file.release else ""
    return (
        Remedy(
            summary=f"bring all driver packages to one release{where}",
            commands=look,
            needs_root=True,
            prediction=f"module for {kernel} and libraries must both be {wanted} before a reboot or reload helps",
        ),
        *build_module(distribution, packages, kernel),
    )


def keep_from_loading(driver: str, distribution: Distribution | Unknown) -> Remedy:
    """Blacklist another kernel driver in the running system and in the initramfs, which may load it before."""
    rebuild = {
        Family.DEBIAN: "sudo update-initramfs -u",
        Family.UBUNTU: "sudo update-initramfs -u",
        Family.FEDORA: "sudo dracut --force",
        Family.RHEL: "sudo dracut --force",
        Family.SUSE: "sudo dracut --force",
        Family.ARCH: "sudo mkinitcpio -P",
    }.get(family(distribution), "sudo update-initramfs -u || sudo dracut --force")
    name = shlex.quote(driver)
    if without_ostree(distribution):
        return Remedy(
            summary=f"keep {driver} from loading in the image, then reboot",
            commands=("sudo bootc status",),
            prediction=f"the image's own build sets it: rd.driver.blacklist={name} in a file of /usr/lib/bootc/kargs.d",
        )
    if is_image(distribution):
        return Remedy(
            summary=f"keep {driver} from loading, then reboot",
            commands=(
                f"sudo rpm-ostree kargs --append=rd.driver.blacklist={name} --append=modprobe.blacklist={name}",
                "sudo systemctl reboot",
            ),
            risk=Risk.DISRUPTIVE,
            needs_root=True,
            reboots=True,
            prediction="the GPU is then free for the nvidia module at boot",
        )
    return Remedy(
        summary=f"keep {driver} from loading, then reboot",
        commands=(
            f"echo blacklist {name} | sudo tee /etc/modprobe.d/blacklist-{name}.conf",
            rebuild,
            "sudo reboot",
        ),
        risk=Risk.DISRUPTIVE,
        needs_root=True,
        reboots=True,
        prediction="the GPU is then free for the nvidia module at boot",
    )
