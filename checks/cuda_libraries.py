"""What ld.so and frameworks say of CUDA's libraries: missing, or another copy than the one that was built against."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from nvdiag.checks import _said, _wheel_ways
from nvdiag.engine import check
from nvdiag.facts.cuda_sonames import WHEELS
from nvdiag.facts.loader_words import OpenedLibraries, cuda_major
from nvdiag.facts.messages import Messages, Said
from nvdiag.facts.python_packages import PythonPackages, TorchBuild
from nvdiag.model.finding import Finding, FindingClass, Layer, Remedy
from nvdiag.model.text import listed
from nvdiag.model.unknown import NotApplicable, Unknown

_NAMES = ("library", "ldd", "needed", "wanted", "dlopened", "ct2", "under", "loaded", "other")
_MOST_NAMED = 5

_SONAME_OF_12 = {"cufft": "11", "curand": "10", "cusolver": "11", "nvToolsExt": "1", "cufile": "0"}
"""Numbers in the sonames of CUDA 12 where they are not 12."""


def _libraries(said: Sequence[Said]) -> list[str]:
    """The libraries that the messages name, each once."""
    named = (one.groups[name].rpartition("/")[2] for one in said for name in _NAMES if one.groups.get(name))
    return list(dict.fromkeys(named))


def _parts(library: str) -> tuple[str, str]:
    """The name and the first number of a soname: `cublas` and `12` of libcublas.so.12."""
    found = re.match(r"lib([\w-]+?)(?:-[0-9a-f]{6,10})?\.so(?:\.(\d+))?", library)
    return (found[1], found[2] or "") if found else (library, "")


def _shown(libraries: Sequence[str]) -> str:
    more = [f"{len(libraries) - _MOST_NAMED} more"] if len(libraries) > _MOST_NAMED else []
    return listed([*libraries[:_MOST_NAMED], *more])


@check("cuda-library-missing", area="libraries")
def programs_find_cudas_libraries(messages: Messages, opened: OpenedLibraries | Unknown) -> Iterator[Finding]:
    """No program and no linker looks for a CUDA library in vain."""
    foreign = {(one.source, one.line) for one in _of_another_major(messages, opened)}
    said = tuple(one for one in _said.about(messages, "cuda-library-missing") if (one.source, one.line) not in foreign)
    if not said:
        raise NotApplicable("the library that is missing is one that another copy of a library asks for")
    named = tuple(one for one in said if one.message.name != "tf-some-libraries")
    if not named and (foreign or messages.proving("cudnn-mismatch") or messages.proving("cuda-library-shadowed")):
        raise NotApplicable("the library that TensorFlow does not find is named by another message")
    libraries = _libraries(said)
    at_link = all(one.message.name == "link-cuda-library" for one in said)
    yield _said.finding(
        named or said,
        "cuda-library-missing",
        title=_missing_title(libraries, at_link),
        detail="It is of the CUDA toolkit or of the framework's own wheels, not of the driver. The number in its name"
        " must be the one that the program was built for; another version beside it does not help.",
        kind=FindingClass.ENVIRONMENT,
        remedies=_at_link() if at_link else find_or_install(libraries),
        explains=frozenset({"no-cuda-device", "gpu-init-failed"})
        | (frozenset({"cudnn-mismatch"}) if _only_missing(messages) else frozenset()),
        layers=(Layer.TOOLKITS,),
    )


def _of_another_major(messages: Messages, opened: OpenedLibraries | Unknown) -> tuple[Said, ...]:
    """Libraries that are missing for another library, and of another CUDA major than those that the program opens.

    The library that asks for them is then one of another toolkit: libcusolver.so.11 is a name in CUDA 11 and 12.
    """
    if isinstance(opened, Unknown):
        return ()
    majors = {cuda_major(name) for name in opened.names} - {None}
    said = messages.named("ld-needed-by-another")
    return tuple(one for one in said if majors and cuda_major(one.groups["needed"]) not in {None, *majors})


def _missing_title(libraries: Sequence[str], at_link: bool) -> str:
    if not libraries:
        return ""
    verb = "is" if len(libraries) == 1 else "are"
    return f"{_shown(libraries)} {verb} not found by the {'linker' if at_link else 'loader'}"


def _only_missing(messages: Messages) -> bool:
    """Whether cuDNN's libraries are merely missing too: the whole set is then."""
    return all(
        one.message.name in ("ld-cudnn-missing", "cudnn-dll-missing") for one in messages.proving("cudnn-mismatch")
    )


