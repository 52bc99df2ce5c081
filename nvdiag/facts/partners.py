"""What CUDA frameworks ask of each other: the releases of their partners that their own metadata names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nvdiag.facts.python_environments import PythonEnvironment, PythonEnvironments, normal_name
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex
from nvdiag.model.unknown import NotApplicable, Unknown

_ASKING = (
    "flash-attn", "jax", "torch", "torchaudio", "torchvision", "vllm", "xformers", "jax-cuda12-plugin",
    "jax-cuda13-plugin",
)  # fmt: skip
_ASKED = regex(r"(?:torch|torchvision|torchaudio|triton|jaxlib|jax-cuda\d\d-pjrt)$")
_REQUIREMENT = regex(r"Requires-Dist: ?([A-Za-z][\w.-]{0,60}) ?\(?([=<>!~][^;()]{1,80})\)? ?(?:;(.{0,300}))?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    """One package that asks for another: `wants` is the specifier (==2.8.0), `there` the version that is installed."""

    name: str
    version: str
    partner: str
    wants: str
    there: str
    fits: bool
    source: str


@dataclass(frozen=True, slots=True)
class Partners:
    """What each framework of the environment asks of the others that are there. NotApplicable where none asks any."""

    found: tuple[Partner, ...]
    environment: PythonEnvironment

    @classmethod
    def collect(cls, host: Host, environments: PythonEnvironments) -> Partners:
        environment = environments.chosen
        found = tuple(one for name in _ASKING for one in _of(host, environment, name))
        if not found:
            raise NotApplicable("no framework here asks for a release of another one here")
        return cls(found, environment)


def _of(host: Host, environment: PythonEnvironment, name: str) -> Iterator[Partner]:
    source = f"{environment.infos.get(name, '')}/METADATA"
    if name not in environment.versions:
        return
    try:
        lines = host.lines_with("Requires-Dist: ", source)
    except Unknown:
        return
    wanted: dict[str, list[str]] = {}
    for partner, wants in parse_requirements(lines):
        wanted.setdefault(partner, []).append(wants)
    for partner, several in wanted.items():
        there = environment.versions.get(partner)
        if there is not None:
            yield Partner(
                name=name,
                version=environment.versions[name],
                partner=partner,
                wants=several[-1],
                there=there,
                fits=any(_fits(there, one) for one in several),
                source=source,
            )


_HOLDS = regex(
    r"""\(? ?(?:(?:platform_system|sys_platform) == ['"][Ll]inux['"]|python_version [<>=!]+ ['"][\d.]+['"]) ?\)?"""
)


def parse_requirements(lines: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Partner and specifier of each line of METADATA that holds on Linux without an extra; of any Python version.

    A line whose marker asks for more than that is passed over: whether it holds here is not known.
    """
    for line in lines:
        found = _REQUIREMENT.match(line.strip())
        if not found or not _ASKED.match(partner := normal_name(found[1])):
            continue
        marker = (found[3] or "").strip()
        if not marker or all(_HOLDS.fullmatch(one.strip()) for one in marker.split(" and ")):
            yield partner, re.sub(r"\s", "", found[2])


def _fits(there: str, wants: str) -> bool:
    """Whether a version is one of a specifier's; True as well for what does not follow PyPA's rules for either.

    conda-forge adds a number of its own builds behind the release, as 2.5.1.post303.
    """
    release = re.sub(r"\.post\d{1,4}(?=\+|$)", "", there)
    if wants in (f"{operator}{release.partition('+')[0]}" for operator in ("==", "~=", ">=")):
        return True
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        specifiers = SpecifierSet(wants)
        return any(specifiers.contains(one, prereleases=True) for one in {there, release})
    except InvalidSpecifier:
        return True
