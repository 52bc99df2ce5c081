"""What the loader takes of CUDA's libraries for PyTorch in an environment, and what of it cannot work."""

from __future__ import annotations

import json
import re

import pytest

from nvdiag.engine import Facts
from nvdiag.facts.cuda_libraries import CudaLibraries
from nvdiag.facts.cuda_sonames import is_cudas
from nvdiag.facts.loader import PRELOADED
from nvdiag.facts.wheel_pins import parse_lowest
from nvdiag.host import Host
from nvdiag.host.record import RecordingHost
from nvdiag.host.redact import redacted
from nvdiag.host.snapshot import SnapshotHost
from nvdiag.model.finding import Confidence, Severity
from nvdiag.model.unknown import NotApplicable
from tests.checks.diagnosing import diagnosed, first, ids
from tests.report.reporting import as_document
from tests.scenarios import machines
from tests.scenarios.pythons import (
    PRELOADING_ALL,
    container,
    fatbin,
    jax,
    library,
    onnxruntime,
    package,
    site,
    tensorflow,
    torch,
    torch_with_cuda,
    venv,
    wheel,
)
from tests.scenarios.tree import Tree

NEW = "570.172.08"
WELL = machines.ubuntu_dkms(NEW, NEW, NEW)
OLD = "/usr/local/cuda-12.1/lib64"
ELSEWHERE = "/opt/other/lib/python3.12/site-packages"


def with_torch(*others: Tree, **options: object) -> Tree:
    return machines.joined(WELL, venv(torch_with_cuda(**options)), *others)  # type: ignore[arg-type]


def toolkit(soname: str, release: str) -> Tree:
    """A library of a toolkit, which LD_LIBRARY_PATH leads to."""
    return Tree(
        libraries={f"{OLD}/{release}": 5_000_000}, links={f"{OLD}/{soname}": release}, env={"LD_LIBRARY_PATH": OLD}
    )


def picture(machine: Tree) -> CudaLibraries:
    found = Facts({Host: machine.host()})[CudaLibraries]
    assert isinstance(found, CudaLibraries), found
    return found


NVJITLINK = toolkit("libnvJitLink.so.12", "libnvJitLink.so.12.1.105")


def test_pytorch_gets_its_wheels_libraries_by_its_own_rpath() -> None:
    found = picture(with_torch())
    cudnn = found.libraries["libcudnn.so.9"]
    assert found.program == "torch 2.8.0+cu128"
    assert cudnn.taken is not None
    assert (cudnn.taken.path, str(cudnn.taken.version)) == (f"{site()}/nvidia/cudnn/lib/libcudnn.so.9", "9.10.2.21")
    assert cudnn.rule == f"DT_RPATH of {site()}/torch/lib/libtorch_python.so"
    assert found.libraries["libnvJitLink.so.12"].rule == f"DT_RUNPATH of {site()}/nvidia/cusparse/lib/libcusparse.so.12"
    assert str(found.libraries["libnccl.so.2"].wanted) == "2.27.3"
    assert ids(with_torch()) == []


def test_a_toolkits_libraries_in_ld_library_path_do_not_come_before_an_rpath() -> None:
    machine = with_torch(toolkit("libcublas.so.12", "libcublas.so.12.1.3.1"))
    cublas = picture(machine).libraries["libcublas.so.12"]
    assert cublas.taken is not None
    assert str(cublas.taken.version) == "12.8.4.1"
    assert [(one.path, str(one.version)) for one in cublas.others] == [(f"{OLD}/libcublas.so.12", "12.1.3.1")]
    assert ids(machine) == []


def test_an_old_nvjitlink_in_ld_library_path_comes_before_cusparses_runpath() -> None:
    found = first(with_torch(NVJITLINK, preloads=False))
    assert (found.id, found.severity, found.subject) == (
        "cuda-library-shadowed", Severity.ERROR, "libnvJitLink.so.12",
    )  # fmt: skip
    assert f"gets libnvJitLink.so.12 of 12.1.105 from {OLD}" in found.title
    assert found.remedies[0].commands[0].startswith("env -u LD_LIBRARY_PATH /srv/app/.venv/bin/python ")


