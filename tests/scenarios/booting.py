"""Machines that are about to boot: kernels with their modules as real files, boot menus, firmware, keys.

Kernel modules are small ELF files with the .modinfo of a real nvidia.ko, signed or not, plain or compressed, and are
read by nvdiag's own readers. Layouts are those of facts about real distributions: where modules lie, how boot entries
look, what packages are called.
"""

from __future__ import annotations

import functools
import lzma
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nvdiag.facts import packages as package_facts
from nvdiag.host import modinfo
from tests.host import elves
from tests.host.archives import signature_list
from tests.scenarios import machines
from tests.scenarios.tree import Tree

DKMS_KEY = "DKMS module signing key"
EFIVARS = "/sys/firmware/efi/efivars"
SHIM = "605dab50-e046-4300-abb6-3dd810dd8b23"
LOADER = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
MACHINE_ID = "0123456789abcdef0123456789abcdef"


@functools.cache
def ko(release: str, kernel: str, suffix: str = "", *, flavour: str = "open", signer: str = "") -> bytes:
    """A kernel module file as the distributions install it: .ko, .ko.xz or .ko.zst, perhaps signed."""
    licence = "Dual MIT/GPL" if flavour == "open" else "NVIDIA"
    section = (
        f"firmware=nvidia/{release}/gsp_tu10x.bin\0license={licence}\0version={release}\0supported=external\0"
        f"alias=char-major-195-*\0srcversion=3B9F1DCE2B4B0A1E5D8C7A6\0depends=drm\0name=nvidia\0retpoline=Y\0"
        f"vermagic={kernel} SMP preempt mod_unload modversions \0"
    ).encode()
    data = b"".join(elves.module(section, before=2000, after=3000, signer=signer))
    match suffix:
        case ".xz":
            return lzma.compress(data, check=lzma.CHECK_CRC32)
        case ".zst":
            return bytes(modinfo._zstd().compress(data))
        case _:
            return data


def modules(kernel: str, files: Mapping[str, bytes], listed: Sequence[str] | None = None, folder: str = "/usr") -> Tree:
    """One kernel's modules; `listed` are those that modules.dep has, by default all."""
    root = f"{folder}/lib/modules/{kernel}"
    paths = tuple(files) if listed is None else tuple(listed)
    return Tree(
        files=machines.modules_dep(root, *paths), images={f"{root}/{path}": data for path, data in files.items()}
    )


def firmware(release: str, folder: str = "/usr/lib/firmware") -> Tree:
    """The GSP firmware of one release, and folders of chips that nouveau uses."""
    names = ("gsp_ga10x.bin", "gsp_tu10x.bin")
    return Tree(
        files={
            **{f"{folder}/nvidia/{release}/{name}": "" for name in names},
            f"{folder}/nvidia/ga102/gsp/bootloader-535.113.01.bin": "",
        }
    )


def grub_cfg(kernels: Sequence[str], *, default: str = "0", name: str = "Ubuntu", options: str = "ro quiet") -> str:
    """/boot/grub/grub.cfg as grub-mkconfig writes it: the newest kernel, and all of them in a submenu."""
    uuid = "aaaaaaaa-1111-4222-8333-bbbbbbbbbbbb"

    def body(kernel: str, indent: str) -> str:
        return (
            f"{indent}\tload_video\n{indent}\tinsmod gzio\n"
            f"{indent}\tif [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi\n"
            f"{indent}\tlinux\t/boot/vmlinuz-{kernel} root=UUID={uuid} {options}\n"
            f"{indent}\tinitrd\t/boot/initrd.img-{kernel}\n{indent}}}\n"
        )

    lines = (
        "set have_grubenv=true\nload_env\n"
        'if [ "${next_entry}" ] ; then\n   set default="${next_entry}"\n   set next_entry=\n   save_env next_entry\n'
        f'   set boot_once=true\nelse\n   set default="{default}"\nfi\n'
        'function savedefault {\n  if [ -z "${boot_once}" ]; then\n    save_env saved_entry\n  fi\n}\n'
        f"menuentry '{name}' --class ubuntu $menuentry_id_option 'gnulinux-simple-{uuid}' {{\n{body(kernels[0], '')}"
        f"submenu 'Advanced options for {name}' $menuentry_id_option 'gnulinux-advanced-{uuid}' {{\n"
    )
    for kernel in kernels:
        lines += (
            f"\tmenuentry '{name}, with Linux {kernel}' --class ubuntu $menuentry_id_option"
            f" 'gnulinux-{kernel}-advanced-{uuid}' {{\n{body(kernel, chr(9))}"
        )
    return lines + "}\nmenuentry 'UEFI Firmware Settings' $menuentry_id_option 'uefi-firmware' {\n\tfwsetup\n}\n"


