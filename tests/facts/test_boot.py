"""Which kernel boots next: by GRUB's menu, by entries in files, by systemd-boot; and when that cannot be told."""

from __future__ import annotations

import pytest

from nvdiag.engine import Facts
from nvdiag.facts.boot import NextBootKernel, RootFilesystem
from nvdiag.facts.boot_entries import kernel_of, parse_entry, parse_grub_cfg
from nvdiag.facts.boot_extlinux import parse_extlinux
from nvdiag.facts.boot_grub import picked
from nvdiag.host import Host
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import KernelRelease
from tests.scenarios import machines
from tests.scenarios.booting import EFIVARS, LOADER, MACHINE_ID, bls, extlinux, grub, grub_cfg, machine, utf16
from tests.scenarios.reboots import A7, A_LTS, D40, D41, D_NEW, NEW, R42, R55, U85, U90, arch
from tests.scenarios.tree import Tree

UUID = "aaaaaaaa-1111-4222-8333-bbbbbbbbbbbb"


def following(tree: Tree) -> NextBootKernel | Unknown:
    found = Facts({Host: tree.host()})[NextBootKernel]
    assert isinstance(found, (NextBootKernel, Unknown))
    return found


def told(tree: Tree) -> tuple[str, str]:
    found = following(tree)
    assert isinstance(found, NextBootKernel), found
    return found.release.text, found.how


def ubuntu(default: str = "0", env: str = "") -> Tree:
    tree = machine("ubuntu", U85, NEW, NEW, grub((U90, U85), default=default))
    return tree.but(files={"/boot/grub/grubenv": f"# GRUB Environment Block\n{env}\n####"})


@pytest.mark.parametrize(
    ("default", "env", "kernel", "how"),
    [
        ("0", "", U90, "the first entry of /boot/grub/grub.cfg"),
        ("1>1", "", U85, "the default of /boot/grub/grub.cfg"),
        ("1>2", "", U90, "('1>2') is not in the menu, so the first entry"),
        ("Ubuntu", "", U90, "the default of /boot/grub/grub.cfg"),
        (f"Advanced options for Ubuntu>Ubuntu, with Linux {U85}", "", U85, "the default of"),
        (f"gnulinux-advanced-{UUID}>gnulinux-{U85}-advanced-{UUID}", "", U85, "the default of"),
        ("${saved_entry}", "", U90, "for none is saved"),
        ("${saved_entry}", f"saved_entry=gnulinux-advanced-{UUID}>gnulinux-{U85}-advanced-{UUID}", U85, "saved_entry"),
        ("${saved_entry}", "saved_entry=gnulinux-gone", U90, "is not in the menu, so the first entry"),
        ("0", "next_entry=1>1", U85, "grubenv's next_entry, for one boot"),
        ("0", "saved_entry=1>1", U90, "the first entry"),
    ],
)
def test_grubs_own_menu_and_environment_decide(default: str, env: str, kernel: str, how: str) -> None:
    release, rule = told(ubuntu(default, env))
    assert release == kernel
    assert how in rule


def test_the_command_line_and_the_initramfs_are_those_of_the_entry() -> None:
    found = following(ubuntu())
    assert isinstance(found, NextBootKernel)
    assert found.options == f"root=UUID={UUID} ro quiet"
    assert found.initramfs == f"/boot/initrd.img-{U90}"


def test_a_menu_that_was_not_made_anew_still_boots_the_old_kernel() -> None:
    tree = machine("ubuntu", U85, NEW, NEW, grub((U85,))).but(files={f"/boot/vmlinuz-{U90}": ""})
    assert told(tree)[0] == U85


def test_where_the_menu_may_not_be_read_the_rule_that_makes_it_is_taken() -> None:
    release, how = told(ubuntu().but(refused={"/boot/grub/grub.cfg": "EACCES"}))
    assert (release, how) == (U90, "the newest of 2 kernels, which GRUB_DEFAULT=0 takes")


@pytest.mark.parametrize(
    ("saved", "kernel"), [(R42, R42), (R55, R55), ("", R55), ("gone", R55)], ids=["old", "new", "none", "gone"]
)
def test_entries_in_files_are_sorted_and_picked_by_the_saved_one(saved: str, kernel: str) -> None:
    tree = machine("rocky", R42, NEW, NEW, bls((R55, R42), saved=saved))
    assert told(tree)[0] == kernel