def _at_link() -> tuple[Remedy, ...]:
    return (
        Remedy(
            summary="tell the linker of the toolkit's folder",
            commands=("ls /usr/local/cuda/lib64", "export LIBRARY_PATH=/usr/local/cuda/lib64:$LIBRARY_PATH"),
        ),
        Remedy(
            summary="where it is not there, install the toolkit's development files of that version",
            prediction="cuda-libraries-dev-12-8 and cuda-cudart-dev-12-8 and their like from NVIDIA's repository, or"
            " the image whose tag has devel",
        ),
    )


def find_or_install(libraries: Sequence[str]) -> tuple[Remedy, ...]:
    """How to have CUDA libraries of these sonames: found here, told to the loader, installed beside the others."""
    stem = _parts(libraries[0])[0] if libraries else "cudart"
    wheels = list(dict.fromkeys(wheel for library in libraries if (wheel := _wheel(library))))
    return (
        Remedy(
            summary="see whether it is here, in which version, and whether the loader knows the folder",
            commands=(
                f"ldconfig -p | grep lib{stem}",
                f"find / -xdev -name 'lib{stem}.so*' -not -path '/proc/*' 2>/dev/null",
            ),
        ),
        Remedy(
            summary="where it is here, tell the loader of its folder",
            commands=("export LD_LIBRARY_PATH=/usr/local/cuda/lib64:$LD_LIBRARY_PATH",),
            prediction="/usr/local/cuda/lib64 stands for the folder that was found; for good: a file in"
            " /etc/ld.so.conf.d, then sudo ldconfig",
        ),
        Remedy(
            summary="where it is not, install that version beside the others, without root as wheels",
            commands=(f"python3 -m pip install {' '.join(wheels)}",) if wheels else (),
            prediction="or cuda-libraries-12-8 and its like from NVIDIA's repository; or take a build of the program"
            " for the CUDA version that is here",
        ),
    )


def _wheel(library: str) -> str | None:
    """The wheel that carries a library of CUDA 11 or 12; those of CUDA 13 have no number in their names."""
    name, number = _parts(library)
    wheel = WHEELS.get(name)
    if wheel is None:
        return None
    if number in ("12", _SONAME_OF_12.get(name)):
        return f"nvidia-{wheel}-cu12"
    if number == "11":
        return f"nvidia-{wheel}-cu11"
    return f"nvidia-{wheel}" if number == "13" else None


@check("cuda-library-shadowed", area="libraries")
def programs_get_the_cuda_libraries_that_they_were_built_for(
    messages: Messages, opened: OpenedLibraries | Unknown
) -> Iterator[Finding]:
    """No program gets another copy of a CUDA library than the one that it was built for."""
    foreign = _of_another_major(messages, opened)
    said = (*messages.proving("cuda-library-shadowed"), *foreign)
    if not said:
        raise NotApplicable("no message in the text tells of it")
    yield _said.finding(
        said,
        "cuda-library-shadowed",
        title=_another_majors(foreign[0]) if len(said) == len(foreign) else "",
        detail="Two copies are here, and the wrong one is loaded first: a toolkit in LD_LIBRARY_PATH before a"
        " framework's own wheels, or wheels of different versions.",
        kind=FindingClass.ENVIRONMENT,
        remedies=(
            Remedy(
                summary="try without LD_LIBRARY_PATH; if that helps, take the toolkit's folder out of it",
                commands=("env -u LD_LIBRARY_PATH python3 -c 'import torch; print(torch.version.cuda)'",),
                prediction="PyTorch's and JAX's wheels find their own libraries without it",
            ),
            Remedy(
                summary="see which copy is taken, and by which rule",
                commands=("LD_DEBUG=libs python3 -c 'import torch' 2>&1 | grep -E 'calling init.*(cu|nv)'",),
            ),
            Remedy(
                summary="bring the framework's wheels to one set again, in an environment of its own",
                commands=("python3 -m pip list | grep -i nvidia", "python3 -m pip check"),
                prediction="installing the framework again with --force-reinstall brings the versions that it was"
                " built with",
            ),
        ),
        explains=frozenset({"no-cuda-device", "gpu-init-failed"}),
        layers=(Layer.TOOLKITS,),
    )


