"""Since when a state is as it is, and who brought it: one wording for all findings that a change of packages caused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nvdiag.facts.history import DriverHistory
from nvdiag.model.finding import Evidence
from nvdiag.model.unknown import Unknown
from nvdiag.model.versions import DriverRelease, KernelRelease

if TYPE_CHECKING:
    from nvdiag.facts.package_logs import Transaction


def told(history: DriverHistory | Unknown, release: DriverRelease | None = None) -> str:
    """A sentence about what brought this release, or the one that does not fit; empty where that is not known."""
    found = _brought(history, release)
    return _sentence(found, "It has been so") if found else ""


def kernel(history: DriverHistory | Unknown, release: KernelRelease) -> str:
    """A sentence about the transaction that brought this kernel, empty where none is known."""
    found = history.kernel_came(release) if isinstance(history, DriverHistory) else None
    return _sentence(found, f"Kernel {release} has been there") if found else ""


def evidence(history: DriverHistory | Unknown, release: DriverRelease | None = None) -> tuple[Evidence, ...]:
    """The log's word of the same."""
    found = _brought(history, release)
    return (Evidence(source=found.source, excerpt=f"{found.when.text} {changed(found)}"),) if found else ()


def before_this_boot(history: DriverHistory | Unknown) -> bool:
    """Whether this boot certainly came after the change: then no upgrade since explains an old module."""
    found = _brought(history, None)
    booted = history.booted if isinstance(history, DriverHistory) else None
    return found is not None and booted is not None and found.when.is_after(booted) is False


def changed(transaction: Transaction) -> str:
    """What a transaction did to the driver: its most telling package, and how many more."""
    changes = transaction.of_driver or transaction.changes
    more = len(changes) - 1
    return f"{changes[0].told}{f' and {more} more' if more > 0 else ''}"


def _brought(history: DriverHistory | Unknown, release: DriverRelease | None) -> Transaction | None:
    if not isinstance(history, DriverHistory):
        return None
    return history.brought(release) if release is not None else history.cause


def _sentence(found: Transaction, what: str) -> str:
    from nvdiag.facts.package_logs.asking import asked_for

    asked = asked_for(found).words
    by = f"by {asked}" if asked else f"by {found.tool}; the log does not say who asked"
    failed = " The log says that it did not come to its end." if found.failed else ""
    return f"{what} since {found.when.text}, {by}.{failed}"
