"""Variables, mounts and folders that this environment goes by, held against what is there; no default is wrong."""

from __future__ import annotations

import pytest

from nvdiag.facts.nccl_settings import matching
from nvdiag.facts.shared_memory import size_of
from nvdiag.model.finding import Severity
from tests.checks.diagnosing import diagnosed, first, ids
from tests.scenarios import machines
from tests.scenarios.pythons import package, site, torch, venv, wheel
from tests.scenarios.tree import Tree

NEW = "570.172.08"
WELL = machines.ubuntu_dkms(NEW, NEW, NEW)
LIBCUDA = f"{machines.MULTIARCH}/libcuda.so.1"


def with_env(*packages: Tree, env: dict[str, str]) -> Tree:
    return machines.joined(WELL, venv(*packages)).but(env=env)


# Variables that choose a library by hand


@pytest.mark.parametrize(
    ("name", "right", "wrong", "reader"),
    [
        ("TRITON_LIBCUDA_PATH", machines.MULTIARCH, "/opt/gone", "triton"),
        ("TRITON_LIBCUDA_PATH", f"{machines.MULTIARCH}/", LIBCUDA, "triton"),
        ("NUMBA_CUDA_DRIVER", LIBCUDA, "/usr/lib64/libcuda.so.1", "numba"),
        ("VLLM_NCCL_SO_PATH", LIBCUDA, "/opt/libnccl.so.2.18.1", "vllm"),
    ],
)
def test_a_variable_that_leads_nowhere_stops_who_reads_it(name: str, right: str, wrong: str, reader: str) -> None:
    there = package(reader, "1.0")
    assert ids(with_env(there, env={name: right})) == []
    found = first(with_env(there, env={name: wrong}))
    assert (found.key, found.severity) == (f"library-override-invalid:{name}", Severity.ERROR)
    unread = first(with_env(env={name: wrong}))
    assert (unread.key, unread.severity) == (f"library-override-invalid:{name}", Severity.WARNING)


def test_the_file_in_place_of_the_folder_is_corrected() -> None:
    found = first(with_env(package("triton", "3.4.0"), env={"TRITON_LIBCUDA_PATH": LIBCUDA}))
    assert found.remedies[0].commands[0] == f"export TRITON_LIBCUDA_PATH={machines.MULTIARCH}"


def test_what_only_warns_is_a_warning() -> None:
    ptxas = with_env(package("triton", "3.4.0"), env={"TRITON_PTXAS_PATH": "/usr/local/cuda-12.1/bin/ptxas"})
    flags = with_env(
        package("jaxlib", "0.6.0"), env={"XLA_FLAGS": "--xla_dump_to=/tmp/x --xla_gpu_cuda_data_dir=/opt/cuda-11"}
    )
    preload = with_env(env={"LD_PRELOAD": "/usr/lib/libjemalloc.so.2:/usr/lib/libnccl.so.2.18"})
    assert [first(machine).severity for machine in (ptxas, flags, preload)] == [Severity.WARNING] * 3
    assert first(flags).remedies[0].commands[0] == "export XLA_FLAGS=--xla_dump_to=/tmp/x"
    assert ids(with_env(env={"LD_PRELOAD": "/usr/lib/libjemalloc.so.2"})) == []
    assert ids(preload.snapshot()) == ["library-override-invalid"]


def test_bitsandbytes_has_no_library_for_the_version_that_is_asked_for() -> None:
    files = {f"bitsandbytes/libbitsandbytes_cuda{version}.so": "" for version in ("126", "128")}
    bnb = package("bitsandbytes", "0.48.0", files)
    assert ids(with_env(bnb, env={"BNB_CUDA_VERSION": "128"})) == ids(with_env(env={"BNB_CUDA_VERSION": "122"})) == []
    found = first(with_env(bnb, env={"BNB_CUDA_VERSION": "122"}))
    assert found.title == "BNB_CUDA_VERSION asks for CUDA 122, and bitsandbytes 0.48.0 has libraries for 126, 128"


# NCCL's network


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ("eth", ("eth0", "eth1")),
        ("=eth", ()),
        ("=eth1", ("eth1",)),
        ("^docker,lo", ("eth0", "eth1")),
        ("^=docker0", ("eth0", "eth1", "lo")),
        ("ib,eth1", ("eth1",)),
        ("eth1:2", ("eth1",)),
    ],
)
def test_nccls_lists_of_names(value: str, left: tuple[str, ...]) -> None:
    assert matching(value, ("docker0", "eth0", "eth1", "lo")) == left