def test_a_pytorch_that_loads_nvjitlink_by_its_path_is_not_hurt_by_it() -> None:
    assert ids(with_torch(NVJITLINK)) == []


def test_cudnns_parts_in_ld_library_path_come_before_those_beside_it() -> None:
    old = wheel("cudnn", "9.1.0.70", at=ELSEWHERE).but(env={"LD_LIBRARY_PATH": f"{ELSEWHERE}/nvidia/cudnn/lib"})
    found = first(with_torch(old))
    assert (found.id, found.confidence) == ("cudnn-mismatch", Confidence.LIKELY)
    assert re.match(r"cuDNN 9.10.2.21 is loaded, and opens libcudnn_\w+.so.9 of 9.1.0.70 from", found.title)
    new = wheel("cudnn", "9.12.0.46", at=ELSEWHERE).but(env={"LD_LIBRARY_PATH": f"{ELSEWHERE}/nvidia/cudnn/lib"})
    assert ids(with_torch(new)) == []


def test_newer_releases_load_all_of_nvidias_wheels_by_their_paths() -> None:
    old = wheel("cudnn", "9.1.0.70", at=ELSEWHERE).but(env={"LD_LIBRARY_PATH": f"{ELSEWHERE}/nvidia/cudnn/lib"})
    found = picture(with_torch(old, init=PRELOADING_ALL)).libraries
    assert {one.rule for name, one in found.items() if name in ("libcudnn.so.9", "libnvJitLink.so.12")} == {PRELOADED}
    assert ids(with_torch(NVJITLINK, init=PRELOADING_ALL)) == []


def test_a_preloaded_library_comes_before_every_folder() -> None:
    path = "/opt/nccl/lib/libnccl.so.2.21.5"
    preloaded = Tree(
        libraries={path: 5_000_000},
        links={"/opt/nccl/lib/libnccl.so.2": "libnccl.so.2.21.5"},
        env={"LD_PRELOAD": "/opt/nccl/lib/libnccl.so.2 /usr/lib/libjemalloc.so.2"},
    )
    found = first(with_torch(preloaded))
    assert (found.id, found.evidence[0].source) == ("nccl-mismatch", "libnccl.so.2 through LD_PRELOAD")
    assert found.remedies[0].commands[0].startswith("env -u LD_PRELOAD ")


@pytest.mark.parametrize(
    ("folder", "identifier"),
    [("cublas", "cuda-library-missing"), ("cudnn", "cudnn-mismatch"), ("nccl", "nccl-mismatch")],
)
def test_a_wheel_that_is_gone_is_missed(folder: str, identifier: str) -> None:
    found = first(with_torch(wheels={folder: None}))
    assert (found.id, found.confidence) == (identifier, Confidence.CERTAIN)
    assert "pip install --force-reinstall --no-deps nvidia-" in found.remedies[0].commands[0]


@pytest.mark.parametrize(
    ("gone", "missing"),
    [
        (("graph",), True),
        (("adv",), True),
        (("ops", "cnn", "adv", "heuristic", "engines_precompiled"), False),  # CUDNN_LIB_CONFIG=GRAPH_JIT_ONLY
    ],
)
def test_cudnns_parts_are_needed_as_its_configurations_need_them(gone: tuple[str, ...], *, missing: bool) -> None:
    folder = f"{site()}/nvidia/cudnn/lib"
    machine = with_torch().without(*(f"{folder}/libcudnn_{part}.so.9" for part in gone))
    assert ids(machine) == (["cudnn-mismatch"] if missing else [])


