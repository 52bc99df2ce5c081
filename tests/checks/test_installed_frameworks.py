"""Frameworks that are installed in a Python environment, judged without importing them."""

from __future__ import annotations

from typing import Any

import pytest

from nvdiag.engine import Facts
from nvdiag.facts.framework_builds import parse_torch_version
from nvdiag.facts.frameworks import Frameworks, nearest_build
from nvdiag.facts.python_environments import PythonEnvironments, parse_info
from nvdiag.facts.python_packages import PythonPackages, TorchBuild
from nvdiag.host import Host
from nvdiag.model.finding import Confidence, Severity
from nvdiag.model.unknown import NotApplicable
from nvdiag.model.versions import CudaVersion
from nvdiag.report.told_facts import told
from tests.checks.diagnosing import diagnosed, first, ids
from tests.scenarios import machines, pythons
from tests.scenarios.pythons import (
    TENSORFLOW,
    VENV,
    container,
    fatbin,
    jax,
    library,
    onnxruntime,
    package,
    site,
    torch,
    venv,
)
from tests.scenarios.tree import Tree

NEW = "570.172.08"
WELL = machines.ubuntu_dkms(NEW, NEW, NEW)
DRIVER_470 = machines.joined(
    machines.ubuntu_dkms("470.256.02", "470.256.02", "470.256.02"),
    Tree(probes=machines.probes("470.256.02", "470.256.02", cuda=11040)),
)


def with_packages(*packages: Tree, machine: Tree = WELL) -> Tree:
    return machines.joined(machine, venv(*packages))


def facts(machine: Tree) -> Facts:
    return Facts({Host: machine.host()})


def elf(path: str, needed: str) -> Tree:
    return library(f"{site()}/{path}", [needed, "libc.so.6"])


# Which environment


def test_the_active_environment_is_the_one_that_is_looked_at() -> None:
    found = facts(with_packages(torch()))[PythonEnvironments]
    assert [(one.prefix, one.found_by) for one in found.found] == [(VENV, ("VIRTUAL_ENV", "PATH"))]
    assert found.chosen.folders == (site(),)
    assert found.chosen.versions == {"torch": "2.8.0"}


def test_the_interpreter_that_was_asked_for_comes_before_the_active_environment() -> None:
    other = "/opt/other"
    asked = machines.joined(
        with_packages(torch()), torch("2.7.1+cu126", "12.6", at=site(other)),
        Tree(files={f"{other}/pyvenv.cfg": "version = 3.12.3\n", f"{other}/bin/python3": ""}),
    ).but(env={"NVDIAG_PYTHON": f"{other}/bin/python3"})  # fmt: skip
    assert [one.prefix for one in facts(asked)[PythonEnvironments].found] == [other, VENV]
    assert facts(asked)[TorchBuild].version == "2.7.1+cu126"


def test_condas_environment_is_found_by_its_prefix() -> None:
    prefix = "/opt/conda/envs/ml"
    version = {"torch/version.py": pythons.torch_version("2.2.1", None)}
    conda = Tree(
        files={f"{prefix}/bin/python3.12": "", f"{prefix}/conda-meta/history": ""},
        links={f"{prefix}/bin/python": "python3.12"},
        env={"CONDA_PREFIX": prefix},
    )
    machine = machines.joined(WELL, conda, package("torch", "2.2.1", version, at=site(prefix)))
    assert facts(machine)[PythonEnvironments].chosen.prefix == prefix
    assert facts(machine)[TorchBuild].cpu_only


