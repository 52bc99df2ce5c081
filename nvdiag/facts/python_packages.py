"""Python packages and PyTorch's build: as pip, conda or torch's collect_env printed them, else as installed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from nvdiag.facts import reading
from nvdiag.facts.frameworks import Frameworks
from nvdiag.facts.python_environments import PythonEnvironments, normal_name
from nvdiag.facts.reported import Reported
from nvdiag.facts.smi_report import SmiReport
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.regex import regex
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import CudaVersion

_ROW = regex(r"^([A-Za-z][\w.-]{1,80})\s{1,80}(\d[\w.+!-]{0,80})", re.M)

LISTED = "the list of Python packages"


@dataclass(frozen=True, slots=True)
class PythonPackages:
    """Versions by package name in small letters with dashes; several where several environments were listed.

    `source` is a list that somebody brought, or the environment on this machine that this run is about.
    """

    versions: Mapping[str, tuple[str, ...]]
    source: str = LISTED

    @classmethod
    def collect(cls, host: Host, environments: PythonEnvironments | Unknown) -> PythonPackages:
        try:
            listing = host.run("pip", "list").stdout if "pip list" in host.recorded("commands") else ""
        except Unknown:
            listing = ""
        if found := parse_packages(listing):
            return cls(found)
        if isinstance(environments, Unknown):
            raise NotApplicable("no Python environment and no list of Python packages is known")
        chosen = environments.chosen
        return cls({name: (version,) for name, version in chosen.versions.items()}, f"packages in {chosen.prefix}")

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
        known = found.setdefault(normal_name(name), ())
        if version not in known:
            found[normal_name(name)] = (*known, version)
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
    rows = re.findall(r"^([A-Z][A-Za-z ()/_-]{2,40}?)[ \t]{0,40}: ?(\S.{0,300})$", text, re.M)
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
    `source` is where that was read, `listed` whether in a list of packages that somebody brought. `python` is the
    interpreter that imports it, None where only a text tells of it. NotApplicable where nothing does.
    """

    version: str
    cuda: CudaVersion | None
    cpu_only: bool
    source: str
    nccl: str | None = None
    listed: bool = False
    python: str | None = None

    @classmethod
    def collect(
        cls,
        host: Host,
        packages: PythonPackages | Unknown,
        environment: TorchEnvironment | Unknown,
        reported: Reported | Unknown,
        frameworks: Frameworks | Unknown,
    ) -> TorchBuild:
        told = environment.get("PyTorch version") if isinstance(environment, TorchEnvironment) else None
        used = (
            environment.fields.get("CUDA used to build PyTorch") if isinstance(environment, TorchEnvironment) else None
        )
        listed = packages.of("torch") if isinstance(packages, PythonPackages) and packages.source == LISTED else ()
        conda = _of_conda(host)
        written = reported.values.get("torch") if isinstance(reported, Reported) else None
        version = told or next((one for one in listed if "+" in one), None) or next(iter(listed), None)
        version = version or (conda[0] if conda else written)
        if version is None:
            return _installed(frameworks)
        in_list = bool(listed or conda)
        source = "torch's collect_env" if told else LISTED if in_list else "the text's own words"
        asked = _printed(host, "torch.version.cuda")
        number = re.search(r"\+cu(\d{2,3})(\d)\b", version)
        cuda = CudaVersion.or_none(f"{number[1]}.{number[2]}" if number else None)
        cuda = cuda or CudaVersion.or_none(used) or CudaVersion.or_none(asked) or (conda[1] if conda else None)
        cpu_only = cuda is None and ("+cpu" in version or asked == "None" or used == "None")
        return cls(
            version=version,
            cuda=cuda.short if cuda else None,
            cpu_only=cpu_only,
            source=source,
            nccl=_nccl(host),
            listed=source == LISTED,
        )


def _installed(frameworks: Frameworks | Unknown) -> TorchBuild:
    """The PyTorch of the environment that this run is about."""
    torch = frameworks.found.get("torch") if isinstance(frameworks, Frameworks) else None
    if torch is None or isinstance(frameworks, Unknown):
        raise NotApplicable("PyTorch is not installed here, and no text tells of it")
    return TorchBuild(
        version=torch.version,
        cuda=torch.cuda.short if torch.cuda else None,
        cpu_only=torch.cpu_only,
        source=torch.source,
        python=frameworks.environment.python,
    )


