"""Ways in which a driver is not there, from what a running system's own files tell."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from nvdiag.facts import fabric, units
from nvdiag.facts import packages as package_facts
from nvdiag.facts.quiet_gpus import is_silent, unassigned
from nvdiag.facts.signatures import KEYS, LOCKDOWN, SECURE_BOOT, SIG_ENFORCE
from nvdiag.model.finding import Confidence, Finding, Severity
from tests.checks.diagnosing import diagnosed, first, ids
from tests.scenarios import machines
from tests.scenarios.tree import Tree

NEW = "570.172.08"
WELL = machines.ubuntu_dkms(NEW, NEW, NEW)
DKMS_NOT_LOADED = machines.ubuntu_dkms(None, NEW, NEW)
BUS = f"/sys/bus/pci/devices/{machines.GPU}"
SILENT: dict[str, Any] = {"nvml": {"library": "x", "init": 999, "init_text": "Unknown Error"}}
SECURE = {
    LOCKDOWN: "none [integrity] confidentiality\n",
    SIG_ENFORCE: "N\n",
    SECURE_BOOT: "\x06\x00\x00\x00\x01",
}
CANONICAL_KEY = (
    "1a2b3c4d I------     1 perm 1f030000     0     0 asymmetri Canonical Ltd. Live Patch Signing:"
    " 14df34d1a87cf37625abec039ef2bf521249b969: X509.rsa 1249b969 []\n"
)
OWN_KEY = CANONICAL_KEY.replace("Canonical Ltd. Live Patch Signing", "DKMS module signing key")


def found_as(machine: Tree, identifier: str) -> list[Finding]:
    return [one.finding for one in diagnosed(machine).findings if one.finding.id == identifier]


def causes(machine: Tree) -> list[tuple[str, str | None]]:
    return [(one.finding.id, one.caused_by) for one in diagnosed(machine).findings]


def same_when_recorded(machine: Tree) -> bool:
    return diagnosed(machine.snapshot()).findings == diagnosed(machine).findings


# Secure Boot


def unsigned() -> dict[str, Any]:
    path = f"/usr/lib/modules/{machines.UBUNTU_KERNEL}/updates/dkms/nvidia.ko.zst"
    return {path: machines.module_fields(NEW, machines.UBUNTU_KERNEL, signer=None)}


def test_an_unsigned_module_under_lockdown_is_certainly_refused() -> None:
    machine = DKMS_NOT_LOADED.but(files=SECURE, modules=unsigned())
    assert first(machine).confidence is Confidence.CERTAIN
    assert causes(machine) == [("secure-boot-rejected", None), ("driver-not-loaded", "secure-boot-rejected")]
    assert same_when_recorded(machine)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [(CANONICAL_KEY, Confidence.LIKELY), ("", Confidence.LIKELY), (CANONICAL_KEY + OWN_KEY, None)],
)
def test_a_module_signed_by_an_own_key_depends_on_the_keys(keys: str, expected: Confidence | None) -> None:
    machine = DKMS_NOT_LOADED.but(files={**SECURE, KEYS: keys})
    assert [one.confidence for one in found_as(machine, "secure-boot-rejected")] == ([expected] if expected else [])


def test_the_distributions_own_signature_is_no_reason() -> None:
    keys = CANONICAL_KEY.replace("Live Patch", "Kernel Module")
    machine = machines.ubuntu_prebuilt(None, NEW, NEW).but(files={**SECURE, KEYS: keys})
    assert ids(machine) == ["driver-not-loaded"]


def test_secure_boot_without_lockdown_asks_for_no_signature() -> None:
    files = {LOCKDOWN: "[none] integrity confidentiality\n", SIG_ENFORCE: "N\n", SECURE_BOOT: "\x06\x00\x00\x00\x01"}
    assert ids(DKMS_NOT_LOADED.but(files=files, modules=unsigned())) == ["driver-not-loaded"]


def test_sig_enforce_alone_asks_for_one() -> None:
    machine = DKMS_NOT_LOADED.but(files={SIG_ENFORCE: "Y\n"}, modules=unsigned())
    assert first(machine).id == "secure-boot-rejected"


def test_a_loaded_module_was_taken_whatever_its_signature() -> None:
    machine = WELL.but(files=SECURE, modules=unsigned())
    assert [one.severity for one in found_as(machine, "secure-boot-rejected")] == [Severity.WARNING]  # of the next boot


# Branch and flavour by PCI id


@pytest.mark.parametrize(
    ("device", "release", "flavour", "expected"),
    [
        ("0x2d04", "550.163.01", "open", "gpu-needs-newer-driver"),
        ("0x1b81", "590.48.01", "proprietary", "gpu-needs-legacy-driver"),
        ("0x1b81", "570.172.08", "open", "gpu-needs-proprietary-module"),
        ("0x2d04", "575.57.08", "proprietary", "gpu-needs-open-module"),
        ("0x2684", "575.57.08", "open", None),
        ("0x1b81", "575.57.08", "proprietary", None),
    ],
)
def test_a_gpu_that_the_installed_module_does_not_drive(
    device: str, release: str, flavour: str, expected: str | None
) -> None:
    none = {"nvml": {**machines.nvml_healthy(release, ()), "count": 0}}
    loaded = machines.ubuntu_dkms(release, release, release, device=device, flavour=flavour, held_by=None)
    machine = loaded.but(probes=none)
    if expected is None:
        assert not [one for one in ids(machine) if one.startswith("gpu-needs")]
    else:
        assert (first(machine).id, first(machine).confidence) == (expected, Confidence.CERTAIN)
        assert same_when_recorded(machine)


def test_a_gpu_that_answers_is_driven_whatever_the_table_says() -> None:
    assert ids(machines.ubuntu_dkms("590.48.01", "590.48.01", "590.48.01", device="0x1b81")) == []


def test_a_gpu_given_to_a_virtual_machine_is_not_held_against_the_driver() -> None:
    machine = machines.ubuntu_dkms(None, "590.48.01", "590.48.01", device="0x1b81", held_by="vfio-pci")
    assert not [one for one in ids(machine) if one.startswith("gpu-needs")]


def test_no_one_driver_serves_a_1080_beside_a_5090() -> None:
    other = "0000:41:00.0"
    machine = machines.ubuntu_dkms(None, NEW, NEW, gpus=(machines.GPU, other), device="0x2b85").but(
        files={f"/sys/bus/pci/devices/{other}/device": "0x06c0\n"}
    )
    assert "No one driver serves all GPUs" in found_as(machine, "gpu-needs-legacy-driver")[0].detail


# The bus


RESOURCE = """\
0x00000000a0000000 0x00000000a0ffffff 0x0000000000040200
0x{start:016x} 0x{end:016x} 0x{flags:016x}
0x0000000000000000 0x0000000000000000 0x0000000000000000
"""


REMOVED = 'ACTION=="add", ATTR{vendor}=="0x10de", ATTR{power/control}="auto", ATTR{remove}="1"\n'


def resource(start: int, end: int, flags: int) -> str:
    return RESOURCE.format(start=start, end=end, flags=flags)


def test_a_gpu_whose_configuration_reads_as_ones_is_off_the_bus() -> None:
    machine = WELL.but(files={f"{BUS}/config": "\ufffd" * 64}, probes=SILENT)
    assert causes(machine) == [
        ("gpu-fallen-off-bus", None),
        ("gpu-init-failed", f"gpu-fallen-off-bus:{machines.GPU}"),
    ]
    assert same_when_recorded(machine)


def test_a_sleeping_gpu_is_not_woken_to_be_looked_at() -> None:
    host = WELL.but(files={f"{BUS}/power/runtime_status": "suspended\n"}, probes=SILENT).host()
    diagnosed(host)
    assert f"files {BUS}/config" not in host.asked


def test_where_the_driver_answers_the_bus_is_not_asked() -> None:
    host = WELL.host()
    diagnosed(host)
    assert not [one for one in host.asked if one.endswith(("/config", "/resource"))]


@pytest.mark.parametrize("window", [(0, 0, 0), (0, 0x7FFFFFFFF, 0x2014220C)])
def test_a_gpu_without_a_place_for_its_memory_window(window: tuple[int, int, int]) -> None:
    machine = WELL.but(files={f"{BUS}/resource": resource(*window)}, probes=SILENT)
    assert first(machine).id == "pci-resources-unavailable"
    assert "BAR1" in first(machine).title


def test_configuration_and_windows_are_told_apart() -> None:
    assert is_silent("\ufffd\x10\ufffd&" + "\x00" * 60) is False
    assert is_silent(None) is is_silent("\ufffd" * 8) is None
    assert unassigned(resource(0x6000000000, 0x67FFFFFFFF, 0x14220C)) == ()
    assert unassigned("") is None


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({"/proc/acpi/bbswitch": "0000:01:00.0 OFF\n"}, "bbswitch"),
        ({"/sys/devices/platform/asus-nb-wmi/dgpu_disable": "1\n"}, "dgpu"),
        ({"/etc/prime-discrete": "off\n"}, "prime"),
        ({"/etc/udev/rules.d/50-remove-nvidia.rules": REMOVED}, "env"),
    ],
)  # fmt: skip
def test_a_switch_that_is_off_is_why_no_gpu_is_there(files: dict[str, str], word: str) -> None:
    machine = DKMS_NOT_LOADED.without(BUS).but(files=files)
    assert first(machine).id == "gpu-switched-off"
    assert word in first(machine).title
    assert ("no-nvidia-gpu", "gpu-switched-off") in causes(machine)


def test_a_switch_that_is_on_and_a_gpu_that_sleeps_are_well() -> None:
    files = {"/proc/acpi/bbswitch": "0000:01:00.0 ON\n", "/etc/prime-discrete": "on-demand\n"}
    assert ids(WELL.but(files={**files, f"{BUS}/power/runtime_status": "suspended\n"})) == []


def test_nova_holds_a_gpu_as_any_other_driver() -> None:
    found = first(machines.ubuntu_dkms(None, NEW, NEW, held_by="nova_core"))
    assert (found.id, "nova_core" in found.title) == ("gpu-bound-to-other-driver", True)


# Firmware and packages


def test_firmware_of_another_release_is_found_missing() -> None:
    other = {"/usr/lib/firmware/nvidia/570.195.03/gsp_ga10x.bin": ""}
    machine = WELL.without("/usr/lib/firmware/nvidia/").but(files=other, probes=SILENT)
    assert first(machine).id == "gsp-firmware-missing"
    assert "570.195.03" in first(machine).title


@pytest.mark.parametrize(
    "files",
    [
        {f"/usr/lib/firmware/nvidia/{NEW}/gsp_ga10x.bin": ""},
        {f"/usr/lib/firmware/nvidia/{NEW}/gsp_tu10x.bin.zst": ""},
        {
            "/sys/module/firmware_class/parameters/path": "/run/firmware\n",
            f"/run/firmware/nvidia/{NEW}/gsp_ga10x.bin": "",
            "/usr/lib/firmware/nvidia/535.261.03/gsp_ga10x.bin": "",
        },
    ],
)
def test_firmware_of_its_own_release_is_found_where_the_kernel_looks(files: dict[str, str]) -> None:
    assert "gsp-firmware-missing" not in ids(WELL.without("/usr/lib/firmware/nvidia/").but(files=files, probes=SILENT))


PROPRIETARY = machines.debian_current(NEW, NEW, NEW)
FIRMWARE_ASKED = "/proc/driver/nvidia/params"


@pytest.mark.parametrize(
    ("parameter", "device", "found"),
    [
        ("EnableGpuFirmware: 1\n", machines.RTX_4090, True),
        ("EnableGpuFirmware: 18\n", machines.RTX_4090, False),
        ("EnableGpuFirmware: 17\n", machines.RTX_4090, False),
        ("EnableGpuFirmware: 0\n", machines.RTX_4090, False),
        ("", machines.RTX_4090, False),
        ("EnableGpuFirmware: 1\n", "0x1b80", False),
    ],
)
def test_a_proprietary_module_misses_its_firmware_only_where_it_may_not_do_without(
    parameter: str, device: str, found: bool
) -> None:
    files = {FIRMWARE_ASKED: f"ResmanDebugLevel: 4294967295\n{parameter}", f"{BUS}/device": f"{device}\n"}
    machine = PROPRIETARY.but(files={**files, "/usr/lib/firmware/some": ""}, probes=SILENT)
    assert ("gsp-firmware-missing" in ids(machine)) is found


def dpkg(*lines: str) -> dict[str, Any]:
    text = "".join(f"{line}\n" for line in lines)
    return {shlex.join(package_facts.DPKG): {"exit": 0, "stdout": text, "stderr": ""}}


DRIVER = f"ii  nvidia-driver-570-open {NEW}-0ubuntu0.24.04.1"


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        ((DRIVER, f"iF  nvidia-dkms-570-open {NEW}-0ubuntu0.24.04.1"), "half-configured"),
        ((DRIVER, "ii  libnvidia-compute-570 570.169-0ubuntu0.24.04.1"), "2 releases"),
    ],
)
def test_packages_that_disagree_are_named(lines: tuple[str, ...], word: str) -> None:
    machine = DKMS_NOT_LOADED.but(commands=dpkg(*lines))
    assert word in found_as(machine, "driver-package-conflict")[0].title


def test_packages_with_numbers_of_their_own_are_no_conflict() -> None:
    lines = (
        DRIVER,
        "ii  nvidia-settings 510.47.03-0ubuntu4",
        "ii  nvidia-prime 0.8.17.2",
        "ii  linux-modules-nvidia-570-open-6.8.0-85-generic 6.8.0-85.85~1",
        "rc  libnvidia-compute-535 535.247.01-0ubuntu0.24.04.1",
        f"hi  libnvidia-compute-570 {NEW}-0ubuntu0.24.04.1",
    )
    assert ids(DKMS_NOT_LOADED.but(commands=dpkg(*lines))) == ["driver-not-loaded"]


def test_an_installer_beside_packages_is_two_ways_at_once() -> None:
    log = {"/var/log/nvidia-installer.log": "Installation of the NVIDIA driver (version: 580.95.05) is now complete.\n"}
    assert "580.95.05" in found_as(DKMS_NOT_LOADED.but(files=log), "driver-package-conflict")[0].title


# Nodes and nvidia_uvm


def test_a_uvm_node_with_the_number_of_an_earlier_load_is_stale() -> None:
    machine = WELL.but(nodes={"/dev/nvidia-uvm": (machines.MODE, "511:0")})
    found = first(machine)
    assert (found.id, found.subject, found.severity) == ("device-nodes-stale", "/dev/nvidia-uvm", Severity.ERROR)
    assert "510:0" in found.title
    assert same_when_recorded(machine)


def test_a_setuid_helper_mends_a_stale_node() -> None:
    machine = WELL.but(
        nodes={"/dev/nvidia-uvm": (machines.MODE, "511:0")}, files={"/usr/bin/nvidia-modprobe": "\x7fELF"}
    )
    assert first(machine).severity is Severity.WARNING


def test_numbers_of_older_branches_are_known() -> None:
    text = "Character devices:\n195 nvidia-frontend\n510 nvidia-uvm\n\nBlock devices:\n"
    assert ids(WELL.but(files={"/proc/devices": text})) == []


def without_uvm(**changes: Any) -> Tree:
    tree = machines.ubuntu_dkms(NEW, NEW, NEW, submodules=("nvidia_modeset", "nvidia_drm"))
    return tree.but(probes={"cuda": {"library": "x", "driver_version": 12080}}, **changes)


def test_uvm_that_is_loaded_on_use_is_an_information() -> None:
    machine = without_uvm(files={"/usr/bin/nvidia-modprobe": "\x7fELF"})
    assert [(one.finding.id, one.finding.severity) for one in diagnosed(machine).findings] == [
        ("uvm-not-loaded", Severity.INFO)
    ]
    assert diagnosed(machine).exit_code() == 0


def test_without_the_helper_it_is_an_error_where_cuda_is_wanted() -> None:
    assert ids(without_uvm()) == []
    toolkit = {
        "/usr/local/cuda-12.8/version.json": '{"cuda": {"version": "12.8.1"}}',
        "/usr/local/cuda-12.8/bin/nvcc": "",
    }
    assert first(without_uvm(files=toolkit)).severity is Severity.ERROR


# Fabric manager, IMEX, confidential computing


UNIT = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "UnitFileState": "enabled"}


def service(name: str, **fields: str) -> dict[str, Any]:
    key = shlex.join(["systemctl", "show", f"--property={','.join(units.PROPERTIES)}", name])
    text = "".join(f"{field}={value}\n" for field, value in {**UNIT, "Result": "success", **fields}.items())
    return {key: {"exit": 0, "stdout": text, "stderr": ""}}


def hgx(release: str = NEW, init: int | None = 802, **fields: str) -> Tree:
    switch = "/sys/bus/pci/devices/0000:c3:00.0"
    version = {"exit": 0, "stdout": f"Fabric Manager version is : {release}\n", "stderr": ""}
    cuda = {"library": "x", "driver_version": 12080, **({"init": init} if init is not None else {})}
    return machines.ubuntu_dkms(NEW, NEW, NEW, device="0x2330").but(
        files={f"{switch}/vendor": "0x10de\n", f"{switch}/class": "0x068000\n"},
        commands={**service(fabric.FABRIC_UNIT, **fields), "nv-fabricmanager --version": version},
        probes={"cuda": {**cuda, "count": 1} if init == 0 else cuda},
    )


def test_a_fabric_manager_that_runs_is_well() -> None:
    assert ids(hgx(init=0)) == []


def test_a_fabric_manager_that_does_not_run_is_why_cuda_is_not_ready() -> None:
    machine = hgx(ActiveState="failed", Result="exit-code")
    assert causes(machine) == [
        ("fabric-manager-not-running", None),
        ("no-cuda-device", "fabric-manager-not-running"),
    ]
    assert first(machine).confidence is Confidence.CERTAIN
    assert same_when_recorded(machine)


def test_a_fabric_manager_that_is_not_installed_is_said_to_be_so() -> None:
    assert "not installed" in first(hgx(LoadState="not-found", ActiveState="inactive")).title


def test_a_fabric_manager_of_another_release_is_the_cause() -> None:
    machine = hgx(release="570.169", ActiveState="failed", Result="exit-code")
    assert causes(machine)[:2] == [
        ("fabric-manager-mismatch", None),
        ("fabric-manager-not-running", "fabric-manager-mismatch"),
    ]
    running = first(hgx(release="570.169", init=0))
    assert (running.id, running.severity) == ("fabric-manager-mismatch", Severity.WARNING)


def waiting(machine: Tree, **fields: str) -> Tree:
    """GPUs of an HGX B200, whose NVSwitches are no devices of NVIDIA's on the bus, and CUDA that waits for them."""
    files = {path: "0x2901\n" for path in machine.files if path.startswith(f"{BUS}/device")}
    cuda = {"library": "x", "driver_version": 12080, "init": 802}
    return machine.but(files=files, commands=service(fabric.FABRIC_UNIT, **fields), probes={"cuda": cuda})


