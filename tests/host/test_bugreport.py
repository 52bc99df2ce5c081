"""NVIDIA's bug report as a recorded machine: the file, its sections, and what of them says something of a machine."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvdiag.host import Absent, NotRecorded, Refused, bugreport
from nvdiag.host.bugreport import text as texts
from tests.checks.diagnosing import ids
from tests.facts.hostile import QUICK
from tests.scenarios import reports
from tests.scenarios.reports import but

PLAIN = reports.text(*reports.HEALTHY)
BLOCKS = tuple(part.encode() for part in (reports.head(), *reports.HEALTHY, reports.END))


def document(data: bytes) -> dict[str, Any]:
    return reports.of(data).document


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        gzip.compress(PLAIN),
        reports.zipped(*BLOCKS),
        gzip.compress(b"") + reports.zipped(*BLOCKS),
        b"\xef\xbb\xbf" + PLAIN,
        PLAIN.replace(b"\n", b"\r\n"),
        reports.head().encode()[45:],
        PLAIN[:200],
    ],
    ids=["plain", "gzip", "members", "empty member first", "byte order mark", "CRLF", "no line above", "cut"],
)
def test_a_report_is_known_by_its_beginning(data: bytes) -> None:
    assert bugreport.recognises(data[: bugreport.HEAD])


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"\x1f\x8b", gzip.compress(b"{}", mtime=0), b"\x1f\x8b" + bytes(100), b"NVRM: Xid", b"\x00" * 70000,
     b"please see the Start of NVIDIA bug report log file that I attach"],
)  # fmt: skip
def test_other_files_are_not_taken_for_reports(data: bytes) -> None:
    assert not bugreport.recognises(data)


def test_packed_in_hundreds_of_members_it_is_the_same_machine() -> None:
    assert document(reports.zipped(*BLOCKS)) == document(gzip.compress(PLAIN)) == document(PLAIN)
    assert reports.of(reports.zipped(*BLOCKS)).notes == ()


def test_line_ends_of_another_system_change_nothing() -> None:
    assert document(PLAIN.replace(b"\n", b"\r\n")) == document(PLAIN)


def test_what_was_taken_from_the_file_to_know_it_is_read_too() -> None:
    for data in (PLAIN, reports.zipped(*BLOCKS)):
        file = io.BytesIO(data)
        head = file.read(100)
        assert bugreport.read(file, "r", head).document == document(PLAIN)


def test_where_the_script_was_killed_what_is_missing_is_not_recorded() -> None:
    whole = reports.zipped(*BLOCKS[:4])
    machine = reports.of(whole)
    assert machine.notes == (
        f"it stops after {b''.join(BLOCKS[:4]).count(bytes([10]))} lines, without its end: sections may be missing",
    )
    with pytest.raises(NotRecorded, match="the bug report does not say anything about /proc/modules"):
        machine.read("/proc/modules")


def test_a_file_that_is_cut_within_a_member_is_read_up_to_there() -> None:
    packed = reports.zipped(*BLOCKS[:-1])
    machine = reports.of(packed[: len(packed) - 60])
    assert any("cut off in the middle" in note for note in machine.notes)
    assert machine.read("/proc/driver/nvidia/version").startswith("NVRM version")


def test_a_member_that_was_cut_costs_no_more_than_its_own_block() -> None:
    packed = [gzip.compress(block) for block in BLOCKS]
    packed[3] = packed[3][: len(packed[3]) // 2]
    machine = reports.of(b"".join(packed))
    assert machine.notes == ("the gzip file is damaged; some of its text is missing",)
    assert machine.read("/proc/driver/nvidia/version").startswith("NVRM version")


def test_no_place_of_a_cut_makes_a_fault_or_an_absence() -> None:
    full = document(PLAIN)
    for packed, step in ((PLAIN, 97), (reports.zipped(*BLOCKS), 31)):
        for end in range(0, len(packed), step):
            cut = document(packed[:end])
            for name in ("files", "stats", "links", "folders"):
                for key, value in cut[name].items():
                    assert key not in full[name] or value is not None or full[name][key] is None, (end, key)


def test_what_follows_the_end_is_not_read() -> None:
    other = reports.text(reports.file("/proc/cmdline", "second\n"))
    assert reports.of(PLAIN + other).read("/proc/cmdline") == "BOOT_IMAGE=/vmlinuz ro\n"


def test_text_without_end_is_read_up_to_a_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MAX_TEXT", 2**20)
    bomb = gzip.compress(reports.head().encode()) + gzip.compress(b" " * 2**23)
    notes = reports.of(bomb).notes
    assert any("longer than 1 MiB" in note for note in notes)


def test_endless_empty_members_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MAX_MEMBERS", 50)
    machine = reports.of(reports.zipped(BLOCKS[0], *[b""] * 100))
    assert any("more than 50 gzip members" in note for note in machine.notes)


def test_endless_damages_end() -> None:
    machine = reports.of(gzip.compress(BLOCKS[0]) + b"\x1f\x8b\x08\xff" * 5000)
    assert any("damaged" in note for note in machine.notes)


class Slow(io.BytesIO):
    """A pipe whose writer hands over a few bytes at a time."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or self._most, self._most))