def test_debians_own_python_has_its_packages_in_more_than_one_folder() -> None:
    machine = machines.joined(
        WELL,
        Tree(files={"/usr/bin/python3.12": ""}, links={"/usr/bin/python3": "python3.12"}),
        package("numpy", "2.1.0", at="/usr/lib/python3/dist-packages"),
        torch(at="/usr/local/lib/python3.12/dist-packages"),
        package("torch", "2.5.0", at="/home/ada/.local/lib/python3.12/site-packages"),
    ).but(env={"PATH": "/home/ada/.local/bin:/usr/local/bin:/usr/bin"})
    found = facts(machine)[PythonEnvironments].chosen
    assert found.folders == (
        "/home/ada/.local/lib/python3.12/site-packages",
        "/usr/local/lib/python3.12/dist-packages",
        "/usr/lib/python3/dist-packages",
    )
    assert (found.versions["torch"], found.versions["numpy"]) == ("2.5.0", "2.1.0")
    without = machine.but(env={"PYTHONNOUSERSITE": "1"})
    assert facts(without)[PythonEnvironments].chosen.versions["torch"] == "2.8.0"


def test_an_environment_that_shares_the_systems_packages_has_both() -> None:
    machine = machines.joined(WELL, venv(system=True), torch(at="/usr/local/lib/python3.12/dist-packages"))
    assert facts(machine)[TorchBuild].version == "2.8.0+cu128"
    assert not isinstance(facts(machines.joined(WELL, venv()))[TorchBuild], TorchBuild)


def test_a_machine_without_python_has_no_environment() -> None:
    assert isinstance(facts(WELL)[PythonEnvironments], NotApplicable)
    assert isinstance(facts(WELL)[PythonPackages], NotApplicable)


def test_a_shim_on_path_is_no_environment() -> None:
    shim = "/home/ada/.pyenv/shims"
    machine = WELL.but(files={f"{shim}/python3": "#!/usr/bin/env bash\n"}, env={"PATH": f"{shim}:/usr/bin"})
    assert f"where {shim}/python3 has its packages is not known" in str(facts(machine)[PythonEnvironments])


PYENV = "/home/ada/.pyenv"


@pytest.mark.parametrize(
    ("more", "python"),
    [
        ({"env": {"PYENV_VERSION": "3.13.0"}}, f"{PYENV}/versions/3.13.0/bin/python3"),
        ({"files": {"/srv/app/.python-version": "# for the app\n3.12\n"}}, f"{PYENV}/versions/3.12.10/bin/python3"),
        ({"files": {"/srv/app/.python-version": "ml\n"}}, f"{PYENV}/versions/ml/bin/python3"),
        ({"files": {f"{PYENV}/version": "python-3.13.0\n"}}, f"{PYENV}/versions/3.13.0/bin/python3"),
        ({"files": {"/srv/app/.python-version": "3.9\n3.13.0\n"}}, f"{PYENV}/versions/3.13.0/bin/python3"),
        ({"files": {"/srv/app/.python-version": "../../../etc\n", f"{PYENV}/version": "3.13.0"}},
         f"{PYENV}/versions/3.13.0/bin/python3"),
        ({"env": {"PYENV_VERSION": "system"}}, "/usr/bin/python3"),
        ({}, "/usr/bin/python3"),
    ],
)  # fmt: skip
def test_a_shim_of_pyenv_stands_for_an_interpreter(more: dict[str, dict[str, str]], python: str) -> None:
    machine = machines.joined(
        WELL,
        *(
            Tree(
                files={f"{PYENV}/versions/{name}/bin/python3": ""},
                links={f"{PYENV}/versions/{name}/bin/python": "python3"},
            )
            for name in ("3.12.2", "3.12.10", "3.13.0", "ml")
        ),
        *(
            package("numpy", "2.1.0", at=f"{PYENV}/versions/{name}/lib/python3.12/site-packages")
            for name in ("3.12.2", "3.12.10", "3.13.0", "ml")
        ),
        Tree(
            files={f"{PYENV}/shims/python3": "#!/usr/bin/env bash\n", "/usr/bin/python3.12": ""},
            links={"/usr/bin/python3": "python3.12", "/proc/self/cwd": "/srv/app/src"},
            env={"PATH": f"{PYENV}/shims:/usr/bin"},
        ),
        package("numpy", "1.26.0", at="/usr/lib/python3/dist-packages"),
    ).but(**more)
    assert facts(machine)[PythonEnvironments].chosen.python == python
    asked = machine.but(env={"NVDIAG_PYTHON": f"{PYENV}/shims/python3"})
    if python.startswith(PYENV):
        assert facts(asked)[PythonEnvironments].chosen.python == python


