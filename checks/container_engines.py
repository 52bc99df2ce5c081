"""Container engines on this host: those that are to give containers GPUs can."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from nvdiag.checks._toolkit_remedies import configure, install
from nvdiag.engine import check
from nvdiag.facts.cdi import CdiSpecifications
from nvdiag.facts.container_engines import ROOTLESS_DOCKER, ContainerEngines
from nvdiag.facts.container_toolkit import CONFIG, HOOK, RUNTIME, ContainerToolkit, ToolkitVersion
from nvdiag.facts.engine_settings import Engine, is_nvidia
from nvdiag.facts.modules import DriverHere
from nvdiag.facts.system import Distribution
from nvdiag.model.finding import Confidence, Evidence, Finding, FindingClass, Remedy, Risk, Severity
from nvdiag.model.text import listed
from nvdiag.model.unknown import NotApplicable, Unknown

_ID = "container-runtime-not-configured"
_EXPLAINS = frozenset({"container-driver-libraries-missing"})
_NO_REAL_LDCONFIG = "1.15.0"


@check(_ID, area="container")
def engines_settings_name_what_is_there(
    engines: ContainerEngines, toolkit: ContainerToolkit | Unknown, distribution: Distribution | Unknown
) -> Iterator[Finding]:
    """The settings of container engines are well-formed, and the NVIDIA runtimes that they name exist."""
    has_toolkit = isinstance(toolkit, ContainerToolkit)
    for one in engines.engines:
        if one.malformed and (one.names_nvidia or has_toolkit):
            yield _malformed(one)
        elif one.gone:
            yield _program_gone(one, toolkit, distribution)
        elif one.default and is_nvidia(one.default, "") and one.default not in one.runtimes and not one.unread:
            yield _default_without_entry(one)
        elif one.misplaced:
            yield _misplaced(one)
    unread = [one.unread for one in engines.engines if one.unread]
    if unread:
        raise Unknown(f"what container engines are set to: {unread[0]}")


def _malformed(one: Engine) -> Finding:
    return Finding(
        id=_ID,
        subject=one.config,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=f"{one.name} cannot read its settings in {one.config}",
        detail=f"With such a file {one.name} does not start, or goes on with what it read before the change.",
        evidence=(Evidence(source=one.config, excerpt=one.malformed),),
        remedies=(
            Remedy(
                summary="correct the file at the place named above, and see that the engine takes it",
                commands=(_look_at(one),),
                needs_root=one.config != ROOTLESS_DOCKER,
            ),
        ),
        explains=_EXPLAINS,
    )


def _look_at(one: Engine) -> str:
    if one.config == ROOTLESS_DOCKER:
        return 'dockerd --validate --config-file="$HOME/.config/docker/daemon.json"'
    if one.name.startswith("docker"):
        return f"sudo dockerd --validate --config-file={shlex.quote(one.config)}"
    return f"sudo nano {shlex.quote(one.config)}"


@check("container-cgroup-forbidden", area="container")
def rootless_docker_leaves_the_cgroups_alone(engines: ContainerEngines, toolkit: ContainerToolkit) -> Iterator[Finding]:
    """Where Docker runs without root, the toolkit is not set to write device cgroups, which it may not."""
    rootless = next((one for one in engines.engines if one.config == ROOTLESS_DOCKER and one.nvidia), None)
    if rootless is None:
        raise NotApplicable("no rootless Docker with NVIDIA's runtime is set up here")
    by_cdi = toolkit.version is not None and toolkit.version >= ToolkitVersion.of(_BY_CDI)
    legacy = toolkit.mode == "legacy" or (toolkit.mode in ("", "auto") and not by_cdi)
    if toolkit.no_cgroups or not legacy:
        return
    if toolkit.version is None and toolkit.mode != "legacy":
        raise Unknown("which version the toolkit is of, and so how its runtime gives GPUs")
    yield Finding(
        id="container-cgroup-forbidden",
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        kind=FindingClass.ENVIRONMENT,
        title="rootless Docker is to give GPUs by a toolkit that will write device cgroups, which it may not",
        detail="Without root nobody may set a device cgroup: containers with GPUs then fail at their start.",
        evidence=(
            Evidence(source=ROOTLESS_DOCKER, excerpt=f"runtime {rootless.nvidia[0]}"),
            Evidence(source=CONFIG, excerpt=f"mode {toolkit.mode or 'auto'}, no-cgroups is not set"),
            *((Evidence(source="nvidia-ctk --version", excerpt=toolkit.version.text),) if toolkit.version else ()),
        ),
        remedies=(
            Remedy(
                summary="have the toolkit leave device cgroups alone",
                commands=("sudo nvidia-ctk config --set nvidia-container-cli.no-cgroups=true --in-place",),
                needs_root=True,
                prediction="rootless containers then start; for those of root's Docker no device cgroup is set, either",
            ),
            Remedy(
                summary="or give GPUs by CDI, where the engine itself sees to the devices",
                commands=(
                    "sudo nvidia-ctk config --set nvidia-container-runtime.mode=cdi --in-place",
                    "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
                ),
                needs_root=True,
            ),
        ),
    )


_BY_CDI = "1.18.0"
"""From here on the runtime's mode auto makes CDI specifications as it goes (toolkit, issue 1224)."""