@QUICK
@given(st.lists(st.binary(max_size=300).map(lambda block: block.replace(b"\r", b"")), max_size=30), st.integers(1, 200))
def test_lines_are_those_of_the_text_however_it_comes(blocks: list[bytes], most: int) -> None:
    text = b"-" + b"".join(blocks) + b"."
    packed = reports.zipped(b"-", *blocks, b".")
    for data in (text, packed):
        assert b"\n".join(texts.ReportText(Slow(data, most)).lines()) == text


def test_of_a_line_without_end_only_its_beginning_is_held() -> None:
    lines = list(texts.ReportText(io.BytesIO(b"a" * 10**6 + b"\nb\n" + b"c" * 10**6)).lines())
    assert [len(line) for line in lines] == [texts.MAX_LINE, 1, texts.MAX_LINE]


def test_the_head_tells_the_kernel_the_machine_and_the_date() -> None:
    machine = reports.host()
    assert machine.read("/proc/sys/kernel/osrelease") == f"{reports.KERNEL}\n"
    assert machine.run("uname", "-m").stdout == "x86_64\n"
    assert (machine.source.kind, machine.source.captured_at) == ("bug-report", "2025-09-13T09:50:48+00:00")


def test_a_uname_without_its_last_parts_is_enough() -> None:
    machine = reports.host(start=reports.head(uname="Linux myhost 4.16.10-1-ARCH #1 SMP PREEMPT x86_64 GNU/Linux"))
    assert machine.read("/proc/sys/kernel/osrelease") == "4.16.10-1-ARCH\n"
    assert reports.host(start=reports.head(uname="")).document["files"] == {}


def test_files_are_kept_under_their_plain_path() -> None:
    machine = reports.host(reports.VERSION, reports.file("/proc/driver/nvidia/gpus/0/information", "Model: \t X\n"))
    assert machine.read("/proc/driver/nvidia/version").splitlines()[1].startswith("GCC version")
    assert machine.read("/proc/driver/nvidia/gpus/0/information") == "Model: \t X\n"
    assert machine.stat("/proc/driver/nvidia/version").mode == "-r--r--r--"


def test_does_not_exist_is_absence_and_not_readable_is_refusal() -> None:
    machine = reports.host(reports.NO_VERSION, reports.section("*** /etc/os-release is not readable"))
    with pytest.raises(Absent):
        machine.read("/proc/driver/nvidia/version")
    with pytest.raises(Refused):
        machine.read("/etc/os-release")


@pytest.mark.parametrize("refusal", ["ls: cannot access '{}': No such file or directory", "ls: 无法访问 '{}'"])
def test_a_failed_ls_is_no_part_of_the_file(refusal: str) -> None:
    path = "/proc/cmdline"
    machine = reports.host(reports.section(f"*** {path}", f"*** ls: {refusal.format(path)}\nro quiet\n"))
    assert machine.read(path) == "ro quiet\n"
    with pytest.raises(NotRecorded):
        machine.stat(path)


