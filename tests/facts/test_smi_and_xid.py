"""Forms of nvidia-smi's head and of Xid lines that the samples do not have, and what is neither."""

from __future__ import annotations

import pytest

from nvdiag.facts.smi import parse_smi_header
from nvdiag.facts.xid import XidLine, parse_xid
from nvdiag.model.unknown import ParseError
from nvdiag.model.versions import CudaVersion, DriverRelease


def test_first_generation_puts_a_number_of_its_own_before_the_release() -> None:
    said = parse_smi_header("| NVIDIA-SMI 4.304.88   Driver Version: 304.88         |")
    assert said.smi == said.driver == DriverRelease.of("304.88")


def test_release_that_smi_itself_cuts_is_none() -> None:
    said = parse_smi_header("| NVIDIA-SMI 4.304...   Driver Version: 304.135        |")
    assert said.smi is None
    assert said.driver.text == "304.135"


def test_what_stands_in_place_of_a_cuda_version_is_kept() -> None:
    said = parse_smi_header("| NVIDIA-SMI 535.183.06             Driver Version: 535.183.06   CUDA Version: ERR!     |")
    assert (said.cuda, said.cuda_text) == (None, "ERR!")


def test_listing_tells_driver_and_cuda_and_no_release_of_smi() -> None:
    said = parse_smi_header(
        "==============NVSMI LOG==============\n\n"
        "Timestamp                                 : Mon Nov  3 10:00:00 2025\n"
        "Driver Version                            : 570.172.08\n"
        "CUDA Version                              : 12.8\n"
    )
    assert said.smi is None
    assert said.driver == DriverRelease.of("570.172.08")
    assert said.cuda == CudaVersion.of("12.8")


def test_listing_of_610_names_kernel_and_user_side() -> None:
    said = parse_smi_header("KMD Version                : 610.43.03\nCUDA UMD Version           : 13.3\n")
    assert (said.driver.text, said.cuda_text) == ("610.43.03", "13.3")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 570.172\n",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
        "| NVIDIA-SMI 570.172.08   Driver Version: N/A   CUDA Version: 12.8 |",
        "NVIDIA-SMI 570.172.08 Driver Version: 570..08",
        "Driver Version: 570.172.08-open",
    ],
)
def test_other_output_is_no_header(text: str) -> None:
    with pytest.raises(ParseError):
        parse_smi_header(text)


def test_xid_of_a_mig_instance() -> None:
    said = parse_xid(
        "NVRM: Xid (PCI:0000:01:00 GPU-I:05): 94, pid=7194, Contained: CE User Channel (0x9). RST: No, D-RST: No"
    )
    assert (said.address, said.instance, said.number, said.pid) == ("0000:01:00.0", 5, 94, 7194)
    assert said.rest == "Contained: CE User Channel (0x9). RST: No, D-RST: No"


def test_xid_of_compute_instance_too() -> None:
    said = parse_xid("NVRM: Xid (PCI:0000:3b:00 GPU-I:01 GPU-CI:02): 13, pid=9, name=a, Graphics Exception")
    assert (said.instance, said.name, said.rest) == (1, "a", "Graphics Exception")


def test_xid_of_an_old_driver_has_no_pci_before_the_address() -> None:
    said = parse_xid("[176830.774761] NVRM: Xid (0000:03:00): 13, 0003 00000000 00008297 00001098 00000000 00000044")
    assert said == XidLine(
        where="0000:03:00",
        address="0000:03:00.0",
        instance=None,
        number=13,
        pid=None,
        name=None,
        rest="0003 00000000 00008297 00001098 00000000 00000044",
    )


@pytest.mark.parametrize(
    ("where", "address"),
    [
        ("PCI:00000000:5F:00", "0000:5f:00.0"),
        ("PCI:0000:5f:00.1", "0000:5f:00.1"),
        ("PCI:0018:01:00", "0018:01:00.0"),
        ("1:0", None),
        ("PCI:0000:5f:001", None),
    ],
)
def test_address_is_written_as_sysfs_writes_it(where: str, address: str | None) -> None:
    said = parse_xid(f"NVRM: Xid ({where}): 79, GPU has fallen off the bus.")
    assert (said.where, said.address) == (where, address)


def test_name_may_hold_blanks_and_colons() -> None:
    said = parse_xid("kernel: NVRM: Xid (PCI:0000:01:00): 43, pid=1, name=Web Content: 2, Ch 00000008")
    assert (said.name, said.rest) == ("Web Content: 2", "Ch 00000008")


def test_xid_with_nothing_after_it() -> None:
    said = parse_xid("NVRM: Xid (PCI:0000:01:00): 79, pid=7, name=a")
    assert (said.pid, said.name, said.rest) == (7, "a", "")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 28006, Non-fatal, Link 46 MC TS crumbstore MCTO",
        "NVRM: GPU at PCI:0000:5d:00: GPU-00000000-0000-4000-8000-000000000001",
        "NVRM: _kgspLogXid119: ********** GSP Timeout **********",
        "NVRM: Xid (PCI:0000:01:00): many",
    ],
)
def test_other_lines_are_no_xid(line: str) -> None:
    with pytest.raises(ParseError):
        parse_xid(line)
