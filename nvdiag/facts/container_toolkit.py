"""NVIDIA's Container Toolkit on the host: its programs, its version, its config.toml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from nvdiag.facts import reading
from nvdiag.facts.surroundings import Surroundings
from nvdiag.host import Host, NotRecorded
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, ParseError, Unknown
from nvdiag.model.versions import Numbered

CONFIG = "/etc/nvidia-container-runtime/config.toml"
FOLDERS = ("/usr/bin", "/usr/local/nvidia/toolkit")
"""Where packages install it, and where the GPU Operator's toolkit container does."""

RUNTIME, HOOK, CTK = "nvidia-container-runtime", "nvidia-container-runtime-hook", "nvidia-ctk"
PROGRAMS = (RUNTIME, HOOK, CTK)
_VERSION = r"version (\d{1,3}(?:\.\d{1,3}){1,3})"


class ToolkitVersion(Numbered):
    """A version of the toolkit, 1.18.2."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerToolkit:
    """The installed toolkit; NotApplicable where none is.

    `programs` are those of PROGRAMS that are there, by name, `version` is what /usr/bin/nvidia-ctk says. Of config.toml
    `mode` is how the runtime injects GPUs (auto, legacy, csv, cdi), `ldconfig` and `root` are nvidia-container-cli's,
    as written; `gone` are those of its settings that name something which is not there, `malformed` is why the file
    cannot be read.
    """

    programs: Mapping[str, str]
    version: ToolkitVersion | None = None
    mode: str = ""
    no_cgroups: bool = False
    ldconfig: str = ""
    root: str = ""
    spec_dirs: tuple[str, ...] = ()
    gone: Mapping[str, str] = field(default_factory=dict)
    malformed: str = ""

    @classmethod
    def collect(cls, host: Host, surroundings: Surroundings) -> ContainerToolkit:
        on_the_host(host, surroundings)
        programs = {name: path for name in PROGRAMS if (path := _found(host, name))}
        if not programs:
            raise NotApplicable("NVIDIA's Container Toolkit is not installed")
        return cls(programs=programs, version=_version(host, programs), **_settings(host))


def on_the_host(host: Host, surroundings: Surroundings) -> None:
    """NotApplicable where a container's host is not what is looked at, or where a text is all there is."""
    if surroundings.container or surroundings.sandbox:
        raise NotApplicable("container engines are the host's")
    if host.source.kind in ("paste", "bug-report"):
        raise NotApplicable("a text does not show what is installed")


def _found(host: Host, name: str) -> str | None:
    """The first path of a program; Unknown where a recording says nothing of any."""
    silent: Unknown | None = None
    for path in (f"{folder}/{name}" for folder in FOLDERS):
        try:
            if host.exists(path):
                return path
        except NotRecorded as why:
            silent = why
        except Unknown:
            continue
    if silent is not None:
        raise Unknown(f"whether NVIDIA's Container Toolkit is installed: {silent}")
    return None


def _version(host: Host, programs: Mapping[str, str]) -> ToolkitVersion | None:
    if programs.get(CTK) != f"/usr/bin/{CTK}":
        return None
    try:
        told = host.run(CTK, "--version").stdout
    except Unknown:
        return None
    found = re.search(_VERSION, told)
    return ToolkitVersion.or_none(found[1]) if found else None


def _settings(host: Host) -> dict[str, Any]:
    text = reading.text(host, CONFIG)
    if text is None:  # without the file the toolkit takes its defaults
        return {}
    try:
        document = parse_config(text)
    except ParseError as error:
        return {"malformed": str(error)}
    cli, runtime = _table(document, "nvidia-container-cli"), _table(document, "nvidia-container-runtime")
    ldconfig, root = _text(cli.get("ldconfig")), _text(cli.get("root"))
    cdi = _table(_table(runtime, "modes"), "cdi")
    named = {"nvidia-container-cli.ldconfig": ldconfig[1:] if ldconfig.startswith("@") else "",
             "nvidia-container-cli.root": root, "nvidia-container-cli.path": _text(cli.get("path"))}  # fmt: skip
    return {
        "mode": _text(runtime.get("mode")),
        "no_cgroups": cli.get("no-cgroups") is True,
        "ldconfig": ldconfig,
        "root": root,
        "spec_dirs": tuple(one for one in cdi.get("spec-dirs") or () if isinstance(one, str)),
        "gone": {
            key: path for key, path in named.items() if path.startswith("/") and reading.certainly_absent(host, path)
        },
    }


def parse_config(text: str) -> dict[str, Any]:
    """The toolkit's config.toml; ParseError for what is no TOML."""
    from nvdiag.knowledge._tables import parse

    try:
        return parse(text)
    except (ValueError, RecursionError) as error:
        raise ParseError(f"it is no TOML: {error}"[:160]) from error


def _table(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = value.get(name)
    return inner if isinstance(inner, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
