"""What package managers write of their work, each in its own form: parsers from a log's text to transactions.

A parser is a pure function. It passes over what it does not know and raises ParseError where nothing of a text is of
its form. Only what concerns the driver and the kernel is kept.
"""

from __future__ import annotations

from nvdiag.facts.package_logs.transaction import Change, Role, Transaction, release_of, role_of

__all__ = ["Change", "Role", "Transaction", "release_of", "role_of"]