def grub(kernels: Sequence[str], **options: str) -> Tree:
    """/boot with these kernels, the newest first, and GRUB's menu of them."""
    return Tree(
        files={
            **boot(kernels, "initrd.img-{}"),
            "/boot/grub/grub.cfg": grub_cfg(kernels, **options),
            "/boot/grub/grubenv": "# GRUB Environment Block\n" + "#" * 100,
            "/etc/default/grub": "GRUB_DEFAULT=0\n",
        }
    )


def extlinux(kernels: Sequence[str], *, default: str = "l0") -> Tree:
    """/boot of a machine that U-Boot starts, with the menu of u-boot-update: each kernel, and its rescue target."""
    text = f"## /boot/extlinux/extlinux.conf\n\ndefault {default}\nmenu title U-Boot menu\nprompt 0\ntimeout 50\n\n"
    for index, kernel in enumerate(kernels):
        body = f"\tlinux /boot/vmlinuz-{kernel}\n\tinitrd /boot/initrd.img-{kernel}\n"
        text += (
            f"label l{index}\n\tmenu label Debian GNU/Linux 12 (bookworm) {kernel}\n{body}"
            f"\tfdtdir /usr/lib/linux-image-{kernel}/\n\n\tappend root=UUID=1 ro quiet\n\n"
            f"label l{index}r\n\tmenu label Debian GNU/Linux 12 (bookworm) {kernel} (rescue target)\n{body}"
            "\tappend root=UUID=1 ro single\n\n"
        )
    return Tree(files={**boot(kernels, "initrd.img-{}"), "/boot/extlinux/extlinux.conf": text})


def boot(kernels: Sequence[str], initramfs: str) -> dict[str, str]:
    """The images in /boot."""
    return {f"/boot/{name}": "…" for kernel in kernels for name in (f"vmlinuz-{kernel}", initramfs.format(kernel))}


def bls(kernels: Sequence[str], *, saved: str = "", initramfs: str = "initramfs-{}.img", options: str = "ro") -> Tree:
    """/boot of RHEL or Fedora: entries in files, GRUB's blscfg, and grubenv."""
    entries = {
        f"/boot/loader/entries/{MACHINE_ID}-{kernel}.conf": (
            f"title Linux ({kernel})\nversion {kernel}\nlinux /vmlinuz-{kernel}\n"
            f"initrd /{initramfs.format(kernel)} $tuned_initrd\noptions root=UUID=1 {options}\n"
            "grub_users $grub_users\ngrub_class kernel\n"
        )
        for kernel in kernels
    }
    entries[f"/boot/loader/entries/{MACHINE_ID}-0-rescue.conf"] = (
        "title Linux (0-rescue)\nversion 0-rescue\nlinux /vmlinuz-0-rescue\ninitrd /initramfs-0-rescue.img\n"
        "options ro\n"
    )
    env = f"saved_entry={MACHINE_ID}-{saved}\n" if saved else ""
    return Tree(
        files={
            **boot(kernels, initramfs),
            **entries,
            "/boot/grub2/grub.cfg": (
                'set default="${saved_entry}"\nif [ "${next_entry}" ] ; then\n   set default="${next_entry}"\nelse\n'
                '   set default="${saved_entry}"\nfi\ninsmod blscfg\nblscfg\n'
            ),
            "/boot/grub2/grubenv": f"# GRUB Environment Block\n{env}menu_auto_hide=1\n" + "#" * 50,
            "/etc/default/grub": "GRUB_DEFAULT=saved\nGRUB_ENABLE_BLSCFG=true\n",
        }
    )


