"""`@dataclass` for frozen values, at a tenth of what the standard library's takes at import.

The standard library writes and compiles six methods for each class, and a run of nvdiag has some two hundred classes,
of which it uses a third. Here none is written: all classes share the methods below, which go by the fields' names. What
`dataclasses.fields` and `dataclasses.replace` need of a class is made when they first ask. To type checkers these are
frozen dataclasses.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass  # noqa: TID251 - here alone
else:
    from functools import cache
    from operator import attrgetter

    _Field, _MISSING = dataclasses.Field, dataclasses.MISSING
    _put = object.__setattr__

    def dataclass(*, frozen, slots, kw_only=False):
        """As `dataclasses.dataclass`, for frozen classes that have slots and no base.

        What a class itself says of comparison stays.
        """
        assert frozen
        assert slots

        def made(cls):
            assert cls.__bases__ == (object,)
            own = dict(vars(cls))
            del own["__dict__"], own["__weakref__"]
            names = tuple(cls.__annotations__)
            form = {
                "__qualname__": cls.__qualname__,
                "__slots__": names,
                "__dataclass_fields__": _Described(cls),
                "_by_place": () if kw_only else names,
                "_defaults": {name: own.pop(name, _MISSING) for name in names},
            }
            return type(cls.__name__, (), {**_SHARED, **own, **form})

        return made

    class _Described:
        """The standard library's description of a class's fields, made where it is asked for."""

        def __init__(self, plain):
            self._plain = plain

        def __get__(self, value, owner):
            describe = dataclasses.dataclass(kw_only=not owner._by_place, eq=False, repr=False)  # noqa: TID251
            owner.__dataclass_fields__ = describe(self._plain).__dataclass_fields__
            return owner.__dataclass_fields__

    def _init(self, *values, **named):
        if values and not named and len(values) == len(self._by_place):
            for name, value in zip(self._by_place, values, strict=True):
                _put(self, name, value)
        elif named and not values and named.keys() == self._defaults.keys():
            for name, value in named.items():
                _put(self, name, value)
        else:
            _init_in_part(self, values, named)
        self.__post_init__()

    def _init_in_part(self, values, named):
        by_place = dict(zip(self._by_place, values, strict=False))
        given = {**self._defaults, **by_place, **named}
        if len(given) > len(self._defaults) or len(by_place) < len(values) or (values and by_place.keys() & named):
            raise TypeError(f"{self.__class__.__qualname__} does not take these values: {values}, {named}")
        for name, value in given.items():
            if value is _MISSING:
                raise TypeError(f"{self.__class__.__qualname__} is not given its {name}")
            _put(self, name, value.default_factory() if value.__class__ is _Field else value)

    def _post_init(self):
        """A class may say more."""

    @cache
    def _values_of(cls):
        return attrgetter(*cls.__slots__) if cls.__slots__ else lambda _: ()

    def _eq(self, other):
        if other.__class__ is not self.__class__:
            return NotImplemented
        values = _values_of(self.__class__)
        return values(self) == values(other)

    def _hash(self):
        return hash(_values_of(self.__class__)(self))

    def _repr(self):
        told = (f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{self.__class__.__qualname__}({', '.join(told)})"

    def _set(self, name, value):
        if hasattr(self, name):
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        _put(self, name, value)

    def _delete(self, name):
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    _SHARED = {
        "__init__": _init, "__post_init__": _post_init, "__eq__": _eq, "__hash__": _hash, "__repr__": _repr,
        "__setattr__": _set, "__delattr__": _delete,
    }  # fmt: skip

__all__ = ["dataclass"]
