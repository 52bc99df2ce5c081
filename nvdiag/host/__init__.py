"""The one door to a machine. Everything that is known of it comes through `Host`, live or recorded, in one form."""

from nvdiag.host.base import Absent, CommandResult, FileStat, Host, Json, NotRecorded, Refused

__all__ = ["Absent", "CommandResult", "FileStat", "Host", "Json", "NotRecorded", "Refused"]