def test_a_copy_of_the_system_serves_in_its_place() -> None:
    system = Tree(
        libraries={f"{machines.MULTIARCH}/libnccl.so.2.28.3": 5_000_000},
        links={f"{machines.MULTIARCH}/libnccl.so.2": "libnccl.so.2.28.3"},
        cached=(f"{machines.MULTIARCH}/libnccl.so.2",),
    )
    machine = with_torch(system, wheels={"nccl": None})
    nccl = picture(machine).libraries["libnccl.so.2"]
    assert (nccl.rule, str(nccl.taken.version) if nccl.taken else None) == ("ldconfig's cache", "2.28.3")
    assert ids(machine) == []


@pytest.mark.parametrize(
    ("wheels", "identifier", "severity"),
    [
        ({"nvjitlink": "12.4.127"}, "cuda-library-shadowed", Severity.ERROR),
        ({"cublas": "12.4.5.8"}, "cuda-library-shadowed", Severity.WARNING),
        ({"cudnn": "9.1.0.70"}, "cudnn-mismatch", Severity.ERROR),
        ({"nccl": "2.21.5"}, "nccl-mismatch", Severity.WARNING),
    ],
)
def test_an_older_wheel_than_pytorch_was_built_with_is_told(
    wheels: dict[str, str], identifier: str, severity: Severity
) -> None:
    found = first(with_torch(wheels=wheels))
    assert (found.id, found.severity) == (identifier, severity)
    (folder,) = wheels
    assert f"nvidia-{folder}-cu12==" in found.remedies[0].commands[0]


def test_a_newer_wheel_is_no_finding() -> None:
    assert ids(with_torch(wheels={"nccl": "2.28.3", "cudnn": "9.13.0.50", "nvjitlink": "12.9.86"})) == []


def test_the_runtime_of_a_wheel_elsewhere_on_sys_path_is_loaded_by_pytorch_itself() -> None:
    user = "/home/ada/.local/lib/python3.12/site-packages"
    split = machines.joined(
        with_torch(wheels=dict.fromkeys(("cuda_runtime", "cublas", "cudnn", "nccl"))),
        *(wheel(folder, at=user) for folder in ("cuda_runtime", "cublas", "cudnn", "nccl")),
    ).but(
        env={"PYTHONUSERBASE": "/home/ada/.local"},
        files={"/srv/app/.venv/pyvenv.cfg": "home = /usr/bin\ninclude-system-site-packages = true\nversion = 3.12.3\n"},
    )
    assert picture(split).libraries["libcudart.so.12"].rule == "preloaded by the program itself"
    assert ids(split) == []


def test_a_pytorch_without_cuda_asks_for_none_of_it() -> None:
    machine = machines.joined(WELL, venv(torch("2.8.0+cpu", None)), NVJITLINK)
    assert picture(machine).program == ""
    assert isinstance(Facts({Host: machines.joined(WELL, venv()).host()})[CudaLibraries], NotApplicable)


def test_a_cache_that_cannot_be_read_is_no_missing_library() -> None:
    machine = with_torch(wheels={"nccl": None}).but(commands={"ldconfig -p": None})
    outcome = next(one for one in diagnosed(machine).checks if one.name == "the_program_finds_cudas_libraries")
    assert (outcome.status.value, "ldconfig" in outcome.reason) == ("unknown", True)


def test_the_picture_is_in_the_report_and_in_the_snapshot() -> None:
    machine = with_torch(NVJITLINK, preloads=False)
    told = as_document(diagnosed(machine))["facts"]["cuda_libraries"]
    assert (told["libcuda"]["rule"], told["beside"]) == ("ldconfig's cache", {})
    assert told["libraries"]["libnvJitLink.so.12"] == {
        "taken": {
            "path": f"{OLD}/libnvJitLink.so.12", "version": "12.1.105", "source": f"{OLD}/libnvJitLink.so.12.1.105",
        },
        "rule": "LD_LIBRARY_PATH",
        "asked_by": f"{site()}/nvidia/cusparse/lib/libcusparse.so.12",
        "wanted": "12.8.93",
        "others": [
            {
                "path": f"{site()}/nvidia/nvjitlink/lib/libnvJitLink.so.12",
                "version": "12.8.93",
                "source": f"{site()}/nvidia_nvjitlink_cu12-12.8.93.dist-info",
            }
        ],
        "loaded": None,
    }  # fmt: skip
    assert as_document(diagnosed(machine.snapshot()))["facts"]["cuda_libraries"] == told
    assert ids(machine.snapshot()) == ids(machine)


