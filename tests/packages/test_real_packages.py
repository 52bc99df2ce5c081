"""NVIDIA's real wheels in throw-away environments: versions, shadowing and missing parts, beside the real loader."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nvdiag.engine import Facts
from nvdiag.facts.cuda_libraries import CudaLibraries, CudaLibrary
from nvdiag.facts.cuda_sonames import is_cudas
from nvdiag.facts.frameworks import Frameworks
from nvdiag.facts.loaded_libraries import LoadedLibraries
from nvdiag.facts.partners import Partners
from nvdiag.facts.python_environments import PythonEnvironments
from nvdiag.host import Host
from nvdiag.host.live import LiveHost
from nvdiag.model.finding import Finding
from tests.checks.diagnosing import diagnosed
from tests.packages.environment import Environment
from tests.packages.fetch import why_not

pytestmark = [pytest.mark.packages, pytest.mark.live]

ABOUT = {"cuda-library-shadowed", "cuda-library-missing", "cudnn-mismatch", "nccl-mismatch"}


@pytest.fixture(autouse=True)
def _packages() -> None:
    """Where the wheels were not fetched the tests are skipped loudly; NVDIAG_RIGS_REQUIRED=1 makes that a failure."""
    if (why := why_not()) is not None:
        if os.environ.get("NVDIAG_RIGS_REQUIRED"):
            pytest.fail(why)
        pytest.skip(why)


@pytest.fixture
def activate(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONDA_PREFIX", "NVDIAG_PYTHON", "PYTHONPATH", "LD_PRELOAD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LD_LIBRARY_PATH", "")


def seen(environment: Environment, monkeypatch: pytest.MonkeyPatch, library_path: str = "") -> LiveHost:
    monkeypatch.setenv("VIRTUAL_ENV", str(environment.prefix))
    monkeypatch.setenv("LD_LIBRARY_PATH", library_path)
    return LiveHost()


def picture(host: Host) -> dict[str, CudaLibrary]:
    return dict(Facts({Host: host})[CudaLibraries].libraries)


def findings(host: Host) -> list[Finding]:
    return [ranked.finding for ranked in diagnosed(host).findings if ranked.finding.id in ABOUT]


def loaded(environment: Environment, library_path: str = "") -> tuple[list[str], str]:
    """What the real loader maps of CUDA where the stand-in is loaded as torch is."""
    library = environment.packages / "torch" / "lib"
    names = ("libtorch_global_deps.so", "libtorch_python.so")
    code = "import ctypes\n" + "".join(f"ctypes.CDLL({str(library / name)!r})\n" for name in names)
    paths, said = environment.maps(code, library_path)
    return [path for path in paths if is_cudas(Path(path).name)], said


def taken(libraries: dict[str, CudaLibrary], *, but: str = "libcudnn_") -> list[str]:
    """What is said to be taken, but cuDNN's parts, which are opened when it is called."""
    return sorted(
        one.taken.path for name, one in libraries.items() if one.taken and one.asked_by and not name.startswith(but)
    )


@pytest.mark.usefixtures("activate")
def test_versions_are_those_of_the_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment(tmp_path / "env", "cuda12", "cuda13", "apart")
    host = seen(environment, monkeypatch)
    known = Facts({Host: host})
    assert known[PythonEnvironments].chosen.versions == {
        "nvidia-cuda-runtime-cu12": "12.8.90",
        "nvidia-cuda-runtime": "13.0.96",
        "nvidia-nvjitlink-cu12": "12.8.93",
        "nvidia-cudnn-cu12": "9.10.2.21",
        "nvidia-nccl-cu12": "2.27.3",
    }
    here = {
        name: str(copy.version)
        for name, one in picture(host).items()
        for copy in one.others + ((one.taken,) if one.taken else ())
        if copy.path.startswith(str(environment.packages))
    }
    assert {
        "libcudart.so.12": "12.8.90", "libcudart.so.13": "13.0.96", "libnvJitLink.so.12": "12.8.93",
        "libcudnn.so.9": "9.10.2.21", "libcudnn_ops.so.9": "9.10.2.21", "libnccl.so.2": "2.27.3",
    }.items() <= here.items()  # fmt: skip


@pytest.mark.usefixtures("activate")
def test_the_version_of_overwritten_wheels_is_read_from_their_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = Environment(tmp_path / "env", "apart")
    for name in ("nvidia_cudnn_cu13-9.14.0.64", "nvidia_nccl_cu13-2.28.3"):
        (environment.packages / f"{name}.dist-info").mkdir()
    libraries = picture(seen(environment, monkeypatch))
    copies = {name: one.others[0] for name, one in libraries.items() if one.others}
    assert str(copies["libcudnn.so.9"].version) == "9.10.2"
    assert str(copies["libnccl.so.2"].version) == "2.27.3"


@pytest.mark.usefixtures("activate")
@pytest.mark.parametrize("shadowed", [False, True], ids=["alone", "with an older nvJitLink in LD_LIBRARY_PATH"])
def test_the_real_loader_takes_what_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, shadowed: bool) -> None:
    environment = Environment(tmp_path / "env", "cuda12")
    environment.add_cusparse()
    environment.add_torch(("libcudart.so.12", "libcusparse.so.12"))
    older = Environment(tmp_path / "older", "older")
    library_path = str(older.packages / "nvidia" / "nvjitlink" / "lib") if shadowed else ""
    host = seen(environment, monkeypatch, library_path)
    paths, said = loaded(environment, library_path)
    if shadowed:
        (found,) = findings(host)
        assert (found.id, found.subject) == ("cuda-library-shadowed", "libnvJitLink.so.12")
        assert "gets libnvJitLink.so.12 of 12.1.105" in found.title
        assert "undefined symbol: __nvJitLinkCreate_12_8" in said
    else:
        assert findings(host) == []
        assert paths == taken(picture(host))


