"""All that decides what can be done about a mismatch while this kernel runs, and that it does not come back."""

from __future__ import annotations

from nvdiag.facts.holders import ModuleHolders
from nvdiag.facts.kept_packages import KeptPackages
from nvdiag.facts.update_guards import UpdateGuards
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import Unknown


@dataclass(frozen=True, slots=True)
class WithoutReboot:
    """Each of the three is Unknown for its own reason; all are NotApplicable where nothing is to be reloaded."""

    holders: ModuleHolders | Unknown
    kept: KeptPackages | Unknown
    guards: UpdateGuards | Unknown

    @classmethod
    def collect(
        cls, holders: ModuleHolders | Unknown, kept: KeptPackages | Unknown, guards: UpdateGuards | Unknown
    ) -> WithoutReboot:
        return cls(holders, kept, guards)
