"""The driver's packages that a text lists, whatever else it shows: outputs of dpkg, rpm and pacman."""

from __future__ import annotations

from nvdiag.facts.packages import Package, parse_packages
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable

COMMANDS = ("dpkg -l", "rpm -qa", "pacman -Q")
"""Under these the importers keep what such an output lists, as lines of STATE NAME VERSION; no machine is asked."""


@dataclass(frozen=True, slots=True)
class ListedPackages:
    """At least one package of the driver, and the command that listed the first. NotApplicable where none is."""

    packages: tuple[Package, ...]
    source: str

    @classmethod
    def collect(cls, host: Host) -> ListedPackages:
        if not host.handed_texts():
            raise NotApplicable("no text was handed over")
        recorded = [command for command in COMMANDS if command in host.recorded("commands")]
        listed = {command: tuple(parse_packages(host.run(*command.split()).stdout)) for command in recorded}
        sources = [command for command, found in listed.items() if found]
        if not sources:
            raise NotApplicable("no list of packages with the driver's was recorded")
        return cls(tuple(package for found in listed.values() for package in found), sources[0])
