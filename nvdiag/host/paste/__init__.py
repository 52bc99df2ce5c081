"""Pasted text as recorded machines: the one that it is about, and others that it shows beside it."""

from nvdiag.host.paste.host import PasteHost, hosts_of

__all__ = ["PasteHost", "hosts_of"]