def test_an_empty_environment_that_was_asked_for_is_the_one_that_is_looked_at() -> None:
    machine = with_packages(torch()).but(
        files={"/opt/new/pyvenv.cfg": "version = 3.12.3\n", "/opt/new/bin/python": ""},
        env={"NVDIAG_PYTHON": "/opt/new/bin/python"},
    )
    assert facts(machine)[PythonEnvironments].chosen.prefix == "/opt/new"
    assert "no framework is installed in /opt/new" in str(facts(machine)[Frameworks])


def test_nothing_is_run_and_no_other_file_is_read_for_ten_environments() -> None:
    host = with_packages(torch(), *(package(f"thing{number}", "1.0") for number in range(50))).host()
    known = Facts({Host: host})
    known[Frameworks]
    asked = [question.partition(" ") for question in host.asked]
    assert not [key for section, _, key in asked if section == "commands"]
    assert [key for section, _, key in asked if section == "files"] == [
        f"{VENV}/pyvenv.cfg", f"{site()}/torch/version.py",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("torch-2.9.1+cu128.dist-info", ("torch", "2.9.1+cu128")),
        ("nvidia_cudnn_cu12-9.10.2.21.dist-info", ("nvidia-cudnn-cu12", "9.10.2.21")),
        ("PyYAML-6.0.1-py3.12.egg-info", ("pyyaml", "6.0.1")),
        ("zope.interface-7.1.dist-info", ("zope-interface", "7.1")),
        ("~orch-2.9.1.dist-info", None),
        ("torch.dist-info", None),
    ],
)
def test_a_distributions_folder_tells_name_and_version(name: str, told: tuple[str, str] | None) -> None:
    assert parse_info(name) == told


# How a framework was built


@pytest.mark.parametrize(
    ("text", "cuda", "cpu_only"),
    [
        (pythons.torch_version("2.8.0+cu128", "12.8"), "12.8", False),
        (pythons.torch_version("2.8.0+cpu", None), None, True),
        (pythons.torch_version("2.8.0+rocm6.4", None, hip="6.4.43482"), None, False),
        ("__version__ = '1.13.1+cu117'\ndebug = False\ncuda = '11.7'\ngit_version = '49'\nhip = None\n", "11.7", False),
        ("__version__ = '2.11.0'\ncuda: str | None = '13.0'\nhip: str | None = None\n", "13.0", False),
    ],
)
def test_torch_tells_its_cuda_in_its_version_file(text: str, cuda: str | None, cpu_only: bool) -> None:
    found = parse_torch_version(text)
    assert found is not None
    assert (found[1].text if found[1] else None, found[2]) == (cuda, cpu_only)


@pytest.mark.parametrize("text", ["", "cuda = '12.8'", "__version__ = '2.8.0'\n", "\x00" * 99, "def cuda(): pass\n"])
def test_another_file_in_its_place_tells_nothing(text: str) -> None:
    assert parse_torch_version(text) is None


CT2 = "ctranslate2.libs/libctranslate2-a7a60d30.so.4.8.5"
BNB = {f"bitsandbytes/{name}": "" for name in ("libbitsandbytes_cpu.so", "libbitsandbytes_cuda118.so")}
FLASH = "flash_attn_2_cuda.cpython-312-x86_64-linux-gnu.so"
GGML = {f"llama_cpp/lib/{name}": "" for name in ("libggml-base.so", "libggml-cpu.so", "libllama.so")}


