"""The CDI specifications on this host: what they name exists, and engines can use them."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator

from nvdiag.checks._toolkit_remedies import install
from nvdiag.engine import check
from nvdiag.facts.cdi import FOLDERS, REFRESH, CdiSpecification, CdiSpecifications
from nvdiag.facts.container_toolkit import CTK, ContainerToolkit, ToolkitVersion
from nvdiag.facts.libraries import DriverLibraries, Kind
from nvdiag.facts.modules import DriverHere
from nvdiag.facts.system import Distribution
from nvdiag.model.finding import Confidence, Evidence, Finding, Remedy, Risk, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import Unknown

_SHOWN = 4

HOOKS_SINCE = {
    "enable-cuda-compat": "1.17.5",
    "disable-device-node-modification": "1.17.8",
    "update-application-profile": "1.20.0",
}
"""The toolkit that first has a hook (nvidia-container-toolkit, internal/discover/hooks.go and its release notes)."""

_STRICT_BEFORE = "1.18.0"
"""From here on a toolkit passes over a hook that it does not know, with a warning (its pull request 1000)."""


@check("cdi-spec-stale", area="container")
def specifications_name_files_that_exist(
    driver: DriverHere,
    specifications: CdiSpecifications,
    libraries: DriverLibraries | Unknown,
    toolkit: ContainerToolkit | Unknown,
    distribution: Distribution | Unknown,
) -> Iterator[Finding]:
    """What the CDI specifications on this host tell engines to mount and to give exists, and is the driver's own."""
    for one in specifications.found:
        if one.in_use and (one.gone or _other_release(one, driver, libraries)):
            mismatch = _mismatch(driver, libraries)
            ways = _make_anew(one, specifications, toolkit, distribution, mismatch=mismatch)
            yield _stale(one, specifications, driver, ways, mismatch=mismatch)
    _all_read(specifications)


def _stale(
    one: CdiSpecification,
    specifications: CdiSpecifications,
    driver: DriverHere,
    ways: tuple[Remedy, ...],
    *,
    mismatch: bool,
) -> Finding:
    made_for = listed([release.text for release in one.releases])
    differs = bool(one.releases) and driver.release is not None and driver.release not in one.releases
    served = bool(one.shadowed)
    if one.gone:
        files = f"{len(one.gone)} files that are" if len(one.gone) > 1 else f"{one.gone[0]}, which is"
        title = f"the CDI specification {one.path} names {files} not there"
        title += f": it was made for driver {made_for}" if differs else ""
    else:
        title = f"the CDI specification {one.path} gives containers the libraries of driver {made_for}"
        title += f", and {driver.release} is loaded"
    return Finding(
        id="cdi-spec-stale",
        subject=one.path,
        severity=Severity.WARNING if served else Severity.ERROR,
        confidence=Confidence.LIKELY if served else Confidence.CERTAIN,
        title=title,
        detail=_why_not_new(one, specifications, mismatch=mismatch)
        + " An engine stops at the first file that is not there, so no container gets "
        + (f"{listed(sorted(set(one.qualified) - one.shadowed)[:_SHOWN])} from it." if served else "a GPU by it."),
        evidence=(
            *(Evidence(source=one.path, excerpt=f"{path} is not there") for path in one.gone[:_SHOWN]),
            *((Evidence(source=one.path, excerpt=f"libraries of {made_for}"),) if differs or not one.gone else ()),
            driver.evidence,
            *((specifications.refresh.evidence,) if specifications.refresh is not None else ()),
        ),
        remedies=ways,
        explains=frozenset({"container-driver-libraries-missing"}),
    )


def _why_not_new(one: CdiSpecification, specifications: CdiSpecifications, *, mismatch: bool) -> str:
    if mismatch:
        return "It cannot be made anew before the loaded module and the libraries are one release."
    if specifications.refresh is not None and one.folder == FOLDERS[1]:
        return f"{REFRESH} is to make it anew after each change of the driver, and has not."
    return "The specification is made once and does not follow the driver."


def _other_release(one: CdiSpecification, driver: DriverHere, libraries: DriverLibraries | Unknown) -> bool:
    """Whether it mounts libraries of a release that neither the module nor the host's own libraries are of."""
    if driver.release is None or not one.releases or driver.release in one.releases or isinstance(libraries, Unknown):
        return False
    return not any(copy.release in one.releases for copy in libraries.taken if copy.release is not None)