def test_an_interface_that_is_not_here_leaves_nccl_none() -> None:
    machine = WELL.but(links={f"/sys/class/net/{name}": f"../../devices/{name}" for name in ("lo", "enp3s0")})
    assert ids(machine.but(env={"NCCL_SOCKET_IFNAME": "enp", "NCCL_IB_HCA": "mlx5", "NCCL_IB_DISABLE": "1"})) == []
    found = first(machine.but(env={"NCCL_SOCKET_IFNAME": "eth0"}))
    assert (found.key, found.severity) == ("nccl-transport-failed:NCCL_SOCKET_IFNAME", Severity.ERROR)
    assert found.remedies[1].commands == ("export NCCL_SOCKET_IFNAME==enp3s0",)
    adapters = first(machine.but(env={"NCCL_IB_HCA": "mlx5_0:1"}))
    assert (adapters.key, adapters.severity) == ("nccl-transport-failed:NCCL_IB_HCA", Severity.WARNING)


# Shared memory


def container(size: str, used: int = 0, gpus: int = 1, *packages: Tree) -> Tree:
    addresses = (machines.GPU, "0000:02:00.0")[:gpus]
    shm = f"{machines.OVERLAY_ROOT}731 700 0:70 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,{size}\n"
    df = f"Filesystem     1K-blocks  Used Available Use% Mounted on\nshm 65536 {used} {65536 - used} 1% /dev/shm\n"
    return machines.joined(
        machines.docker(NEW, NEW), venv(*(packages or (torch(),)))
    ).but(
        files={"/proc/self/mountinfo": shm},
        probes={"nvml": machines.nvml_healthy(NEW, addresses)},
        commands={"df -k /dev/shm": {"exit": 0, "stdout": df, "stderr": ""}},
    )  # fmt: skip


def test_a_containers_shared_memory_matters_where_it_is_full_or_several_gpus_share_it() -> None:
    assert ids(container("size=65536k")) == []
    full, several = first(container("size=65536k", 65000)), first(container("size=65536k", 0, 2))
    assert (full.id, full.severity) == ("shared-memory-too-small", Severity.WARNING)
    assert (several.id, several.severity) == ("shared-memory-too-small", Severity.INFO)
    assert ids(container("size=16777216k", 0, 2)) == ids(container("inode64", 0, 2)) == []
    assert ids(container("size=65536k", 0, 2, torch("2.8.0+cpu", None))) == ["framework-cpu-only"]
    assert ids(container("size=65536k", 65000).snapshot()) == ["shared-memory-too-small"]


@pytest.mark.parametrize(
    ("options", "size"), [("rw,size=65536k", 64 << 20), ("rw,size=8g,inode64", 8 << 30), ("rw", None), ("", None)]
)
def test_the_size_of_a_tmpfs(options: str, size: int | None) -> None:
    assert size_of(f"1 2 0:3 / /dev/shm rw - tmpfs shm {options}") == size


# Toolkits


def toolkit(version: str, link: str = "") -> Tree:
    root = f"/usr/local/cuda-{version}"
    return Tree(
        files={f"{root}/version.json": f'{{"cuda_nvcc": {{"version": "{version}.93"}}}}', f"{root}/bin/nvcc": ""},
        links={link: root} if link else {},
        folders=(f"{root}/lib64",),
    )


TWO = machines.joined(WELL, toolkit("12.8"), toolkit("12.1", "/usr/local/cuda"))
BIN, OLD, LINK = "/usr/local/cuda-12.8/bin:/usr/bin", "/usr/local/cuda-12.1/lib64", "/usr/local/cuda/lib64"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (OLD, True),
        (f"{LINK}:/usr/local/cuda-12.8/lib64", True),
        (f"/usr/local/cuda-12.8/lib64:{LINK}", False),
        (f"{LINK}/stubs", False),
        ("/opt/own", False),
    ],
)
def test_the_loader_gets_an_older_toolkit_than_the_compilers(path: str, expected: bool) -> None:
    machine = TWO.but(env={"PATH": BIN, "LD_LIBRARY_PATH": path})
    assert ids(machine) == (["toolkit-shadowed"] if expected else [])


