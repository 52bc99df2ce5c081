"""The commands and their options."""

from __future__ import annotations

import click

from nvdiag import __version__
from nvdiag.cli import configuration, delivering, running
from nvdiag.cli.exits import Judged
from nvdiag.model.finding import Severity


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.1 <= seconds <= 3600:  # which is not so for nan, either
        raise click.BadParameter(f"{text} is not a number of seconds from 0.1 to 3600")
    return seconds


_FROM = click.option(
    "--from",
    "source",
    metavar="FILE|-",
    help="Look at a snapshot, an nvidia-bug-report.log(.gz) or pasted text instead of this machine.",
)
_DEADLINE = click.option(
    "--deadline",
    type=_seconds,
    metavar="SECONDS",
    help="How long to wait for the driver's answers, 0.1 to 3600. Default: 10, and 3 more for each further GPU.",
)

_PYTHON = click.option(
    "--python",
    metavar="PATH",
    help="Look at this interpreter's packages, or at those of the environment in this folder. Default: the active"
    " environment, else the first python3 on PATH.",
)
_PROGRAM = click.option(
    "--program",
    metavar="PATH",
    help="Follow the loader to the CUDA libraries that this program, library or script gets, instead of PyTorch.",
)
_DEEP = click.option(
    "--deep",
    is_flag=True,
    help="Also load the CUDA libraries that are found, in a child process, and ask each for its version.",
)
_SMOKE = click.option(
    "--smoke",
    is_flag=True,
    help="Also have every GPU that this process may see run a tiny kernel, in a child process: for a moment it takes a"
    " CUDA context (some hundred MiB) on each, through MPS where its daemon answers. Waits up to 15 seconds more, and 3"
    " for each further GPU.",
)
_ENV_OF = click.option(
    "--env-of",
    "pid",
    type=click.IntRange(1),
    metavar="PID",
    help="Look with the environment variables, and at the Python, that this process of yours was started with.",
)
_VERBOSE = click.option(
    "--verbose", is_flag=True, help="Name each check that did not judge, with its reason. Other forms always do."
)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nvdiag")
@click.pass_context
def app(context: click.Context) -> None:
    """Say what is wrong with an NVIDIA GPU machine, why, and what to do about it.

    Without a command it checks this machine. It changes nothing and sends nothing.

    \b
    Exit codes: 0 nothing wrong, 1 a problem, 2 wrong usage or input,
    3 could not tell, 4 no report could be made.
    """
    if context.invoked_subcommand is None:
        context.invoke(check)


def _look_with(
    source: str | None, python: str | None, program: str | None, pid: int | None, *, deep: bool, smoke: bool
) -> None:
    """Take another environment than this process's own, or another program, where one is named; look deeper."""
    if python is None and program is None and pid is None and not deep and not smoke:
        return
    if source is not None:
        raise click.UsageError(
            "--python, --program, --env-of, --deep and --smoke are about this machine, and --from is about another"
        )
    from nvdiag.cli import asked

    if pid is not None:
        asked.of_process(pid)
    if python is not None:
        asked.of_python(python)
    if program is not None:
        asked.of_program(program)
    if deep:
        asked.deeper()
    if smoke:
        asked.to_compute()


