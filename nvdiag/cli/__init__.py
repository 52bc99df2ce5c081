"""The command line. Only this package prints, reads standard input, and exits."""

from __future__ import annotations

import gc
import sys

from nvdiag.cli import early, streams


def main() -> None:
    """The `nvdiag` command."""
    gc.disable()  # one short run: what it leaves behind goes with the process
    arguments = sys.argv[1:]
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("--help", "-h", "--version")):
        arguments = ["check", *arguments]
    early.begin(arguments)
    from click import Abort, ClickException

    from nvdiag.cli.app import app

    stdout = sys.stdout
    try:
        code = app(arguments, prog_name="nvdiag", standalone_mode=False)
    except ClickException as error:
        code = error.exit_code
        streams.complain(error.show)
    except Abort:  # Ctrl-C: click itself would exit with 1, which here means that a problem was found
        code = 130
    except Exception as error:  # the last wall: one line and exit 4, never a traceback
        from nvdiag.report.printable import printable

        line = printable(f"nvdiag: no report could be made: {type(error).__name__}: {error}") + "\n"
        code = 4
        streams.complain(lambda: sys.stderr.write(line))
    except SystemExit as leaving:
        # where the reader of a help text went away click wraps stdout and exits with 1, which here is a problem found
        code = leaving.code if sys.stdout is stdout else 141
    sys.exit(code)
