"""Regular expressions that are compiled when they are first used.

Compiling the patterns of all formats that nvdiag reads takes a tenth of a short run, which meets few of the formats.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from re import compile as regex
else:

    class regex:
        """What `re.compile` returns for these arguments, as soon as it is used."""

        def __init__(self, pattern, flags=0):
            self._arguments = (pattern, flags)

        def __getattr__(self, name):
            if name == "_arguments":  # of a copy that is being made
                raise AttributeError(name)
            compiled = re.compile(*self._arguments)
            for method in ("match", "search", "fullmatch", "finditer", "findall", "sub", "split"):
                setattr(self, method, getattr(compiled, method))
            return getattr(compiled, name)


__all__ = ["regex"]