@app.command()
@_FROM
@_PYTHON
@_PROGRAM
@_DEEP
@_SMOKE
@_ENV_OF
@click.option("--select", multiple=True, metavar="ID|AREA,…", help="Only these finding ids or areas.")
@click.option("--ignore", multiple=True, metavar="ID|AREA,…", help="All but these finding ids or areas.")
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="CLASS,…",
    help="Only findings of these classes: configuration, hardware, application, environment or tool; and what"
    " --require asks for.",
)
@click.option(
    "--gpus",
    metavar="LIST",
    help="Only findings on these GPUs or on the whole machine: nvidia-smi's numbers, UUIDs, PCI addresses, or all.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning"]),
    help="The least severe finding that makes the exit code 1. Default: error.",
)
@click.option(
    "--require",
    multiple=True,
    metavar="EXPR",
    help='What this machine has to have, such as "driver>=570", "gpus>=2" or "memory>=40GiB". Again for each.',
)
@click.option("--strict", is_flag=True, help="Exit with 3 where any check could not judge.")
@click.option(
    "--config",
    type=click.Path(),
    metavar="FILE",
    help="Take the settings of this file. Default: the nearest nvdiag.toml, or pyproject.toml with [tool.nvdiag].",
)
@click.option("--profile", metavar="NAME", help="Take this profile of the settings, too.")
@click.option("--no-config", is_flag=True, help="Take no settings from a file.")
@_DEADLINE
@click.option("--format", "form", type=click.Choice(delivering.FORMS), default="terminal", help="Form of the report.")
@_VERBOSE
@click.option("--output", type=click.Path(dir_okay=False), metavar="FILE", help="Write the report there.")
@click.option(
    "--report",
    "reports",
    multiple=True,
    metavar="FORM=FILE",
    help="Write a further report of the same run, such as junit=nvdiag.xml. Again for each.",
)
def check(
    source: str | None = None,
    python: str | None = None,
    program: str | None = None,
    deep: bool = False,
    smoke: bool = False,
    pid: int | None = None,
    select: tuple[str, ...] = (),
    ignore: tuple[str, ...] = (),
    classes: tuple[str, ...] = (),
    gpus: str | None = None,
    fail_on: str | None = None,
    require: tuple[str, ...] = (),
    strict: bool = False,
    config: str | None = None,
    profile: str | None = None,
    no_config: bool = False,
    deadline: float | None = None,
    form: str = "terminal",
    verbose: bool = False,
    output: str | None = None,
    reports: tuple[str, ...] = (),
) -> None:
    """Say what is wrong with this machine, or with a recorded one."""
    further = delivering.further_reports(reports)
    if no_config and (config is not None or profile is not None):
        raise click.UsageError("--no-config leaves nothing for --config and --profile to name")
    settings = configuration.Settings() if no_config else configuration.settings_of(config, profile)
    scope = running.scope_of(classes, gpus)
    smoke = smoke or (settings.smoke and source is None)
    _look_with(source, python, program, pid, deep=deep, smoke=smoke)
    requirements = running.required([*settings.require, *require])
    facts = running.facts_of(source, deadline or settings.deadline)
    if requirements is not None:
        facts[type(requirements)] = requirements
    choice = running.chosen(
        select or settings.select, ignore or settings.ignore, always=("requirements",) if requirements or smoke else ()
    )
    if settings.file:
        running.warn(f"with the settings of {settings.file}" + (f", profile {profile}" if profile else ""))
    diagnosis = running.diagnosed(facts, choice, scope)
    severity = Severity(fail_on or settings.fail_on or "error")
    wanted = delivering.Wanted(form=form, fail_on=severity, strict=strict or settings.strict, verbose=verbose)
    delivering.deliver_all(diagnosis, choice, wanted, output, further)
    raise Judged(delivering.exit_code(diagnosis, wanted))


@app.command()
@click.argument("file", type=click.Path(dir_okay=False), required=False)
@_FROM
@_PYTHON
@_PROGRAM
@_DEEP
@_SMOKE
@_ENV_OF
@_DEADLINE
@click.option("--show", is_flag=True, help="Print what would be written, and write nothing.")
@click.option("--no-redact", is_flag=True, help="Leave names, addresses and secrets in: for your own use only.")
def snapshot(
    file: str | None,
    source: str | None,
    python: str | None,
    program: str | None,
    deep: bool,
    smoke: bool,
    pid: int | None,
    deadline: float | None,
    show: bool,
    no_redact: bool,
) -> None:
    """Record what the checks read, redacted, in one file to hand on."""
    if file is None and not show:
        raise click.UsageError("name the FILE to write, or use --show")
    _look_with(source, python, program, pid, deep=deep, smoke=smoke)
    text = running.snapshot_text(deadline, source, redact=not no_redact)
    if show or file is None:
        delivering.say(text)
        return
    delivering.deliver(text, file)
    running.warn(f"wrote {file}" if no_redact else f"wrote {file}; look at it before you hand it on")


@app.command("list")
def list_checks() -> None:
    """List every check and the finding ids that it may report."""
    delivering.say(running.listing())


@app.command(context_settings={"ignore_unknown_options": True})  # a pasted message may begin with dashes
@click.argument("what", required=False, nargs=-1)
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "json", "markdown"]),
    default="terminal",
    help="Form of the page.",
)
def explain(what: tuple[str, ...], form: str) -> None:
    """Explain a finding, an error or a message: what it means, and what to do.

    WHAT is a finding id, "xid 79", "sxid 12028", "cuda 803", "nvml 18",
    "nvidia-smi 9", an error's name, or a pasted message in quotes. "xid" and the
    like list all of a kind; nothing lists everything.
    """
    from nvdiag.cli import explaining

    delivering.say(explaining.explanation(" ".join(what) if what else None, form))


@app.command()
@_VERBOSE
def demo(verbose: bool) -> None:
    """Show the report of a recorded machine; no GPU is needed."""
    choice = running.chosen((), ())
    diagnosis = running.diagnosed(running.begun(running.demo_host()), choice)
    delivering.say(delivering.rendered(diagnosis, choice, delivering.Wanted(verbose=verbose), to_file=False))