def _program_gone(one: Engine, toolkit: ContainerToolkit | Unknown, distribution: Distribution | Unknown) -> Finding:
    programs = listed(sorted({one.runtimes[name] for name in one.gone}))
    every = one.default in one.gone
    sure = all(one.runtimes[name].startswith("/") for name in one.gone)
    there = toolkit.programs.get(RUNTIME) if isinstance(toolkit, ContainerToolkit) else None
    out = Remedy(
        summary=f"or, where no container is to have GPUs, take {listed(one.gone)} out of {one.config}"
        + (", and the line that makes it the default" if every else ""),
    )
    return Finding(
        id=_ID,
        subject=one.config,
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN if sure else Confidence.LIKELY,
        title=f"{one.name} is set to run {'every container' if every else 'GPU containers'} by {programs}, which is"
        " not there",
        detail="The program belongs to the NVIDIA Container Toolkit, which was removed, moved or never installed. "
        + ("No container starts." if every else f"Containers with the runtime {listed(one.gone)} do not start."),
        evidence=tuple(
            Evidence(source=one.config, excerpt=f"runtime {name}: {one.runtimes[name]}, not there") for name in one.gone
        ),
        remedies=(configure(one) if there else install(distribution), out),
        explains=_EXPLAINS,
    )


def _default_without_entry(one: Engine) -> Finding:
    return Finding(
        id=_ID,
        subject=one.config,
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN if one.name.startswith("docker") else Confidence.LIKELY,
        title=f"the default runtime of {one.name} is {one.default}, and its settings describe no such runtime",
        detail=f"{one.name} refuses to start with such settings, or starts no container.",
        evidence=(
            Evidence(source=one.config, excerpt=f"default runtime {one.default}"),
            Evidence(source=one.config, excerpt=f"runtimes: {listed(sorted(one.runtimes)) or 'none'}"),
        ),
        remedies=(configure(one),),
        explains=_EXPLAINS,
    )


def _misplaced(one: Engine) -> Finding:
    return Finding(
        id=_ID,
        subject=one.misplaced,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=f"{one.name} does not read {one.misplaced}, where its runtime nvidia is described",
        detail="Toolkits from 1.18.0 on wrote CRI-O's drop-in file there. CRI-O reads /etc/crio/crio.conf.d.",
        evidence=(Evidence(source=one.misplaced, excerpt="a runtime of NVIDIA's"),
                  Evidence(source=one.config, excerpt="no runtime of NVIDIA's, nor in /etc/crio/crio.conf.d")),
        remedies=(
            Remedy(
                summary="move it to where CRI-O looks, and restart CRI-O",
                commands=(f"sudo mv {shlex.quote(one.misplaced)} /etc/crio/crio.conf.d/",
                          "sudo systemctl restart crio"),
                risk=Risk.DISRUPTIVE,
                needs_root=True,
                prediction="running pods stay; new ones can have GPUs. A newer toolkit writes it there by itself",
            ),
        ),
        explains=_EXPLAINS,
    )  # fmt: skip


@check(_ID, area="container")
def an_engine_uses_the_toolkit(
    driver: DriverHere,
    engines: ContainerEngines,
    toolkit: ContainerToolkit | Unknown,
    specifications: CdiSpecifications | Unknown,
) -> Iterator[Finding]:
    """Where the NVIDIA Container Toolkit is installed, some engine is set up to give containers GPUs by it."""
    described = _described(specifications)
    nodes = [one for one in engines.engines if one.name in ("containerd", "k3s", "rke2", "cri-o")]
    by_docker = any(one.default in one.nvidia for one in engines.engines if one.name == "docker")
    if engines.plugin and nodes and not by_docker and not any(_can(one, toolkit, described=described) for one in nodes):
        yield _unused(nodes[0], "the device plug-in of Kubernetes offers GPUs here", engines.plugin, driver)
        return
    if isinstance(toolkit, Unknown):
        raise toolkit
    if any(_can(one, toolkit, described=described) for one in engines.engines):
        return
    if engines.others:
        raise NotApplicable(f"{listed(engines.others)} may be what the toolkit is installed for")
    program = next(iter(toolkit.programs.values()))
    yield _unused(engines.engines[0], "the NVIDIA Container Toolkit is installed", program, driver)