def test_cuda_that_waits_behind_nvlink_5_misses_the_fabric_manager() -> None:
    machine = waiting(WELL, ActiveState="failed", Result="exit-code")
    assert causes(machine) == [
        ("fabric-manager-not-running", None),
        ("no-cuda-device", "fabric-manager-not-running"),
    ]
    assert "no NVSwitch is on the bus" in first(machine).title
    assert "nvlsm" in first(machine).detail
    assert same_when_recorded(machine)


def test_cuda_that_waits_in_a_container_waits_for_the_host() -> None:
    machine = waiting(machines.docker(NEW, NEW))
    assert first(machine).id == "fabric-manager-not-running"
    assert "the host's fabric manager" in first(machine).title
    assert "systemctl show" not in " ".join(one.source for one in first(machine).evidence)


def test_why_cuda_waits_while_a_fabric_manager_runs_is_not_guessed() -> None:
    assert "fabric-manager-not-running" not in ids(waiting(WELL))


def test_without_nvswitches_nobody_asks_for_a_fabric_manager() -> None:
    host = WELL.host()
    diagnosed(host)
    assert not [one for one in host.asked if "systemctl" in one or "fabricmanager" in one]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, []),
        ({"ActiveState": "failed", "Result": "exit-code"}, ["imex-not-running"]),
        ({"ActiveState": "inactive"}, ["imex-not-running"]),
        ({"ActiveState": "inactive", "UnitFileState": "disabled"}, []),
    ],
)
def test_imex_is_wanted_where_it_is_set_up(fields: dict[str, str], expected: list[str]) -> None:
    machine = WELL.but(
        files={fabric.IMEX_NODES: "# nodes\n192.0.2.1\n192.0.2.2\n"}, commands=service(fabric.IMEX_UNIT, **fields)
    )
    assert ids(machine) == expected


@pytest.mark.parametrize(("ready", "init", "expected"), [(0, 802, True), (1, 0, False), (None, 0, False)])
def test_confidential_gpus_want_to_be_set_ready(ready: int | None, init: int, expected: bool) -> None:
    nvml = {**machines.nvml_healthy(NEW), "confidential": 1, "confidential_ready": ready}
    cuda = {"library": "x", "driver_version": 12080, "init": init, "count": 1}
    machine = WELL.but(probes={"nvml": nvml, "cuda": cuda})
    assert ("confidential-computing-not-ready" in ids(machine)) is expected
    if expected:
        assert ("no-cuda-device", "confidential-computing-not-ready") in causes(machine)
