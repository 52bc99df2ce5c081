"""What the head of nvidia-smi's table says, and the same lines of `nvidia-smi -q`: three versions of three things."""

from __future__ import annotations

from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex
from nvdiag.model.unknown import ParseError
from nvdiag.model.versions import CudaVersion, DriverRelease

_TABLE = regex(
    r"NVIDIA-SMI[ \t]{1,9}(?P<smi>[0-9.]{1,20})[ \t]{1,60}"
    r"(?:Driver|KMD) Version:[ \t]{1,9}(?P<driver>[0-9.]{3,20})(?![^\s|])"
    r"(?:[ \t]{1,60}CUDA (?:UMD )?Version:[ \t]{1,9}(?P<cuda>[^\s|]{1,20}))?"
)
_LISTED_DRIVER = regex(r"(?:Driver|DRIVER|KMD) [Vv]ersion[ \t]{0,60}:?[ \t]{1,9}([0-9.]{3,20})(?![^\s|])")
_LISTED_CUDA = regex(r"CUDA (?:UMD )?Version[ \t]{0,60}:?[ \t]{1,9}([^\s|]{1,20})")


@dataclass(frozen=True, slots=True, kw_only=True)
class SmiHeader:
    """The versions that nvidia-smi prints.

    `smi` is the release of the program itself (in a container, on WSL and on Colab another one than the driver's), None
    where it prints none (-q) or cuts it ("4.304..."). `driver` is the loaded driver's release: "Driver Version", from
    R610 on "KMD Version". `cuda` is the CUDA version of the libcuda that nvidia-smi found ("CUDA UMD Version" from R610
    on), no version of an installed toolkit; where it is None, `cuda_text` has the words that stand there instead (N/A
    without a libcuda, ERR! where it fails), and is empty where there is no such field (before 410).
    """

    smi: DriverRelease | None
    driver: DriverRelease
    cuda: CudaVersion | None
    cuda_text: str

    @property
    def of_windows(self) -> bool:
        """Whether `driver` is a release of the Windows driver, as WSL shows it beside a Linux nvidia-smi.

        Windows has branches of its own (546, 572, 591), which nvdiag's table of Linux branches does not have.
        """
        if self.smi is None or self.smi == self.driver or len(self.driver.numbers) != 2:
            return False
        from nvdiag.knowledge.cuda import branches

        known = {row.branch for row in branches()}
        return self.driver.branch not in known and self.driver.branch < max(known)


def parse_smi_header(text: str) -> SmiHeader:
    """The head of nvidia-smi's table of any generation, else the version lines of `nvidia-smi -q`. ParseError.

    Forms are those of outputs in public reports from 304 (2012) to 615 (2026).
    """
    table = _TABLE.search(text)
    if table:
        return _header(_smi_release(table["smi"]), table["driver"], table["cuda"])
    driver, cuda = _LISTED_DRIVER.search(text), _LISTED_CUDA.search(text)
    if not driver:
        raise ParseError("not the head of nvidia-smi's table")
    return _header(None, driver[1], cuda[1] if cuda else None)


def _header(smi: DriverRelease | None, driver: str, cuda: str | None) -> SmiHeader:
    said = cuda or ""
    return SmiHeader(smi=smi, driver=DriverRelease.of(driver), cuda=CudaVersion.or_none(said), cuda_text=said)


def _smi_release(text: str) -> DriverRelease | None:
    """The program's release; up to 304 and 319 it stands after a number of the program's own: 4.304.88."""
    first, _, rest = text.partition(".")
    return DriverRelease.or_none(rest if len(first) == 1 else text)
