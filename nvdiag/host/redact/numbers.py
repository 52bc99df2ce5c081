"""UUIDs, serial numbers, and the addresses of networks: what each looks like, and what merely looks like it."""

from __future__ import annotations

import re

from nvdiag.host.redact.context import Context

_HEX = "[0-9a-fA-F]"
UUID = re.compile(
    rf"\b{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}\b"
    rf"|(?<=GPU-|MIG-)(?=[a-fA-F-]*\d){_HEX}{{4,8}}(?:-{_HEX}{{1,12}}){{0,4}}(?![\w-])"
)
"""A UUID, or the beginning of one as CUDA_VISIBLE_DEVICES may have it: GPU-8932f937."""
WHOLE_UUID = 36
VENDORS = frozenset({
    "8be4df61-93ca-11d2-aa0d-00e098032b8c", "d719b2cb-3d3a-4596-a3bc-dad00e67656f",
    "605dab50-e046-4300-abb6-3dd810dd8b23", "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f",
})  # fmt: skip
"""Ids in the names of EFI variables, the same on every machine: UEFI's own, shim's, the Boot Loader Interface's."""
MAC = re.compile(rf"(?<![\w:-]){_HEX}{{2}}([:-])(?:{_HEX}{{2}}\1){{4}}{_HEX}{{2}}(?![\w:-])")
"""Six pairs. A longer row is a fingerprint."""
IPV4 = re.compile(r"(?<![\w.\-])(?:\d{1,3}\.){3}\d{1,3}(?![\w\-+]|\.\w)", re.ASCII)
IPV6 = re.compile(rf"(?<![\w:.-])(?=[a-fA-F:]*\d)(?:{_HEX}{{0,4}}:){{2,7}}(?:{_HEX}{{1,4}})?(?![\w:])")
MAIL = re.compile(r"(?<![\w.+-])([A-Za-z0-9][\w.+-]{0,63})@((?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,18})(?![\w-])")

SERIALS = (
    Context(
        re.compile(
            r"(?:\bserial(?:[ _-]?(?:number|no\.?))?(?: is)?[ \t]{0,60}[:=][ \t]{0,60}|\bserial(?: number)?(?: is)? +"
            r"|\b(?-i:S/?N)(?:[ \t]{0,60}[:=][ \t]{0,60}|[ \t]{1,60}|(?=\d))|\basset tag[ \t]{0,60}[:=][ \t]{0,60})"
            r"(?P<serial>(?=[A-Z_-]*\d)[A-Z0-9][A-Z0-9_-]{4,31})(?![\w-])",
            re.I,
        ),
        ("serial", "sn", "s/n", "asset tag"),
    ),
    # the numbers that a board, a port or a disk was made with
    Context(re.compile(r"\b(?:GUID|PDI)[\"']?[ \t]{0,60}[:=][ \t]{0,9}[\"']?(?P<serial>(?:0x)?[0-9a-f]{16})\b", re.I), (
        "guid", "pdi",
    )),
    Context(
        re.compile(r"\b(?:machine|boot)[ _-]?id[\"']?[ \t]{0,9}[:=][ \t]{0,9}[\"']?(?P<machine>[0-9a-f]{32})\b", re.I),
        ("machine", "boot"),
    ),
    # machine-id(5) in names of boot entries
    Context(re.compile(rf"(?<![\w-])(?=[a-f]*\d)(?P<machine>{_HEX}{{32}})(?=-\d|/)")),
    Context(re.compile(r"/var/log/journal/(?P<machine>[0-9a-f]{32})\b"), ("/journal/",)),
    Context(re.compile(r"\bUUID=[\"']?(?P<serial>[0-9A-F]{4}-[0-9A-F]{4}|[0-9a-f]{8}-[0-9a-f]{2})\b"), ("uuid=",)),
    Context(re.compile(rf"\blink/infiniband (?P<serial>{_HEX}{{2}}(?::{_HEX}{{2}}){{19}})\b"), ("link/infiniband",)),
)  # fmt: skip

_VERSION_BEFORE = re.compile(
    r"(?:version\W{0,4}|release\W{0,4}|\bV|[=~<>!]=\s?"
    r"|(?:cu\d\d|cu(?:blas|dnn|fft|rand|solver|sparse|tensor|pti)|nv(?:infer|jpeg|rtc|onnxparser)|npp|nccl|tensorrt|trt)"
    r"\S{0,9}\s+)$",
    re.I,
)
_ROW = re.compile(r"^\s*(?P<name>[a-z][\w.-]{1,60})\s+$", re.I)
_NO_PACKAGE = frozenset({
    "inet", "nameserver", "gateway", "host", "server", "peer", "address", "addr", "ip", "from", "to", "via", "dst",
    "src", "master", "worker", "node", "at", "on", "broadcast", "netmask", "local", "remote", "default", "reached",
})  # fmt: skip
_OF_A_SYSTEM = re.compile(r".*\.(?:service|socket|slice|scope|target|timer|mount|device|path|swap|so)", re.S)
_PUBLIC_MAIL = frozenset({"linux-bugs@nvidia.com"})
_MAKERS = frozenset({"git", "dvs-builder", "buildd", "mockbuild", "abuild", "builder", "archlinux-builder"})


def is_version(text: str, found: re.Match[str]) -> bool:
    """Whether four numbers with dots are a version, or no address that could name a machine."""
    parts = found[0].split(".")
    numbers = [int(part) for part in parts]
    if max(numbers) > 255 or numbers[0] in (0, 127) or any(part != str(int(part)) for part in parts):
        return True
    before = text[max(0, found.start() - 80) : found.start()].rpartition("\n")[2]
    if _VERSION_BEFORE.search(before):
        return True
    # a row of a list of packages: a name and a version, whose first number is small
    row = _ROW.match(before)
    whole = text[found.end() : found.end() + 1] in ("", "\n", "\r")
    return bool(row and whole and numbers[0] < 40 and numbers[0] != 10 and row["name"].lower() not in _NO_PACKAGE)


def is_mail(found: re.Match[str]) -> bool:
    """Whether an address with an @ is somebody's: not a unit of systemd, a repository, the builder of a kernel."""
    return not (_OF_A_SYSTEM.fullmatch(found[2]) or found[0].lower() in _PUBLIC_MAIL or found[1] in _MAKERS)


def address(text: str) -> str | None:
    """An IPv6 address in its short form; None for a time, a PCI address, the loopback."""
    from ipaddress import IPv6Address

    try:
        found = IPv6Address(text)
    except ValueError:
        return None
    return None if found.is_loopback or found.is_unspecified else found.compressed
