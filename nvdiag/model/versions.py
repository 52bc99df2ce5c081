"""Releases and versions. Each quantity has its own type, so that 580 (a driver) never meets 13.0 (CUDA) by accident.

All of them keep the text as it was read and compare by number: 570.124.06 equals 570.124.6 and still prints as it was.
"""

from __future__ import annotations

import re
from functools import total_ordering
from typing import TypeVar

from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import ParseError

_Self = TypeVar("_Self", bound="Numbered")


@total_ordering
@dataclass(frozen=True, slots=True)
class Numbered:
    """A text of numbers between dots, compared number by number; subclasses of one another never mix."""

    text: str
    numbers: tuple[int, ...]

    @classmethod
    def of(cls: type[_Self], text: str) -> _Self:
        """Read `text`; ParseError where it is not dotted numbers of the usual length (at most nine digits each)."""
        clean = text.strip()
        parts = clean.split(".")
        if len(parts) > 5 or not clean.isascii() or not all(part.isdigit() and len(part) < 10 for part in parts):
            raise ParseError(f"not a version of dotted numbers: {clean[:40]!r}")
        return cls(clean, tuple(map(int, parts)))

    @classmethod
    def or_none(cls: type[_Self], text: str | None) -> _Self | None:
        """Read `text`; None where there is none, or where `of` would refuse it."""
        try:
            return cls.of(text or "")
        except ParseError:
            return None

    def _key(self) -> tuple[int, ...]:
        numbers = self.numbers
        if numbers[-1]:
            return numbers
        while len(numbers) > 1 and numbers[-1] == 0:
            numbers = numbers[:-1]
        return numbers

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Numbered) and other._key() == self._key()

    def __lt__(self, other: object) -> bool:
        if type(other) is not type(self) or not isinstance(other, Numbered):
            return NotImplemented
        return self._key() < other._key()

    def __hash__(self) -> int:
        return hash((type(self), self._key()))

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"


class DriverRelease(Numbered):
    """A release of NVIDIA's driver, such as 570.172.08: the kernel module's or the user-space libraries'.

    Not the CUDA version that the driver supports, and not the two numbers that nvidia-smi prints of a mismatch
    ("570.172"): those are a prefix, see `starts_with`.
    """

    __slots__ = ()

    @property
    def branch(self) -> int:
        """The driver branch, the release's first number (570)."""
        return self.numbers[0]

    def starts_with(self, short: DriverRelease) -> bool:
        """True where `short` is how nvidia-smi would cut this release (570.172 of 570.172.08)."""
        return self.numbers[: len(short.numbers)] == short.numbers


class CudaVersion(Numbered):
    """A version of CUDA, such as 12.8 (what a driver supports) or 12.8.93 (a toolkit's component)."""

    __slots__ = ()

    @classmethod
    def from_number(cls, number: int) -> CudaVersion:
        """From `1000 * major + 10 * minor`, as cuda.h and cuDriverGetVersion write it: 12080 is 12.8."""
        major, minor = number // 1000, number % 1000 // 10
        return cls(f"{major}.{minor}", (major, minor))

    @property
    def major(self) -> int:
        return self.numbers[0]

    @property
    def short(self) -> CudaVersion:
        """Major and minor alone: 12.8 of 12.8.93."""
        numbers = (*self.numbers, 0)[:2]
        return CudaVersion(".".join(str(part) for part in numbers), numbers)


@total_ordering
@dataclass(frozen=True, slots=True)
class KernelRelease:
    """A Linux kernel's release as `uname -r` prints it. Ordered as file managers order it: digits by number."""

    text: str

    def _key(self) -> tuple[tuple[int, int, str], ...]:
        parts = re.findall(r"[0-9]{1,18}|[A-Za-z]+", self.text)
        return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KernelRelease) and other.text == self.text

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, KernelRelease):
            return NotImplemented
        return (self._key(), self.text) < (other._key(), other.text)

    def __hash__(self) -> int:
        return hash(self.text)

    def __str__(self) -> str:
        return self.text