def test_a_persons_environment_is_judged_the_same_after_redaction() -> None:
    machine = with_torch(NVJITLINK, preloads=False)
    text = json.dumps(machine.snapshot().document).replace("/srv/app", "/home/lovelace/app")
    document = redacted(json.loads(text))
    assert "lovelace" not in json.dumps(document)
    assert ids(SnapshotHost(document, "redacted")) == ids(machine)


PROVIDER = "onnxruntime/capi/libonnxruntime_providers_cuda.so"
NEEDS = ("libcublasLt.so.12", "libcublas.so.12", "libcudart.so.12", "libcudnn.so.9", "libc.so.6")


def with_onnxruntime(*folders: str) -> Tree:
    """ONNX Runtime for CUDA without PyTorch, and NVIDIA's wheels in these folders."""
    own = package("onnxruntime-gpu", "1.22.0", onnxruntime("onnxruntime-gpu"))
    wheels = (wheel(folder) for folder in folders)
    return machines.joined(WELL, venv(own, library(f"{site()}/{PROVIDER}", NEEDS), *wheels))


def test_onnxruntime_gets_nvidias_wheels_by_its_own_preloading() -> None:
    machine = with_onnxruntime("cublas", "cuda_runtime", "cudnn")
    assert picture(machine).program == "onnxruntime 1.22.0"
    assert picture(machine).libraries["libcudnn.so.9"].rule == PRELOADED
    assert ids(machine) == []


def test_an_onnxruntime_for_cuda_without_cudas_libraries_is_told() -> None:
    found = first(with_onnxruntime("cublas", "cuda_runtime"))
    assert (found.id, found.severity) == ("cudnn-mismatch", Severity.WARNING)
    assert found.title == "onnxruntime 1.22.0 needs libcudnn.so.9, which the loader does not find for it"


def test_a_llama_cpp_for_cuda_without_cudas_libraries_is_told() -> None:
    backend = library(f"{site()}/llama_cpp/lib/libggml-cuda.so", ("libcudart.so.12", "libcublas.so.12"))
    machine = machines.joined(WELL, venv(package("llama-cpp-python", "0.3.16"), backend, wheel("cuda_runtime")))
    found = first(machine)
    assert (found.id, found.severity) == ("cuda-library-missing", Severity.ERROR)
    assert "llama-cpp-python 0.3.16 needs libcublas.so.12" in found.title


def of_cuda12(*folders: str) -> Tree:
    """NVIDIA's wheels in these folders; JAX and TensorFlow ask for more of them than PyTorch here does."""
    more = {"cufft": "libcufft.so.11", "cuda_cupti": "libcupti.so.12"}
    own = [
        machines.joined(
            package(f"nvidia-{folder.replace('_', '-')}-cu12", "12.8.90"),
            library(f"{site()}/nvidia/{folder}/lib/{more[folder]}", ("libc.so.6",)),
        )
        for folder in folders
        if folder in more
    ]
    return machines.joined(*own, *(wheel(folder) for folder in folders if folder not in more))


JAXS = ("cuda_runtime", "cublas", "cusparse", "nvjitlink", "cudnn", "cufft", "cuda_cupti")


def test_jaxs_plug_in_gets_nvidias_wheels_by_their_paths_before_ld_library_path() -> None:
    machine = machines.joined(
        WELL, venv(jax(12), of_cuda12(*JAXS)), toolkit("libcublas.so.12", "libcublas.so.12.1.3.1")
    )
    found = picture(machine)
    cublas = found.libraries["libcublas.so.12"]
    assert found.program == "jaxlib 0.10.2"
    assert (cublas.rule, cublas.taken.path if cublas.taken else "") == (
        PRELOADED, f"{site()}/nvidia/cublas/lib/libcublas.so.12",
    )  # fmt: skip
    assert ids(machine) == []


