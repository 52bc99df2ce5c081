"""Frameworks and their extensions: whether they have CUDA at all, and whether they are built for each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nvdiag.checks import _said
from nvdiag.engine import check
from nvdiag.facts.messages import Messages, Said
from nvdiag.model.finding import Confidence, Finding, FindingClass, Remedy
from nvdiag.model.unknown import NotApplicable


@check("framework-cpu-only")
def frameworks_have_cuda(messages: Messages) -> Iterator[Finding]:
    """The frameworks that a program uses are built with CUDA."""
    said = [one for one in messages.proving("framework-cpu-only") if not _superseded(one, messages)]
    if said:
        yield _said.finding(
            said,
            "framework-cpu-only",
            kind=FindingClass.APPLICATION,
            detail="Driver and GPU are not asked at all by such a build; whatever state they are in changes nothing.",
            remedies=_with_cuda(said),
            explains=frozenset({"framework-cuda-mismatch"}),
        )
        return
    fallen_back = messages.named("bnb-without-gpu")
    if not fallen_back or _another_cause(messages):
        raise NotApplicable("no message in the text tells of it")
    yield _said.finding(
        fallen_back,
        "framework-cpu-only",
        confidence=Confidence.POSSIBLE,
        kind=FindingClass.APPLICATION,
        detail="bitsandbytes takes its library for the CPU where PyTorch has no CUDA or sees no GPU, and where it"
        " brings no library for PyTorch's CUDA version.",
        remedies=(
            Remedy(
                summary="see whether PyTorch itself has CUDA, then what bitsandbytes says of its own",
                commands=(
                    'python -c "import torch; print(torch.__version__, torch.version.cuda, torch.cuda.is_available())"',
                    "python -m bitsandbytes",
                ),
            ),
        ),
    )


def _superseded(one: Said, messages: Messages) -> bool:
    """Whether the text shows the same package also as a build with CUDA: then it does not say which one is used."""
    if one.message.name != "cpu-wheel-version":
        return False
    package = _package(one) or "torch"
    return any(_package(other) == package for other in messages.named("cuda-wheel-version"))


def _package(one: Said) -> str:
    name = one.groups.get("package", "").lower()
    return "torch" if name == "pytorch" else name


def _another_cause(messages: Messages) -> bool:
    causes = ("framework-cuda-mismatch", "cuda-library-missing", "libcuda-missing", "no-cuda-device")
    return any(messages.proving(cause) for cause in causes) or bool(
        [one for one in messages.named("override-set") if one.groups.get("name") == "BNB_CUDA_VERSION"]
    )


_TORCH = Remedy(
    summary="install a build of PyTorch with CUDA, and torchvision and torchaudio of the same release with it",
    commands=(
        "python -m pip uninstall torch torchvision torchaudio",
        "python -m pip install torch torchvision torchaudio",
        'python -c "import torch; print(torch.__version__, torch.version.cuda)"',
    ),
    prediction="on Linux (x86-64) PyPI has the build with CUDA; on Windows and elsewhere take the command for CUDA that"
    " pytorch.org/get-started/locally shows. The last command must not print None",
)
_CONDA = Remedy(
    summary="let conda take a build with CUDA",
    commands=("conda remove cpuonly", 'conda install -c conda-forge "pytorch=*=*cuda*"'),
    prediction="conda takes the CPU's build where it sees no driver; CONDA_OVERRIDE_CUDA=12.8 makes it believe in one",
)
_JAX = Remedy(
    summary="install JAX with its CUDA plug-in",
    commands=('python -m pip install -U "jax[cuda12]"', 'python -c "import jax; print(jax.devices())"'),
    prediction="jax, jaxlib and the plug-in then are of one release; cuda13 instead of cuda12 where the driver is 580"
    " or newer",
)
_TENSORFLOW = Remedy(
    summary="install TensorFlow with its CUDA libraries",
    commands=(
        "python -m pip uninstall tensorflow tensorflow-cpu intel-tensorflow",
        'python -m pip install "tensorflow[and-cuda]"',
    ),
    prediction="TensorFlow for Windows itself has had no CUDA since 2.11: use WSL there",
)
_ONNXRUNTIME = Remedy(
    summary="replace onnxruntime by onnxruntime-gpu; the two overwrite each other's files",
    commands=(
        "python -m pip uninstall onnxruntime onnxruntime-gpu",
        "python -m pip install onnxruntime-gpu",
        'python -c "import onnxruntime; print(onnxruntime.get_available_providers())"',
    ),
    prediction="the last command names CUDAExecutionProvider",
)
_REBUILD = Remedy(
    summary="install the package's build for CUDA, or build it with CUDA switched on",
    prediction="the package's own installation page names that build, or the switch, such as -DWITH_CUDA=ON (OpenCV),"
    " -DUSE_CUDA=ON (LightGBM), FORCE_CUDA=1 (extensions of PyTorch)",
)
_WAYS = (
    ("torch", _TORCH),
    ("cpu-wheel", _TORCH),
    ("collect-env", _TORCH),
    ("xformers", _TORCH),
    ("extension-needs-cuda-torch", _TORCH),
    ("conda", _CONDA),
    ("jax", _JAX),
    ("tf", _TENSORFLOW),
    ("ort", _ONNXRUNTIME),
)


def _with_cuda(said: Sequence[Said]) -> tuple[Remedy, ...]:
    names = [one.message.name for one in said]
    ways = [way for prefix, way in _WAYS if any(name.startswith(prefix) for name in names)]
    return tuple({way.summary: way for way in ways}.values()) or (_REBUILD,)


@check("framework-cuda-mismatch")
def frameworks_fit_their_parts(messages: Messages) -> Iterator[Finding]:
    """Frameworks, their extensions and their plug-ins are built for each other and for one CUDA version."""
    said = messages.proving("framework-cuda-mismatch")
    others = _torch_family(messages) or _cupy(messages)
    if not said and not others:
        raise NotApplicable("no message in the text tells of it")
    names = [one.message.name for one in said]
    yield _said.finding(
        said or others,
        "framework-cuda-mismatch",
        title="" if said else _title(others),
        confidence=None if said else Confidence.LIKELY,
        kind=FindingClass.APPLICATION,
        detail="The driver is not at fault: a package is built for another release of its partner, or another CUDA.",
        remedies=_fitting([*names, *(one.message.name for one in others)]),
        explains=frozenset({"cuda-library-missing"} if "torchaudio-not-loadable" in names else ()),
        beside=_said.evidence(others) if said else (),
    )


def _torch_family(messages: Messages) -> tuple[Said, ...]:
    """The versions that name CUDA, where torchvision's or torchaudio's is not torch's."""
    versions = messages.named("cuda-wheel-version")
    tags: dict[str, set[str]] = {}
    for one in versions:
        tags.setdefault(_package(one), set()).add(one.groups["cuda"])
    torch = tags.get("torch", set())
    apart = {
        name for name, found in tags.items() if name != "torch" and len(found) == len(torch) == 1 and found != torch
    }
    return tuple(one for one in versions if _package(one) in {"torch", *apart}) if apart else ()


