"""`@dataclass` for frozen values, at a quarter of what the standard library's takes at import.

The standard library writes and compiles six methods for each class, and a run of nvdiag has some two hundred classes.
Here it is `__init__` alone. The methods that compare, hash and show a value by its fields are shared, and so is the one
that keeps it as it is: each field is set once, by `__init__`. To type checkers these are frozen dataclasses.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass  # noqa: TID251 - here alone
else:
    from functools import cache
    from operator import attrgetter

    _made = dataclasses.dataclass  # noqa: TID251

    def dataclass(*, frozen, slots, kw_only=False):
        """As `dataclasses.dataclass`, for frozen classes; what a class itself says of comparison stays."""
        assert frozen

        def made(cls):
            cls = _made(slots=slots, kw_only=kw_only, eq=False, repr=False)(cls)
            for name, shared in _SHARED.items():
                if name not in vars(cls):
                    setattr(cls, name, shared)
            return cls

        return made

    @cache
    def _values_of(cls):
        names = [field.name for field in dataclasses.fields(cls)]
        return attrgetter(*names) if names else lambda _: ()

    def _eq(self, other):
        if other.__class__ is not self.__class__:
            return NotImplemented
        values = _values_of(self.__class__)
        return values(self) == values(other)

    def _hash(self):
        return hash(_values_of(self.__class__)(self))

    def _repr(self):
        told = (f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self))
        return f"{self.__class__.__qualname__}({', '.join(told)})"

    def _set(self, name, value):
        if hasattr(self, name):
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        object.__setattr__(self, name, value)

    def _delete(self, name):
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    _SHARED = {"__eq__": _eq, "__hash__": _hash, "__repr__": _repr, "__setattr__": _set, "__delattr__": _delete}

__all__ = ["dataclass"]