def test_an_entrys_variables_are_no_command_line() -> None:
    entry = parse_entry(f"{MACHINE_ID}-{R42}.conf", f"linux /vmlinuz-{R42}\noptions $kernelopts $tuned_params\n")
    tree = machine("rocky", R42, NEW, NEW, bls((R55, R42), options="$kernelopts"))
    found = following(tree)
    assert entry.options == "$kernelopts $tuned_params"
    assert isinstance(found, NextBootKernel)
    assert found.options is None


def test_what_only_root_may_read_is_said_to_be_so() -> None:
    tree = machine("rocky", R42, NEW, NEW, bls((R55, R42))).but(
        refused=dict.fromkeys(("/boot/grub2/grub.cfg", "/boot/grub2/grubenv", "/boot/loader/entries"), "EACCES")
    )
    found = following(tree)
    assert isinstance(found, Unknown)
    assert "/boot/grub2/grubenv: permission denied" in str(found)


@pytest.mark.parametrize(
    ("variables", "configured", "kernel", "how"),
    [
        ({}, "arch.conf", A7, "the default in loader.conf"),
        ({}, "arch-lts*", A_LTS, "the default in loader.conf"),
        ({"LoaderEntryDefault": "arch-lts.conf"}, "arch.conf", A_LTS, "LoaderEntryDefault"),
        ({"LoaderEntryOneShot": "arch.conf", "LoaderEntryDefault": "arch-lts.conf"}, "", A7, "for one boot"),
        ({"LoaderEntryLastBooted": "arch-lts.conf"}, "@saved", A_LTS, "the default in loader.conf"),
    ],
)
def test_systemd_boot_goes_by_its_variables_and_then_by_its_configuration(
    variables: dict[str, str], configured: str, kernel: str, how: str
) -> None:
    tree = arch(NEW, default=configured).but(
        files={f"{EFIVARS}/{name}-{LOADER}": utf16(value) for name, value in variables.items()}
    )
    release, rule = told(tree)
    assert release == kernel
    assert how in rule


def test_a_kernel_without_a_release_in_its_name_is_told_by_its_package_where_its_image_may_not_be_read() -> None:
    tree = arch(NEW, default="arch-lts.conf").but(refused={"/boot/vmlinuz-linux-lts": "EACCES"})
    assert told(tree)[0] == A_LTS


def test_an_old_folder_of_modules_without_a_package_is_no_kernel() -> None:
    tree = arch(NEW, Tree(files=machines.modules_dep("/usr/lib/modules/6.16.5-arch1-1")), lts=False)
    assert told(tree) == (A7, "the only kernel in /lib/modules")


def test_unified_images_without_a_default_leave_it_open() -> None:
    from tests.host.archives import unified

    images = {f"/efi/EFI/Linux/{name}.efi": unified(one, "rw", b"") for name, one in (("a", A7), ("b", A_LTS))}
    tree = arch(NEW, Tree(images=images), default="").without("/boot/loader/entries", "/boot/loader/loader.conf")
    found = following(tree)
    assert isinstance(found, Unknown)
    assert "no default" in str(found)


def test_a_kernel_that_waits_for_kexec_leaves_it_open() -> None:
    assert "kexec" in str(following(ubuntu().but(files={"/sys/kernel/kexec_loaded": "1\n"})))
    assert told(ubuntu().but(files={"/sys/kernel/kexec_loaded": "0\n"}))[0] == U90


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ("overlay overlay rw,lowerdir=/l", "/ is an overlay"),
        ("tmpfs tmpfs rw", "does not last"),
        ("squashfs /dev/loop0 ro", "does not last"),
        ("nfs4 server:/root rw", "gives it its kernel"),
    ],
)
def test_a_root_that_does_not_last_leaves_it_open(mount: str, words: str) -> None:
    tree = ubuntu().but(files={"/proc/self/mountinfo": f"21 1 0:40 / / rw,relatime shared:1 - {mount}\n"})
    assert words in str(following(tree))


def test_a_root_in_a_subvolume_lasts() -> None:
    tree = ubuntu().but(files={"/proc/self/mountinfo": "21 1 0:40 /@ / rw shared:1 - btrfs /dev/sda2 rw,subvol=/@\n"})
    found = Facts({Host: tree.host()})[RootFilesystem]
    assert (found.kind, found.fleeting) == ("btrfs", "")


