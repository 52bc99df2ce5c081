"""What is said of CDI specifications: old names, conflicts, hooks that do not exist."""

from __future__ import annotations

import pytest

from nvdiag.model.finding import Confidence
from tests.checks.diagnosing import first, ids
from tests.checks.pasting import saying

UNRESOLVABLE = "Error: setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=all"


@pytest.mark.parametrize(
    "text",
    [
        "Error: crun: cannot stat `/usr/lib64/libnvidia-egl-gbm.so.1.1.0.555.58.02`: No such file or directory: OCI"
        " runtime"
        " attempted to invoke a command that was not found",
        "Error: crun: cannot stat `/usr/lib64/libEGL_nvidia.so.555.58.02`: No such file or directory: OCI runtime"
        " attempted"
        " to invoke a command that was not found",
        "Error: error stat'ing file `/lib64/libcuda.so.470.223.02`: No such file or directory: OCI not found",
        "Error response from daemon: failed to create task for container: error during container init: error mounting"
        ' "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.535.161.07" to rootfs at'
        ' "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.535.161.07": stat'
        " /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.535.161.07: no such file or directory: unknown",
        'error mounting "/lib/firmware/nvidia/535.161.07/gsp_tu10x.bin" to rootfs at'
        ' "/lib/firmware/nvidia/535.161.07/gsp_tu10x.bin": no such file or directory: unknown',
        "Error: statfs /usr/lib64/libnvidia-opencl.so.570.86.10: no such file or directory",
    ],
)
def test_a_driver_file_of_another_release_that_is_gone_makes_the_specification_stale(text: str) -> None:
    found = first(saying(text))
    assert found.id == "cdi-spec-stale"
    assert found.confidence is Confidence.CERTAIN
    assert any("cdi generate" in command for command in found.remedies[0].commands)


@pytest.mark.parametrize(
    "text",
    [
        "Error: crun: cannot stat `/run/nvidia-persistenced/socket`: No such file or directory: OCI runtime"
        " attempted to",
        "Error: crun: cannot stat `/dev/dri/card1`: No such file or directory",
        'failed to inject devices: failed to stat CDI host device "/dev/dri/renderD129": no such file or directory',
    ],
)
def test_other_things_that_a_specification_names_make_it_likely(text: str) -> None:
    found = first(saying(text))
    assert (found.id, found.confidence) == ("cdi-spec-stale", Confidence.LIKELY)


@pytest.mark.parametrize(
    "text",
    [
        "Error: crun: cannot stat `/home/user/data`: No such file or directory",
        'error gathering device information while adding custom device "/dev/nvidia0": no such file or directory',
        'failed to stat CDI host device "/dev/nvidia-uvm": no such file or directory',
        "ls: cannot access '/usr/lib/libcuda.so.535.54.03': No such file or directory",
        'error mounting "/host/config.535.54.yaml" to rootfs at "/config": no such file or directory',
    ],
)
def test_another_missing_file_says_nothing_of_a_specification(text: str) -> None:
    assert [one for one in ids(saying(text)) if one.startswith("cdi-")] == []


@pytest.mark.parametrize(
    "text",
    [
        'level=warning msg="conflicting device \\"nvidia.com/gpu=0\\" (specs \\"/etc/cdi/nvidia.yaml\\",'
        ' \\"/etc/cdi/nvidia.json\\")"',
        'conflicting device "nvidia.com/gpu=all" (specs "/var/run/cdi/a.yaml", "/var/run/cdi/b.yaml")',
        'failed to load CDI Spec failed to parse CDI Spec "/etc/cdi/nvidia.yaml": failed to unmarshal CDI Spec: error'
        " converting YAML to JSON: yaml: line 42: did not find expected key",
        'failed to parse CDI Spec "/etc/cdi/nvidia.yaml", no Spec data',
        'invalid spec, multiple device "all"',
        'time="2025-10-11T12:13:14Z" level=warning msg="Unsupported CDI hook: disable-device-node-modification"',
        "error running createContainer hook #0: fork/exec /usr/bin/nvidia-ctk: no such file or directory: unknown",
        "Error: crun: executable file `/usr/bin/nvidia-cdi-hook` not found: No such file or directory",
    ],
)
def test_a_specification_that_cannot_be_used_is_told(text: str) -> None:
    assert first(saying(text)).id == "cdi-spec-unusable"


def test_both_files_of_a_conflict_are_named() -> None:
    found = first(saying('conflicting device "nvidia.com/gpu=0" (specs "/etc/cdi/x.yaml", "/etc/cdi/y.yaml")'))
    assert "/etc/cdi/x.yaml" in found.title
    assert "/etc/cdi/y.yaml" in found.title


def test_a_specification_that_is_there_and_not_taken_is_unusable() -> None:
    found = first(saying(f"$ nvidia-ctk cdi list\nINFO[0000] Found 2 CDI devices\nnvidia.com/gpu=all\n{UNRESOLVABLE}"))
    assert (found.id, found.confidence) == ("cdi-spec-unusable", Confidence.LIKELY)
    assert "container-runtime-not-configured" not in ids(saying(f"Found 2 CDI devices\n{UNRESOLVABLE}"))


def test_no_specification_is_an_engine_that_is_not_configured() -> None:
    text = f"$ nvidia-ctk cdi list\nINFO[0000] Found 0 CDI devices\n{UNRESOLVABLE}"
    assert ids(saying(text)) == ["container-runtime-not-configured"]


def test_a_conflict_explains_the_device_that_is_not_found() -> None:
    text = f'conflicting device "nvidia.com/gpu=all" (specs "/etc/cdi/x.yaml", "/etc/cdi/y.yaml")\n{UNRESOLVABLE}'
    assert ids(saying(text)) == ["cdi-spec-unusable"]
