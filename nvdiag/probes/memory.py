"""What lies between a probe's child and its parent: a file in memory, in which the child says what it knows.

A line of JSON has the document so far, and the stage: the call that the child is about to make.
"""

from __future__ import annotations

import os
from typing import Any, TypeAlias

Json: TypeAlias = Any


def memory_file(name: str) -> int:
    """A descriptor of an anonymous file in memory, closed on exec; never 0, 1 or 2, which a child gives new files."""
    try:
        descriptor = os.memfd_create(name)
    except (AttributeError, OSError):  # a kernel before 3.17, or a sandbox without it
        import tempfile

        descriptor, path = tempfile.mkstemp(prefix="nvdiag-")
        os.unlink(path)
    return beyond_streams(descriptor)


def beyond_streams(descriptor: int) -> int:
    """A descriptor, or in its place another of the same file where this process lacks a standard stream."""
    if descriptor > 2:
        return descriptor
    import fcntl

    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(descriptor)


def last_words(written: bytes) -> tuple[dict[str, Json], str, float]:
    """The last whole line that a child wrote: document, stage, and when it spoke in seconds after its start.

    `written` may begin within a line, where a child wrote more than is kept.
    """
    import json

    for line in reversed(written.split(b"\n")[:-1]):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        return entry["document"], entry["stage"], entry["seconds"]
    return {}, "start", 0.0
