"""The state of a systemd unit: asked only where something wants the service."""

from __future__ import annotations

from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.unknown import Unknown

PROPERTIES = ("LoadState", "ActiveState", "SubState", "UnitFileState", "Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitState:
    """As `systemctl show` prints it: `load` is "not-found" where there is no such unit."""

    name: str
    load: str
    active: str
    enabled: str
    result: str

    @property
    def running(self) -> bool:
        return self.active in ("active", "activating", "reloading")

    @property
    def evidence(self) -> Evidence:
        words = "there is no such unit" if self.load == "not-found" else f"{self.active}, {self.enabled or 'static'}"
        failed = f", {self.result}" if self.active == "failed" and self.result else ""
        return Evidence(source=f"systemctl show {self.name}", excerpt=words + failed)


def unit_state(host: Host, name: str) -> UnitState:
    """Absent without systemctl, Refused, NotRecorded; Unknown where systemd does not run."""
    told = host.run("systemctl", "show", f"--property={','.join(PROPERTIES)}", name)
    fields = dict(line.partition("=")[::2] for line in told.stdout.splitlines())
    if told.exit != 0 or "ActiveState" not in fields:
        raise Unknown(f"the state of {name}: systemd does not answer here")
    return UnitState(
        name=name,
        load=fields.get("LoadState", ""),
        active=fields["ActiveState"],
        enabled=fields.get("UnitFileState", ""),
        result=fields.get("Result", ""),
    )
