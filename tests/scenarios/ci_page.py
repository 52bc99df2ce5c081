"""The outputs that docs/ci.md shows: each is what a real run prints. `tests.scenarios.shipped` writes them there.

In the page, `<!-- output: NAME -->` stands above the block that `OUTPUTS[NAME]` fills.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from click.testing import CliRunner

from nvdiag.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "ci.md"
DEMO = ROOT / "nvdiag" / "demo" / "machine.json"
_BLOCK = re.compile(r"(<!-- output: (?P<name>[\w-]+) -->\n```\w*\n).*?(```\n)", re.S)


def with_outputs(page: str) -> str:
    """The page with every output as it is now."""
    return _BLOCK.sub(lambda found: found[1] + OUTPUTS[found["name"]]() + found[3], page)


def _nagios() -> str:
    shown = CliRunner().invoke(app, ["check", "--from", str(DEMO), "--format", "nagios"])
    output = re.sub(r"time=[0-9.]+s", "time=0.240s", shown.output)  # the one thing that differs from run to run
    return f"$ nvdiag check --format nagios; echo $?\n{output}{shown.exit_code}\n"


_LONGEST = 160
"""Characters of a line that are shown: an annotation is one line, however long."""


def _runner_hook() -> str:
    told, code = _script("github-runner/job-started.sh", "bash", "-e")
    head, _, rest = told.partition("::group::")
    rest = rest.partition("::endgroup::")[2]
    lines = [*head.splitlines(), "::group::nvdiag's report", "…", "::endgroup::", *rest.split("\n")[1:-1], str(code)]
    shown = [line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…" for line in lines]
    return "\n".join(["$ bash -e /opt/nvdiag/job-started.sh; echo $?", *shown, ""])


def _action() -> str:
    from tests.packaging.running_action import use

    with tempfile.TemporaryDirectory() as folder:
        nvdiag = Path(folder) / "nvdiag.pyz"
        nvdiag.write_text("from nvdiag.cli import main\nmain()\n", encoding="utf-8")
        job = use(Path(folder), {"pyz": str(nvdiag), "from": str(DEMO), "require": "driver>=570,<600\ngpus>=1"})
    annotation = job.log.partition("\n")[0]
    shown = {**job.outputs, "artifact": re.sub("[0-9a-f]{8}$", "5f0c1ab9", job.outputs["artifact"])}
    told = [f"{name}: {value}" for name, value in shown.items()]
    home = re.sub(r"/\S*?/temp/nvdiag-\w+/", "/home/ci/actions-runner/_work/_temp/nvdiag-x3k1w0vq/", "\n".join(told))
    return f"{annotation[:_LONGEST]}…\n::group::nvdiag's report\n…\n::endgroup::\n\n{home}\n"


def _gitlab() -> str:
    from tests.packaging.running_gitlab import run

    with tempfile.TemporaryDirectory() as folder:
        nvdiag = Path(folder) / "nvdiag.pyz"
        program = f"import sys\nfrom nvdiag.cli import main\nsys.argv += ['--from', {str(DEMO)!r}]\nmain()\n"
        nvdiag.write_text(program, encoding="utf-8")
        job = run(Path(folder) / "project", NVDIAG_PYZ=str(nvdiag))
    error = re.findall(r"(?m)^error\[.*\n(?:  (?!-->).*\n)*", job.stdout)[0]
    verdict = job.stdout.strip().splitlines()[-1]
    return f"…\n{error}…\n{verdict}\n{job.stderr}"


def _junit() -> str:
    from xml.etree import ElementTree

    report = CliRunner().invoke(app, ["check", "--from", str(DEMO), "--format", "junit"]).stdout
    case = next(one for one in ElementTree.fromstring(report).iter("testcase") if one.find("failure") is not None)
    case.set("time", "0.001")
    failure = case.find("failure")
    assert failure is not None
    failure.text = f"{(failure.text or '').partition(chr(10))[0]}…"
    ElementTree.indent(case)
    return ElementTree.tostring(case, encoding="unicode").strip() + "\n"


def _init_container() -> str:
    from tests.packaging.running_pod import start

    with tempfile.TemporaryDirectory() as folder:
        code, _, message = start(Path(folder), f'exec {sys.executable} -I -m nvdiag "$@" --from {DEMO}')
    return f"exit code {code}\n{re.sub(r'time=[0-9.]+s', 'time=0.240s', message)}"


def _npd() -> str:
    told = [(kind, *_script("npd/check-nvdiag.sh", "env", arguments=[kind])) for kind in ("configuration", "hardware")]
    return "".join(f"$ /opt/nvdiag/check-nvdiag.sh {kind}; echo $?\n{said}{code}\n" for kind, said, code in told)


def _prometheus() -> str:
    shown = CliRunner().invoke(app, ["check", "--from", str(DEMO), "--format", "prometheus"]).stdout
    lines = [line for line in shown.splitlines() if not line.startswith("#")]
    output = re.sub(r"(?m)^(nvdiag_run_duration_seconds) .*", r"\1 0.24", "\n".join(lines))
    return f"$ grep -v '^#' /var/lib/prometheus/node-exporter/nvdiag.prom\n{output}\n"


def _script(name: str, *runner: str, arguments: Sequence[str] = ()) -> tuple[str, int]:
    """What a script of packaging/ prints, and its exit code, where nvdiag looks at the demo machine."""
    from tests.packaging.installed import installed

    with tempfile.TemporaryDirectory() as folder:
        nvdiag = ["bash", "-c", f'exec {sys.executable} -I -m nvdiag "$@" --from {DEMO}', "nvdiag"]
        script = installed(name, Path(folder), nvdiag)
        told = subprocess.run(
            [*runner, script, *arguments], stdout=subprocess.PIPE, text=True, env={}, cwd=folder, check=False
        )
    return told.stdout, told.returncode


OUTPUTS: Mapping[str, Callable[[], str]] = {
    "action": _action,
    "gitlab": _gitlab,
    "init-container": _init_container,
    "junit": _junit,
    "nagios": _nagios,
    "npd": _npd,
    "prometheus": _prometheus,
    "runner-hook": _runner_hook,
}
