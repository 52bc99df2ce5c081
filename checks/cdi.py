"""CDI specifications: files below /etc/cdi and /var/run/cdi that tell an engine what a GPU container needs."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.checks import _said
from nvdiag.engine import check
from nvdiag.facts.messages import Messages
from nvdiag.model.finding import Confidence, Evidence, Finding, Remedy
from nvdiag.model.unknown import NotApplicable


@check("cdi-spec-stale", area="container")
def the_specification_names_files_that_exist(messages: Messages) -> Iterator[Finding]:
    """What the CDI specification tells the engine to mount or to give exists."""
    said = _said.about(messages, "cdi-spec-stale")
    detail = "The CDI specification was made for another driver release, or for another boot. It must be made anew"
    yield _said.finding(
        said,
        "cdi-spec-stale",
        detail=f"{detail} after each driver upgrade.",
        remedies=(_MAKE_ANEW, _FIND_OTHERS),
        explains=frozenset({"container-driver-libraries-missing", "device-nodes-missing"}),
        beside=tuple(
            Evidence(source=one.source, excerpt=one.text) for one in messages.named("smi-works", "cdi-spec-there")[:2]
        ),
    )


@check("cdi-spec-unusable", area="container")
def the_specifications_can_be_used(messages: Messages) -> Iterator[Finding]:
    """CDI specifications parse, do not conflict, and call hooks that exist."""
    said = messages.proving("cdi-spec-unusable")
    refused = messages.named("cdi-unresolvable")
    there = messages.named("cdi-spec-there")
    title, confidence = "", None
    if not said and refused and there and not messages.proving("cdi-spec-stale"):
        said, confidence = (*refused, *there), Confidence.LIKELY
        title = f"the engine does not take the CDI specification: it finds no {refused[0].groups['device']} in it"
    if not said:
        raise NotApplicable("no message in the text tells of it")
    conflict = any(one.message.name == "cdi-conflict" for one in said)
    yield _said.finding(
        said,
        "cdi-spec-unusable",
        title=title,
        confidence=confidence,
        detail="Engines leave out a specification that they cannot read, and then say no more than that the device is"
        " unresolvable. An engine knows only versions of the form that are not newer than itself.",
        remedies=(_ONE_OF_TWO, _MAKE_ANEW) if conflict else (_MAKE_ANEW, _OLDER_FORM),
        explains=frozenset({"container-runtime-not-configured", "container-driver-libraries-missing"}),
    )


_MAKE_ANEW = Remedy(
    summary="make the specification anew, on the host, with the driver loaded",
    commands=("sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml", "nvidia-ctk cdi list"),
    needs_root=True,
    prediction="it then names the files of the installed driver and the hooks of the installed toolkit; from toolkit"
    " 1.18 on nvidia-cdi-refresh.service does this into /var/run/cdi",
)

_FIND_OTHERS = Remedy(
    summary="if it still names the old files, look for other specifications and for copies of this one",
    commands=("grep -lrE 'nvidia' /etc/cdi /var/run/cdi", "systemctl status nvidia-cdi-refresh.service"),
    prediction="/var/run/cdi wins over /etc/cdi",
)

_ONE_OF_TWO = Remedy(
    summary="keep one of the two files; the same device twice in one folder makes both unusable",
    commands=("ls -l /etc/cdi /var/run/cdi", "sudo mv /etc/cdi/FILE.yaml /root/"),
    needs_root=True,
    prediction="files in /etc/cdi and in /var/run/cdi do not conflict: the second wins",
)

_OLDER_FORM = Remedy(
    summary="if the engine still refuses it, see which version it has, and update the engine",
    commands=("head -n 3 /etc/cdi/nvidia.yaml", "podman --version", "docker --version"),
    prediction="Podman 4 does not read fields that cdiVersion 0.7.0 and later brought, such as additionalGids",
)