def _mismatch(driver: DriverHere, libraries: DriverLibraries | Unknown) -> bool:
    if driver.release is None or isinstance(libraries, Unknown):
        return False
    own = [copy.release for copy in libraries.taken if copy.kind is Kind.DRIVER and copy.release is not None]
    return any(release != driver.release for release in own)


@check("cdi-spec-unusable", area="container")
def engines_can_use_the_specifications(
    specifications: CdiSpecifications,
    toolkit: ContainerToolkit | Unknown,
    distribution: Distribution | Unknown,
) -> Iterator[Finding]:
    """The CDI specifications on this host parse, do not conflict, and call hooks that the toolkit has."""
    others = any(one.document is not None for one in specifications.found)
    for one in specifications.found:
        ways = _make_anew(one, specifications, toolkit, distribution)
        if one.malformed:
            yield _malformed(one, ways, others=others)
        elif one.in_use and one.lost_hooks:
            yield _lost_hooks(one, ways)
        elif one.in_use and (unknown := _unknown_hooks(one, toolkit)):
            yield _hooks_of_another_toolkit(one, unknown, toolkit, (install(distribution, update=True), *ways))
    if specifications.conflicts:
        yield _conflict(specifications)
    _all_read(specifications)


def _all_read(specifications: CdiSpecifications) -> None:
    if specifications.unread:
        raise Unknown(f"what all CDI specifications say: {specifications.unread[0]}")


def _malformed(one: CdiSpecification, ways: tuple[Remedy, ...], *, others: bool) -> Finding:
    return Finding(
        id="cdi-spec-unusable",
        subject=one.path,
        severity=Severity.WARNING if others else Severity.ERROR,
        confidence=Confidence.CERTAIN,
        title=f"engines cannot read the CDI specification {one.path}: {one.malformed}",
        detail="They leave it out, mostly without a word, and then say that its devices are unresolvable.",
        evidence=(Evidence(source=one.path, excerpt=one.malformed),),
        remedies=ways,
        explains=frozenset({"container-driver-libraries-missing"}),
    )


def _lost_hooks(one: CdiSpecification, ways: tuple[Remedy, ...]) -> Finding:
    return Finding(
        id="cdi-spec-unusable",
        subject=one.path,
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        title=f"{one.path} has engines call {listed(one.lost_hooks)}, which is not there",
        detail="The hook belongs to the NVIDIA Container Toolkit, which was moved, replaced or removed since the"
        " specification was made. No container with these devices starts.",
        evidence=tuple(Evidence(source=one.path, excerpt=f"hook {path} is not there") for path in one.lost_hooks),
        remedies=ways,
        explains=frozenset({"container-driver-libraries-missing"}),
    )


def _unknown_hooks(one: CdiSpecification, toolkit: ContainerToolkit | Unknown) -> list[str]:
    """The hooks that the toolkit beside the hook's own program does not have, where its version is known."""
    if isinstance(toolkit, Unknown) or toolkit.version is None or one.document is None:
        return []
    if toolkit.version >= ToolkitVersion.of(_STRICT_BEFORE):
        return []
    folder = posixpath.dirname(toolkit.programs[CTK])
    called = [name for path, name in one.document.hooks if posixpath.dirname(path) == folder]
    return [name for name in called if name in HOOKS_SINCE and toolkit.version < ToolkitVersion.of(HOOKS_SINCE[name])]


def _hooks_of_another_toolkit(
    one: CdiSpecification, unknown: list[str], toolkit: ContainerToolkit | Unknown, ways: tuple[Remedy, ...]
) -> Finding:
    version = str(toolkit.version) if isinstance(toolkit, ContainerToolkit) else ""
    return Finding(
        id="cdi-spec-unusable",
        subject=one.path,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=f"{one.path} calls the hook {listed(unknown)}, which the installed toolkit {version} does not have",
        detail="A newer NVIDIA Container Toolkit made the specification, often that of a device plug-in or of the GPU"
        " Operator. An older one ends with an error (No help topic for …), and no container starts.",
        evidence=(
            *(Evidence(source=one.path, excerpt=f"hook {name}, since {HOOKS_SINCE[name]}") for name in unknown),
            Evidence(source=f"{CTK} --version", excerpt=version),
        ),
        remedies=ways,
        explains=frozenset({"container-driver-libraries-missing"}),
    )  # fmt: skip


