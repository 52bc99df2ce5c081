"""From a diagnosis to its reports: in which form, to which file or stream, and with which exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

import click

from nvdiag.cli import streams
from nvdiag.cli.running import Choice, fail, unknown_name, warn
from nvdiag.model.dataclass import dataclass
from nvdiag.model.diagnosis import Diagnosis
from nvdiag.model.finding import Severity

if TYPE_CHECKING:
    from nvdiag.report import terminal

FORMS = ("terminal", "json", "markdown", "html", "github", "junit", "prometheus", "nagios", "npd")
"""The forms of a report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the report is to be like."""

    form: str = "terminal"
    fail_on: Severity = Severity.ERROR
    strict: bool = False
    verbose: bool = False


def rendered(diagnosis: Diagnosis, choice: Choice, wanted: Wanted, *, to_file: bool) -> str:
    """The report as text. Each form is imported only where it is wanted."""
    terms = (wanted.fail_on, wanted.strict)
    if wanted.form in _RENDERERS:
        module, name = _RENDERERS[wanted.form]
        text: str = getattr(import_module(f"nvdiag.report.{module}"), name)(diagnosis, *terms)
        return text
    if wanted.form == "json":
        from nvdiag.report import as_json

        return as_json.render(diagnosis, choice.areas, *terms)
    if wanted.form == "prometheus":
        from nvdiag.report import prometheus

        return prometheus.render(diagnosis, choice.areas, *terms)
    if wanted.form == "junit":
        from nvdiag.report import junit

        return junit.render(diagnosis, {one.name: one.ids for one in choice.checks}, *terms)
    from nvdiag.report import terminal

    return terminal.render(diagnosis, _look(to_file, verbose=wanted.verbose), *terms)


_RENDERERS = {
    "markdown": ("markdown", "render"),
    "html": ("html", "render"),
    "github": ("github", "render"),
    "nagios": ("monitors", "nagios"),
    "npd": ("monitors", "npd"),
}
"""The forms that take a diagnosis and the terms of its verdict, and nothing else."""


def further_reports(reports: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The form and the file of each --report. Exit 2 where one is not FORM=FILE."""
    further = []
    for report in reports:
        form, equals, file = report.partition("=")
        if not equals or not file:
            fail(f"--report takes FORM=FILE, such as junit=nvdiag.xml, and not {report}")
        if form not in FORMS:
            unknown_name(form, FORMS, "form of a report named", f"the forms are {', '.join(FORMS)}")
        further.append((form, file))
    return tuple(further)


def deliver_all(
    diagnosis: Diagnosis, choice: Choice, wanted: Wanted, output: str | None, further: Sequence[tuple[str, str]]
) -> None:
    """Write every report of one run. One that cannot be written costs no other; exit 2 after the last."""
    asked: list[tuple[str, str | None]] = [(wanted.form, output), *further]
    complete = True
    for form, file in asked:
        text = rendered(diagnosis, choice, replace(wanted, form=form), to_file=file is not None)
        complete = _written(text, file, open_to_all=form in _READ) and complete
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if wanted.form == "github" and summary:
        _summarise(rendered(diagnosis, choice, replace(wanted, form="markdown"), to_file=True), summary)
    if not complete:
        raise SystemExit(2)


_READ = frozenset({"prometheus"})
"""The forms whose file another user reads, whatever the umask: node_exporter runs as nobody or the like."""

_SUMMARY_BYTES = 1024 * 1024
"""What GitHub takes of a step's summary; a longer one it refuses whole (docs.github.com, workflow commands)."""


def _summarise(text: str, file: str) -> None:
    """Append to the job's summary; a summary that cannot be written costs neither the report nor the exit code."""
    try:
        room = _SUMMARY_BYTES - os.path.getsize(file) if os.path.exists(file) else _SUMMARY_BYTES
        data = text.encode("utf-8", "replace")
        if len(data) > room:
            data = data[: max(0, room - 100)].decode("utf-8", "ignore").encode() + b"\n\n(cut: a summary takes 1 MiB)\n"
        with open(file, "ab") as summary:
            summary.write(data if len(data) <= room else b"")
    except OSError as error:
        warn(f"cannot write the summary {file}: {error.strerror or error}")


def exit_code(diagnosis: Diagnosis, wanted: Wanted) -> int:
    """The exit code that is documented in the README; nagios and npd have codes of their own."""
    if wanted.form == "nagios":
        from nvdiag.report import monitors

        return monitors.nagios_code(diagnosis, wanted.fail_on, wanted.strict)
    if wanted.form == "npd":
        from nvdiag.report import monitors

        return monitors.npd_code(diagnosis, wanted.fail_on, wanted.strict)
    return diagnosis.exit_code(wanted.fail_on, wanted.strict)


def _look(to_file: bool, *, verbose: bool) -> terminal.Look:
    from nvdiag.report import terminal

    drawn = not to_file and sys.stdout is not None and sys.stdout.isatty()
    unicode = to_file or (_encoding().startswith("utf") and os.environ.get("LC_ALL") not in ("C", "POSIX"))
    width = 80
    if drawn:
        width = min(os.get_terminal_size(sys.stdout.fileno()).columns or 80, 110)
    dumb = os.environ.get("TERM") == "dumb"
    colour = drawn and not os.environ.get("NO_COLOR") and not dumb
    return terminal.Look(width=width, colour=colour, unicode=unicode, verbose=verbose)


def deliver(text: str, output: str) -> None:
    """Write a file in one step: a reader never sees half of it. Exit 2 where that fails."""
    if not _written(text, output):
        raise SystemExit(2)


def _written(text: str, output: str | None, *, open_to_all: bool = False) -> bool:
    """Print a report, or write it to a file in one step; whether that could be done, which is said on stderr.

    `open_to_all` lets every user read the file whatever the umask is.
    """
    if output is None:
        say(text)
        return True
    try:
        if os.path.exists(output) and not os.path.isfile(output):  # /dev/stdout, a pipe: written to, never replaced
            _write(output, text)
        else:
            _replace(os.path.realpath(output), text, 0o644 if open_to_all else 0o666 & ~_umask())
    except OSError as error:
        warn(f"cannot write {output}: {error.strerror or error}")
        return False
    return True


_IN_PLACE = frozenset({errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS})
"""Why a file cannot be replaced that may be written to all the same: it is mounted, as an engine gives a container a
file to write to, or its folder takes no other."""


def _replace(target: str, text: str, mode: int) -> None:
    try:
        _put_in_place(target, text, mode)
    except OSError as error:
        if error.errno not in _IN_PLACE or not os.path.isfile(target):
            raise
        _write(target, text)


def _put_in_place(target: str, text: str, mode: int) -> None:
    import tempfile

    folder, name = os.path.split(target)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _write(target: str, text: str) -> None:
    with open(target, "w", encoding="utf-8") as file:
        file.write(text)


def say(text: str) -> None:
    """Text on stdout. Where its reader went away nothing more is said, and the exit code is a SIGPIPE's."""
    try:
        click.echo(text.encode(_encoding(), "replace").decode(_encoding()), nl=False)
    except BrokenPipeError:
        streams.forget(1)
        raise SystemExit(141) from None
    except OSError as error:
        streams.forget(1)
        fail(f"cannot write to standard output: {error.strerror or error}", 4)


def _encoding() -> str:
    """What standard output takes; ASCII where it is closed."""
    return (getattr(sys.stdout, "encoding", None) or "ascii").lower()


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