def test_what_jaxs_plug_in_does_not_find_is_told_with_its_own_extra() -> None:
    found = first(machines.joined(WELL, venv(jax(12), of_cuda12(*JAXS[:-2]))))
    assert (found.id, found.severity) == ("cuda-library-missing", Severity.ERROR)
    assert found.title == "jaxlib 0.10.2 needs libcufft.so.11 and libcupti.so.12, which the loader does not find for it"
    assert found.remedies[0].commands == ("/srv/app/.venv/bin/python -m pip install 'jax[cuda12]==0.10.2'",)


@pytest.mark.parametrize(("version", "found"), [("9.1.0.70", True), ("9.8.0.87", False), ("9.12.0.46", False)])
def test_a_cudnn_older_than_jax_was_built_with_is_told(version: str, *, found: bool) -> None:
    wheels = (of_cuda12(*(folder for folder in JAXS if folder != "cudnn")), wheel("cudnn", version))
    machine = machines.joined(WELL, venv(jax(12), *wheels))
    assert ids(machine) == (["cudnn-mismatch"] if found else [])
    if found:
        told = first(machine)
        assert told.title == "jaxlib 0.10.2 asks for cuDNN 9.8 or newer, and gets 9.1.0.70"
        assert told.remedies[0].commands[0].endswith("-m pip install 'nvidia-cudnn-cu12>=9.8'")


def test_an_older_jax_is_not_held_against_the_cudnn_of_newer_ones() -> None:
    machine = machines.joined(WELL, venv(jax(12, version="0.4.20"), of_cuda12(*JAXS[:4])))
    assert ids(machine) == []


@pytest.mark.parametrize(
    ("line", "lowest"),
    [
        (
            'nvidia-cudnn-cu12<10.0,>=9.8; sys_platform == "linux" and extra == "with-cuda"',
            {"nvidia-cudnn-cu12": "9.8"},
        ),
        ("nvidia-cudnn-cu12 (>=9.3.0.75,<10.0) ; extra == 'and-cuda'", {"nvidia-cudnn-cu12": "9.3.0.75"}),
        ("nvidia-cudnn-cu13~=9.0; extra == 'cudnn'", {}),
        ("nvidia-cudnn-cu12; python_version >= '3.10'", {}),
    ],
)
def test_the_lowest_cudnn_is_read_from_metadata(line: str, lowest: dict[str, str]) -> None:
    assert parse_lowest(f"Name: x\nRequires-Dist: {line}\n") == lowest


TENSORFLOWS = ("cuda_runtime", "cublas", "cusparse", "nvjitlink", "cudnn", "cufft")


def test_tensorflow_without_any_of_it_is_for_the_cpu_and_without_some_of_it_a_warning() -> None:
    assert ids(machines.joined(WELL, venv(tensorflow()))) == []
    whole = machines.joined(WELL, venv(tensorflow(), of_cuda12(*TENSORFLOWS)))
    framework = f"{site()}/tensorflow/libtensorflow_framework.so.2"
    assert picture(whole).libraries["libcudnn.so.9"].rule == f"DT_RUNPATH of {framework}"
    assert ids(whole) == []
    found = first(machines.joined(WELL, venv(tensorflow(), of_cuda12(*TENSORFLOWS[:-1]))))
    assert (found.id, found.severity) == ("cuda-library-missing", Severity.WARNING)
    assert "'tensorflow[and-cuda]==2.21.0'" in found.remedies[0].commands[0]