def _conflict(specifications: CdiSpecifications) -> Finding:
    device, first, second = specifications.conflicts[0]
    number = len({name for name, _, _ in specifications.conflicts})
    stays, goes = (first, second) if posixpath.basename(second) != "nvidia.yaml" else (second, first)
    return Finding(
        id="cdi-spec-unusable",
        subject=goes,
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        title=f"{first} and {second} both have {device}"
        + (f" and {number - 1} more devices" if number > 1 else "")
        + ", so engines take neither",
        detail="The same device in two files of one folder is a conflict. In /etc/cdi and in /var/run/cdi it is none:"
        " the second wins.",
        evidence=tuple(
            Evidence(source=f"{one} and {other}", excerpt=name)
            for name, one, other in specifications.conflicts[:_SHOWN]
        ),
        remedies=(
            Remedy(
                summary=f"keep {stays}, and put the other away",
                commands=(f"sudo mv {shlex.quote(goes)} /root/", "nvidia-ctk cdi list"),
                needs_root=True,
                prediction=f"the list then has {device} once; engines read the folder anew by themselves",
            ),
        ),
        explains=frozenset({"container-driver-libraries-missing"}),
    )


def _make_anew(
    one: CdiSpecification,
    specifications: CdiSpecifications,
    toolkit: ContainerToolkit | Unknown,
    distribution: Distribution | Unknown,
    *,
    mismatch: bool = False,
) -> tuple[Remedy, ...]:
    """Ways to have this specification written again, by whoever writes it."""
    name = posixpath.basename(one.path)
    if name.startswith(("k8s.", "management.")) or "device-plugin" in name:
        return (_BY_KUBERNETES,)
    first = "end the mismatch of module and libraries first: NVML, by which it is made, does not answer until then; "
    says = "it then names the files of the installed driver, and the hooks of the installed toolkit"
    path = shlex.quote(one.path)
    anew = Remedy(
        summary="make the specification anew, with the driver loaded",
        commands=(f"sudo nvidia-ctk cdi generate --output={path}", "nvidia-ctk cdi list"),
        needs_root=True,
        prediction=(first if mismatch else "") + says,
    )
    if specifications.refresh is not None and one.path == f"{FOLDERS[1]}/nvidia.yaml":
        by_service = Remedy(
            summary="have the service that keeps it write it anew",
            commands=(f"sudo systemctl restart {REFRESH}", f"systemctl status {REFRESH}"),
            needs_root=True,
            prediction=(first if mismatch else "") + says + "; where it fails, the service's status says why",
        )
        return by_service, anew
    if specifications.refresh is not None and one.path == f"{FOLDERS[0]}/nvidia.yaml":
        return _leave_it_to_the_service(path, mismatch), anew
    if isinstance(toolkit, ContainerToolkit) and CTK in toolkit.programs:
        return (anew,)
    return install(distribution), anew


def _leave_it_to_the_service(path: str, mismatch: bool) -> Remedy:
    return Remedy(
        summary=f"leave it to {REFRESH}, which keeps one in {FOLDERS[1]}, and put this one away",
        commands=(f"sudo systemctl restart {REFRESH}", f"sudo mv {path} /root/", "nvidia-ctk cdi list"),
        needs_root=True,
        prediction="the service's follows each driver upgrade"
        + ("; end the mismatch of module and libraries first, since it fails until then" if mismatch else ""),
    )


_BY_KUBERNETES = Remedy(
    summary="restart the pod on this node that writes it: the device plug-in, the DRA driver or the operator's toolkit",
    commands=("kubectl get pods --all-namespaces --output wide | grep -E 'device-plugin|dra|container-toolkit'",
              "kubectl delete pod --namespace NAMESPACE POD"),
    risk=Risk.DISRUPTIVE,
    prediction="its controller starts it anew, and it writes the specification by the driver that it then finds",
)  # fmt: skip