def test_a_link_is_a_link() -> None:
    machine = reports.host(
        reports.section(
            "*** ls: lrwxrwxrwx 1 root root 0 2025-09-13 09:44:11.9 +0000 /sys/class/drm/card0/device/driver ->"
            " ../../../bus/pci/drivers/nvidia",
            "*** ls: crw-rw-rw- 1 root root 195, 255 2025-09-13 09:44:12 +0000 /dev/nvidiactl\n"
            "*** ls: crw-rw----+ 1 root video 226, 1 2025-09-13 09:44:12 +0000 /dev/dri/card1\n",
        )
    )
    assert machine.link("/sys/class/drm/card0/device/driver") == "../../../bus/pci/drivers/nvidia"
    assert machine.stat("/dev/nvidiactl").rdev == (195, 255)
    with pytest.raises(NotRecorded):  # of whom only the name is told
        machine.stat("/dev/dri/card1")


def test_module_parameters_are_files() -> None:
    machine = reports.host(
        reports.section("/sys/module/nvidia_drm/parameters/modeset:Y", "/sys/module/nvidia_drm/parameters/fbdev:N")
    )
    assert machine.read("/sys/module/nvidia_drm/parameters/modeset") == "Y\n"
    assert machine.read("/sys/module/nvidia_drm/parameters/fbdev") == "N\n"


def test_a_make_log_tells_what_dkms_built_and_no_more() -> None:
    machine = reports.host(reports.MAKE_LOG)
    assert machine.folder(f"/var/lib/dkms/nvidia/{reports.RELEASE}") == (reports.KERNEL,)
    assert "ERROR" not in str(machine.document)


def test_lspci_is_what_sysfs_would_show() -> None:
    machine = reports.host(reports.lspci())
    folder = f"/sys/bus/pci/devices/{reports.GPU}"
    assert machine.folder("/sys/bus/pci/devices") == ("0000:00:00.0", reports.GPU, "0000:01:00.1")
    values = {name: machine.read(f"{folder}/{name}").strip() for name in ("vendor", "class", "device")}
    assert values == {"vendor": "0x10de", "class": "0x030000", "device": "0x2786"}
    assert machine.link(f"{folder}/driver") == "../../../bus/pci/drivers/nvidia"
    assert (machine.read(f"{folder}/current_link_width"), machine.read(f"{folder}/max_link_speed")) == (
        "1\n",
        "16.0 GT/s PCIe\n",
    )
    assert machine.read("/sys/bus/pci/devices/0000:00:00.0/vendor") == "0x8086\n"


def test_a_gpu_that_nothing_holds_has_no_driver_and_one_that_was_not_shown_is_silent() -> None:
    link = f"/sys/bus/pci/devices/{reports.GPU}/driver"
    with pytest.raises(Absent):
        reports.host(reports.lspci(driver=None)).link(link)
    with pytest.raises(NotRecorded):
        reports.host(reports.lspci().partition(reports.LINE + "\n\n/usr/bin/lspci -nnD")[0]).link(link)


def test_a_listing_that_was_cut_says_nothing_of_what_is_missing() -> None:
    listing = reports.lspci().partition("01:00.0")[0]
    with pytest.raises(NotRecorded):
        reports.host(listing, end="").folder("/sys/bus/pci/devices")


def test_a_gpu_that_left_the_bus_keeps_lspcis_words() -> None:
    source, words = reports.host(reports.lspci(revision="ff", driver="nvidia")).texts()[0]
    assert source == "lspci"
    assert "(rev ff)" in words
    assert "22bc" not in words


def test_old_lspci_without_numbers_is_joined_by_address() -> None:
    machine = reports.host(
        reports.command(
            '/usr/bin/lspci -d "10de:*" -v -xxx',
            "04:00.0 3D controller: NVIDIA Corporation GT218 [ION 2] (rev a2)\n\tFlags: bus master\n"
            "\tKernel driver in use: nouveau\n\n",
        ),
        reports.command("/usr/bin/lspci -t", "-[0000:00]-+-00.0\n"),
        reports.command(
            "/usr/bin/lspci -nn", "04:00.0 3D controller [0302]: NVIDIA Corporation GT218 [10de:0a76] (rev a2)\n"
        ),
    )
    assert machine.link("/sys/bus/pci/devices/0000:04:00.0/driver") == "../../../bus/pci/drivers/nouveau"
    assert machine.read("/sys/bus/pci/devices/0000:04:00.0/class") == "0x030200\n"