def test_in_a_container_the_boot_is_the_hosts() -> None:
    assert isinstance(following(machines.docker()), NotApplicable)


def test_quotes_and_signs_in_titles_are_read() -> None:
    text = grub_cfg((U90, U85), name="Bob'\\''s Linux > 1")
    menu = parse_grub_cfg(text)
    assert menu.entries[0].title == "Bob's Linux > 1"
    entry, exact = picked(menu.entries, "Bob's Linux >> 1")
    assert exact
    assert entry is not None
    assert kernel_of(Tree().host(), entry, ()) == KernelRelease(U90)


def without_line(tree: Tree, kernel: str) -> Tree:
    """GRUB's menu as update-grub makes it where a kernel has no initramfs: the entry has no such line."""
    menu = tree.files["/boot/grub/grub.cfg"].replace(f"\tinitrd\t/boot/initrd.img-{kernel}\n", "")
    return tree.without(f"/boot/initrd.img-{kernel}").but(files={"/boot/grub/grub.cfg": menu})


def test_a_kernel_without_an_initramfs_is_known_by_the_others_that_have_one() -> None:
    found = following(without_line(ubuntu(), U90))
    assert isinstance(found, NextBootKernel)
    assert (found.initramfs, found.without_initramfs) == (None, f"/boot/initrd.img-{U90}")


def test_no_initramfs_is_missed_where_no_kernel_has_one() -> None:
    found = following(without_line(without_line(ubuntu(), U90), U85))
    assert isinstance(found, NextBootKernel)
    assert (found.initramfs, found.without_initramfs) == (None, "")


@pytest.mark.parametrize("kernel", [U90, "6.12.9-custom"])
def test_a_kernel_that_runs_without_an_initramfs_or_is_of_another_make_needs_none(kernel: str) -> None:
    running = kernel if kernel == U90 else U85
    tree = machine("ubuntu", running, NEW, NEW, grub((kernel, U85)))
    found = following(without_line(tree, kernel))
    assert isinstance(found, NextBootKernel)
    assert (found.release.text, found.without_initramfs) == (kernel, "")


def test_no_initramfs_is_missed_of_a_system_on_another_disk() -> None:
    found = following(ubuntu().without(f"/boot/initrd.img-{U90}", f"/boot/vmlinuz-{U90}"))
    assert isinstance(found, NextBootKernel)
    assert found.without_initramfs == ""


@pytest.mark.parametrize(
    ("text", "default", "linux", "initrd"),
    [
        # Alpine: setup-bootable and update-extlinux
        (
            "DEFAULT menu.c32\nPROMPT 0\nMENU TITLE Alpine/Linux Boot Menu\nLABEL virt\n  MENU LABEL Linux virt\n"
            "  LINUX vmlinuz-virt\n  INITRD initramfs-virt\nLABEL lts\n  MENU DEFAULT\n  MENU LABEL Linux lts\n"
            "  LINUX vmlinuz-lts\n  INITRD initramfs-lts\n  APPEND root=UUID=1 quiet\n",
            "lts", "/boot/vmlinuz-lts", ("/boot/initramfs-lts",),
        ),
        # syslinux: initrd among the options, a path from the file's own folder
        (
            "default linux\nlabel linux\n\tkernel ../vmlinuz-6.1\n\tappend initrd=../initrd.img-6.1 root=/dev/sda1\n",
            "linux", "/vmlinuz-6.1", ("/initrd.img-6.1",),
        ),
    ],
)  # fmt: skip
def test_extlinux_names_its_default_in_two_ways(text: str, default: str, linux: str, initrd: tuple[str, ...]) -> None:
    entries, named = parse_extlinux(text, "/boot")
    entry = next(one for one in entries if one.id == named)
    assert (named, entry.linux, entry.initrd) == (default, linux, initrd)


def test_extlinux_with_a_default_that_is_no_label_is_not_guessed_at() -> None:
    tree = machine("debian", D40, D_NEW, D_NEW, extlinux((D41, D40), default="l7"))
    found = following(tree)
    assert isinstance(found, Unknown)
    assert "none of its labels" in str(found)