def test_ctranslate2_opens_cublas_by_its_name_alone() -> None:
    path = f"{site()}/ctranslate2.libs/libctranslate2-a7a60d30.so.4.8.5"
    ct2 = machines.joined(
        package("ctranslate2", "4.8.5"),
        Tree(images={path: fatbin(container(("sm", 80)))}, needs={path: {"needed": ["libc.so.6"], "rpath": "$ORIGIN"}}),
    )
    assert ids(machines.joined(WELL, venv(ct2, wheel("cublas")))) == []
    known = machines.joined(WELL, venv(ct2, wheel("cublas"))).but(
        env={"LD_LIBRARY_PATH": f"{site()}/nvidia/cublas/lib"}
    )
    assert picture(known).libraries["libcublas.so.12"].rule == "LD_LIBRARY_PATH"


def test_a_framework_of_another_cuda_major_beside_pytorch_is_told_apart() -> None:
    own = package("onnxruntime-gpu", "1.31.1", onnxruntime("onnxruntime-gpu", "1.31.1", "13.0"))
    provider = library(f"{site()}/{PROVIDER}", ("libcublas.so.13", "libcudart.so.13", "libcudnn.so.9"))
    machine = with_torch(own, provider)
    found = picture(machine)
    assert (found.program, list(found.beside)) == ("torch 2.8.0+cu128", ["onnxruntime 1.31.1"])
    (ranked,) = [one for one in diagnosed(machine).findings if one.finding.id == "cuda-library-missing"]
    told = ranked.finding
    assert (told.subject, told.severity) == ("onnxruntime", Severity.WARNING)
    assert "onnxruntime 1.31.1 needs libcublas.so.13 and libcudart.so.13" in told.title
    document = as_document(diagnosed(machine))["facts"]["cuda_libraries"]
    assert document["beside"]["onnxruntime 1.31.1"]["libcublas.so.13"]["taken"] is None
    assert told.detail.endswith("Of another CUDA major libcublas.so.12 and libcudart.so.12 are here.")


def test_the_versions_that_newer_releases_pin_through_cuda_toolkit_are_the_wanted_ones() -> None:
    asked = ("nvidia-cublas-cu12==12.9.1.4.*; sys_platform == 'linux' and extra == 'cublas'",)
    machine = with_torch(package("cuda-toolkit", "12.9.1", requires=asked))
    info = f"{site()}/torch-2.8.0.dist-info/METADATA"
    machine = machine.but(files={info: "Name: torch\nRequires-Dist: cuda-toolkit[cublas]==12.9.1\n"})
    assert str(picture(machine).libraries["libcublas.so.12"].wanted) == "12.9.1.4"


def test_the_drivers_own_library_is_part_of_the_picture() -> None:
    libcuda = picture(with_torch()).libcuda
    assert libcuda is not None
    assert (libcuda.path, libcuda.rule) == (f"{machines.MULTIARCH}/libcuda.so.1", "ldconfig's cache")
    found = picture(server("libcudart.so.12", "libcublas.so.12")).libcuda
    assert found is not None
    assert found.by == "/opt/llama/bin/libggml-cuda.so"


@pytest.mark.parametrize("odd", [7, None, "libcublas.so.12", [7, None, {}], {"needed": 1}])
def test_an_odd_recording_of_what_a_library_needs_is_read_as_none(odd: object) -> None:
    document = json.loads(json.dumps(with_torch().snapshot().document))
    for key in [key for key in document["elf"] if key.endswith(" needs")]:
        document["elf"][key] = {"needed": odd, "rpath": odd, "runpath": odd}
    assert "check-failed" not in ids(SnapshotHost(document, "odd"))


def deep(answers: dict[str, object], **more: object) -> Tree:
    """PyTorch's environment with --deep, and what the probe says of these libraries."""
    loaded = {f"{site()}/nvidia/{name}": answer for name, answer in answers.items()}
    return with_torch().but(env={"NVDIAG_DEEP": "1"}, probes={"libraries": {"loaded": loaded, **more}})


UNDEFINED = "libcusparse.so.12: undefined symbol: __nvJitLinkCreate_12_8, version libnvJitLink.so.12"