def utf16(text: str) -> str:
    """An EFI variable of the Boot Loader Interface, as a file that is read as text."""
    return "\x06\0\0\0" + "".join(f"{letter}\0" for letter in text) + "\0\0"


def secure_boot(*keys: str, lockdown: str = "none [integrity] confidentiality", pending: Sequence[str] = ()) -> Tree:
    """Secure Boot is on, the kernel is locked down, and these certificates are the machine owner's."""
    images = {f"{EFIVARS}/MokListRT-{SHIM}": signature_list("Debian Secure Boot CA", *keys)}
    if pending:
        images[f"{EFIVARS}/MokNew-{SHIM}"] = signature_list(*pending)
    return Tree(
        files={
            f"{EFIVARS}/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c": "\x06\0\0\0\x01",
            "/sys/kernel/security/lockdown": f"{lockdown}\n",
            "/sys/module/module/parameters/sig_enforce": "N\n",
        },
        images=images,
    )


def no_lockdown() -> Tree:
    """A kernel that asks for no signature, as most machines have it."""
    return Tree(
        files={
            "/sys/kernel/security/lockdown": "[none] integrity confidentiality\n",
            "/sys/module/module/parameters/sig_enforce": "N\n",
        }
    )


def packages(family: str, versions: Mapping[str, str]) -> Tree:
    """What the package manager lists."""
    commands: dict[str, Any] = {}
    if family in ("debian", "ubuntu"):
        commands = machines.dpkg(*(f"{name}={version}" for name, version in versions.items()))
    elif family == "arch":
        text = "".join(f"{name} {version}\n" for name, version in versions.items())
        commands = {"pacman -Q": {"exit": 0, "stdout": text, "stderr": ""}}
    else:
        text = "".join(f"ii {name} {version}\n" for name, version in versions.items())
        commands = {shlex.join(package_facts.RPM): {"exit": 0, "stdout": text, "stderr": ""}}
    return Tree(commands=commands)


LIBRARY_FOLDERS = {
    "debian": machines.MULTIARCH, "ubuntu": machines.MULTIARCH, "rocky": "/usr/lib64", "fedora": "/usr/lib64",
    "suse": "/usr/lib64", "arch": "/usr/lib",
}  # fmt: skip
RELEASES = {
    "debian": machines.DEBIAN_RELEASE, "ubuntu": machines.UBUNTU_RELEASE, "rocky": machines.ROCKY_RELEASE,
    "fedora": machines.FEDORA_RELEASE, "suse": machines.SUSE_RELEASE, "arch": machines.ARCH_RELEASE,
}  # fmt: skip


def machine(
    family: str, running: str, loaded: str | None, libraries: str | None, *parts: Tree, flavour: str = "open"
) -> Tree:
    """A machine of a distribution, with a kernel that runs, a loaded release and libraries, and what `parts` add."""
    lib64 = {"/lib64": "usr/lib64"} if LIBRARY_FOLDERS[family] == "/usr/lib64" else {}
    base = Tree(
        files={"/etc/os-release": RELEASES[family], "/proc/cmdline": f"BOOT_IMAGE=/vmlinuz-{running} ro quiet\n"},
        links={**machines.MERGED_USR, **lib64},
        probes=machines.probes(loaded, libraries),
    )
    side = machines.kernel_side(loaded, kernel=running, flavour=flavour)
    tree = machines.joined(side, base, no_lockdown(), *(replace(part) for part in parts))
    return machines.joined(tree, machines.library_files(libraries, LIBRARY_FOLDERS[family])) if libraries else tree
