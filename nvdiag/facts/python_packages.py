"""Python packages and the environment of PyTorch, where pip, conda or torch's collect_env were recorded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from nvdiag.facts import reading
from nvdiag.facts.reported import Reported
from nvdiag.host import Host
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import CudaVersion

_ROW = re.compile(r"^([A-Za-z][\w.-]{1,80})\s{1,80}(\d[\w.+!-]{0,80})", re.M)


@dataclass(frozen=True, slots=True)
class PythonPackages:
    """Versions by package name in small letters with dashes; several where several environments were listed."""

    versions: Mapping[str, tuple[str, ...]]

    @classmethod
    def collect(cls, host: Host) -> PythonPackages:
        try:
            listing = host.run("pip", "list").stdout if "pip list" in host.recorded("commands") else ""
        except Unknown:
            listing = ""
        found = parse_packages(listing)
        if not found:
            raise NotApplicable("no list of Python packages was recorded")
        return cls(found)

    def of(self, name: str) -> tuple[str, ...]:
        """The versions of one package, none where it is not in the list."""
        return self.versions.get(name, ())

    def like(self, pattern: str) -> Mapping[str, tuple[str, ...]]:
        """The packages whose whole name a regular expression matches."""
        return {name: versions for name, versions in self.versions.items() if re.fullmatch(pattern, name)}


def parse_packages(text: str) -> dict[str, tuple[str, ...]]:
    """Lines of NAME VERSION, as `pip list` and `conda list` print them."""
    found: dict[str, tuple[str, ...]] = {}
    for name, version in _ROW.findall(text):
        known = found.setdefault(re.sub(r"[._]", "-", name.lower()), ())
        if version not in known:
            found[re.sub(r"[._]", "-", name.lower())] = (*known, version)
    return found


@dataclass(frozen=True, slots=True)
class TorchEnvironment:
    """The fields of torch's collect_env by their names as it prints them; "Could not collect" counts as not told."""

    fields: Mapping[str, str]

    @classmethod
    def collect(cls, host: Host) -> TorchEnvironment:
        key = "python -m torch.utils.collect_env"
        if key not in host.recorded("commands"):
            raise NotApplicable("no output of torch's collect_env was recorded")
        found = parse_collect_env(host.run("python", "-m", "torch.utils.collect_env").stdout)
        return cls(found)

    def get(self, name: str) -> str | None:
        """A field's value, None where it is missing or could not be collected."""
        value = self.fields.get(name)
        return None if value is None or value.startswith("Could not collect") or value == "N/A" else value


def parse_collect_env(text: str) -> dict[str, str]:
    """`PyTorch version: 2.1.0`, also in the aligned form of vLLM's script."""
    rows = re.findall(r"^([A-Z][A-Za-z ()/_-]{2,40}?)\s{0,40}: ?(\S.{0,300})$", text, re.M)
    return {name.strip(): value.strip() for name, value in rows}


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the dynamic loader takes for each soname, by a recorded `ldd`; None where it finds nothing."""

    paths: Mapping[str, str | None]

    @classmethod
    def collect(cls, host: Host) -> Loaded:
        if "ldd" not in host.recorded("commands"):
            raise NotApplicable("no output of ldd was recorded")
        rows = re.findall(r"^(\S{1,200}) => (not found|/\S{1,1000})", host.run("ldd").stdout, re.M)
        return cls({name: None if path == "not found" else path for name, path in rows})


@dataclass(frozen=True, slots=True)
class LibraryPath:
    """LD_LIBRARY_PATH's folders, in the loader's order; none where it is not set or not known."""

    folders: tuple[str, ...]

    @classmethod
    def collect(cls, host: Host) -> LibraryPath:
        value = reading.variable(host, "LD_LIBRARY_PATH") or ""
        return cls(tuple(folder for folder in value.split(":") if folder))


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchBuild:
    """PyTorch as it was built. `cuda` is the CUDA version of its build, None for a build without CUDA or an untold one.

    `cpu_only` is True where something says that the build has no CUDA. `nccl` is the NCCL that torch itself reports.
    `source` is where that was read. NotApplicable where no text tells of PyTorch.
    """

    version: str
    cuda: CudaVersion | None
    cpu_only: bool
    source: str
    nccl: str | None = None

    @classmethod
    def collect(
        cls,
        host: Host,
        packages: PythonPackages | Unknown,
        environment: TorchEnvironment | Unknown,
        reported: Reported | Unknown,
    ) -> TorchBuild:
        told = environment.get("PyTorch version") if isinstance(environment, TorchEnvironment) else None
        used = (
            environment.fields.get("CUDA used to build PyTorch") if isinstance(environment, TorchEnvironment) else None
        )
        listed = packages.of("torch") if isinstance(packages, PythonPackages) else ()
        written = reported.values.get("torch") if isinstance(reported, Reported) else None
        version = told or next((one for one in listed if "+" in one), None) or next(iter(listed), None) or written
        if version is None:
            raise NotApplicable("no text tells of PyTorch")
        source = "torch's collect_env" if told else "the list of Python packages" if listed else "the text's own words"
        asked = _printed(host, "torch.version.cuda")
        number = re.search(r"\+cu(\d{2,3})(\d)\b", version)
        cuda = CudaVersion.or_none(f"{number[1]}.{number[2]}" if number else None)
        cuda = cuda or CudaVersion.or_none(used) or CudaVersion.or_none(asked)
        cpu_only = cuda is None and ("+cpu" in version or asked == "None" or used == "None")
        nccl = _printed(host, "torch.cuda.nccl.version()")
        return cls(
            version=version,
            cuda=cuda.short if cuda else None,
            cpu_only=cpu_only,
            source=source,
            nccl=".".join(re.findall(r"\d{1,4}", nccl)) if nccl else None,
        )


def _printed(host: Host, expression: str) -> str | None:
    """What a recorded Python expression printed; None where it was not recorded."""
    return host.run(expression).stdout.strip() if expression in host.recorded("commands") else None