def _described(specifications: CdiSpecifications | Unknown) -> bool:
    """Whether CDI has GPUs, or may have them for all that is known."""
    if isinstance(specifications, NotApplicable):
        return False
    return isinstance(specifications, Unknown) or bool(specifications.found)


def _can(one: Engine, toolkit: ContainerToolkit | Unknown, *, described: bool) -> bool:
    """Whether an engine can give GPUs as it is set, or may for all that is known.

    Docker's --gpus needs no more than the toolkit's hook among the programs (moby, daemon/nvidia_linux.go).
    """
    if one.nvidia or one.hooks or one.unread or one.malformed or one.gone or one.misplaced or "snap" in one.name:
        return True
    if one.name == "docker" and isinstance(toolkit, ContainerToolkit) and HOOK in toolkit.programs:
        return True
    return described and one.cdi is not False


def _unused(one: Engine, who: str, path: str, driver: DriverHere) -> Finding:
    return Finding(
        id=_ID,
        subject=one.config,
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        title=f"{who}, and {one.name} has neither a runtime of NVIDIA's nor a CDI device",
        detail="So no container that it starts gets a GPU.",
        evidence=(
            Evidence(source=path, excerpt="is there"),
            Evidence(source=one.config, excerpt="names no runtime of NVIDIA's"),
            Evidence(source="/etc/cdi and /var/run/cdi", excerpt="no specification of NVIDIA devices")
            if one.cdi is not False
            else Evidence(source=one.config, excerpt="CDI is switched off"),
            driver.evidence,
        ),
        remedies=(configure(one),),
        explains=_EXPLAINS,
    )


@check(_ID, area="container")
def the_toolkits_settings_fit_this_host(toolkit: ContainerToolkit) -> Iterator[Finding]:
    """The NVIDIA Container Toolkit can read its settings, and what they name is there."""
    if toolkit.malformed:
        yield Finding(
            id=_ID,
            subject=CONFIG,
            severity=Severity.ERROR,
            confidence=Confidence.LIKELY,
            title=f"the NVIDIA Container Toolkit cannot read its settings in {CONFIG}",
            detail="Its runtime and its hook end with an error, so no GPU container starts.",
            evidence=(Evidence(source=CONFIG, excerpt=toolkit.malformed),),
            remedies=(_DEFAULTS,),
            explains=_EXPLAINS,
        )
    gone = {key: path for key, path in toolkit.gone.items() if not _made_good(key, path, toolkit)}
    if not gone or toolkit.mode == "cdi":  # these settings are of the mode legacy, which auto mostly comes to
        return
    yield Finding(
        id=_ID,
        subject=CONFIG,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=f"the NVIDIA Container Toolkit is set to use {listed(sorted(gone.values()))}, which is not there",
        detail="Often the file came from another distribution, or from the time of the GPU Operator. In the mode legacy"
        " no GPU container starts.",
        evidence=tuple(Evidence(source=CONFIG, excerpt=f"{key}: {path}, not there") for key, path in gone.items()),
        remedies=(_LDCONFIG if list(gone) == ["nvidia-container-cli.ldconfig"] else _DEFAULTS,),
        explains=_EXPLAINS,
    )


def _made_good(key: str, path: str, toolkit: ContainerToolkit) -> bool:
    """Whether the toolkit takes /sbin/ldconfig where ldconfig.real is named and not there, as from 1.15 on it does."""
    if key != "nvidia-container-cli.ldconfig" or not path.endswith(".real"):
        return False
    return toolkit.version is None or toolkit.version.numbers >= tuple(map(int, _NO_REAL_LDCONFIG.split(".")))


_LDCONFIG = Remedy(
    summary="name this host's own ldconfig",
    commands=("sudo nvidia-ctk config --set nvidia-container-cli.ldconfig=@/sbin/ldconfig --in-place",),
    needs_root=True,
    prediction="ldconfig.real is Ubuntu's; other distributions have /sbin/ldconfig",
)

_DEFAULTS = Remedy(
    summary="put the file away, and write it anew with the settings that suit this host",
    commands=(f"sudo mv {CONFIG} {CONFIG}.old", f"sudo nvidia-ctk config --config-file={CONFIG} --in-place"),
    needs_root=True,
    prediction="new containers then start by it; take over from the old file what you changed on purpose",
)
