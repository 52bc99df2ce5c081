"""The facts that reports show whether or not a check took them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from nvdiag.facts.answers import CudaAnswer, DriverCuda, NvmlAnswer
from nvdiag.facts.boot import NextBootKernel
from nvdiag.facts.cdi import CdiSpecifications
from nvdiag.facts.container_engines import ContainerEngines
from nvdiag.facts.container_toolkit import ContainerToolkit
from nvdiag.facts.container_view import ContainerLibraries, ContainerStart
from nvdiag.facts.cuda_compat import CudaCompat
from nvdiag.facts.cuda_libraries import CudaLibraries
from nvdiag.facts.device_choice import DeviceChoice
from nvdiag.facts.device_code import DeviceCodes
from nvdiag.facts.driver_companions import PtxCompiler
from nvdiag.facts.driver_container import DriverContainer
from nvdiag.facts.frameworks import Frameworks
from nvdiag.facts.history import DriverHistory
from nvdiag.facts.holders import ModuleHolders
from nvdiag.facts.jetson import JetsonStack
from nvdiag.facts.kernel_log import KernelLog
from nvdiag.facts.libraries import DriverLibraries
from nvdiag.facts.loaded_libraries import LoadedLibraries
from nvdiag.facts.messages import Messages
from nvdiag.facts.module_files import ModuleInstallation, NextBootModule, RunningKernelModule
from nvdiag.facts.modules import KernelModules, LoadedDriver, VersionFile
from nvdiag.facts.mps import MpsDaemon
from nvdiag.facts.nodes import DeviceNodes, NodeAccess
from nvdiag.facts.packages import DriverPackages
from nvdiag.facts.pci import PciGpus
from nvdiag.facts.python_environments import PythonEnvironments
from nvdiag.facts.python_packages import PythonPackages, TorchBuild
from nvdiag.facts.reboot import RebootVerdict
from nvdiag.facts.requirement_results import RequirementResults
from nvdiag.facts.shared_memory import SharedMemory
from nvdiag.facts.smi_report import SmiReport
from nvdiag.facts.smoke import Smoke
from nvdiag.facts.surroundings import Surroundings
from nvdiag.facts.system import BootTime, Distribution, RunningKernel
from nvdiag.facts.toolkits import Toolkits
from nvdiag.facts.update_guards import UpdateGuards
from nvdiag.facts.vgpu import VirtualGpus
from nvdiag.facts.wsl import WslSetup
from nvdiag.model.unknown import Unknown

SHOWN: tuple[type[object], ...] = (
    RunningKernel, Distribution, BootTime, Surroundings, PciGpus, KernelModules, LoadedDriver, VersionFile,
    NextBootKernel, NextBootModule, RunningKernelModule, DriverLibraries, DeviceNodes, NodeAccess, Toolkits, NvmlAnswer,
    CudaAnswer, DriverCuda, DriverPackages, ModuleInstallation, Messages, SmiReport, TorchBuild, PythonPackages,
    PythonEnvironments, Frameworks, CudaLibraries, CudaCompat, LoadedLibraries, DeviceCodes, KernelLog, DriverHistory,
    ModuleHolders, UpdateGuards, RebootVerdict, WslSetup, ContainerEngines, ContainerToolkit, CdiSpecifications,
    DriverContainer, VirtualGpus, ContainerStart, ContainerLibraries, JetsonStack, RequirementResults,
    Smoke, DeviceChoice, MpsDaemon, SharedMemory, PtxCompiler,
)  # fmt: skip

_Fact = TypeVar("_Fact")


def fact(facts: Mapping[type[object], object], kind: type[_Fact]) -> _Fact | Unknown:
    """One fact of a diagnosis, or why it is unknown."""
    value = facts.get(kind, Unknown("not collected in this run"))
    return value if isinstance(value, (kind, Unknown)) else Unknown("not collected in this run")
