"""Device code of installed frameworks against the GPUs that are here."""

from __future__ import annotations

import pytest

from nvdiag.host import Host
from nvdiag.model.finding import Confidence, Severity
from tests.checks.diagnosing import diagnosed, first, ids
from tests.report.reporting import as_document
from tests.scenarios import machines
from tests.scenarios.pythons import container, fatbin, package, site, torch_with_cuda, venv
from tests.scenarios.tree import Tree

NEW = "570.172.08"
TWO = (machines.GPU, "0000:02:00.0")
CU128 = container(*(("sm", number) for number in (70, 75, 80, 86, 90, 100, 120)))
"""What torch 2.8.0+cu128 holds."""


def machine(
    *capabilities: str, code: bytes = CU128, path: str = "torch/lib/libtorch_cuda.so", also: Tree | None = None
) -> Tree:
    """GPUs of these compute capabilities, and PyTorch whose library at `path` holds this code."""
    gpus = TWO[: len(capabilities)]
    answer = machines.nvml_healthy(NEW, gpus)
    for device, capability in zip(answer["devices"], capabilities, strict=True):
        device["compute_capability"] = capability
    environment = venv(torch_with_cuda(), *([also] if also else []))
    well = machines.ubuntu_dkms(NEW, NEW, NEW, gpus=gpus).but(probes={"nvml": answer})
    library = f"{site()}/{path}"
    return machines.joined(well, environment, Tree(images={library: fatbin(code)}))


def only(found: list[str]) -> list[str]:
    return [one for one in found if one == "gpu-arch-not-in-build"]


@pytest.mark.parametrize("capability", ["7.5", "8.9", "9.0", "12.0"])
def test_a_gpu_that_the_build_has_code_for_is_no_finding(capability: str) -> None:
    assert ids(machine(capability)) == []


@pytest.mark.parametrize("capability", ["6.1", "5.2"])
def test_a_gpu_that_the_build_has_no_code_for_is_told(capability: str) -> None:
    found = first(machine(capability))
    assert (found.id, found.severity, found.confidence) == (
        "gpu-arch-not-in-build", Severity.ERROR, Confidence.CERTAIN,
    )  # fmt: skip
    assert "torch 2.8.0+cu128 has no code for NVIDIA GeForce RTX 4090 at 0000:01:00.0" in found.title
    assert any("pip install --force-reinstall 'torch==" in one.commands[0] for one in found.remedies if one.commands)


def test_ptx_of_an_older_architecture_serves_a_newer_gpu() -> None:
    assert ids(machine("12.0", code=container(("sm", 80), ("compute", 90)))) == []
    assert only(ids(machine("12.0", code=container(("sm", 80), ("sm", 90))))) == ["gpu-arch-not-in-build"]


def test_code_that_only_a_later_container_has_counts() -> None:
    late = b"".join([*[container(("sm", 80))] * 30, container(("sm", 90))])
    assert ids(machine("9.0", code=late)) == []


def test_one_gpu_of_several_without_code_is_a_warning() -> None:
    found = first(machine("8.9", "6.1"))
    assert (found.id, found.severity) == ("gpu-arch-not-in-build", Severity.WARNING)
    assert "0000:02:00.0" in found.title


def test_an_extension_without_code_for_the_gpu_is_a_warning_of_its_own() -> None:
    module = "flash_attn_2_cuda.cpython-312-x86_64-linux-gnu.so"
    flash = package("flash-attn", "2.8.3").but(
        libraries={f"{site()}/{module}": 5}, needs={f"{site()}/{module}": {"needed": ["libcudart.so.12"]}}
    )
    found = first(machine("7.5", code=container(("sm", 80), ("sm", 90)), path=module, also=flash))
    assert (found.id, found.subject, found.severity) == ("gpu-arch-not-in-build", "flash-attn", Severity.WARNING)


def test_a_library_that_does_not_tell_is_no_finding() -> None:
    assert ids(machine("6.1", code=b"\0" * 64)) == []


def test_what_a_build_holds_is_in_the_report_and_in_the_snapshot() -> None:
    tree = machine("6.1")
    names = [f"sm_{number}" for number in (120, 100, 90, 86, 80, 75, 70)]
    assert as_document(diagnosed(tree))["facts"]["frameworks"]["torch"]["architectures"] == names
    assert ids(tree.snapshot()) == ids(tree)


def test_the_library_is_not_read_where_no_gpu_is_known() -> None:
    tree = machine("6.1").without("/sys/bus/pci", "/sys/module", "/dev", "/proc/driver").but(probes={"nvml": None})
    host: Host = tree.host()
    diagnosed(host)
    assert not [one for one in host.asked if one.startswith("contents fatbin")]  # type: ignore[attr-defined]


