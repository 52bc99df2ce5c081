"""The command line. Only this package prints, reads standard input, and exits."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from nvdiag.cli import early, streams
from nvdiag.cli.exits import Judged

if TYPE_CHECKING:
    from click import ClickException


def main() -> NoReturn:
    """The `nvdiag` command. The process ends here, without Python taking its modules apart one by one."""
    gc.disable()  # one short run: what it leaves behind goes with the process
    code = run()
    if isinstance(code, str):
        sys.exit(code)
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # it is where the process was started with that stream closed
                stream.flush()
    except (OSError, ValueError):  # Python has an exit code of its own for that
        sys.exit(code)
    os._exit(code or 0)


def run() -> str | int | None:
    """Run the command of `sys.argv`; what it exits with."""
    arguments = sys.argv[1:]
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("--help", "-h", "--version")):
        arguments = ["check", *arguments]
    stdout, judged = sys.stdout, False
    try:
        early.begin(arguments)
        code = _run(arguments)
    except KeyboardInterrupt:  # before click is there to see it
        code = 130
    except Exception as error:  # the last wall: one line and exit 4, never a traceback
        from nvdiag.report.printable import printable

        line = printable(f"nvdiag: no report could be made: {type(error).__name__}: {error}") + "\n"
        code = 4
        streams.complain(lambda: sys.stderr.write(line))
    except SystemExit as leaving:
        # where the reader of a help text went away click wraps stdout and exits with 1, which here is a problem found
        code = leaving.code if sys.stdout is stdout else 141
        judged = isinstance(leaving, Judged)
    return _UNKNOWN_TO_NAGIOS if code in (2, 4) and not judged and _for_nagios(arguments) else code


_UNKNOWN_TO_NAGIOS = 3
"""To Nagios an exit code of 2 is an alarm, which a wrong option or an unreadable file is not."""


def _for_nagios(arguments: list[str]) -> bool:
    return any(
        f"{one}={two}".startswith("--format=nagios") for one, two in zip(arguments, [*arguments[1:], ""], strict=True)
    )


def _run(arguments: list[str]) -> str | int | None:
    """Let click run the command; its own errors are exit codes of ours."""
    from click import Abort, ClickException

    from nvdiag.cli.app import app

    try:
        return app(arguments, prog_name="nvdiag", standalone_mode=False)  # type: ignore[no-any-return]
    except ClickException as error:
        told = _told(error)
        streams.complain(lambda: sys.stderr.write(told))
        return error.exit_code
    except Abort:  # Ctrl-C: click itself would exit with 1, which here means that a problem was found
        return 130


def _told(error: ClickException) -> str:
    """What click says of a wrong command line, which it quotes as it came."""
    from io import StringIO

    from nvdiag.report.printable import obeyed_by_nobody, printable

    said = StringIO()
    error.show(said)
    return obeyed_by_nobody("\n".join(printable(line) for line in said.getvalue().split("\n")))
