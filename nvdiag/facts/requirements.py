"""What a person or a job asks of a machine, as expressions: `driver>=570,<600`, `any:memory>=40GiB`, `module=open`."""

from __future__ import annotations

import re

from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex
from nvdiag.model.unknown import NotApplicable

VERSIONS = ("driver", "cuda", "toolkit", "torch", "cudnn", "nccl")
"""Keys that take a version specifier (PyPA, "Version specifiers"), of the machine or its Python environment."""
VERSIONS_OF_GPU = ("compute",)
COUNTS = ("gpus",)
SIZES = ("memory", "free-memory")
WORDS = ("torch-build", "module")
WORDS_OF_GPU = ("gpu-name",)
ALONE = ("healthy",)
PER_GPU = (*VERSIONS_OF_GPU, *SIZES, *WORDS_OF_GPU)
KEYS = (*VERSIONS, *VERSIONS_OF_GPU, *COUNTS, *SIZES, *WORDS, *WORDS_OF_GPU, *ALONE)

_FORM = regex(r"(?P<any>any:)?(?P<key>[a-z]+(?:-[a-z]+)*)\s*(?P<rest>(?:[=<>!~].*)?)", re.S)
_SIZE = regex(r"(?P<number>\d{1,9}(?:\.\d{1,6})?)\s*(?P<unit>[KMGT]i?B|B)?")
_UNITS = {"B": 1} | {
    f"{letter}{binary}B": base**power
    for power, letter in enumerate("KMGT", 1)
    for binary, base in (("i", 1024), ("", 1000))
}


class WrongRequirement(ValueError):
    """An expression that is no requirement; `near` is the key that may be meant, empty where none is like it."""

    def __init__(self, why: str, near: str = "") -> None:
        super().__init__(why)
        self.near = near


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One requirement. `value` is the specifier or the pattern; for sizes each bound is in bytes, in `bounds`.

    `any_gpu` is True where one GPU that satisfies it is enough: else every GPU that the process may see has to.
    """

    text: str
    key: str
    value: str = ""
    bounds: tuple[tuple[str, float], ...] = ()
    any_gpu: bool = False


@dataclass(frozen=True, slots=True)
class Requirements:
    """The requirements of this run. NotApplicable where none was given; whoever has some puts them among the facts."""

    given: tuple[Requirement, ...]

    @classmethod
    def collect(cls) -> Requirements:
        raise NotApplicable("nothing was required of this machine")


def parse_requirement(text: str) -> Requirement:
    """Read an expression; WrongRequirement where it is none."""
    found = _FORM.fullmatch(text.strip())
    if not found:
        raise WrongRequirement(f"{text!r} is no requirement such as driver>=570 or gpu-name=*H100*")
    key, rest, any_gpu = found["key"], found["rest"].strip(), bool(found["any"])
    if key not in KEYS:
        raise WrongRequirement(f"nothing named {key} can be required", _nearest(key))
    if any_gpu and key not in PER_GPU:
        raise WrongRequirement(f"any: is for what each GPU has ({', '.join(PER_GPU)}), and {key} is the machine's")
    if key in ALONE:
        if rest:
            raise WrongRequirement(f"{key} stands alone")
        return Requirement(text=text.strip(), key=key)
    if not rest:
        raise WrongRequirement(f"{key} needs a comparison, such as {_EXAMPLES[key]}")
    value, bounds = rest, tuple[tuple[str, float], ...]()
    if key in (*VERSIONS, *VERSIONS_OF_GPU):
        _specifier(key, rest)
    elif key in (*WORDS, *WORDS_OF_GPU):
        value = _pattern(key, rest)
    else:
        bounds = _bounds(key, rest)
    return Requirement(text=text.strip(), key=key, value=value, bounds=bounds, any_gpu=any_gpu)


_EXAMPLES = {
    "driver": "driver>=570,<600", "cuda": "cuda>=12.8", "toolkit": "toolkit==12.8.*", "torch": "torch>=2.6",
    "cudnn": "cudnn>=9", "nccl": "nccl>=2.20", "compute": "compute>=9.0", "gpus": "gpus>=2",
    "memory": "memory>=40GiB", "free-memory": "free-memory>=30GiB", "torch-build": "torch-build=cuda",
    "module": "module=open", "gpu-name": "gpu-name=*H100*",
}  # fmt: skip


def _nearest(key: str) -> str:
    from difflib import get_close_matches

    return next(iter(get_close_matches(key, KEYS, n=1)), "")


def _specifier(key: str, rest: str) -> None:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        SpecifierSet(rest)
    except InvalidSpecifier:
        raise WrongRequirement(f"{key}{rest}: not a version specifier such as {_EXAMPLES[key]}") from None


def _pattern(key: str, rest: str) -> str:
    found = re.fullmatch(r"==?\s*(\S.*)", rest, re.S)
    if not found:
        raise WrongRequirement(f"{key} takes = and a word, which may hold * and ?, such as {_EXAMPLES[key]}")
    return found[1].strip()


def _bounds(key: str, rest: str) -> tuple[tuple[str, float], ...]:
    bounds = []
    for part in rest.split(","):
        found = re.fullmatch(r"\s*(==|!=|>=|<=|>|<)\s*(\S+(?:\s\S+)?)\s*", part)
        number = _SIZE.fullmatch(found[2]) if found else None
        if not found or not number or (key in COUNTS and number["unit"]):
            raise WrongRequirement(f"{key}{rest}: not a comparison such as {_EXAMPLES[key]}")
        if key in SIZES and not number["unit"]:
            raise WrongRequirement(f"{key}{rest}: of what unit? GiB, GB, MiB or MB, such as {_EXAMPLES[key]}")
        bounds.append((found[1], float(number["number"]) * _UNITS[number["unit"] or "B"]))
    return tuple(bounds)
