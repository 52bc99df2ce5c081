"""How to have the loader take another copy of a library: the way without root first."""

from __future__ import annotations

import shlex

from nvdiag.facts.libraries import LibraryCopy
from nvdiag.facts.python_packages import LibraryPath
from nvdiag.model.finding import Remedy


def without(copy: LibraryCopy, path: LibraryPath, real: LibraryCopy | None, why: str) -> tuple[Remedy, ...]:
    """Take this copy's folder out of the loader's way; `real` is the copy that it would take then, `why` a clause."""
    folder = copy.path.rpartition("/")[0]
    then = "no driver's own copy was found to take its place"
    if real is not None:
        then = f"the loader then takes {real.path}" + (f", which is {real.release}" if real.release else "")
    if copy.found_by == "LD_LIBRARY_PATH":
        rest = ":".join(one for one in path.folders if one.rstrip("/") != folder.rstrip("/"))
        return (
            Remedy(
                summary=f"take {folder} out of LD_LIBRARY_PATH: {why}",
                commands=(f"export LD_LIBRARY_PATH={shlex.quote(rest)}" if rest else "unset LD_LIBRARY_PATH",),
                prediction=f"{then}; what sets the variable (a shell's start-up file, a module, an image) sets it anew",
            ),
        )
    ahead = (
        (
            Remedy(
                summary="without root: put the driver's own folder in front for this shell",
                commands=(f"export LD_LIBRARY_PATH={shlex.quote(real.path.rpartition('/')[0])}:$LD_LIBRARY_PATH",),
                prediction=then,
            ),
        )
        if real
        else ()
    )
    return (
        *ahead,
        Remedy(
            summary=f"take {folder} out of the loader's configuration: {why}",
            commands=(f"grep -rlF -e {shlex.quote(folder)} /etc/ld.so.conf /etc/ld.so.conf.d", "sudo ldconfig"),
            needs_root=True,
            prediction=f"remove that line, or the package that brought the file; {then}",
        ),
    )
