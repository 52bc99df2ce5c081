"""The host's C++ compiler: nvcc takes gcc and clang up to some version, and understands their headers up to some."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from nvdiag.checks import _remedies, _said
from nvdiag.engine import check
from nvdiag.facts.host_compiler import HostCompiler
from nvdiag.facts.messages import Messages
from nvdiag.facts.system import Distribution, Family
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Layer, Remedy, Severity
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import CudaVersion

_ALLOW = Remedy(
    summary="nvcc's -allow-unsupported-compiler skips the check alone: the build may fail later, or the program be"
    " wrong",
)


@check("host-compiler-unsupported", area="cuda")
def the_host_compiler_suits_nvcc(messages: Messages, distribution: Distribution | Unknown) -> Iterator[Finding]:
    """nvcc takes the host compiler that it is given."""
    said = _said.about(messages, "host-compiler-unsupported")
    last = _said.group(said, "last").partition(".")[0]
    limit = int(last) if last else _limit_of(_said.group(said, "cuda"))
    yield _said.finding(
        said,
        "host-compiler-unsupported",
        title=f"the host's gcc is newer than {limit}, the last that this CUDA toolkit supports" if last else "",
        detail="nvcc leaves the host's part of a program to the system's C++ compiler and reads that compiler's and the"
        " C library's headers itself; each toolkit knows them up to some version.",
        kind=FindingClass.ENVIRONMENT,
        remedies=(
            Remedy(summary="compare the two", commands=("gcc --version; g++ --version", "nvcc --version")),
            *_older_compiler("gcc", limit, distribution),
            Remedy(
                summary="or build with a newer toolkit, whose release notes name this compiler",
                prediction="the driver must support that toolkit's CUDA version; where glibc's headers are the trouble,"
                " an older compiler does not help, and a newer toolkit or an older container image does",
            ),
            _ALLOW,
        ),
        explains=frozenset({"nvcc-not-found"}),
        layers=(Layer.TOOLKITS,),
    )


def _limit_of(cuda: str) -> int | None:
    """The highest gcc of a CUDA version that a message names, by the table; None where neither tells."""
    from nvdiag.knowledge.host_compilers import host_compilers

    version = CudaVersion.or_none(cuda)
    try:
        row = host_compilers(version) if version else None
    except Unknown:
        return None
    return row.gcc if row else None


@check("host-compiler-unsupported", area="cuda")
def nvccs_compiler_is_one_that_it_takes(
    compiler: HostCompiler, distribution: Distribution | Unknown
) -> Iterator[Finding]:
    """The compiler that nvcc will call is no newer than its own headers allow."""
    if compiler.version <= compiler.limit:
        return
    toolkit = compiler.toolkit
    cuda = f"CUDA {toolkit.version.short}" if toolkit.version else f"the toolkit at {toolkit.root}"
    name = f"{compiler.kind} {compiler.version}"
    yield Finding(
        id="host-compiler-unsupported",
        severity=Severity.ERROR if compiler.named else Severity.WARNING,
        confidence=Confidence.CERTAIN if compiler.named else Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        title=f"{compiler.wanted_by} gives nvcc {name}, and {cuda} takes {compiler.kind} up to {compiler.limit}"
        if compiler.named
        else f"the {compiler.kind} that nvcc calls is {compiler.version}, and {cuda} takes it up to {compiler.limit}",
        detail="nvcc leaves the host's part of a program to this compiler, and stops at its own headers"
        " (#error: unsupported version). Programs that are built already do not need it.",
        evidence=(
            Evidence(source=compiler.source, excerpt=compiler.told),
            Evidence(source=compiler.limit_source, excerpt=f"{compiler.kind} up to {compiler.limit}"),
            Evidence(source=toolkit.source, excerpt=toolkit.version.text if toolkit.version else "no version"),
            Evidence(source="wanted by", excerpt=compiler.wanted_by),
        ),
        remedies=(
            *(_use(path) for path in compiler.others[:1]),
            *(_older_compiler(compiler.kind, compiler.limit, distribution) if not compiler.others else ()),
            _newer_toolkit(compiler.kind, compiler.version),
            _ALLOW,
        ),
        layers=(Layer.TOOLKITS,),
    )


def _use(path: str) -> Remedy:
    program = shlex.quote(path)
    return Remedy(
        summary=f"let nvcc use {path}, which is here and which it takes",
        commands=(f"export CUDAHOSTCXX={program} NVCC_CCBIN={program}",),
        prediction="begin the build in an empty folder: CMake keeps the compiler that it found first; toolkits that do"
        f" not read NVCC_CCBIN want nvcc -ccbin {program}",
    )


def _newer_toolkit(kind: str, version: int) -> Remedy:
    from nvdiag.knowledge.host_compilers import first_that_takes, hosts

    row = first_that_takes(kind, version)
    which = f"CUDA {row.cuda} or newer" if row else f"one newer than CUDA {hosts()[-1].cuda}"
    return Remedy(
        summary=f"or build with a toolkit that takes {kind} {version}: {which}",
        prediction="several toolkits live side by side; the driver must support the CUDA version of this one",
    )


def _older_compiler(kind: str, limit: int | None, distribution: Distribution | Unknown) -> Iterator[Remedy]:
    """Another compiler beside the system's: without root by conda, else by this distribution's package."""
    version = limit or 12
    conda = "clangxx" if kind == "clang" else "gxx"
    stands = "" if limit else " (12 stands for a version that this toolkit supports)"
    yield Remedy(
        summary=f"without root: take {kind} {version} from conda{stands}",
        commands=(f"conda install -c conda-forge {conda}={version}", 'export NVCC_PREPEND_FLAGS="-ccbin $CXX"'),
        prediction="its activation sets CC and CXX; begin the build in an empty folder",
    )
    install, folder = _install(kind, version, distribution)
    if not install:
        return
    suffix = "" if folder else f"-{version}"
    cc, cxx = (f"{folder}{name}{suffix}" for name in (("clang", "clang++") if kind == "clang" else ("gcc", "g++")))
    yield Remedy(
        summary=f"install {kind} {version} beside the system's and let nvcc use it{stands}",
        commands=(
            install,
            f"export CC={cc} CXX={cxx} CUDAHOSTCXX={cxx}",
            f"export NVCC_PREPEND_FLAGS='-ccbin {cxx}'",
        ),
        needs_root=True,
        prediction="begin the build in an empty folder: CMake keeps the compiler that it found first",
    )


def _install(kind: str, version: int, distribution: Distribution | Unknown) -> tuple[str, str]:
    """The command of this distribution, and the folder of its compilers where they are not on PATH by their number."""
    family = _remedies.family(distribution)
    if family in (Family.DEBIAN, Family.UBUNTU, Family.OTHER):
        return f"sudo apt install {f'gcc-{version} g++-{version}' if kind == 'gcc' else f'clang-{version}'}", ""
    if kind == "clang":
        return "", ""
    match family:
        case Family.RHEL:
            return f"sudo dnf install gcc-toolset-{version}", f"/opt/rh/gcc-toolset-{version}/root/usr/bin/"
        case Family.FEDORA:
            return f"sudo dnf install gcc{version} gcc{version}-c++", ""
        case Family.SUSE:
            return f"sudo zypper install gcc{version}-c++", ""
        case Family.ARCH:
            return f"sudo pacman -S gcc{version}", ""
        case _:
            return "", ""