@pytest.mark.usefixtures("activate")
def test_a_part_that_was_uninstalled_is_missed_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment(tmp_path / "env", "cuda12", "apart")
    environment.add_torch(("libcudart.so.12", "libcudnn.so.9", "libnccl.so.2"))
    assert findings(seen(environment, monkeypatch)) == []
    environment.remove("nvidia/nccl")
    (found,) = findings(seen(environment, monkeypatch))
    assert (found.id, "needs libnccl.so.2" in found.title) == ("nccl-mismatch", True)
    assert "libnccl.so.2: cannot open shared object file" in loaded(environment)[1]


@pytest.mark.usefixtures("activate")
def test_a_part_of_cudnn_that_is_gone_is_missed_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment(tmp_path / "env", "cuda12", "apart")
    environment.add_torch(("libcudart.so.12", "libcudnn.so.9"))
    environment.remove("nvidia/cudnn/lib/libcudnn_graph.so.9")
    (found,) = findings(seen(environment, monkeypatch))
    assert (found.id, "libcudnn_graph.so.9" in found.title) == ("cudnn-mismatch", True)


@pytest.mark.usefixtures("activate")
def test_cudnn_opens_its_parts_as_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment(tmp_path / "env", "cuda12", "apart")
    environment.add_torch(("libcudart.so.12", "libcudnn.so.9"))
    other = Environment(tmp_path / "other", "apart")
    library_path = str(other.packages / "nvidia" / "cudnn" / "lib")
    libraries = picture(seen(environment, monkeypatch, library_path))
    library = environment.packages / "torch" / "lib" / "libtorch_python.so"
    cudnn = environment.packages / "nvidia" / "cudnn" / "lib" / "libcudnn.so.9"
    paths, _ = environment.maps(
        f"import ctypes\nctypes.CDLL({str(library)!r})\nctypes.CDLL({str(cudnn)!r}).cudnnGetVersion()\n", library_path
    )
    parts = {Path(path).name: path for path in paths if "libcudnn" in path}
    assert "libcudnn_graph.so.9" in parts
    for name, path in parts.items():
        one = libraries[name].taken
        assert one is not None
        assert one.path == path


@pytest.mark.usefixtures("activate")
def test_with_deep_the_real_libraries_say_the_versions_that_their_wheels_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = Environment(tmp_path / "env", "cuda12", "apart")
    environment.add_torch(("libcudart.so.12", "libnvJitLink.so.12", "libcudnn.so.9", "libnccl.so.2"))
    monkeypatch.setenv("NVDIAG_DEEP", "1")
    host = seen(environment, monkeypatch, str(environment.packages / "nvidia" / "nvjitlink" / "lib"))
    loaded = Facts({Host: host})[LoadedLibraries].loaded
    assert {name: str(one.version) for name, one in loaded.items() if one.version} == {
        "libcudart.so.12": "12.8", "libnvJitLink.so.12": "12.8", "libcudnn.so.9": "9.10.2", "libnccl.so.2": "2.27.3",
    }  # fmt: skip


@pytest.mark.usefixtures("activate")
def test_the_device_code_of_a_real_library_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment(tmp_path / "env", "apart")
    host = seen(environment, monkeypatch)
    names = [*(f"sm_{number}" for number in (120, 100, 90, 80, 70, 61, 60, 50)), "compute_120"]
    library = str(environment.packages / "nvidia" / "nccl" / "lib" / "libnccl.so.2")
    assert host.contents("fatbin-whole", library) == {"architectures": names, "whole": True}
    assert host.contents("fatbin", library)["architectures"] == names


@pytest.mark.usefixtures("activate")
def test_onnxruntimes_build_is_told_by_its_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Facts({Host: seen(Environment(tmp_path / "env", "onnxruntime"), monkeypatch)})
    one = known[Frameworks].found["onnxruntime"]
    assert (one.version, one.cuda, one.cpu_only) == ("1.22.0", None, True)


@pytest.mark.usefixtures("activate")
def test_other_frameworks_are_read_from_their_real_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment(tmp_path / "env", "frameworks", "cuda12")
    known = Facts({Host: seen(environment, monkeypatch)})
    told = {name: (one.version, str(one.cuda), one.cpu_only) for name, one in known[Frameworks].found.items()}
    assert told == {"ctranslate2": ("4.8.5", "12", False), "torchvision": ("0.23.0", "12", False)}
    environment.add_torch(("libcudart.so.12",))
    (partner,) = Facts({Host: seen(environment, monkeypatch)})[Partners].found
    assert (partner.name, partner.wants, partner.there, partner.fits) == ("torchvision", "==2.8.0", "2.8.0", True)


@pytest.mark.usefixtures("activate")
def test_an_overwritten_library_says_with_deep_that_it_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = Environment(tmp_path / "env", "cuda12", "apart")
    environment.add_torch(("libcudart.so.12", "libnvJitLink.so.12", "libnccl.so.2"))
    info = environment.packages / "nvidia_nccl_cu12-2.27.3.dist-info"
    info.rename(info.with_name("nvidia_nccl_cu12-2.28.9.dist-info"))
    monkeypatch.setenv("NVDIAG_DEEP", "1")
    nvjitlink = environment.packages / "nvidia" / "nvjitlink" / "lib"
    found = [one for one in findings(seen(environment, monkeypatch, str(nvjitlink))) if "says of itself" in one.title]
    assert [one.title for one in found] == ["libnccl.so.2 says of itself that it is 2.27.3, and its files tell 2.28.9"]
