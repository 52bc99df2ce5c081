"""What ld.so, linkers and programs say of the driver's own libraries: absent, stubs, of another release, incomplete."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nvdiag.checks import _said
from nvdiag.engine import check
from nvdiag.facts.messages import Messages, Said
from nvdiag.model.finding import Finding, FindingClass, Layer, Remedy
from nvdiag.model.unknown import NotApplicable

_SEE_COPIES = Remedy(
    summary="see which copies there are, and what leads the loader to them",
    commands=(
        "ldconfig -p | grep -E 'libcuda[.]so|libnvidia-ml[.]so'",
        "echo \"$LD_LIBRARY_PATH\" | tr ':' '\\n'",
        "cat /proc/driver/nvidia/version",
    ),
)

_IN_A_CONTAINER = Remedy(
    summary="in a container the library comes from the host when the container starts: start it with GPUs",
    commands=("docker run --rm --gpus all IMAGE nvidia-smi",),
)

_SILENT = frozenset({"no-cuda-device", "gpu-init-failed"})


def _library_package(library: str, debian: str) -> Remedy:
    return Remedy(
        summary=f"on a host with a driver: install the package of the driver's own release that has {library}",
        commands=(f"apt-cache search {debian}", "sudo ldconfig"),
        needs_root=True,
        prediction=f"{debian}-BRANCH on Ubuntu, nvidia-utils on Arch, xorg-x11-drv-nvidia-cuda-libs with RPM Fusion,"
        " nvidia-driver-cuda-libs on RHEL's family, nvidia-compute-G06 on SUSE; never copy it from another machine",
    )


@check("libcuda-missing", area="libraries")
def programs_find_libcuda(messages: Messages) -> Iterator[Finding]:
    """No program and no linker looks for libcuda in vain."""
    said = _said.about(messages, "libcuda-missing")
    at_link = all(one.message.name == "link-libcuda-missing" for one in said)
    yield _said.finding(
        said,
        "libcuda-missing",
        detail=(
            "Linking needs the name libcuda.so. The driver's package for running has libcuda.so.1 alone; the toolkit"
            " has a stub for the linker."
            if at_link
            else "libcuda.so.1 is the driver's library for CUDA. No toolkit and no wheel brings it."
        ),
        remedies=(_LINK_WITH_STUBS, _SEE_COPIES)
        if at_link
        else (_SEE_COPIES, _IN_A_CONTAINER, *_make_link(said), _library_package("libcuda.so.1", "libnvidia-compute")),
        explains=_SILENT | {"driver-too-old-for-cuda", "driver-library-incomplete"},
        layers=(Layer.LIBCUDA,),
    )


_LINK_WITH_STUBS = Remedy(
    summary="let the linker, and nothing else, use the toolkit's stub",
    commands=("export LIBRARY_PATH=/usr/local/cuda/lib64/stubs:$LIBRARY_PATH",),
    prediction="a program that is linked so takes the driver's own libcuda.so.1 when it runs; never put the folder"
    " into LD_LIBRARY_PATH",
)


def _make_link(said: Sequence[Said]) -> tuple[Remedy, ...]:
    """Triton and some others want the name libcuda.so, or the loader's cache to know it."""
    if not any("cannot found" in one.text for one in said):
        return ()
    return (
        Remedy(
            summary="Triton goes by the loader's cache: refresh it, or name the folder that has libcuda.so.1",
            commands=("sudo ldconfig", "export TRITON_LIBCUDA_PATH=/usr/lib/x86_64-linux-gnu"),
            needs_root=True,
        ),
    )


@check("nvml-library-missing", area="libraries")
def programs_find_nvml(messages: Messages) -> Iterator[Finding]:
    """No program looks for libnvidia-ml in vain."""
    said = _said.about(messages, "nvml-library-missing")
    yield _said.finding(
        said,
        "nvml-library-missing",
        detail="nvidia-smi and all that asks NVML need libnvidia-ml.so.1, which is the driver's.",
        remedies=(_SEE_COPIES, _IN_A_CONTAINER, _library_package("libnvidia-ml.so.1", "libnvidia-compute")),
        explains=frozenset({"gpu-init-failed"}),
        layers=(Layer.NVML,),
    )


def _without_stubs(library: str) -> tuple[Remedy, ...]:
    return (
        _SEE_COPIES,
        Remedy(
            summary="take the folder of stubs out of LD_LIBRARY_PATH: it is for the linker alone",
            commands=(
                "export LD_LIBRARY_PATH=$(echo \"$LD_LIBRARY_PATH\" | tr ':' '\\n' | grep -v stubs | paste -sd: -)",
            ),
            prediction=f"the loader then takes the driver's {library}, if there is one",
        ),
        Remedy(
            summary="take it out of the loader's configuration, and remove links that lead to it",
            commands=("grep -rn stubs /etc/ld.so.conf /etc/ld.so.conf.d", "sudo ldconfig"),
            needs_root=True,
        ),
        _IN_A_CONTAINER,
    )


