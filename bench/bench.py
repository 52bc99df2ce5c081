"""How long nvdiag takes: on a machine, as the step in front of a CI job, and on a long paste and bug report.

The state is the one that nvdiag is for: the loaded kernel module is of another release than the libraries, and NVML is
really called. Without the rigs it is whatever state this machine is in, and the output says so. The step in front of a
job is measured on a healthy machine, too, whose GPU is rig R3's: there it lets the job go.

Beside nvdiag run its floor (Python with click and pynvml), nvidia-smi and, with --torch, what projects have in front of
their jobs today: nvidia-smi and torch.cuda.is_available(). That takes a PyTorch of several gigabytes, and so it is only
fetched when asked for.

The namespace of the rig is entered once, before the first round. Measured is the nvdiag that this interpreter's
environment has; `make bench` installs one as people have it, because an editable install costs each start of Python
some 10 ms more, the floor's too. It also makes the nvdiag.pyz that is measured.
"""

from __future__ import annotations

import argparse
import compileall
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import crowded  # noqa: E402 - beside this file; what it imports is found through the line above
import long_inputs  # noqa: E402
from timing import Command, nvdiag, print_table  # noqa: E402

from tests.rigs import rig  # noqa: E402

LOADED = "550.144.03"
"""The release of the module in the rig; any but the libraries' own will do."""

HEALTHY = "580.95.05"
"""The driver of rig R3: one that runs what PyTorch's wheels are built for."""

PYZ = ROOT / "dist" / "nvdiag.pyz"
CACHE = ROOT / ".cache"
PREFLIGHT = ("check", "--require", "driver>=535", "--require", "gpus>=1", "--format", "github")
AVAILABLE = "import torch; torch.cuda.is_available()"


def main() -> None:
    """Enter each rig that there is, and measure there."""
    options = _options()
    for name in ("PYTHONDONTWRITEBYTECODE", "GITHUB_STEP_SUMMARY"):
        os.environ.pop(name, None)
    if options.inside:
        measure_here(options)
        return
    if options.torch == "fetch":
        options.torch = str(fetched_torch())
    compile_bytecode()
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench", dir=CACHE) as name:
        folder = Path(name)
        if why := crowded.why_not(_path(options.torch)):
            print(f"no machine with ten environments ({why})")
        else:
            crowded.build(folder / "crowded", _path(options.torch))
            options.crowded = str(folder / "crowded")
        code = measure_machines(options, folder)
        long_inputs.measure_paste(folder)
        code = long_inputs.measure_report(folder) or code
    sys.exit(code)


