"""Taking out of a snapshot what names a person, a machine or a board, consistently: the same GPU stays the same GPU.

Replaced are GPU and MIG UUIDs, serial numbers, MAC and IP addresses, the host name, the machine id, user names in home
folders, and the passwords of boot menus and command lines.
Variables of the environment are recorded only where `nvdiag.host.environment` allows them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from nvdiag.host.base import Json

_HEX = "[0-9a-fA-F]"
_UUID = re.compile(
    rf"\b{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}\b"
    rf"|(?<=GPU-|MIG-)(?=[a-fA-F-]*\d){_HEX}{{4,8}}(?:-{_HEX}{{1,12}}){{0,4}}(?![\w-])"
)
"""A UUID, or the beginning of one as CUDA_VISIBLE_DEVICES may have it: GPU-8932f937."""
_MAC = re.compile(rf"\b{_HEX}{{2}}([:-])(?:{_HEX}{{2}}\1){{4}}{_HEX}{{2}}\b")
_IPV4 = re.compile(r"(?<![\w.\-])(?:\d{1,3}\.){3}\d{1,3}(?![\w\-+]|\.\w)", re.ASCII)
_IPV6 = re.compile(rf"(?<![\w:.])(?=[a-fA-F:]*\d)(?:{_HEX}{{0,4}}:){{2,7}}(?:{_HEX}{{1,4}})?(?![\w:])")
_SERIAL = re.compile(
    r"(\bserial(?:[ _-]?(?:number|no\.?))?(?: is)?\s*[:=]\s*|\bserial(?: number)?(?: is)? +|\bSN\s*[:=]?\s*)"
    r"((?=[A-Z_-]*\d)[A-Z0-9][A-Z0-9_-]{4,31})\b",
    re.I,
)
_ASKED = re.compile(
    r"(?m)(?P<before>^Requested-By: |^\d{4}-\d\d-\d\d [\d:]{8}\|[a-z]{3,8} ?\|(?:[^|\n]{0,200}\|){0,3}?"
    r"|^User {0,12}: (?P<full>[^<\n]{0,100}<))(?P<name>[\w.-]{1,64})(?= \(\d|@|>)"
)
"""The user in a package manager's log: of apt, of zypper, of dnf's history, the last with a person's full name."""
_HOME = re.compile(r"(/(?:homes?|[Uu]sers)/)([^/\s:;,\"'`()<>|&*$\[\]{}\\\x00]+)")
_PASSWORD = re.compile(
    r"(\bgrub\.pbkdf2\.)\S+|(^[ \t]*password[ \t]+\S+[ \t]+)\S+"
    r"|((?<![\w.-])(?:[\w.-]{1,40}[._-])?(?:password|passwd|secret|token|set_credential(?:_binary)?)=)[^\s\"']+",
    re.M,
)
"""Of a boot menu and of kernels' command lines: who may edit the menu, and what is given to the system at boot."""
_MACHINE = re.compile(rf"(?<![\w-])(?=[a-f]*\d){_HEX}{{32}}(?=-\d|/)")
"""machine-id(5) as the names of boot entries begin with it."""
_VERSION_BEFORE = re.compile(
    r"(?:version\W{0,4}|\bV|[=~<>!]=\s?|cu(?:\d\d|blas|dnn|fft|rand|solver|sparse)\S{0,9}\s+)$", re.I
)

_VENDORS = frozenset({
    "8be4df61-93ca-11d2-aa0d-00e098032b8c", "d719b2cb-3d3a-4596-a3bc-dad00e67656f",
    "605dab50-e046-4300-abb6-3dd810dd8b23", "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f",
})  # fmt: skip
"""Ids in the names of EFI variables, the same on every machine: UEFI's own, shim's, the Boot Loader Interface's."""

_NOT_PEOPLE = frozenset({"kubernetes", "linuxbrew"})
"""Folders below /home that are no person's: /home/kubernetes/bin/nvidia is where GKE has the driver."""

_NOT_NAMES = frozenset({
    "almalinux", "amzn", "arch", "archlinux", "bin", "boot", "bus", "centos", "class", "container", "cuda", "data",
    "debian", "desktop", "dev", "device", "devices", "docker", "driver", "drivers", "etc", "fedora", "generic",
    "gpu", "gpus", "grub", "home", "host", "host1", "jetson", "kernel", "lib", "lib64", "libcuda", "linux", "local",
    "localhost", "loaded", "module", "modules", "nixos", "none", "nvidia", "opensuse", "opt", "pci", "pop", "proc",
    "rhel", "rocky", "root", "run", "sbin", "server", "share", "src", "suse", "sys", "system", "tegra", "ubuntu",
    "usr", "var", "version", "workstation",
})  # fmt: skip
"""Host names that name nobody, and words of the paths and texts that checks read: replacing them would break those."""