@check("nvml-stub-loaded", area="libraries")
def no_program_gets_nvmls_stub(messages: Messages) -> Iterator[Finding]:
    """No program gets the toolkit's stub in place of libnvidia-ml."""
    said = _said.about(messages, "nvml-stub-loaded")
    yield _said.finding(
        said,
        "nvml-stub-loaded",
        detail="The stub has no driver behind it; every call of NVML fails with it.",
        remedies=_without_stubs("libnvidia-ml.so.1"),
        explains=_SILENT | {"nvml-library-missing"},
        layers=(Layer.NVML,),
    )


@check("libcuda-stub-loaded", area="libraries")
def no_program_gets_libcudas_stub(messages: Messages) -> Iterator[Finding]:
    """No program gets the toolkit's stub in place of libcuda."""
    said = _said.about(messages, "libcuda-stub-loaded")
    yield _said.finding(
        said,
        "libcuda-stub-loaded",
        detail="The stub has no driver behind it; every CUDA program fails with it.",
        remedies=_without_stubs("libcuda.so.1"),
        explains=_SILENT | {"driver-too-old-for-cuda", "libcuda-missing"},
        layers=(Layer.LIBCUDA,),
    )


def _only_where_nvml_fits(messages: Messages) -> None:
    """Where NVML refuses the module too, the whole set of libraries is of another release, not libcuda alone."""
    for identifier in ("driver-library-mismatch", "container-library-mismatch"):
        if messages.proving(identifier):
            raise NotApplicable(f"NVML does not fit the module either, which {identifier} is about")


@check("libcuda-mismatch", area="libraries")
def no_program_meets_a_libcuda_of_another_release(messages: Messages) -> Iterator[Finding]:
    """No program gets a libcuda of another release than the kernel module."""
    said = _said.about(messages, "libcuda-mismatch")
    _only_where_nvml_fits(messages)
    yield _said.finding(
        said,
        "libcuda-mismatch",
        detail="Where nvidia-smi works, another libcuda is found before the driver's own: a copy, or cuda-compat that"
        " is older than the driver by now. Where it reports a mismatch too, the driver was upgraded and not reloaded.",
        remedies=(_SEE_COPIES, _without_compat(), _IN_A_CONTAINER),
        explains=_SILENT,
        layers=(Layer.LOADED_MODULE, Layer.LIBCUDA),
    )


def _without_compat() -> Remedy:
    return Remedy(
        summary="try without LD_LIBRARY_PATH; if that helps, take the folder (often one named compat) out of it",
        commands=("env -u LD_LIBRARY_PATH PROGRAM", "grep -rn compat /etc/ld.so.conf.d"),
        prediction="the loader then takes the driver's own libcuda.so.1",
    )


@check("cuda-compat-unsupported", area="libraries")
def forward_compatibility_is_used_where_it_may_be(messages: Messages) -> Iterator[Finding]:
    """cuda-compat is used only on GPUs that may use it."""
    said = _said.about(messages, "cuda-compat-unsupported")
    _only_where_nvml_fits(messages)
    yield _said.finding(
        said,
        "cuda-compat-unsupported",
        detail="A libcuda that is newer than the kernel module runs on data-center GPUs alone. It comes from a"
        " cuda-compat package or an image that has one, or from a driver that was upgraded and not reloaded.",
        kind=FindingClass.ENVIRONMENT,
        remedies=(
            _SEE_COPIES,
            _without_compat(),
            Remedy(
                summary="use an image or a build of the CUDA version that the driver supports by itself",
                commands=("nvidia-smi | grep 'CUDA Version'",),
            ),
            Remedy(
                summary="update the driver, then reboot: cuda-compat is then not needed",
                needs_root=True,
                reboots=True,
            ),
        ),
        explains=_SILENT | {"libcuda-mismatch"},
        layers=(Layer.LIBCUDA,),
    )


@check("driver-library-incomplete", area="libraries")
def the_drivers_libraries_are_complete(messages: Messages) -> Iterator[Finding]:
    """libcuda finds the driver's other libraries, of its own release."""
    said = _said.about(messages, "driver-library-incomplete")
    yield _said.finding(
        said,
        "driver-library-incomplete",
        detail="libcuda loads further libraries of its own release when it is used, to compile PTX above all. The"
        " driver's set of files is not complete, or not of one release.",
        remedies=COMPLETE_LIBRARIES,
        explains=frozenset({"no-cuda-device", "ptx-newer-than-driver"}),
        layers=(Layer.LIBCUDA,),
    )


COMPLETE_LIBRARIES = (
    Remedy(
        summary="compare the releases of the driver's libraries",
        commands=("ldconfig -p | grep -E 'libcuda[.]so|libnvidia-(ptxjitcompiler|nvvm|gpucomp|ml)'",),
    ),
    Remedy(
        summary="in a container ask for the capability compute, and start it anew",
        commands=("docker run --rm --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility IMAGE nvidia-smi",),
    ),
    Remedy(
        summary="on a host install the package again that has libcuda.so.1 (libnvidia-compute-BRANCH on Ubuntu,"
        " libnvidia-ptxjitcompiler1 on Debian)",
        commands=("dpkg -S libcuda.so.1 || rpm -qf /usr/lib64/libcuda.so.1", "sudo ldconfig"),
        needs_root=True,
    ),
)
