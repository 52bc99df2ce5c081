"""Real outputs from public reports, each with its source and with what a person read in it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent / "samples"


def samples(name: str) -> list[dict[str, Any]]:
    """The samples of one file: `text`, `source`, and the expected values."""
    tables: dict[str, list[dict[str, Any]]] = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    return tables["sample"]


def texts() -> list[str]:
    """The texts of all samples of all files."""
    return [one["text"] for path in sorted(FOLDER.glob("*.toml")) for one in samples(path.stem)]
