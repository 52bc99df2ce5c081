"""What keeps a GPU off on purpose: firmware switches, bbswitch, tools for hybrid graphics, Thunderbolt's lock."""

from __future__ import annotations

from collections.abc import Iterator

from nvdiag.facts import reading
from nvdiag.facts.pci import PciGpus
from nvdiag.facts.surroundings import Surroundings
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.unknown import NotApplicable

_FIRMWARE = (
    "/sys/devices/platform/asus-nb-wmi/dgpu_disable",
    "/sys/class/firmware-attributes/asus-armoury/attributes/dgpu_disable/current_value",
)
_BBSWITCH = "/proc/acpi/bbswitch"
_PRIME = "/etc/prime-discrete"
_RULES = ("/etc/udev/rules.d/50-remove-nvidia.rules", "/lib/udev/rules.d/50-remove-nvidia.rules")
_THUNDERBOLT = "/sys/bus/thunderbolt/devices"


@dataclass(frozen=True, slots=True)
class PowerSwitches:
    """The switches that are off: a kind (bbswitch, dgpu, prime, envycontrol, thunderbolt) and where that was read.

    NotApplicable where NVIDIA's driver holds a GPU: a GPU that sleeps is not off.
    """

    off: tuple[tuple[str, Evidence], ...]

    @classmethod
    def collect(cls, host: Host, surroundings: Surroundings, gpus: PciGpus) -> PowerSwitches:
        if surroundings.container or surroundings.sandbox or surroundings.wsl or surroundings.tegra:
            raise NotApplicable("this system does not hold the switches of its machine")
        if gpus.by_nvidia:
            raise NotApplicable("the driver holds a GPU")
        return cls(tuple(_off(host, on_bus=bool(gpus.gpus))))


def _off(host: Host, *, on_bus: bool) -> Iterator[tuple[str, Evidence]]:
    said = (reading.text(host, _BBSWITCH) or "").strip()
    if said.endswith(" OFF"):
        yield "bbswitch", Evidence(source=_BBSWITCH, excerpt=said)
    for path in _FIRMWARE:
        if (reading.text(host, path) or "").strip() == "1":
            yield "dgpu", Evidence(source=path, excerpt="1")
    if (reading.text(host, _PRIME) or "").strip() == "off":
        yield "prime", Evidence(source=_PRIME, excerpt="off")
    if on_bus:
        return
    for path in _RULES:
        rule = next((line for line in (reading.text(host, path) or "").splitlines() if "0x10de" in line), None)
        if rule is not None:
            yield "envycontrol", Evidence(source=path, excerpt=rule[:200])
    for name in reading.names(host, _THUNDERBOLT):
        path = f"{_THUNDERBOLT}/{name}/authorized"
        if "-" in name and (reading.text(host, path) or "").strip() == "0":
            told = reading.text(host, f"{_THUNDERBOLT}/{name}/device_name") or name
            yield "thunderbolt", Evidence(source=path, excerpt=f"0 ({told.strip()})")