def test_nvidia_smi_is_a_command_a_text_and_nvmls_answer() -> None:
    machine = reports.host(reports.smi(reports.QUERY, reports.UNIT))
    assert machine.run("nvidia-smi", "-q").exit == 0
    assert machine.texts()[0][0] == "nvidia-smi -q"
    answer = machine.probe("nvml")
    assert (answer["init"], answer["driver_version"], answer["count"]) == (0, reports.RELEASE, 1)
    device = answer["devices"][0]
    assert device["name"] == "NVIDIA GeForce RTX 4070"
    assert device["memory_bytes"] == {"total": 12282 << 20, "used": 2 << 20}
    assert (device["utilisation_percent"], device["temperature_celsius"], device["power_milliwatts"]) == (3, 41, 12500)


@pytest.mark.parametrize(
    ("output", "code", "answer"),
    [
        (reports.COULD_NOT, 9, None),
        ("Failed to initialize NVML: Driver/library version mismatch\n", 18, {"init": 18}),
        ("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.\n", 12, None),
        ("No devices were found\n", 6, {"init": 0, "count": 0, "driver_version": reports.RELEASE}),
        ("Unable to determine the device handle for GPU0000:01:00.0: Unknown Error\n", 255, {"init": 0}),
        (
            "Unable to determine the device handle for GPU 0000:01:00.0: GPU is lost.  Reboot the system\n",
            15,
            {"init": 0},
        ),
    ],
)
def test_what_nvidia_smi_could_not_do_is_told_by_its_words(
    output: str, code: int, answer: dict[str, Any] | None
) -> None:
    machine = reports.host(reports.lspci(), reports.smi(output, reports.UNIT))
    assert machine.run("nvidia-smi", "-q").exit == code
    if answer is None:
        with pytest.raises(NotRecorded):
            machine.probe("nvml")
    else:
        assert answer.items() <= machine.probe("nvml").items()


def test_a_gpu_without_a_handle_is_named_by_its_address_and_its_number_on_the_bus() -> None:
    listing = reports.command(
        "/usr/bin/lspci -nn",
        "01:00.0 3D controller [0302]: NVIDIA Corporation GH100 [10de:2330] (rev a1)\n"
        "0a:00.0 3D controller [0302]: NVIDIA Corporation GH100 [10de:2330] (rev a1)\n",
    )
    output = "Unable to determine the device handle for GPU0000:0A:00.0: Unknown Error\n"
    devices = reports.host(listing, reports.smi(output)).probe("nvml")["devices"]
    assert [(one["index"], one["pci"], one["handle"]) for one in devices] == [(1, "0000:0A:00.0", 999)]


def test_no_device_for_nvidia_smi_is_no_missing_gpu_where_the_bus_is_not_shown() -> None:
    sections = but(reports.HEALTHY[-1], reports.smi("No devices were found\n", reports.UNIT))
    machine = reports.host(*but(reports.lspci(), "", sections))
    assert "count" not in machine.probe("nvml")
    assert "no-nvidia-gpu" not in ids(machine)


def test_nvidia_smi_that_was_killed_counts_no_gpus() -> None:
    machine = reports.host(reports.smi(reports.QUERY)[:900], end="")
    assert "count" not in machine.probe("nvml")


TABLE = (
    "Component                           | Details\n" + "=" * 80 + "\n"
    "NVIDIA SMI                          | NVIDIA-SMI version  : 570.172.08\n"
    "                                    | NVML version        : 570.172\n"
    "                                    | DRIVER version      : 570.172.08\n"
    "                                    | CUDA Version        : 12.8\n" + "-" * 80 + "\n"
    "NVIDIA GPU Details                  | Failed: No devices were found\n" + "-" * 80 + "\n"
)


def test_the_table_of_later_scripts_stands_in_for_a_section_that_safe_mode_leaves_out() -> None:
    answer = reports.host(reports.lspci(), start=reports.head(table=TABLE)).probe("nvml")
    assert (answer["driver_version"], answer["count"]) == ("570.172.08", 0)
    with_section = reports.host(reports.smi(reports.QUERY), start=reports.head(table=TABLE)).probe("nvml")
    assert with_section["count"] == 1


def test_the_release_on_disk_of_the_table_is_modinfos() -> None:
    table = "NVIDIA SMI                          | Driver version (from modinfo): 580.173.02\n"
    machine = reports.host(start=reports.head(table=table))
    assert machine.run("modinfo", "-F", "version", "nvidia").stdout == "580.173.02\n"


