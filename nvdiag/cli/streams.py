"""Standard streams that may be closed, full, or gone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def complain(write: Callable[[], object]) -> None:
    """Write to stderr if it is there and has room: the exit code holds either way, and stdout is for data."""
    if sys.stderr is None:  # started with it closed; click would write to stdout
        return
    try:
        write()
        sys.stderr.flush()
    except OSError:
        forget(2)


def forget(descriptor: int) -> None:
    """Let a stream's buffer go nowhere: what is left in it would fail again at the exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