def test_a_newer_toolkits_libraries_serve_an_older_compilers_programs() -> None:
    machine = TWO.but(env={"PATH": "/usr/local/cuda-12.1/bin", "LD_LIBRARY_PATH": "/usr/local/cuda-12.8/lib64"})
    assert ids(machine) == []


def test_a_link_that_cuda_home_names_is_read_by_its_files() -> None:
    assert first(TWO.but(env={"PATH": BIN, "CUDA_HOME": "/usr/local/cuda"})).title.startswith(
        "the nvcc on PATH is of CUDA 12.8, and CUDA_HOME names CUDA 12.1"
    )


# Builds of PyTorch's extensions

BUILDING = {"TORCH_CUDA_ARCH_LIST": "9.0", "PATH": "/usr/local/cuda-13.0/bin:/usr/bin"}


def test_an_nvcc_of_another_major_than_pytorchs_matters_where_extensions_are_built() -> None:
    both = machines.joined(WELL, toolkit("13.0"), venv(torch("2.8.0+cu128", "12.8")))
    building = both.but(env=BUILDING)
    found = next(one.finding for one in diagnosed(building).findings if one.finding.id == "toolkit-framework-mismatch")
    assert (found.title, found.severity) == (
        "nvcc is of CUDA 13.0.93, and PyTorch 2.8.0+cu128 was built with CUDA 12.8",
        Severity.WARNING,
    )
    assert found.remedies[0].commands == ("conda install -c nvidia cuda-nvcc=12.8",)
    with_12 = machines.joined(building, toolkit("12.8"))
    assert "/usr/local/cuda-12.8" in next(
        one.finding.remedies[0].summary
        for one in diagnosed(with_12).findings
        if one.finding.id == "toolkit-framework-mismatch"
    )
    unasked = both.but(env={"PATH": BUILDING["PATH"]})
    assert "toolkit-framework-mismatch" not in ids(unasked)


# The driver's own compiler of PTX


def without_compiler(machine: Tree) -> Tree:
    return machine.without(f"{machines.MULTIARCH}/libnvidia-ptxjitcompiler")


def test_the_drivers_ptx_compiler_is_missed_where_cuda_is_wanted() -> None:
    assert ids(without_compiler(WELL)) == []
    machine = without_compiler(machines.joined(WELL, venv(torch())))
    found = first(machine)
    assert (found.id, found.severity) == ("driver-library-incomplete", Severity.WARNING)
    assert found.remedies[-1].commands == ("sudo apt install --reinstall libnvidia-compute-570",)
    assert ids(machine.snapshot()) == ["driver-library-incomplete"]


def test_a_ptx_compiler_of_another_release_is_an_error() -> None:
    other = f"{machines.MULTIARCH}/libnvidia-ptxjitcompiler.so.550.90.07"
    machine = machines.joined(without_compiler(WELL), venv(torch())).but(
        libraries={other: 30_000_000}, links={f"{machines.MULTIARCH}/libnvidia-ptxjitcompiler.so.1": other}
    )
    assert first(machine).title == "libnvidia-ptxjitcompiler.so.1 is of 550.90.07, and libcuda of 570.172.08"
    assert first(machine).severity is Severity.ERROR


# TensorFlow's cuDNN

BUILD = (
    "build_info = collections.OrderedDict([('cuda_version', '12.5.1'), ('cudnn_version', '9'),"
    " ('is_cuda_build', True), ('is_rocm_build', False)])\n"
)


@pytest.mark.parametrize(
    ("version", "expected"), [("9.3.0.75", []), ("9.10.2.21", []), ("9.1.0.70", ["cudnn-mismatch"])]
)
def test_tensorflow_wants_the_cudnn_that_it_was_built_with(version: str, expected: list[str]) -> None:
    flow = package("tensorflow", "2.18.0", {"tensorflow/python/platform/build_info.py": BUILD})
    machine = machines.joined(WELL, venv(flow, wheel("cudnn", version, at=site())))
    assert ids(machine) == expected
    if expected:
        command = first(machine).remedies[0].commands[0]
        assert command.endswith("-m pip install --upgrade 'nvidia-cudnn-cu12>=9.3,<10'")


def test_an_environment_that_sets_nothing_is_asked_for_nothing() -> None:
    host = WELL.host()
    diagnosed(host)
    assert not [question for question in host.asked if "/sys/class/net" in question or "df -k" in question]
