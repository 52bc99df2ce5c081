"""Will a reboot fix it? The verdict on the next boot, with its reasons; and while all is well, whether it stays so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from enum import Enum

from nvdiag.facts.answers import NvmlAnswer
from nvdiag.facts.chosen_module import ModuleFile
from nvdiag.facts.disk_reasons import DiskReasons
from nvdiag.facts.libraries import DriverLibraries
from nvdiag.facts.module_files import NextBootModule
from nvdiag.facts.modules import LoadedDriver
from nvdiag.facts.obstacles import NextBootObstacles
from nvdiag.facts.reasons import Reason, Why
from nvdiag.facts.user_space import user_space_release
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease, KernelRelease

ON_DISK = frozenset({Why.NO_MODULE, Why.OTHER_RELEASE})
"""Reasons for which the packages, the build or the initramfs must be repaired before a reboot."""


class Answer(Enum):
    """What the next boot does. The last two are for a machine on which loaded module and libraries agree now."""

    FIXES = "will fix"
    DOES_NOT_FIX = "will not fix"
    CANNOT_TELL = "cannot tell"
    KEEPS = "keeps working"
    BREAKS = "will break"


@dataclass(frozen=True, slots=True, kw_only=True)
class RebootVerdict:
    """What the next boot does to the driver, and why. NotApplicable where the next boot is not this system's.

    `wanted` is the release that the module must be of, that of the libraries; `loads` the one that the next boot loads,
    None where that is not known. `reasons` have those that decide first. `well`: loaded module and libraries agree now.
    """

    answer: Answer
    reasons: tuple[Reason, ...]
    wanted: DriverRelease
    kernel: KernelRelease | None = None
    how: str = ""
    loads: DriverRelease | None = None
    well: bool = False

    @classmethod
    def collect(
        cls,
        loaded: LoadedDriver | Unknown,
        libraries: DriverLibraries,
        nvml: NvmlAnswer | Unknown,
        following: NextBootModule | Unknown,
        obstacles: NextBootObstacles | Unknown,
        disk: DiskReasons | Unknown,
    ) -> RebootVerdict:
        if isinstance(following, NotApplicable):
            raise following
        if isinstance(loaded, Unknown) and not isinstance(loaded, NotApplicable):
            raise loaded
        wanted = user_space_release(libraries, nvml)
        if wanted is None:
            raise Unknown("no driver library here tells its release")
        verdict = judged(wanted, following, obstacles, disk)
        return verdict if isinstance(loaded, Unknown) or loaded.release != wanted else verdict.while_well()

    @property
    def prediction(self) -> str:
        """The verdict as a sentence for a person."""
        if self.well and self.answer is Answer.CANNOT_TELL:
            return f"cannot tell whether it works after a reboot: {'; '.join(reason.says for reason in self.reasons)}"
        lead = {
            Answer.FIXES: "a reboot will fix it",
            Answer.DOES_NOT_FIX: "a reboot will NOT fix it",
            Answer.CANNOT_TELL: "cannot tell whether a reboot will fix it",
            Answer.KEEPS: "it works after a reboot, too",
            Answer.BREAKS: "it will NOT work after a reboot",
        }[self.answer]
        return f"{lead}: {'; '.join(reason.says for reason in self.reasons)}"

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """What its reasons rest on, each once."""
        return tuple(dict.fromkeys(one for reason in self.reasons for one in reason.evidence))

    @property
    def decisive(self) -> frozenset[Why]:
        """The kinds of the reasons that decide against a reboot."""
        if self.answer not in (Answer.DOES_NOT_FIX, Answer.BREAKS):
            return frozenset()
        return frozenset(reason.why for reason in self.reasons if reason.decides)

    def about(self, why: Why) -> Reason | None:
        """The first reason of a kind."""
        return next((one for one in self.reasons if one.why is why), None)

    def while_well(self) -> RebootVerdict:
        """The same of a machine on which loaded module and libraries agree now."""
        now = {Answer.FIXES: Answer.KEEPS, Answer.DOES_NOT_FIX: Answer.BREAKS}.get(self.answer, self.answer)
        return replace(self, answer=now, well=True)


def judged(
    wanted: DriverRelease,
    following: NextBootModule | Unknown,
    obstacles: NextBootObstacles | Unknown,
    disk: DiskReasons | Unknown,
    *,
    cut: bool = False,
) -> RebootVerdict:
    """The verdict for libraries of release `wanted`; `cut` where that is two numbers, as nvidia-smi prints it."""
    if isinstance(following, Unknown):
        reason = Reason(why=Why.NEXT_BOOT_UNKNOWN, says=str(following), decides=False)
        return RebootVerdict(answer=Answer.CANNOT_TELL, reasons=(reason,), wanted=wanted)
    goal = following.libraries or wanted
    found = _of_module(following, goal, cut)
    if found.why is Why.AS_WANTED and isinstance(obstacles, NextBootObstacles) and obstacles.signature:
        found = replace(found, says=f"{found.says} and {obstacles.signature}")
    beside = list(_beside(obstacles, goal, cut)) if found.why not in (Why.NO_MODULE, Why.OTHER_KERNEL) else []
    against = [one for one in (found, *beside) if one.decides and one.why is not Why.AS_WANTED]
    doubts = [one for one in (found, *beside) if not one.decides]
    explained = disk.reasons if isinstance(disk, DiskReasons) and found.why in ON_DISK else ()
    waiting = [] if beside or isinstance(obstacles, Unknown) else [
        one for one in obstacles.reasons if one.why in (Why.UNDER_WAY, Why.INTERRUPTED)
    ]  # fmt: skip
    answer, reasons = _weighed(against, doubts, found, (*explained, *waiting))
    early = obstacles.early if isinstance(obstacles, NextBootObstacles) and not obstacles.early_held else None
    return RebootVerdict(
        answer=answer,
        reasons=reasons,
        wanted=goal,
        kernel=following.kernel,
        how=following.how,
        loads=early or (following.file.release if following.file else None),
    )


def _weighed(
    against: list[Reason], doubts: list[Reason], found: Reason, explained: Iterable[Reason]
) -> tuple[Answer, tuple[Reason, ...]]:
    under_way = [one for one in (*doubts, *explained) if one.why is Why.UNDER_WAY]
    if under_way:  # what is on disk now is not what the next boot will find
        return Answer.CANNOT_TELL, tuple(dict.fromkeys((*under_way, *against)))
    if against:
        return Answer.DOES_NOT_FIX, tuple(dict.fromkeys((*against, *explained)))
    if doubts:
        return Answer.CANNOT_TELL, tuple(doubts)
    return Answer.FIXES, (found,)


def _of_module(following: NextBootModule, wanted: DriverRelease, cut: bool) -> Reason:
    """What the module on disk itself says to it."""
    kernel = f"{following.kernel}, which boots next ({following.how})"
    file = following.file
    if file is None:
        return Reason(why=Why.NO_MODULE, says=f"there is no nvidia module for {kernel}")
    seen = (Evidence(source=file.how, excerpt=f"{file.release or 'no release'}, for {following.kernel}"),)
    if not _fits_kernel(file, following.kernel):
        says = f"the module on disk for {kernel}, was built for {file.built_for} and will not load"
        return Reason(why=Why.OTHER_KERNEL, says=says, evidence=seen)
    if not file.listed:
        says = f"modules.dep does not have the module on disk for {kernel}, so modprobe does not find it: run depmod"
        return Reason(why=Why.NOT_LISTED, says=says, evidence=seen)
    if file.release is None:
        says = f"the module on disk for {kernel}, does not say its release"
        return Reason(why=Why.RELEASE_UNREAD, says=says, decides=False, evidence=seen)
    if is_release(file.release, wanted, cut):
        return Reason(why=Why.AS_WANTED, says=f"the module on disk for {kernel}, is {file.release}", evidence=seen)
    says = f"the module on disk for {kernel}, is {file.release}, not {wanted}"
    return Reason(why=Why.OTHER_RELEASE, says=says, evidence=seen)


def _fits_kernel(file: ModuleFile, kernel: KernelRelease) -> bool:
    """A module that weak-updates links to was built for another kernel, with whose symbols this one's agree."""
    return file.built_for in (None, kernel.text) or "/weak-updates/" in file.path


def is_release(release: DriverRelease, wanted: DriverRelease, cut: bool) -> bool:
    """Whether a release is the wanted one, or begins with it where that is cut."""
    return release == wanted or (cut and release.starts_with(wanted))


def _beside(obstacles: NextBootObstacles | Unknown, wanted: DriverRelease, cut: bool) -> Iterator[Reason]:
    if isinstance(obstacles, Unknown):
        return
    if obstacles.early is not None and not is_release(obstacles.early, wanted, cut):
        held = obstacles.early_held
        yield Reason(
            why=Why.INITRAMFS if held else Why.OTHER_RELEASE,
            says=f"the initramfs {obstacles.early_in} has {obstacles.early} inside, which is loaded before the module"
            " on disk" + (f" if something in it asks for it: there is the line {held!r} in it" if held else ""),
            decides=not held,
            evidence=(Evidence(source=obstacles.early_in, excerpt=f"nvidia {obstacles.early}"),),
        )
    yield from obstacles.reasons
