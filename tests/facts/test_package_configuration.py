"""The configuration of package managers, in the forms that their manual pages give."""

from __future__ import annotations

from nvdiag.facts.kept_packages import _DEB, _PACMAN, _RPM, parse_file_names
from nvdiag.facts.update_guards import parse_apt_conf, parse_pins

BLACKLIST = "Unattended-Upgrade::Package-Blacklist"


def test_a_list_of_apts_is_read_whole_and_without_its_comments() -> None:
    text = (
        'Unattended-Upgrade::Package-Blacklist {\n  "nvidia-"; // the driver\n  // "linux-";\n  /* "libc6"; */\n'
        '  "libnvidia-";\n};\n# "vim";\n'
    )
    assert parse_apt_conf(text) == {BLACKLIST: ("nvidia-", "libnvidia-")}


def test_the_other_ways_to_write_a_list() -> None:
    assert parse_apt_conf('Unattended-Upgrade::Package-Blacklist:: "nvidia-";')[BLACKLIST] == ("nvidia-",)
    nested = 'Unattended-Upgrade { Package-Blacklist { "nvidia-"; }; Mail "a//b"; };'
    assert parse_apt_conf(nested) == {BLACKLIST: ("nvidia-",), "Unattended-Upgrade::Mail": ("a//b",)}


def test_a_broken_file_gives_what_can_be_read() -> None:
    for text in ("", "}}}", '"', "{", 'A { B "c"', "A::B;", "/* never closed"):
        parse_apt_conf(text)
    assert parse_apt_conf('A { B "c";') == {"A::B": ("c",)}


def test_pins_that_keep_a_release() -> None:
    text = (
        "# ours\nPackage: nvidia-* libnvidia-*\nPin: version 570.172.08*\nPin-Priority: 1001\n\n"
        "Package: *\nPin: release a=noble\nPin-Priority: 900\n\n"
        "Package: cuda*\nPin: version 570.1*\nPin-Priority: 100\n"
    )
    assert list(parse_pins(text)) == [("nvidia-* libnvidia-*", "570.172.08*")]


def test_names_of_package_files() -> None:
    def read(name: str, form: str) -> list[tuple[str, str]]:
        return [(one.name, one.release.text) for _, one in parse_file_names([f"/x/{name}"], form) if one.release]

    assert read("libnvidia-ml1_535.216.03-1%7edeb12u1_amd64.deb", _DEB) == [("libnvidia-ml1", "535.216.03")]
    assert read("nvidia-driver_1%3a570.169-1_amd64.deb", _DEB) == [("nvidia-driver", "570.169")]
    assert read("nvidia-container-toolkit_1.17.8-1_amd64.deb", _DEB) == []
    assert read("kmod-nvidia-open-dkms-570.169-1.el9.noarch.rpm", _RPM) == [("kmod-nvidia-open-dkms", "570.169")]
    assert read("nvidia-utils-580.76.05-1-x86_64.pkg.tar.zst", _PACMAN) == [("nvidia-utils", "580.76.05")]
    assert read("nvidia-utils-580.76.05-1-x86_64.pkg.tar.zst.sig", _PACMAN) == []
