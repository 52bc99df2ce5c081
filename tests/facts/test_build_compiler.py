"""Which compiler made a kernel, and which one a build of the driver's module would take."""

from __future__ import annotations

from typing import Any

import pytest

from nvdiag.engine import Facts
from nvdiag.facts.build_compiler import BuildCompiler
from nvdiag.host import Host
from nvdiag.model.unknown import NotApplicable, Unknown
from tests.scenarios import machines
from tests.scenarios.reboots import D40, D41, D_NEW, d_ko, debian, due, gcc
from tests.scenarios.tree import Tree

DEBIANS = "gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0"


def of(tree: Tree) -> BuildCompiler | Unknown:
    found = Facts({Host: tree.host()})[BuildCompiler]
    assert isinstance(found, (BuildCompiler, Unknown))
    return found


def built_here(*parts: Tree, made_by: str = DEBIANS) -> Tree:
    return debian(D_NEW, {D40: d_ko(D_NEW)}, due(D41, made_by), *parts, kernels=(D40, D41))


def test_the_compiler_that_the_kernel_names_is_taken_where_it_is_installed() -> None:
    found = of(built_here(gcc("13"), gcc("12")))
    assert isinstance(found, BuildCompiler)
    assert (found.taken, found.major, found.differs) == ("gcc-12", 12, False)


def said(version: str) -> dict[str, Any]:
    return {"gcc --version": {"exit": 0, "stdout": f"gcc {version}\nCopyright\n", "stderr": ""}}


@pytest.mark.parametrize(
    ("made_by", "here", "differs"),
    [
        ("gcc (GCC) 15.2.1 20250813 (Red Hat 15.2.1-1)", "(GCC) 15.2.1 20250813 (Red Hat 15.2.1-1)", False),
        ("gcc (GCC) 14.2.1 20250207", "(GCC) 15.2.1 20250813", True),
        ("gcc (GCC) 14.2.1 20250207", "of nobody", False),
    ],
)
def test_a_compiler_without_a_number_in_its_name_is_asked_for_its_version(
    made_by: str, here: str, differs: bool
) -> None:
    found = of(built_here(Tree(files={"/usr/bin/gcc": ""}, commands=said(here)), made_by=made_by))
    assert isinstance(found, BuildCompiler)
    assert found.differs is differs


def test_a_kernel_of_clang_is_not_built_for_by_gcc() -> None:
    found = of(built_here(gcc("13"), made_by="clang version 18.1.8 (Fedora 18.1.8-1.fc40)"))
    assert isinstance(found, BuildCompiler)
    assert found.taken == ""


@pytest.mark.parametrize(("ignored", "refuses"), [("", True), ("IGNORE_CC_MISMATCH=1 ", False)])
def test_the_drivers_own_check_counts_where_it_ends_the_build(ignored: str, refuses: bool) -> None:
    sources = f"/usr/src/nvidia-current-{D_NEW}"
    check = Tree(
        files={
            f"{sources}/conftest.sh": '                echo "*** Failed CC version check. Bailing out! ***";\n',
            f"{sources}/dkms.conf": f'MAKE[0]="{ignored}make modules"\n',
        }
    )
    found = of(machines.joined(built_here(gcc("13")), check))
    assert isinstance(found, BuildCompiler)
    assert bool(found.refused_by) is refuses


def test_the_running_kernel_tells_its_compiler_itself() -> None:
    tree = machines.joined(
        debian("535.216.03", {D40: d_ko("535.216.03")}),
        Tree(
            files={
                f"/var/lib/dkms/nvidia-current/{D_NEW}/build/nvidia.c": "",
                "/proc/version": f"Linux version {D40} (debian-kernel@lists.debian.org) ({DEBIANS}, GNU ld (GNU"
                " Binutils for Debian) 2.40) #1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1\n",
            }
        ),
        gcc("12"),
    )
    found = of(tree)
    assert isinstance(found, BuildCompiler)
    assert (found.made_by, found.source, found.differs) == (DEBIANS, "/proc/version", False)


def test_nobody_asks_where_the_module_was_built() -> None:
    tree = debian("535.216.03", {D40: d_ko(D_NEW)}, due(D41, DEBIANS))
    assert isinstance(of(tree), NotApplicable)
