"""Builds the tables of nvdiag.knowledge as JSON, which Python reads twenty times as fast. The rest: pyproject.toml."""

import json
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class BuildWithTables(build_py):
    """Copies the modules, and puts each table as JSON in the place of its TOML."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            write_tables(Path(self.build_lib, "nvdiag", "knowledge"))


def write_tables(folder: Path) -> None:
    """Replace each TOML file of a folder by the same as JSON."""
    for table in folder.glob("*.toml"):
        content = tomllib.loads(table.read_text(encoding="utf-8"))
        table.with_suffix(".json").write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
        table.unlink()


if __name__ == "__main__":
    setup(cmdclass={"build_py": BuildWithTables})
