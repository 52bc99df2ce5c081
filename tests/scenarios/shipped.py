"""Writes what is made from the rest: the index of checks, the demo machine, its picture, outputs in README and docs.

Tests hold all of them to this.

python -m tests.scenarios.shipped
"""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from nvdiag.cli.app import app
from nvdiag.host.redact import as_text, redacted
from tests.scenarios import check_index, ci_page, machines, picture

README = Path(__file__).resolve().parents[2] / "README.md"
DEMO = Path(__file__).resolve().parents[2] / "nvdiag" / "demo" / "machine.json"


VERSION_JSON = """{
   "cuda" : { "name" : "CUDA SDK", "version" : "12.8.1" },
   "cuda_nvcc" : { "name" : "CUDA NVCC", "version" : "12.8.93" }
}
"""


_OLD, _NEW = "570.169-0ubuntu0.24.04.1", "570.172.08-0ubuntu0.24.04.1"
_NAMES = ("nvidia-dkms-570-open", "libnvidia-compute-570", "nvidia-utils-570", "nvidia-driver-570-open")
HISTORY = f"""
Start-Date: 2025-09-16  06:12:04
Commandline: /usr/bin/unattended-upgrade
Upgrade: {", ".join(f"{name}:amd64 ({_OLD}, {_NEW})" for name in _NAMES)}
End-Date: 2025-09-16  06:14:31
"""


def demo_text() -> str:
    """Ubuntu 24.04 after an upgrade: 570.169 is loaded, 570.172.08 is installed, and a reboot will fix it."""
    toolkit = "/usr/local/cuda-12.8"
    machine = machines.ubuntu_dkms("570.169", "570.172.08", "570.172.08").but(
        files={f"{toolkit}/version.json": VERSION_JSON, f"{toolkit}/bin/nvcc": "", "/var/log/apt/history.log": HISTORY},
        links={"/usr/local/cuda": "cuda-12.8", "/etc/localtime": "/usr/share/zoneinfo/Etc/UTC"},
        env={"PATH": "/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    document = redacted(machine.snapshot().document, "scenario")
    in_order = {name: dict(sorted(one.items())) if isinstance(one, dict) else one for name, one in document.items()}
    return as_text(in_order)  # whatever is looked at first: a new fact then adds lines and moves none


PASTE = """\
$ python serve.py
RuntimeError: The NVIDIA driver on your system is too old (found version 12020).
$ nvidia-smi
| NVIDIA-SMI 535.161.07             Driver Version: 535.161.07   CUDA Version: 12.2     |
$ pip list | grep torch
torch                2.9.1+cu130
"""
"""A paste as people bring it: an error, and the two versions that decide."""


def readme_with_demo(readme: str) -> str:
    """The README with the real outputs in the blocks that show the demo and a paste."""
    output = CliRunner().invoke(app, ["demo"]).output
    block = re.compile(r"(```console\n\$ nvdiag demo\n).*?(```)", re.S)
    readme = block.sub(lambda found: found[1] + output + found[2], readme)
    report = CliRunner().invoke(app, ["check", "--from", "-"], input=PASTE).output
    head = report.partition("\n\ncould not be judged:")[0]
    pasted = f"```console\n$ nvdiag check --from - <<'END'\n{PASTE}END\n{head}\n```"
    return re.sub(r"```console\n\$ nvdiag check --from .*?```", lambda _: pasted, readme, count=1, flags=re.S)


if __name__ == "__main__":
    check_index.INDEX.write_text(check_index.text(), encoding="utf-8")
    DEMO.write_text(demo_text(), encoding="utf-8")
    picture.PICTURE.write_text(picture.picture(), encoding="utf-8")
    README.write_text(readme_with_demo(README.read_text(encoding="utf-8")), encoding="utf-8")
    ci_page.PAGE.write_text(ci_page.with_outputs(ci_page.PAGE.read_text(encoding="utf-8")), encoding="utf-8")