def measure_machines(options: argparse.Namespace, folder: Path) -> int:
    """Measure in the rigs, or here where there are none. The exit code."""
    missing = rig.why_not_real()
    if missing:
        print(f"no rig ({missing}), so this is not the mismatch state, and nvidia-smi is left out")
        options.inside = "this machine as it is"
        measure_here(options)
        return 0
    libraries, release = rig.real("550")
    mismatch = rig.Machine(module=LOADED, libraries=libraries)
    healthy = healthy_machine(folder / "healthy")
    smi = str(rig.CACHE / "550" / "bin" / "nvidia-smi")
    states = (
        (mismatch, f"module {LOADED} loaded, NVIDIA's own libraries {release} installed", ["--nvidia-smi", smi]),
        (healthy, f"all is well on rig R3, {HEALTHY} with one GPU", ["--healthy"]),
    )
    more = [f"--{name}={value}" for name in ("torch", "crowded") if (value := getattr(options, name))]
    for machine, state, special in states:
        again = [sys.executable, __file__, "--rounds", str(options.rounds), "--inside", state, *special, *more]
        done = subprocess.run(rig.command(machine, again, folder)[0], stdin=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            return done.returncode
    return 0


def healthy_machine(folder: Path) -> rig.Machine:
    """Rig R3 with one GPU and a driver for CUDA 13."""
    driver = folder / "driver"
    driver.mkdir(parents=True)
    lines = [f"driver={HEALTHY}", f"nvml=13.{HEALTHY}", "cuda=13000"]
    return rig.healthy(folder, 1, lines, module=HEALTHY, libraries=rig.fake(driver, HEALTHY))


def measure_here(options: argparse.Namespace) -> None:
    """Print the tables of one state."""
    check = nvdiag("check", "--format", "json")
    if options.nvidia_smi:
        report = subprocess.run(check, capture_output=True, text=True, check=False).stdout
        if '"driver-library-mismatch"' not in report:
            sys.exit("nvdiag does not find the mismatch in the rig, so there is nothing to measure")
    commands = {"nvdiag check --format json": Command(check)}
    if options.crowded:
        env = crowded.variables(Path(options.crowded))
        commands["  ten environments, three toolkits"] = Command(check, env, varies=True)
        commands["  --deep, on the same"] = Command([*check, "--deep"], env, varies=True)
    commands['python -c "import click, pynvml"'] = Command([sys.executable, "-c", "import click, pynvml"])
    if options.nvidia_smi:
        commands["nvidia-smi"] = Command([options.nvidia_smi])
    if not options.healthy:
        print_table(commands, options.rounds, options.inside)
    print_table(_preflight(options), options.rounds, f"the step in front of a job; {options.inside}")


def _preflight(options: argparse.Namespace) -> dict[str, Command]:
    torch = _path(options.torch)
    arguments, env, required = list(PREFLIGHT), {}, "driver, gpus"
    if torch is not None:
        arguments[1:1] = ["--require", "torch-build=cuda"]
        env, required = {"VIRTUAL_ENV": str(torch.parent.parent)}, f"{required}, torch-build"
    commands = {f"nvdiag check --format github --require … ({required})": Command(nvdiag(*arguments), env)}
    if PYZ.exists():
        bare = [os.path.realpath(sys.executable), "-I", str(PYZ)]
        commands["  nvdiag.pyz, with the same"] = Command([*bare, *arguments], env, varies=True)
    if options.nvidia_smi:
        commands["nvidia-smi"] = Command([options.nvidia_smi])
    if torch is not None:
        first = f"{options.nvidia_smi}; " if options.nvidia_smi else ""
        name = f'{"nvidia-smi; " if first else ""}python -c "{AVAILABLE}" ({torch_version(torch)})'
        commands[name] = Command(["/bin/sh", "-c", f"{first}exec {torch} -W ignore -c '{AVAILABLE}'"])
    return commands


def fetched_torch() -> Path:
    """The Python of an environment with the index's own PyTorch, which is fetched once: some 3 GB, 6 on the disk."""
    environment = CACHE / "torch"
    python = environment / "bin" / "python"
    if not (environment / "complete").exists():
        shutil.rmtree(environment, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        pip = [str(python), "-m", "pip", "-qq", "--disable-pip-version-check", "install", "--no-cache-dir"]
        subprocess.run([*pip, "torch"], check=True)
        (environment / "complete").touch()
    return python


def torch_version(python: Path) -> str:
    """The version of an interpreter's PyTorch with its build, from the file that says so."""
    files = python.parent.parent.glob("lib/python*/site-packages/torch/version.py")
    found = (re.search(r"__version__ = '([^']+)'", file.read_text(encoding="utf-8")) for file in files)
    return next((f"torch {one[1]}" for one in found if one), "torch")


def compile_bytecode() -> None:
    """Write the bytecode of all that is installed: else the compiler is what gets measured."""
    compileall.compile_dir(sysconfig.get_path("purelib"), quiet=2)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=15, help="how often each command runs (15)")
    parser.add_argument(
        "--torch",
        nargs="?",
        const="fetch",
        metavar="PYTHON",
        help="measure beside the PyTorch of this interpreter, of one that is fetched where none is named",
    )
    for name in ("--inside", "--nvidia-smi", "--crowded"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--healthy", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
