"""Frameworks that are installed here against each other: the releases that they ask for, and one plug-in of JAX."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from nvdiag.engine import check
from nvdiag.facts.frameworks import Frameworks
from nvdiag.facts.partners import Partner, Partners
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Remedy, Severity
from nvdiag.model.unknown import NotApplicable

_BOUND = ("jax", "jax-cuda12-plugin", "jax-cuda13-plugin", "torchaudio", "torchvision", "vllm")
"""Those that are compiled against the very release that they ask for."""


@check("framework-cuda-mismatch", area="frameworks")
def partners_are_of_the_releases_that_are_asked_for(partners: Partners) -> Iterator[Finding]:
    """PyTorch, JAX and what is compiled against them are of releases that go together."""
    for one in partners.found:
        if not one.fits:
            yield _apart(one, shlex.quote(partners.environment.python))


def _apart(one: Partner, python: str) -> Finding:
    pip = f"{python} -m pip"
    family = "jax" in one.name
    return Finding(
        id="framework-cuda-mismatch",
        subject=one.name,
        severity=Severity.ERROR if one.name in _BOUND else Severity.WARNING,
        confidence=Confidence.LIKELY,
        kind=FindingClass.APPLICATION,
        title=f"{one.name} {one.version} asks for {one.partner}{one.wants}, and {one.partner} is {one.there}",
        detail="Its compiled part is made for that release. With another one it fails when it is imported, is passed"
        " over, or fails at its first operation; the driver is not the reason.",
        evidence=(
            Evidence(source=one.source, excerpt=f"{one.partner}{one.wants}"),
            Evidence(source="packages of the environment", excerpt=f"{one.partner} {one.there}"),
        ),
        remedies=(
            Remedy(
                summary=f"install the {one.partner} that {one.name} asks for",
                commands=(f"{pip} install {shlex.quote(f'{one.partner}{one.wants}')}", f"{pip} check"),
                prediction="from the index that they came from, so that all of them are for one CUDA version",
            ),
            Remedy(
                summary=f"or install the {one.name} that is released with this {one.partner}",
                commands=(
                    f"{pip} install --upgrade {'jax jaxlib ' if family else ''}{one.name}",
                    f"{pip} check",
                ),
            ),
        ),
    )


@check("framework-cuda-mismatch", area="frameworks")
def one_plug_in_of_jax_is_installed(frameworks: Frameworks) -> Iterator[Finding]:
    """JAX has a plug-in for one CUDA major, not for two."""
    jax = frameworks.found.get("jaxlib")
    if jax is None:
        raise NotApplicable("JAX is not installed here")
    if len(jax.builds) < 2:
        return
    infos = frameworks.environment.infos
    names = [f"jax-cuda{cuda.major}-plugin" for cuda in jax.builds]
    pip = f"{shlex.quote(frameworks.environment.python)} -m pip"
    surplus = " ".join(f"{name} {name.replace('plugin', 'pjrt')}" for name in names[:-1])
    yield Finding(
        id="framework-cuda-mismatch",
        subject="jaxlib",
        severity=Severity.WARNING,
        confidence=Confidence.CERTAIN,
        kind=FindingClass.APPLICATION,
        title=f"JAX has plug-ins for CUDA {' and '.join(str(cuda) for cuda in jax.builds)}, of which it can use one",
        detail="Both call themselves cuda. JAX takes the one that it comes to first and refuses the other: PJRT_Api"
        " already exists for device type cuda.",
        evidence=tuple(Evidence(source=infos[name], excerpt=f"{name} is installed") for name in names),
        remedies=(
            Remedy(
                summary="leave the one for the CUDA major that this driver runs",
                commands=(f"{pip} uninstall {surplus}",),
                prediction=f"that leaves CUDA {jax.builds[-1]}, which needs a driver of that major; else uninstall the"
                " other pair",
            ),
        ),
    )