def _cupy(messages: Messages) -> tuple[Said, ...]:
    """CuPy packages for two CUDA majors, or one that does not load beside a PyTorch of another major."""
    packages = messages.named("cupy-package")
    majors = {one.groups["major"] for one in packages}
    if len(majors) > 1:
        return packages
    torch = {one.groups["cuda"][:2] for one in messages.named("cuda-wheel-version")}
    failed = messages.named("cupy-wrong-cuda")
    return (*failed, *packages) if failed and majors and torch and not majors & torch else ()


def _title(said: Sequence[Said]) -> str:
    return "; ".join(dict.fromkeys(one.told for one in said if one.message.name != "cupy-wrong-cuda"))


_WHOLE_FAMILY = Remedy(
    summary="install torch, torchvision and torchaudio together, so that they are of one release and one CUDA",
    commands=(
        "python -m pip uninstall torch torchvision torchaudio",
        "python -m pip install torch torchvision torchaudio",
    ),
    prediction="installed in one command they fit each other; where the program pins a torch, give that version",
)
_EXTENSION = Remedy(
    summary="install the extension's build for the PyTorch that is here, or build it against that",
    commands=(
        'python -c "import torch; print(torch.__version__, torch.version.cuda, torch.compiled_with_cxx11_abi())"',
        "python -m pip list",
    ),
    prediction="the version of the extension must name this PyTorch; pip install --no-build-isolation --no-cache-dir"
    " builds it anew",
)
_CUPY = Remedy(
    summary="leave one CuPy package, the one for the CUDA that is here",
    commands=(
        "python -m pip uninstall cupy cupy-cuda11x cupy-cuda12x cupy-cuda13x",
        "python -m pip install cupy-cuda12x",
        'python -c "import cupy; cupy.show_config()"',
    ),
    prediction="cupy-cuda12x suits every driver from 525 on, cupy-cuda13x those from 580 on",
)
_BITSANDBYTES = Remedy(
    summary="upgrade bitsandbytes: newer releases bring libraries for newer CUDA versions",
    commands=("python -m pip install -U bitsandbytes", "python -m bitsandbytes"),
    prediction="its release must know PyTorch's CUDA version; otherwise install a PyTorch for one that it knows",
)
_MATCHING = (
    ("jax", _JAX),
    ("pjrt", _JAX),
    ("cupy", _CUPY),
    ("bnb", _BITSANDBYTES),
    ("different-cuda", _WHOLE_FAMILY),
    ("torchvision", _WHOLE_FAMILY),
    ("torchaudio", _WHOLE_FAMILY),
    ("pip-wants", _WHOLE_FAMILY),
    ("cuda-wheel", _WHOLE_FAMILY),
    ("extension", _EXTENSION),
    ("torch-part", _EXTENSION),
    ("xformers", _EXTENSION),
)


def _fitting(names: Sequence[str]) -> tuple[Remedy, ...]:
    ways = [way for prefix, way in _MATCHING if any(name.startswith(prefix) for name in names)]
    return tuple({way.summary: way for way in ways}.values())