class Redactor:
    """Gives each secret a stand-in of the same form, numbered in the order in which they are met.

    So redacting twice changes nothing more: the stand-ins are met in their own order.
    """

    def __init__(self, host_name: str) -> None:
        self._stand_ins: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}
        self._people: re.Pattern[str] | None = None
        names = {host_name, host_name.partition(".")[0]}
        self._names = [
            re.compile(rf"(?<![\w\-]){re.escape(name)}(?![\w\-])", re.I)
            for name in sorted(names, key=len, reverse=True)
            if len(name) > 2 and name.lower() not in _NOT_NAMES and not re.fullmatch(r"[\d.]+", name)
        ]

    def document(self, snapshot: dict[str, Json]) -> dict[str, Json]:
        """A redacted copy of a snapshot, keys and values alike."""
        self._people = _any_of(_users(snapshot))
        result: dict[str, Json] = self._value(snapshot)
        return result

    def text(self, text: str) -> str:
        """One text with every secret of it replaced."""
        text = _UUID.sub(lambda found: self._uuid(found[0].lower()), text)
        text = _IPV6.sub(self._ipv6, text)
        text = _MAC.sub(
            lambda found: self._of("mac", found[0].lower().replace("-", ":"), "02:00:00:00:00:{:02x}"), text
        )
        text = _IPV4.sub(self._ipv4(text), text)
        text = _SERIAL.sub(lambda found: found[1] + self._of("serial", found[2], "{:010d}"), text)
        text = _ASKED.sub(self._asked, text)
        text = _PASSWORD.sub(lambda found: f"{found[1] or found[2] or found[3]}REDACTED", text)
        text = _MACHINE.sub(lambda found: self._of("machine", found[0], "{:032x}"), text)
        text = _HOME.sub(self._home, text)
        for name in self._names:
            text = name.sub("host1", text)
        if self._people:
            text = self._people.sub(lambda found: self._of("user", found[0], "user{}"), text)
        return text

    def _value(self, value: Json, key: str = "") -> Json:
        if isinstance(value, str):
            if "serial" in key.rpartition("/")[2].lower() and re.search(r"\d", value):
                return value.replace(value.strip(), self._of("serial", value.strip(), "{:010d}"))
            return self.text(value)
        if isinstance(value, list):
            return [self._value(one, key) for one in value]
        if isinstance(value, dict):
            return {self._key(name): self._value(one, name) for name, one in value.items()}
        return value

    def _key(self, key: str) -> str:
        """A key is text too (a path, a command), but where it is one plain word, which is the format's own."""
        return key if key.isidentifier() else self.text(key)

    def _of(self, kind: str, secret: str, form: str) -> str:
        if (kind, secret) not in self._stand_ins:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._stand_ins[kind, secret] = form.format(self._counts[kind])
        return self._stand_ins[kind, secret]

    def _uuid(self, secret: str) -> str:
        """The beginning of a UUID that was met is that UUID."""
        if secret in _VENDORS:
            return secret
        known = (
            stand_in
            for (kind, whole), stand_in in self._stand_ins.items()
            if kind == "uuid" and whole.startswith(secret)
        )
        return next(known, None) or self._of("uuid", secret, "00000000-0000-4000-8000-{:012x}")

    def _asked(self, found: re.Match[str]) -> str:
        if found["name"] == "root" and found["full"] in (None, "root <"):
            return found[0]
        before = "User           : <" if found["full"] is not None else found["before"]
        return before + ("root" if found["name"] == "root" else self._of("user", found["name"], "user{}"))

    def _home(self, found: re.Match[str]) -> str:
        name = found[2].rstrip(".")
        if not name or name in _NOT_PEOPLE:
            return found[0]
        return found[1] + self._of("user", name, "user{}") + found[2][len(name) :]

    def _ipv6(self, found: re.Match[str]) -> str:
        from ipaddress import IPv6Address

        try:
            address = IPv6Address(found[0])
        except ValueError:  # a time, a PCI address
            return found[0]
        if address.is_loopback or address.is_unspecified:
            return found[0]
        return self._of("ipv6", address.compressed, "2001:db8::{:x}")

    def _ipv4(self, text: str) -> Callable[[re.Match[str]], str]:
        """Four numbers with dots are an address unless they are too large, a loopback, or a version (12.550.163.01)."""

        def replaced(found: re.Match[str]) -> str:
            parts = found[0].split(".")
            numbers = [int(part) for part in parts]
            version = _VERSION_BEFORE.search(text[max(0, found.start() - 40) : found.start()])
            padded = any(part != str(int(part)) for part in parts)
            if max(numbers) > 255 or numbers[0] in (0, 127) or version or padded:
                return found[0]
            return self._of("ipv4", found[0], "192.0.2.{}")

        return replaced


_FIRST_PERSON = 1000
"""User ids below it are the system's own (login.defs(5), UID_MIN): their names are those of services."""


def _users(snapshot: dict[str, Json]) -> list[str]:
    """The people whose processes the walk over /proc has recorded; units and containers may be called after them."""
    probes = snapshot.get("probes")
    document = probes.get("holders") if isinstance(probes, dict) else None
    lists = [document.get(name) for name in ("processes", "supposed")] if isinstance(document, dict) else []
    rows = [row for rows in lists if isinstance(rows, list) for row in rows if isinstance(row, dict)]
    people = [row.get("user") for row in rows if isinstance(row.get("uid"), int) and row["uid"] >= _FIRST_PERSON]
    return [name for name in people if isinstance(name, str) and len(name) > 1 and name.lower() not in _NOT_NAMES]


def _any_of(names: list[str]) -> re.Pattern[str] | None:
    if not names:
        return None
    longest_first = sorted(set(names), key=lambda name: (-len(name), name))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")


def redacted(snapshot: dict[str, Json], host_name: str) -> dict[str, Json]:
    """A copy of a snapshot without what names the machine or its people."""
    return Redactor(host_name).document(snapshot)


def as_text(snapshot: dict[str, Json]) -> str:
    """A snapshot as the text of its file."""
    return json.dumps(snapshot, indent=1, ensure_ascii=True) + "\n"
