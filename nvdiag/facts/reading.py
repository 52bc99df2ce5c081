"""Asking a host where *not there*, *refused* and *not recorded* all mean that another source is tried next."""

from __future__ import annotations

from nvdiag.host import FileStat, Host
from nvdiag.model.unknown import Unknown


def text(host: Host, path: str) -> str | None:
    """A file's text, or None for whatever reason. Only for sources that have an alternative or say nothing alone."""
    try:
        return host.read(path)
    except Unknown:
        return None


def names(host: Host, path: str) -> tuple[str, ...]:
    """The names in a folder, none for whatever reason."""
    try:
        return host.folder(path)
    except Unknown:
        return ()


def stat(host: Host, path: str) -> FileStat | None:
    """stat of a path, None for whatever reason."""
    try:
        return host.stat(path)
    except Unknown:
        return None


def is_there(host: Host, path: str) -> bool:
    """True where the path is certainly there."""
    return stat(host, path) is not None


def link(host: Host, path: str) -> str | None:
    """Where a symbolic link points, as written in it; None where it is no link, and for whatever other reason."""
    try:
        return host.link(path)
    except Unknown:
        return None


def variable(host: Host, name: str) -> str | None:
    """A variable of the environment, None where it is not set or for whatever other reason."""
    try:
        return host.env(name)
    except Unknown:
        return None


def texts(value: object) -> tuple[str, ...]:
    """The texts in a list that a recording has; none where it has something else in its place."""
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def certainly_absent(host: Host, path: str) -> bool:
    """True where somebody looked and the path is not there: a refusal or a silent recording is no absence."""
    try:
        return not host.exists(path)
    except Unknown:
        return False
