"""Metrics for node_exporter's textfile collector (its README): no timestamps, and the same names in every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timezone

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from nvdiag import __version__
from nvdiag.facts.answers import DriverCuda
from nvdiag.facts.libraries import DriverLibraries, LibraryChoice
from nvdiag.facts.modules import LoadedDriver
from nvdiag.model.diagnosis import Diagnosis, Status, Verdict
from nvdiag.model.finding import Severity
from nvdiag.model.unknown import Unknown
from nvdiag.report.printable import obeyed_by_nobody, printable
from nvdiag.report.shown import fact


def render(diagnosis: Diagnosis, areas: Mapping[str, str], fail_on: Severity, strict: bool) -> str:
    """The metrics in Prometheus' text format. `areas` maps finding ids to their areas."""
    registry = CollectorRegistry()
    _of_run(registry, diagnosis, fail_on, strict)
    _of_findings(registry, diagnosis, areas)
    _of_driver(registry, diagnosis)
    return obeyed_by_nobody(generate_latest(registry).decode("utf-8"))


def _of_run(registry: CollectorRegistry, diagnosis: Diagnosis, fail_on: Severity, strict: bool) -> None:
    told = Gauge("nvdiag_info", "The nvdiag that made these metrics.", ["version"], registry=registry)
    told.labels(__version__).set(1)
    verdict = Gauge(
        "nvdiag_verdict", "1 for the verdict of the last run, 0 for the others.", ["verdict"], registry=registry
    )
    for one in Verdict:
        verdict.labels(one.value).set(one is diagnosis.verdict(fail_on, strict))
    code = Gauge(
        "nvdiag_exit_code", "Exit code of the last run: 0 well, 1 a problem, 3 could not tell.", registry=registry
    )
    code.set(diagnosis.exit_code(fail_on, strict))
    checks = Gauge("nvdiag_checks", "Checks of the last run by what became of them.", ["status"], registry=registry)
    counts = Counter(one.status for one in diagnosis.checks)
    for status in Status:
        checks.labels(status.value).set(counts[status])
    seconds = Gauge("nvdiag_run_duration_seconds", "Wall time of the last run.", registry=registry)
    seconds.set(round(diagnosis.seconds, 3))
    if (when := _seconds(diagnosis.source.captured_at)) is not None:
        Gauge("nvdiag_last_run_timestamp_seconds", "When the machine was looked at.", registry=registry).set(when)


def _of_findings(registry: CollectorRegistry, diagnosis: Diagnosis, areas: Mapping[str, str]) -> None:
    labels = ["id", "subject", "area", "severity", "confidence", "class", "cause"]
    findings = Gauge(
        "nvdiag_finding", "1 for each finding; cause is the key of what it follows from.", labels, registry=registry
    )
    for ranked in diagnosis.findings:
        finding = ranked.finding
        findings.labels(
            finding.id, printable(finding.subject), areas.get(finding.id, "engine"), finding.severity.value,
            finding.confidence.value, finding.kind.value, printable(ranked.caused_by or ""),
        ).set(1)  # fmt: skip
    by_severity = Gauge(
        "nvdiag_findings", "How many findings there are of each severity.", ["severity"], registry=registry
    )
    counts = Counter(ranked.finding.severity for ranked in diagnosis.findings)
    for severity in Severity:
        by_severity.labels(severity.value).set(counts[severity])


def _of_driver(registry: CollectorRegistry, diagnosis: Diagnosis) -> None:
    loaded, cuda = fact(diagnosis.facts, LoadedDriver), fact(diagnosis.facts, DriverCuda)
    libraries = fact(diagnosis.facts, DriverLibraries)
    driver = Gauge(
        "nvdiag_driver_info",
        "The driver's releases: the loaded module's, libnvidia-ml's, libcuda's, and the CUDA version that it supports.",
        ["module", "nvml", "libcuda", "cuda"],
        registry=registry,
    )
    driver.labels(
        "" if isinstance(loaded, Unknown) else printable(loaded.release.text),
        "" if isinstance(libraries, Unknown) else _release(libraries.nvml),
        "" if isinstance(libraries, Unknown) else _release(libraries.libcuda),
        "" if isinstance(cuda, Unknown) else printable(cuda.version.text),
    ).set(1)


def _release(choice: LibraryChoice) -> str:
    taken = choice.taken
    return printable(taken.release.text) if taken and taken.release else ""


def _seconds(when: str) -> float | None:
    try:
        read = datetime.fromisoformat(when)
    except ValueError:
        return None
    return (read if read.tzinfo else read.replace(tzinfo=timezone.utc)).timestamp()