OLDER = machines.probes("550.163.01", "550.163.01", cuda=12040)


def on_driver_550(capability: str, code: bytes) -> Tree:
    """The same PyTorch, of CUDA 12.8, on a driver that supports CUDA 12.4."""
    answer = machines.nvml_healthy("550.163.01", TWO[:1], 12040)
    answer["devices"][0]["compute_capability"] = capability
    well = machines.ubuntu_dkms("550.163.01", "550.163.01", "550.163.01").but(probes={**OLDER, "nvml": answer})
    library = f"{site()}/torch/lib/libtorch_cuda.so"
    return machines.joined(well, venv(torch_with_cuda()), Tree(images={library: fatbin(code)}))


def test_ptx_of_a_newer_cuda_than_the_drivers_is_of_no_use() -> None:
    found = first(on_driver_550("9.0", container(("sm", 80), ("compute", 80))))
    assert (found.id, found.severity, found.confidence) == (
        "ptx-newer-than-driver", Severity.ERROR, Confidence.LIKELY,
    )  # fmt: skip
    assert "made with CUDA 12.8, and the driver compiles PTX up to CUDA 12.4" in found.title


@pytest.mark.parametrize("code", [container(("sm", 90), ("compute", 80)), container(("sm", 90))])
def test_binary_code_of_a_newer_minor_version_runs(code: bytes) -> None:
    assert ids(on_driver_550("9.0", code)) == []


def test_ptx_of_the_drivers_own_cuda_is_compiled() -> None:
    assert ids(machine("9.0", code=container(("sm", 80), ("compute", 80)))) == []


def with_triton(capability: str, *versions: str, env: dict[str, str] | None = None) -> Tree:
    """Triton whose assemblers are of these CUDA versions, the second one for newer GPUs."""
    folder = f"{site()}/triton/backends/nvidia/bin"
    names = [f"{folder}/{name}" for name, _ in zip(("ptxas", "ptxas-blackwell"), versions, strict=False)]
    said = "ptxas: NVIDIA (R) Ptx optimizing assembler\nCuda compilation tools, release {0}, V{0}.86\n"
    return machine(
        capability,
        code=container(("sm", 80), ("sm", 90), ("sm", 100), ("compute", 50)),
        also=package("triton", "3.4.0"),
    ).but(
        files=dict.fromkeys(names, ""),
        commands={
            f"{path} --version": {"exit": 0, "stdout": said.format(version), "stderr": ""}
            for path, version in zip(names, versions, strict=True)
        },
        env=env or {},
    )


@pytest.mark.parametrize(
    ("capability", "versions"),
    [("9.0", ("12.4",)), ("12.0", ("12.8",)), ("12.0", ("12.4", "12.8")), ("10.7", ("12.9", "13.4"))],
)
def test_a_triton_whose_assembler_knows_the_gpu_is_no_finding(capability: str, versions: tuple[str, ...]) -> None:
    assert ids(with_triton(capability, *versions)) == []


def test_a_triton_whose_assembler_is_older_than_the_gpu_is_told() -> None:
    tree = with_triton("12.0", "12.4")
    found = first(tree)
    assert (found.id, found.subject, found.severity) == ("gpu-arch-not-in-build", "triton", Severity.WARNING)
    assert "Triton 3.4.0 brings ptxas of CUDA 12.4" in found.title
    assert ids(tree.snapshot()) == ids(tree)
    other = with_triton("12.0", "12.4", env={"TRITON_PTXAS_PATH": "/opt/ptxas"}).but(files={"/opt/ptxas": ""})
    assert ids(other) == []


def test_an_assembler_newer_than_the_table_is_unknown() -> None:
    outcome = next(
        one for one in diagnosed(with_triton("9.0", "99.0")).checks if one.name == "tritons_assembler_knows_the_gpus"
    )
    assert (outcome.status.value, "newer than nvdiag's table" in outcome.reason) == ("unknown", True)


BNB = "bitsandbytes/libbitsandbytes_cuda126.so"


def test_bitsandbytes_is_judged_by_the_library_that_it_takes() -> None:
    bnb = package("bitsandbytes", "0.50.2", {"bitsandbytes/libbitsandbytes_cuda118.so": ""})
    tree = machines.joined(
        machine("12.0", also=bnb), Tree(images={f"{site()}/{BNB}": fatbin(container(("sm", 80), ("sm", 90)))})
    )
    found = first(tree)
    assert (found.subject, found.evidence[0].source) == ("bitsandbytes", f"{site()}/{BNB}")