def test_with_deep_each_library_says_its_own_version() -> None:
    machine = deep({"cudnn/lib/libcudnn.so.9": {"version": "9.10.2"}, "nccl/lib/libnccl.so.2": {"version": "2.27.3"}})
    assert ids(machine) == []
    told = as_document(diagnosed(machine))["facts"]["cuda_libraries"]["libraries"]
    assert told["libcudnn.so.9"]["loaded"] == {"version": "9.10.2", "error": None}
    asked = next(one for one in machine.snapshot().recorded("probes") if one.startswith("libraries "))
    assert asked.split()[1] == f"{site()}/nvidia/cuda_runtime/lib/libcudart.so.12"


def test_without_deep_nothing_is_loaded() -> None:
    machine = with_torch()
    assert as_document(diagnosed(machine))["facts"]["cuda_libraries"]["libraries"]["libcudnn.so.9"]["loaded"] is None
    assert not [one for one in machine.snapshot().recorded("probes") if one.startswith("libraries")]


def test_with_deep_a_library_that_contradicts_its_files_is_told() -> None:
    found = first(
        deep({"nccl/lib/libnccl.so.2": {"version": "2.21.5"}, "cudnn/lib/libcudnn.so.9": {"version": "9.10"}})
    )
    assert (found.id, found.severity, found.confidence) == ("nccl-mismatch", Severity.WARNING, Confidence.CERTAIN)
    assert found.title == "libnccl.so.2 says of itself that it is 2.21.5, and its files tell 2.27.3"


@pytest.mark.parametrize(
    ("library", "error", "identifier"),
    [
        ("cusparse/lib/libcusparse.so.12", UNDEFINED, "cuda-library-shadowed"),
        ("cublas/lib/libcublas.so.12", "libfoo.so.1: cannot open shared object file", "cuda-library-missing"),
        ("nccl/lib/libnccl.so.2", "libibverbs.so.1: cannot open shared object file", "nccl-mismatch"),
    ],
)
def test_with_deep_a_library_that_does_not_load_is_told_with_the_loaders_words(
    library: str, error: str, identifier: str
) -> None:
    found = first(deep({library: {"error": error}}))
    assert (found.id, found.confidence, found.evidence[0].excerpt) == (identifier, Confidence.CERTAIN, error)


def test_with_deep_what_two_libraries_miss_in_a_third_is_one_finding_about_that_one() -> None:
    failing = ("cusparse/lib/libcusparse.so.12", "cublas/lib/libcublas.so.12")
    loaded = deep({name: {"error": UNDEFINED} for name in failing}).probes
    old = with_torch(wheels={"nvjitlink": "12.1.105"})
    found = first(old.but(env={"NVDIAG_DEEP": "1"}, probes=dict(loaded)))
    assert (found.key, found.confidence) == ("cuda-library-shadowed:libnvJitLink.so.12", Confidence.CERTAIN)
    assert found.title == (
        "libcublas.so.12 and libcusparse.so.12, which torch 2.8.0+cu128 gets, do not load with the libnvJitLink.so.12"
        " 12.1.105 that is taken"
    )
    assert [one.commands[0].rpartition(" ")[2] for one in found.remedies] == ["nvidia-nvjitlink-cu12==12.8.93"]
    assert ids(old.but(env={"NVDIAG_DEEP": "1"}, probes=dict(loaded))) == ["cuda-library-shadowed"]


def test_a_library_that_crashes_leaves_the_question_open() -> None:
    machine = deep({}, error="crashed", stage="ask /x/libcudnn.so.9", signal="SIGABRT")
    outcome = next(one for one in diagnosed(machine).checks if one.name == "cudas_libraries_load")
    assert (outcome.status.value, "libcudnn.so.9" in outcome.reason) == ("unknown", True)


def test_a_deep_snapshot_is_judged_the_same_after_redaction() -> None:
    machine = deep({"cusparse/lib/libcusparse.so.12": {"error": UNDEFINED}})
    text = json.dumps(machine.snapshot().document).replace("/srv/app", "/home/lovelace/app")
    document = redacted(json.loads(text))
    assert "lovelace" not in json.dumps(document)
    assert ids(SnapshotHost(document, "redacted")) == ids(machine)