def _another_majors(one: Said) -> str:
    needed = one.groups["needed"]
    return f"the {one.groups['by']} that was found is one of CUDA {cuda_major(needed)}: it asks for {needed}"


_SOME_CUDNN = Remedy(
    summary="install the version that the program was built against, for its CUDA major",
    commands=("python3 -m pip install --upgrade nvidia-cudnn-cu12",),
    prediction="add ==8.9.* or ==9.* where the message names the major version; nvidia-cudnn-cu11 and -cu13 are for"
    " CUDA 11 and 13; apt's names are libcudnn8 and libcudnn9-cuda-12",
)


def _cudnn_asked_for(said: Sequence[Said], libraries: Sequence[str]) -> str:
    """The first number of the cuDNN that a message asks for: of what was built against, or of a soname."""
    built = re.search(r"\d{1,2}", _said.group(said, "built"))
    named = next((number for library in libraries if (number := _parts(library)[1])), "")
    number = built[0] if built else named
    return number if number in ("8", "9") else ""


@check("cudnn-mismatch", area="libraries")
def programs_get_a_cudnn_that_fits(
    messages: Messages, torch: TorchBuild | Unknown, packages: PythonPackages | Unknown
) -> Iterator[Finding]:
    """cuDNN is there, of the version that was built against, and its parts are of one version."""
    said = _said.about(messages, "cudnn-mismatch")
    missing = all(one.message.name in ("ld-cudnn-missing", "cudnn-dll-missing", "link-cudnn") for one in said)
    libraries = _libraries(said)
    yield _said.finding(
        said,
        "cudnn-mismatch",
        title=_missing_title(libraries, at_link=False) if missing and libraries else "",
        detail="cuDNN is installed apart from driver and toolkit. Its major version must be the one that the program"
        " was built for, and it must be for the same CUDA major; all of its parts must be of one version.",
        kind=FindingClass.ENVIRONMENT,
        remedies=(
            Remedy(
                summary="see which copies are here",
                commands=(
                    "python3 -m pip list | grep -i cudnn",
                    "ldconfig -p | grep libcudnn",
                    "echo \"$LD_LIBRARY_PATH\" | tr ':' '\\n'",
                ),
            ),
            Remedy(
                summary="try without LD_LIBRARY_PATH: frameworks' wheels bring their own cuDNN",
                commands=("env -u LD_LIBRARY_PATH PROGRAM",),
                prediction="helps where a copy of the system or of conda comes before the wheel's",
            ),
            *(tuple(_wheel_ways.wheel("cudnn", _cudnn_asked_for(said, libraries), torch, packages)) or (_SOME_CUDNN,)),
        ),
        explains=frozenset({"no-cuda-device"}),
        layers=(Layer.TOOLKITS,),
    )


@check("nccl-mismatch", area="libraries")
def one_nccl_is_used(
    messages: Messages, torch: TorchBuild | Unknown, packages: PythonPackages | Unknown
) -> Iterator[Finding]:
    """NCCL is there, and all that use it get the version that they were built against."""
    said = _said.about(messages, "nccl-mismatch")
    yield _said.finding(
        said,
        "nccl-mismatch",
        detail="Two copies of NCCL meet: the framework's wheel, the system's package, another one in LD_LIBRARY_PATH or"
        " LD_PRELOAD, or another one on the other node. All must be of one version and one CUDA major.",
        kind=FindingClass.ENVIRONMENT,
        remedies=(
            Remedy(
                summary="see which copies are here, on each node",
                commands=(
                    "python3 -c 'import torch; print(torch.version.cuda, torch.cuda.nccl.version())'",
                    "python3 -m pip list | grep -i nccl",
                    "ldconfig -p | grep libnccl",
                    "env | grep -E 'LD_PRELOAD|LD_LIBRARY_PATH|NCCL'",
                ),
            ),
            Remedy(
                summary="try without LD_LIBRARY_PATH and LD_PRELOAD, so that the framework's own copy is taken",
                commands=("env -u LD_LIBRARY_PATH -u LD_PRELOAD PROGRAM",),
            ),
            Remedy(
                summary="install the version that the framework asks for, the same on every node",
                commands=("python3 -m pip check", "python3 -m pip install nvidia-nccl-cu12"),
                prediction="the framework's requirements name the exact version (nvidia-nccl-cu12==…)",
            ),
            *_wheel_ways.wheel("nccl", "", torch, packages),
        ),
        layers=(Layer.TOOLKITS,),
    )
