"""Kernel images and lists of certificates, as their readers see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nvdiag.host import certificates, kernel_image
from tests.facts.hostile import QUICK
from tests.host.archives import kernel, signature_list


def test_a_kernel_image_says_its_release(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz-linux"
    path.write_bytes(kernel("6.16.7-arch1-1"))
    assert kernel_image.read_image(str(path)) == {"release": "6.16.7-arch1-1"}


def test_another_file_is_no_kernel_image(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(b"\x1f\x8b" + bytes(2000))
    assert "error" in kernel_image.read_image(str(path))


def test_names_of_machine_owner_keys_are_read_with_and_without_attributes(tmp_path: Path) -> None:
    path = tmp_path / "MokListRT"
    names = [["DKMS module signing key"], ["Debian Secure Boot CA"]]
    whole = signature_list(*(one[0] for one in names))
    for data in (whole, whole[4:]):
        path.write_bytes(data)
        assert certificates.read_list(str(path)) == {"names": names}


@QUICK
@given(st.binary(max_size=300), st.sampled_from([b"", b"MZ", b"\x06\0\0\0", signature_list("a")[:40]]))
def test_any_bytes_are_read(tmp_path_factory: Any, data: bytes, head: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(head + data)
    assert isinstance(certificates.read_list(str(path))["names"], list)
    assert isinstance(kernel_image.read_image(str(path)), dict)