@dataclass(frozen=True, slots=True)
class TorchNccl:
    """The NCCL version that torch.cuda.nccl.version() printed; NotApplicable where nobody asked it."""

    version: str

    @classmethod
    def collect(cls, host: Host) -> TorchNccl:
        said = _nccl(host)
        if said is None:
            raise NotApplicable("torch was not asked for its NCCL")
        return cls(said)


@dataclass(frozen=True, slots=True)
class TorchSees:
    """Whether torch said that CUDA is available; NotApplicable where it was not asked."""

    available: bool

    @classmethod
    def collect(cls, host: Host, environment: TorchEnvironment | Unknown) -> TorchSees:
        said = _printed(host, "torch.cuda.is_available()")
        told = environment.get("Is CUDA available") if isinstance(environment, TorchEnvironment) else None
        word = (said or told or "").split(" ")[0]
        if word not in ("True", "False", "Yes", "No"):
            raise NotApplicable("torch was not asked whether CUDA is available")
        return cls(word in ("True", "Yes"))


@dataclass(frozen=True, slots=True)
class TorchArchitectures:
    """What torch.cuda.get_arch_list() printed: sm_80 is binary code for 8.0, compute_80 PTX of it.

    `capability` is what get_device_capability() printed, None where it was not asked. NotApplicable without the list.
    """

    names: tuple[str, ...]
    capability: tuple[int, int] | None

    @classmethod
    def collect(cls, host: Host) -> TorchArchitectures:
        printed = _printed(host, "torch.cuda.get_arch_list()")
        if printed is None:
            raise NotApplicable("torch was not asked for what it holds")
        own = re.findall(r"\d{1,2}", _printed(host, "torch.cuda.get_device_capability") or "")
        return cls(
            tuple(re.findall(r"(?:sm|compute)_\d{2,3}", printed)), (int(own[0]), int(own[1])) if len(own) == 2 else None
        )

    def run_on(self, capability: tuple[int, int]) -> bool:
        """Whether some of it runs there."""
        from nvdiag.knowledge.compute_capabilities import code_runs_on

        return code_runs_on(self.names, f"{capability[0]}.{capability[1]}")


@dataclass(frozen=True, slots=True)
class GpuNames:
    """Product names of GPUs with where each was read: nvidia-smi, torch's collect_env, torch itself, somebody's words.

    NotApplicable where no text names one.
    """

    names: Mapping[str, str]

    @classmethod
    def collect(
        cls,
        host: Host,
        smi: SmiReport | Unknown,
        environment: TorchEnvironment | Unknown,
        reported: Reported | Unknown,
    ) -> GpuNames:
        found: dict[str, str] = {}
        if isinstance(smi, SmiReport):
            found.update((gpu.name, "nvidia-smi") for gpu in smi.gpus)
        if isinstance(environment, TorchEnvironment):
            text = host.run("python", "-m", "torch.utils.collect_env").stdout
            found.update(
                (name.strip(), "torch's collect_env")
                for name in re.findall(r"^(?:GPU models.{0,30}: ?)?GPU \d{1,2}: (.{3,80})$", text, re.M)
            )
        if (said := _printed(host, "torch.cuda.get_device_name")) is not None:
            found[said] = "torch.cuda.get_device_name()"
        if isinstance(reported, Reported):
            words = [reported.values[name] for name in ("gpu", "gpus") if name in reported.values]
            found.update((one, "the text's own words") for one in words)
        if not found:
            raise NotApplicable("no text names a GPU")
        return cls(found)


def _of_conda(host: Host) -> tuple[str, CudaVersion | None] | None:
    """conda's pytorch and the CUDA version in its build's name: py3.10_cuda12.1_cudnn8.9.2_0; None without one."""
    if "conda list" not in host.recorded("commands"):
        return None
    found = re.search(r"^(?:pytorch|libtorch) (\S+) \S*?cuda_?(\d{1,2}\.\d)", host.run("conda", "list").stdout, re.M)
    return (found[1], CudaVersion.or_none(found[2])) if found else None


def _nccl(host: Host) -> str | None:
    said = _printed(host, "torch.cuda.nccl.version()")
    return ".".join(re.findall(r"\d{1,4}", said)) if said else None


def _printed(host: Host, expression: str) -> str | None:
    """What a recorded Python expression printed; None where it was not recorded."""
    recorded = shlex.join((expression,)) in host.recorded("commands")
    return host.run(expression).stdout.strip() if recorded else None
