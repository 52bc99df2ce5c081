"""Secure Boot by pasted words of mokutil: whether the kernel takes the module on disk."""

from __future__ import annotations

import pytest

from nvdiag.model.finding import Confidence
from tests.checks.diagnosing import diagnosed
from tests.checks.pasting import pasted

KEY = "box Secure Boot Module Signature key"
SMI = "$ nvidia-smi\nNVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"


def machine(state: str, enrolled: str = "", distribution: str = "ubuntu") -> str:
    return (
        f"$ cat /etc/os-release\nNAME=x\nID={distribution}\nVERSION_ID=1\n$ uname -r\n6.8.0-85-generic\n{SMI}"
        "$ lspci | grep NVIDIA\n01:00.0 VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090]\n"
        "$ lsmod | grep nvidia\n$ modinfo nvidia\n"
        "filename:       /lib/modules/6.8.0-85-generic/updates/dkms/nvidia.ko.zst\nversion:        570.172.08\n"
        "vermagic:       6.8.0-85-generic SMP preempt mod_unload modversions \nsig_id:         PKCS#7\n"
        f"signer:         {KEY}\n$ mokutil --sb-state\n{state}\n{enrolled}$ exit\n"
    )


def listed(*names: str) -> str:
    keys = "".join(
        f"[key {index}]\nSHA1 Fingerprint: 76:a0:92:06:58:00:bf:37\nCertificate:\n    Data:\n        Version: 3 (0x2)\n"
        f"        Issuer: C=GB, O=Example, CN={name}\n        Validity\n        Subject: C=GB, O=Example, CN={name}\n"
        for index, name in enumerate(names, 1)
    )
    return f"$ mokutil --list-enrolled\n{keys}"


def found(text: str) -> dict[str, Confidence]:
    return {ranked.finding.id: ranked.finding.confidence for ranked in diagnosed(pasted(text)).findings}


@pytest.mark.parametrize(
    "enrolled",
    [listed("Canonical Ltd. Master Certificate Authority"), "$ mokutil --list-enrolled\nMokListRT is empty\n"],
)
def test_a_key_that_is_not_enrolled_is_why_the_module_is_not_loaded(enrolled: str) -> None:
    assert found(machine("SecureBoot enabled", enrolled))["secure-boot-rejected"] is Confidence.LIKELY


@pytest.mark.parametrize(
    ("state", "enrolled", "distribution"),
    [
        ("SecureBoot disabled", "", "ubuntu"),
        ("SecureBoot disabled\nPlatform is in Setup Mode", listed("Canonical"), "ubuntu"),
        ("SecureBoot enabled\nSecureBoot validation is disabled in shim", listed("Canonical"), "ubuntu"),
        ("SecureBoot enabled", listed("Canonical", KEY), "ubuntu"),
        (
            "SecureBoot enabled",
            "$ mokutil --list-enrolled --short\n76a0920658 Canonical\n0a1b2c3d4e " + KEY + "\n",
            "debian",
        ),
        ("SecureBoot enabled", listed("Canonical"), "arch"),
    ],
)
def test_secure_boot_refuses_nothing_where_it_does_not_ask_or_the_key_is_enrolled(
    state: str, enrolled: str, distribution: str
) -> None:
    assert "secure-boot-rejected" not in found(machine(state, enrolled, distribution))
