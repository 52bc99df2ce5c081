"""CDI specifications are read as engines read them, whatever they are written in."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from referencing import Registry, Resource

from nvdiag.facts.cdi_document import MOST_TEXT, parse_specification
from nvdiag.model.unknown import ParseError, Unknown
from tests.scenarios import containers_host
from tests.scenarios.containers_host import as_yaml, specification

SCHEMA = Path(__file__).parent / "cdi_schema"
PATH = "/etc/cdi/nvidia.yaml"


def validator() -> Draft7Validator:
    schema, definitions = (json.loads((SCHEMA / name).read_text("utf-8")) for name in ("schema.json", "defs.json"))
    document = Resource.from_contents(definitions | {"$schema": schema["$schema"]})
    return Draft7Validator(schema, registry=Registry().with_resource("defs.json", document))


@pytest.mark.parametrize("name", containers_host.HEALTHY)
def test_the_scenarios_specifications_keep_the_schema(name: str) -> None:
    import yaml

    files = containers_host.HEALTHY[name]().files
    for text in (text for path, text in files.items() if "/cdi/" in path):
        validator().validate(yaml.safe_load(text))


def test_the_schema_refuses_what_is_no_specification() -> None:
    broken = specification() | {"devices": [{"name": "0"}]}
    assert not validator().is_valid(broken)
    assert not validator().is_valid({"kind": "nvidia.com/gpu"})


def test_yaml_and_json_say_the_same() -> None:
    document = specification()
    assert parse_specification(as_yaml(document), PATH) == parse_specification(
        json.dumps(document), "/etc/cdi/nvidia.json"
    )


def test_devices_files_nodes_and_hooks_are_told_each_once() -> None:
    found = parse_specification(as_yaml(specification()), PATH)
    assert (found.version, found.kind, found.devices) == ("0.5.0", "nvidia.com/gpu", ("0", containers_host.UUID, "all"))
    assert found.nodes == (
        "/dev/nvidia-uvm",
        "/dev/nvidia-uvm-tools",
        "/dev/nvidiactl",
        "/dev/nvidia0",
        "/dev/dri/card0",
        "/dev/dri/renderD128",
    )
    assert "/usr/lib/x86_64-linux-gnu/libcuda.so.570.172.08" in found.mounts
    assert found.hooks == tuple(
        ("/usr/bin/nvidia-cdi-hook", name) for name in ("create-symlinks", "enable-cuda-compat", "update-ldcache")
    )


def test_hooks_of_the_toolkits_before_1_16_are_understood() -> None:
    found = parse_specification(as_yaml(specification(hook="/usr/bin/nvidia-ctk")), PATH)
    assert ("/usr/bin/nvidia-ctk", "update-ldcache") in found.hooks


def test_another_vendors_hook_has_no_subcommand() -> None:
    found = parse_specification(as_yaml(specification(hook="/usr/bin/ldconfig")), PATH)
    assert {name for _, name in found.hooks} == {""}


def test_the_hosts_path_of_a_node_counts() -> None:
    document = specification()
    document["containerEdits"]["deviceNodes"] = [{"path": "/dev/nvidiactl", "hostPath": "/run/driver/dev/nvidiactl"}]
    assert "/run/driver/dev/nvidiactl" in parse_specification(as_yaml(document), PATH).nodes


def test_a_device_called_0_is_a_name_and_no_number() -> None:
    text = as_yaml(specification()).replace('"0"', "0")
    assert parse_specification(text, PATH).devices[0] == "0"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        ("---\n", "it is empty"),
        ("- a\n", "no table"),
        ("cdiVersion: 0.5.0\nkind: nvidia.com/gpu\n", "no devices"),
        ("cdiVersion: 0.5.0\ndevices:\n- name: a\n", "no kind"),
        ("cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n    - name: a\n  b: [\n", "no YAML: line 5"),
        ("a: *b\n", "no YAML"),
        ("[" * 50_000, "no YAML"),
        ("- " * 50_000, "no YAML"),
    ],
)
def test_what_an_engine_refuses_is_a_parse_error_that_says_where(text: str, why: str) -> None:
    with pytest.raises(ParseError, match=why):
        parse_specification(text, PATH)


@pytest.mark.parametrize("text", ["", "{", "[" * 50_000, "[]", '{"kind": "nvidia.com/gpu"}'])
def test_json_that_is_no_specification_is_a_parse_error(text: str) -> None:
    with pytest.raises(ParseError):
        parse_specification(text, "/etc/cdi/nvidia.json")


@pytest.mark.parametrize(
    "odd",
    [
        {"devices": {"a": 1}},
        {"devices": ["a", 7, None]},
        {"containerEdits": []},
        {
            "containerEdits": {
                "mounts": {"a": 1},
                "deviceNodes": "x",
                "hooks": [7, {"path": 3}, {"path": "/a", "args": 5}],
            }
        },
    ],
)
def test_odd_values_are_passed_over(odd: dict[str, Any]) -> None:
    parse_specification(json.dumps(specification() | odd), "/etc/cdi/a.json")


def test_a_yaml_that_unfolds_into_much_is_read_all_the_same() -> None:
    rows = "\n".join(
        f"{name}: &{name} [{', '.join(f'*{before}' for _ in range(9))}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    text = f"a: &a [x]\n{rows}\ncdiVersion: 1\nkind: nvidia.com/gpu\ndevices: *i\n"
    assert parse_specification(text, PATH).devices == ()


def test_what_is_longer_than_any_path_is_passed_over() -> None:
    document = specification(names=("x" * 9_000,))
    document["containerEdits"]["mounts"].append({"hostPath": "/" + "x" * 5_000, "containerPath": "/x"})
    read = parse_specification(json.dumps(document), "/etc/cdi/a.json")
    assert max(map(len, (*read.mounts, *read.devices))) < 250


def test_a_file_of_absurd_size_is_unknown_and_no_fault_of_its() -> None:
    with pytest.raises(Unknown, match="larger"):
        parse_specification("#" * (MOST_TEXT + 1), PATH)


def test_without_a_yaml_reader_it_is_unknown_and_not_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_yaml(name: str, *rest: Any, **more: Any) -> Any:
        if name == "yaml":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_yaml)
    with pytest.raises(Unknown, match="PyYAML"):
        parse_specification(as_yaml(specification()), PATH)
    assert parse_specification(json.dumps(specification()), "/etc/cdi/a.json").kind == "nvidia.com/gpu"


def test_the_pure_python_reader_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    text = as_yaml(specification())
    fast = parse_specification(text, PATH)
    monkeypatch.delattr(yaml, "CBaseLoader", raising=False)
    assert parse_specification(text, PATH) == fast
    for odd in ("[" * 5_000, "- " * 5_000, "a: *b\n"):
        with pytest.raises(ParseError):
            parse_specification(odd, PATH)