SERVER = "/opt/llama/bin/llama-server"


def server(*cached: str) -> Tree:
    """llama.cpp's server with its libraries beside it and the CUDA backend that it opens; these are in the cache."""
    folder = "/opt/llama/bin"
    found = {f"{machines.MULTIARCH}/{name}": 5_000_000 for name in cached}
    return machines.joined(
        WELL,
        library(SERVER, ("libllama.so", "libc.so.6"), runpath="$ORIGIN"),
        library(f"{folder}/libllama.so", ("libggml-base.so",), runpath="$ORIGIN"),
        library(f"{folder}/libggml-cuda.so", ("libggml-base.so", "libcudart.so.12", "libcublas.so.12", "libcuda.so.1")),
        library(f"{folder}/libggml-base.so", ("libm.so.6",)),
        Tree(libraries=found, cached=tuple(found), env={"NVDIAG_PROGRAM": SERVER}),
    )


def test_a_named_program_is_followed_in_pytorchs_place() -> None:
    machine = server("libcudart.so.12", "libcublas.so.12")
    found = picture(machines.joined(machine, venv(torch_with_cuda())))
    assert (found.program, found.named) == (SERVER, True)
    assert found.libraries["libcublas.so.12"].asked_by == "/opt/llama/bin/libggml-cuda.so"
    assert found.libraries["libcublas.so.12"].rule == "ldconfig's cache"
    assert ids(machine) == []


def test_what_a_named_program_does_not_find_is_told() -> None:
    found = first(server("libcudart.so.12"))
    assert (found.id, found.confidence) == ("cuda-library-missing", Confidence.CERTAIN)
    assert found.title == f"{SERVER} needs libcublas.so.12, which the loader does not find for it"
    assert any("nvidia-cublas-cu12" in command for one in found.remedies for command in one.commands)


def test_a_program_that_was_linked_with_the_stubs_folder_gets_the_stub() -> None:
    stub = "/usr/local/cuda-12.8/targets/x86_64-linux/lib/stubs"
    program = machines.joined(
        WELL,
        library("/srv/app/bench", ("libcuda.so.1", "libc.so.6"), rpath=stub),
        Tree(libraries={f"{stub}/libcuda.so.1": 30_000}, env={"NVDIAG_PROGRAM": "/srv/app/bench"}),
    )
    found = first(program)
    assert (found.id, found.confidence) == ("libcuda-stub-loaded", Confidence.CERTAIN)
    assert found.title == "/srv/app/bench gets the toolkit's stub of libcuda"
    assert found.remedies[0].commands == ("readelf -d /srv/app/bench | grep -E 'RPATH|RUNPATH'",)
    assert "libcuda-stub-loaded" not in ids(program.without(f"{stub}/"))


@pytest.mark.parametrize(
    ("soname", "expected"),
    [
        ("libcudart.so.12", True),
        ("libcudnn_ops.so.9", True),
        ("libnvrtc-builtins.so.12.8", True),
        ("libcuda.so.1", False),
        ("libnvidia-ml.so.1", False),
        ("libcudart.so", False),
        ("libcublas.so.12.8.4.1", False),
        ("libc.so.6", False),
    ],
)
def test_cudas_libraries_are_known_by_their_sonames(soname: str, expected: bool) -> None:
    assert is_cudas(soname) is expected


def test_what_a_snapshot_is_silent_about_is_no_missing_library() -> None:
    recording = RecordingHost(with_torch().host())
    assert diagnosed(recording).findings == ()
    elf = recording.document["elf"]
    libraries = [key for key, told in elf.items() if key.endswith(" needs") and told]
    assert len(libraries) > 10
    for silent in libraries:
        kept = {key: told for key, told in elf.items() if key != silent}
        assert ids(SnapshotHost({**recording.document, "elf": kept}, "silent")) == [], silent