@pytest.mark.parametrize(
    ("packages", "name", "expected"),
    [
        (
            (package("tensorflow", "2.19.0", {"tensorflow/python/platform/build_info.py": TENSORFLOW}),), "tensorflow",
            ("2.19.0", "12.5.1", False),
        ),
        ((package("jaxlib", "0.6.0"),), "jaxlib", ("0.6.0", None, True)),
        ((package("jaxlib", "0.6.0"), package("jax-cuda12-plugin", "0.6.0")), "jaxlib", ("0.6.0", "12", False)),
        ((package("jaxlib", "0.4.25+cuda12.cudnn89"),), "jaxlib", ("0.4.25+cuda12.cudnn89", "12", False)),
        (
            (package("onnxruntime-gpu", "1.22.0", onnxruntime("onnxruntime-gpu")),), "onnxruntime",
            ("1.22.0", "12.2", False),
        ),
        ((package("cupy-cuda12x", "13.6.0"),), "cupy-cuda12x", ("13.6.0", "12", False)),
        ((package("bitsandbytes", "0.43.0", BNB),), "bitsandbytes", ("0.43.0", None, False)),
        ((package("llama-cpp-python", "0.3.16", GGML),), "llama-cpp-python", ("0.3.16", None, True)),
        (
            (package("llama-cpp-python", "0.3.16", GGML), elf("llama_cpp/lib/libggml-cuda.so", "libcudart.so.12")),
            "llama-cpp-python", ("0.3.16", "12", False),
        ),
        (
            (package("flash-attn", "2.8.3"), elf(FLASH, "libcudart.so.12")),
            "flash-attn", ("2.8.3", "12", False),
        ),
        (
            (package("torchvision", "0.23.0"), elf("torchvision/_C.so", "libcudart.7ec1eba6.so.12")), "torchvision",
            ("0.23.0", "12", False),
        ),
        (
            (package("vllm", "0.33.0"), elf("vllm/_C_stable_libtorch.abi3.so", "libcudart.so.13")), "vllm",
            ("0.33.0", "13", False),
        ),
        (
            (package("cupy", "14.2.0"), elf("cupy_backends/cuda/libs/cublas.cpython-312.so", "libcublas.so.12")),
            "cupy", ("14.2.0", "12", False),
        ),
        (
            (package("ctranslate2", "4.8.5"), Tree(images={f"{site()}/{CT2}": fatbin(container(("sm", 80)))})),
            "ctranslate2", ("4.8.5", "12", False),
        ),
        (
            (package("ctranslate2", "3.24.0"), Tree(images={f"{site()}/{CT2}": fatbin(container(("sm", 80)))})),
            "ctranslate2", ("3.24.0", "11", False),
        ),
        (
            (package("ctranslate2", "4.8.5"), Tree(images={f"{site()}/{CT2}": fatbin()})),
            "ctranslate2", ("4.8.5", None, True),
        ),
        ((package("ctranslate2", "4.8.5"),), "ctranslate2", ("4.8.5", None, False)),
        ((jax(13),), "jaxlib", ("0.10.2", "13", False)),
        ((package("vllm", "0.11.0+cu129"),), "vllm", ("0.11.0+cu129", "12.9", False)),
        ((package("vllm", "0.11.0+cpu"),), "vllm", ("0.11.0+cpu", None, True)),
        ((package("triton", "3.4.0"),), "triton", ("3.4.0", None, False)),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_each_framework_is_read_from_its_own_files(packages: tuple[Tree, ...], name: str, expected: Any) -> None:
    known = facts(with_packages(*packages))
    one = known[Frameworks].found[name]
    assert (one.version, one.cuda.text if one.cuda else None, one.cpu_only) == expected
    assert told(known)["frameworks"][name]["version"] == expected[0]


def test_the_architectures_that_tensorflow_names_are_told() -> None:
    machine = with_packages(package("tensorflow", "2.19.0", {"tensorflow/python/platform/build_info.py": TENSORFLOW}))
    assert facts(machine)[Frameworks].found["tensorflow"].architectures[-1] == "compute_90"


def test_the_cudnn_and_the_pytorch_that_a_build_names_are_told() -> None:
    provider = elf("onnxruntime/capi/libonnxruntime_providers_cuda.so", "libcudnn.so.9")
    found = facts(
        with_packages(
            package("tensorflow", "2.19.0", {"tensorflow/python/platform/build_info.py": TENSORFLOW}),
            package("onnxruntime-gpu", "1.22.0", onnxruntime("onnxruntime-gpu")),
            provider,
            package("jaxlib", "0.4.25+cuda12.cudnn89"),
            package("flash-attn", "2.8.3+cu12torch2.8cxx11abiTRUE"),
        )
    )[Frameworks].found
    assert {name: one.cudnn.text for name, one in found.items() if one.cudnn} == {
        "tensorflow": "9",
        "onnxruntime": "9",
        "jaxlib": "8.9",
    }
    assert (found["flash-attn"].torch, str(found["flash-attn"].cuda)) == ("2.8", "12")


@pytest.mark.parametrize(
    ("builds", "cuda", "chosen"),
    [
        ("11.8 12.4 12.8 13.0", "12.8", "12.8"),
        ("11.8 12.4 12.8 13.0", "12.9", "12.8"),
        ("11.8 12.4 12.8 13.0", "12.1", "12.4"),
        ("11.8 12.4", "13.0", None),
    ],
)
def test_bitsandbytes_takes_the_nearest_of_its_libraries(builds: str, cuda: str, chosen: str | None) -> None:
    found = nearest_build([CudaVersion.of(one) for one in builds.split()], CudaVersion.of(cuda))
    assert (found.text if found else None) == chosen


# Nothing is wrong


HEALTHY = {
    "torch for the driver's CUDA": with_packages(torch()),
    "torch for a newer minor version": with_packages(torch("2.9.0+cu129", "12.9")),
    "torch for ROCm": with_packages(torch("2.8.0+rocm6.4", None, hip="6.4.43482")),
    "torch for the CPU beside the system's Python": machines.joined(
        WELL, torch("2.6.0", None, at="/usr/lib/python3/dist-packages"),
        Tree(files={"/usr/bin/python3.12": ""}, links={"/usr/bin/python3": "python3.12"}, env={"PATH": "/usr/bin"}),
    ),
    "jax for the CPU": with_packages(package("jaxlib", "0.6.0"), package("jax", "0.6.0")),
    "jax with its plug-in": with_packages(
        *(package(name, "0.6.0") for name in ("jax", "jaxlib", "jax-cuda12-plugin", "jax-cuda12-pjrt"))
    ),
    "onnxruntime alone": with_packages(package("onnxruntime", "1.22.0", onnxruntime("onnxruntime", cuda=None))),
    "torch of CUDA 13 under forward compatibility": with_packages(torch("2.9.0+cu130", "13.0")).but(
        probes={
            name: {"library": "/usr/local/cuda/compat/libcuda.so.1", "driver_version": 13000, "init": 0, "count": 1}
            for name in ("cuda", "cuda init")
        }
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HEALTHY)
def test_a_working_environment_has_no_finding(name: str) -> None:
    assert ids(HEALTHY[name]) == []


@pytest.mark.parametrize(
    "machine", [machines.rpm_machine("fedora", None, None, None), machines.ubuntu_dkms(None, None, None, gpus=())]
)
def test_a_build_for_the_cpu_is_no_finding_where_no_driver_works(machine: Tree) -> None:
    assert "framework-cpu-only" not in ids(with_packages(torch("2.8.0+cpu", None), machine=machine))


# Something is wrong


def test_a_framework_for_a_newer_cuda_major_than_the_drivers_is_named() -> None:
    machine = with_packages(torch(), package("cupy-cuda11x", "13.6.0"), machine=DRIVER_470)
    found = first(machine)
    assert (found.id, found.confidence) == ("driver-too-old-for-cuda", Confidence.CERTAIN)
    assert "torch 2.8.0+cu128 for CUDA 12.8" in found.title
    assert "cupy" not in found.title
    assert found.remedies[0].commands == (
        f"{VENV}/bin/python -m pip install --force-reinstall 'torch==2.7.*'"
        " --index-url https://download.pytorch.org/whl/cu118",
    )
    assert found.remedies[1].commands[-1] == f"{VENV}/bin/python -m pip uninstall torch"


def test_a_build_for_the_cpu_in_the_active_environment_is_told_where_the_gpu_works() -> None:
    diagnosis = diagnosed(with_packages(torch("2.8.0+cpu", None)))
    (found,) = [ranked.finding for ranked in diagnosis.findings]
    assert (found.id, found.severity) == ("framework-cpu-only", Severity.INFO)
    assert diagnosis.exit_code() == 0


def test_an_extension_for_cuda_wants_a_torch_with_cuda() -> None:
    machine = with_packages(
        torch("2.8.0+cpu", None), package("flash-attn", "2.8.3"),
        elf(FLASH, "libcudart.so.12"),
    )  # fmt: skip
    found = first(machine)
    assert (found.id, found.severity) == ("framework-cpu-only", Severity.ERROR)
    assert found.title == "flash-attn 2.8.3 needs CUDA, and PyTorch 2.8.0+cpu here has none"


def test_of_two_onnxruntimes_the_one_whose_files_are_there_counts() -> None:
    both = (package("onnxruntime-gpu", "1.22.0"), package("onnxruntime", "1.22.0"))
    overwritten = with_packages(*both, package("thing", "1", onnxruntime("onnxruntime", cuda=None)))
    assert ids(overwritten) == ["framework-cpu-only"]
    assert ids(with_packages(*both, package("thing", "1", onnxruntime("onnxruntime-gpu")))) == []


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("flash-attn", FLASH),
        ("torchvision", "torchvision/_C.so"),
        ("torchaudio", "torchaudio/lib/libtorchaudio.so"),
    ],
)
def test_an_extension_for_another_cuda_major_than_torchs_is_a_mismatch(name: str, path: str) -> None:
    assert ids(with_packages(torch(), package(name, "1.0"), elf(path, "libcudart.so.12"))) == []
    assert ids(with_packages(torch(), package(name, "1.0"), elf(path, "libcudart.so.11.0"))) == [
        "framework-cuda-mismatch"
    ]


def test_an_extension_for_another_pytorch_is_a_mismatch() -> None:
    assert ids(with_packages(torch(), package("flash-attn", "2.8.3+cu12torch2.8cxx11abiTRUE"))) == []
    found = first(with_packages(torch(), package("flash-attn", "2.8.3+cu12torch2.7cxx11abiTRUE")))
    assert (found.id, found.subject) == ("framework-cuda-mismatch", "flash-attn")
    assert "is compiled for PyTorch 2.7, and PyTorch here is 2.8.0+cu128" in found.title


def test_bitsandbytes_without_a_library_for_torchs_major_is_a_mismatch() -> None:
    assert ids(with_packages(torch(), package("bitsandbytes", "0.43.0", BNB))) == ["framework-cuda-mismatch"]
    more = {**BNB, "bitsandbytes/libbitsandbytes_cuda126.so": ""}
    assert ids(with_packages(torch(), package("bitsandbytes", "0.46.0", more))) == []


def test_two_cupys_over_each_other_are_a_warning() -> None:
    both = (package("cupy-cuda11x", "13.6.0"), package("cupy-cuda12x", "13.6.0"))
    found = first(with_packages(*both))
    assert (found.id, found.severity) == ("framework-cuda-mismatch", Severity.WARNING)
    last = package("thing", "1", {"cupy/.data/_wheel.json": '{"cuda": "11.x", "packaging": "pip"}'})
    assert "those for CUDA 11" in first(with_packages(*both, last)).detail
    assert {one.cuda.text for one in facts(with_packages(*both, last))[Frameworks].found.values() if one.cuda} == {"11"}


def test_jaxs_parts_in_an_environment_are_held_against_each_other() -> None:
    machine = with_packages(package("jax", "0.6.0"), package("jaxlib", "0.6.0"), package("jax-cuda12-plugin", "0.5.0"))
    found = first(machine)
    assert found.id == "framework-cuda-mismatch"
    assert found.evidence[0].source == f"packages in {VENV}"


@pytest.mark.parametrize(
    "machine", [with_packages(torch("2.8.0+cpu", None)), with_packages(torch(), machine=DRIVER_470)]
)
def test_a_snapshot_of_an_environment_gives_the_same_findings(machine: Tree) -> None:
    assert ids(machine.snapshot()) == ids(machine)