def test_modinfo_of_several_modules_is_told_apart() -> None:
    body = "\nvermagic:       6.14.0-37-generic SMP \n\n/sbin/modinfo nvidia_uvm | grep vermagic\n\n"
    machine = reports.host(reports.section("/sbin/modinfo nvidia | grep vermagic", body))
    assert machine.run("modinfo", "nvidia").stdout == "vermagic:       6.14.0-37-generic SMP\n"
    assert (machine.run("modinfo", "nvidia_uvm").exit, machine.run("modinfo", "nvidia_uvm").stdout) == (1, "")


def test_the_maker_of_the_machine_is_dmidecodes() -> None:
    body = (
        "\nSystem Information\n\tManufacturer: QEMU\n\tProduct Name: Standard PC\n\tSerial Number: 1\n"
        "\nBase Board Information\n\tManufacturer: X\n"
    )
    machine = reports.host(reports.section("/sbin/dmidecode", body))
    assert machine.read("/sys/class/dmi/id/sys_vendor") == "QEMU\n"
    assert "Serial" not in str(machine.document)


def test_a_service_keeps_its_status() -> None:
    output = "● nvidia-fabricmanager.service - FM\n     Active: failed (Result: exit-code)\n"
    machine = reports.host(reports.section("/usr/bin/systemctl status nvidia-fabricmanager.service", output))
    assert "Active: failed" in machine.run("systemctl", "status", "nvidia-fabricmanager.service").stdout


@pytest.mark.parametrize(
    "header",
    [
        "/usr/bin/nvidia-debugdump -D", 'base64 "nvidia-nvml-temp10384.log"', "*** /etc/X11/xorg.conf",
        "/usr/bin/lspci -nntv", "Skipping: ldd output", "xset -q:", "*** not a path",
        "/sys/module/", "*** ls: ", "*** /", "lspci", "Using built-in specs.", "journalctl -b -1 _COMM=Xorg",
    ],
)  # fmt: skip
def test_other_sections_are_passed_over(header: str) -> None:
    machine = reports.host(reports.section(header, "UEsDBBQAAAAIAAAAAADuwHS/pQEAAKABAAAOAAEA\n" * 20))
    assert "UEsDB" not in str(machine.document)


def test_what_is_kept_of_one_report_is_bounded() -> None:
    many = "".join(reports.file(f"/etc/{number}", "x" * 200_000) for number in range(600))
    machine = reports.host(many)
    assert sum(len(value) for value in machine.document["files"].values()) <= 16 << 20
    assert any("more than nvdiag keeps" in note for note in machine.notes)


def test_a_long_file_keeps_its_beginning_and_its_end() -> None:
    lines = "".join(f"line {number}\n" for number in range(100_000))
    kept = reports.host(reports.file("/var/log/nvidia-installer.log", lines)).read("/var/log/nvidia-installer.log")
    assert kept.startswith("line 0\n")
    assert kept.endswith("line 99999\n")
    assert "lines left out]" in kept
    assert len(kept) < 300_000


def test_bytes_that_are_no_text_are_replaced() -> None:
    data = reports.text(reports.file("/proc/cmdline", "a@b\n")).replace(b"a@b", b"a\x80\x00\x1b[31mb")
    assert reports.of(data).read("/proc/cmdline") == "a\N{REPLACEMENT CHARACTER}\0\x1b[31mb\n"


def damaged(data: st.DataObject) -> bytes:
    """Sections of a report in any order, some bytes of them changed, as text or as a gzip file that was cut."""
    blocks = data.draw(st.lists(st.sampled_from(BLOCKS), max_size=12))
    whole = bytearray(b"".join([BLOCKS[0], *blocks]))
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.integers(0, len(whole)))
        whole[place : place + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=40))
    packed = gzip.compress(whole)
    return bytes(whole) if data.draw(st.booleans()) else packed[: data.draw(st.integers(18, len(packed)))]


@QUICK
@given(st.data())
def test_no_order_and_no_damage_of_bytes_makes_a_fault(data: st.DataObject) -> None:
    machine = reports.of(damaged(data))
    json.dumps(machine.document)
    assert all(isinstance(text, str) for _, text in machine.texts())


@settings(parent=QUICK, max_examples=25)
@given(st.data())
def test_every_check_copes_with_a_damaged_report(data: st.DataObject) -> None:
    assert "check-failed" not in ids(reports.of(damaged(data)))
