"""The text of a CDI specification: its kind, its devices, and which files of the host they take.

The form is SPEC.md of the Container Device Interface, version 1.1.0 and before; JSON or YAML, by the file's name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import ParseError, Unknown

MOST_TEXT = 512 * 1024
"""Characters. Sixteen GPUs with all their MIG devices take a quarter of it; YAML is slow to read in pure Python."""

_MOST_EDITS = 20_000
_LONGEST_PATH = 4095
"""PATH_MAX of limits.h, without the byte that ends it."""

_LONGEST_NAME = 200
_HOOK_PROGRAMS = {"nvidia-cdi-hook": 1, "nvidia-ctk": 2}
"""Where in a hook's `args` the subcommand stands: nvidia-cdi-hook NAME, nvidia-ctk hook NAME."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CdiDocument:
    """A specification as it is written. `kind` is vendor/class, `devices` are names within the kind.

    `nodes` are the host's device nodes, `mounts` its files, `hooks` programs each with the subcommand that NVIDIA's
    take, "" for another's.
    """

    version: str
    kind: str
    devices: tuple[str, ...]
    nodes: tuple[str, ...]
    mounts: tuple[str, ...]
    hooks: tuple[tuple[str, str], ...]


def parse_specification(text: str, path: str) -> CdiDocument:
    """ParseError for what an engine refuses; Unknown where nvdiag itself cannot read it."""
    if len(text) > MOST_TEXT:
        raise Unknown(f"{path} is larger than nvdiag reads")
    document = _json(text) if path.endswith(".json") else _yaml(text, path)
    if not isinstance(document, dict):
        raise ParseError("it is empty" if document in (None, "") else "it is no table of keys and values")
    for key in ("cdiVersion", "kind", "devices"):
        if not document.get(key):
            raise ParseError(f"it has no {key}")
    devices = [one for one in _list(document["devices"]) if isinstance(one, dict)]
    edits = [document.get("containerEdits"), *(one.get("containerEdits") for one in devices)]
    return CdiDocument(
        version=str(document["cdiVersion"])[:_LONGEST_NAME],
        kind=str(document["kind"])[:_LONGEST_NAME],
        devices=tuple(str(one.get("name"))[:_LONGEST_NAME] for one in devices),
        nodes=_unique(_rows(edits, "deviceNodes"), "hostPath", "path"),
        mounts=_unique(_rows(edits, "mounts"), "hostPath"),
        hooks=tuple(dict.fromkeys(_hook(row) for row in _rows(edits, "hooks") if isinstance(row.get("path"), str))),
    )


def _json(text: str) -> Any:
    try:
        return json.loads(text.removeprefix("\ufeff")) if text.strip() else None
    except (ValueError, RecursionError) as error:
        raise ParseError(f"it is no JSON: {error}"[:160]) from error


def _yaml(text: str, path: str) -> Any:
    """All scalars as text: nothing is constructed from a tag, and no merge is expanded."""
    try:
        import yaml
    except ImportError as error:
        raise Unknown(f"{path} is YAML, which takes the Python package PyYAML to read") from error
    try:
        return yaml.load(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise ParseError(f"it is no YAML: {where}{getattr(error, 'problem', None) or 'not readable'}"[:160]) from error
    except (RecursionError, ValueError) as error:
        raise ParseError("it is no YAML that can be read") from error


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _rows(edits: list[Any], key: str) -> list[Mapping[str, Any]]:
    """The rows of one kind in the edits of the specification and of its devices."""

    def found() -> Iterator[Mapping[str, Any]]:
        for one in edits:
            for row in _list(one.get(key)) if isinstance(one, dict) else ():
                if isinstance(row, dict):
                    yield row

    return list(islice(found(), _MOST_EDITS))


def _unique(rows: list[Mapping[str, Any]], *keys: str) -> tuple[str, ...]:
    """The first of these keys that each row has, each value once."""
    values = (next((row[key] for key in keys if isinstance(row.get(key), str)), "") for row in rows)
    return tuple(dict.fromkeys(value for value in values if value and len(value) <= _LONGEST_PATH))


def _hook(row: Mapping[str, Any]) -> tuple[str, str]:
    path = str(row["path"])[:_LONGEST_PATH]
    place = _HOOK_PROGRAMS.get(path.rpartition("/")[2])
    args = [str(one) for one in _list(row.get("args"))]
    return path, args[place][:_LONGEST_NAME] if place is not None and len(args) > place else ""
