"""Whether the kernel that runs takes only signed modules, and whose signatures it knows.

A signature counts only where something enforces it: Secure Boot does so through lockdown, and not on every kernel.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nvdiag.facts import reading
from nvdiag.facts.modules import KernelModules
from nvdiag.facts.system import Surroundings
from nvdiag.host import Host
from nvdiag.model.finding import Evidence
from nvdiag.model.unknown import NotApplicable, Unknown

LOCKDOWN = "/sys/kernel/security/lockdown"
SIG_ENFORCE = "/sys/module/module/parameters/sig_enforce"
EFI_STATE = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
KEYS = "/proc/keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureRule:
    """`enforced`: the running kernel refuses a module without a signature by a key that it knows.

    `secure_boot` is the firmware's state, None where it does not tell. `keys` are the names of the keys in the kernel's
    keyrings, None where this user does not see them: root does.
    """

    enforced: bool
    secure_boot: bool | None
    keys: frozenset[str] | None
    evidence: tuple[Evidence, ...]

    @classmethod
    def collect(cls, host: Host, surroundings: Surroundings, modules: KernelModules | Unknown) -> SignatureRule:
        if not surroundings.has_own_kernel_modules:
            raise NotApplicable("the kernel's modules are not on this system's disk")
        if isinstance(modules, KernelModules) and modules.nvidia is not None:
            raise NotApplicable("the nvidia module is loaded, so the kernel has taken it")
        lockdown = (reading.text(host, LOCKDOWN) or "").strip()
        enforce = (reading.text(host, SIG_ENFORCE) or "").strip()
        none = reading.certainly_absent(host, LOCKDOWN) and reading.certainly_absent(host, SIG_ENFORCE)
        if not lockdown and not enforce and not none:
            raise Unknown("neither the kernel's lockdown nor its sig_enforce can be read")
        state = reading.text(host, EFI_STATE)
        secure_boot = state[4] == "\x01" if state is not None and len(state) == 5 else None
        evidence = [Evidence(source=LOCKDOWN, excerpt=lockdown)] if lockdown else []
        evidence += [Evidence(source=SIG_ENFORCE, excerpt=enforce)] if enforce else []
        if secure_boot is not None:
            evidence.append(Evidence(source=EFI_STATE, excerpt="Secure Boot is on" if secure_boot else "off"))
        return cls(
            enforced="[integrity]" in lockdown or "[confidentiality]" in lockdown or enforce == "Y",
            secure_boot=secure_boot,
            keys=key_names(reading.text(host, KEYS) or ""),
            evidence=tuple(evidence),
        )


def key_names(text: str) -> frozenset[str] | None:
    """The names of the certificates in /proc/keys (proc_keys(5)); None where it shows none."""
    found = frozenset(re.findall(r"\basymmetri\w{0,2} (\S.{0,160}?): [0-9a-f]{8,64}\b", text))
    return found or None
