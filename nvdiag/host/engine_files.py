"""What a container engine's configuration says of GPUs: its runtimes, CDI, the driver of its control groups.

No more of these files is told, since they also hold what registries and proxies are entered by. The forms:
dockerd(8), "daemon configuration file"; containerd's docs/cri/config.md, with the CRI plug-in's table under the name
that each of the three versions of the file gives it; crio.conf(5); containers.conf(5).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nvdiag.host.elf import regular_only
from nvdiag.knowledge._tables import parse as parse_toml

Json = Any
_MOST = 1 << 20
_MOST_NAMES = 64
_LONGEST = 4095
_CRI = ("cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime")
_CGROUP_DRIVER = "native.cgroupdriver="


def read_settings(engine: str, path: str) -> Json:
    """`settings` of a file. OSError as open gives it."""
    with open(path, "rb", opener=regular_only) as file:
        data = file.read(_MOST + 1)
    return {"error": "too-large"} if len(data) > _MOST else settings(engine, data.decode("utf-8", "replace"))


def settings(engine: str, text: str) -> dict[str, Json]:
    """What the text says, with only those keys that it sets.

    `runtimes` (name to program), `default` (a runtime's name), `cdi` (whether it is switched on), `spec_dirs`,
    `hook_dirs`, `cgroup` ("systemd", "cgroupfs"), `imports` (patterns of further files) and `off` (the CRI plug-in is
    disabled). `malformed` is the reason why the engine would not take the file; `names_nvidia` then tells whether it
    is about GPUs.
    """
    try:
        told = list(_READERS[engine](text.removeprefix("\ufeff")))
    except (ValueError, RecursionError) as error:
        return {"malformed": str(error)[:120], "names_nvidia": "nvidia" in text}
    return {key: value for key, value in told if value not in (None, "", [], {})}


def _docker(text: str) -> Iterator[tuple[str, Json]]:
    document = json.loads(text) if text.strip() else {}
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")
    yield "runtimes", {name: _text(_in(one, "path")) for name, one in _rows(document, "runtimes")}
    yield "default", _text(document.get("default-runtime"))
    yield "cdi", _flag(_in(document, "features", "cdi"))
    yield "spec_dirs", _texts(document.get("cdi-spec-dirs"))
    options = [one for one in _texts(document.get("exec-opts")) if one.startswith(_CGROUP_DRIVER)]
    yield "cgroup", options[-1].removeprefix(_CGROUP_DRIVER) if options else ""


def _containerd(text: str) -> Iterator[tuple[str, Json]]:
    document = parse_toml(text)
    tables = [table for name in _CRI if isinstance(table := _in(document, "plugins", name), dict)]
    runtimes = [row for table in tables for row in _rows(table, "containerd", "runtimes")]
    yield (
        "runtimes",
        {
            name: _text(_in(one, "options", "BinaryName") or _in(one, "runtime_path") or _in(one, "runtime_type"))
            for name, one in runtimes
        },
    )
    for table in tables:
        yield "default", _text(_in(table, "containerd", "default_runtime_name"))
        yield "cdi", _flag(table.get("enable_cdi"))
        yield "spec_dirs", _texts(table.get("cdi_spec_dirs"))
    if any(_in(one, "options", "SystemdCgroup") is True for _, one in runtimes):
        yield "cgroup", "systemd"
    yield "imports", _texts(document.get("imports"))
    yield "off", any(name in (*_CRI, "cri") for name in _texts(document.get("disabled_plugins"))) or None


def _cri_o(text: str) -> Iterator[tuple[str, Json]]:
    runtime = _in(parse_toml(text), "crio", "runtime")
    yield "runtimes", {name: _text(_in(one, "runtime_path")) for name, one in _rows(runtime, "runtimes")}
    yield "default", _text(_in(runtime, "default_runtime"))
    yield "cgroup", _text(_in(runtime, "cgroup_manager"))
    yield "spec_dirs", _texts(_in(runtime, "cdi_spec_dirs"))
    yield "hook_dirs", _texts(_in(runtime, "hooks_dir"))


def _podman(text: str) -> Iterator[tuple[str, Json]]:
    engine = _in(parse_toml(text), "engine")
    yield "cgroup", _text(_in(engine, "cgroup_manager"))
    yield "spec_dirs", _texts(_in(engine, "cdi_spec_dirs"))
    yield "hook_dirs", _texts(_in(engine, "hooks_dir"))


_READERS: Mapping[str, Callable[[str], Iterator[tuple[str, Json]]]] = {
    "docker": _docker, "containerd": _containerd, "cri-o": _cri_o, "podman": _podman,
}  # fmt: skip


def _in(value: Json, *names: str) -> Json:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _rows(value: Json, *names: str) -> list[tuple[str, Json]]:
    table = _in(value, *names)
    return [(name[:_LONGEST], row) for name, row in table.items()][:_MOST_NAMES] if isinstance(table, dict) else []


def _text(value: Json) -> str:
    return value[:_LONGEST] if isinstance(value, str) else ""


def _texts(value: Json) -> list[str]:
    return [one[:_LONGEST] for one in value if isinstance(one, str)][:_MOST_NAMES] if isinstance(value, list) else []


def _flag(value: Json) -> bool | None:
    return value if isinstance(value, bool) else None
