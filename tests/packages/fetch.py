"""Fetches the real wheels that tests/packages looks at, each set into a folder of its own below .cache/packages.

Some of NVIDIA's wheels are large (cuDNN's has 0.7 GB): they are fetched once, and linked into throw-away environments.

    python tests/packages/fetch.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "packages"
WHEELS = {
    "cuda12": ("nvidia-cuda-runtime-cu12==12.8.90", "nvidia-nvjitlink-cu12==12.8.93"),
    "cuda13": ("nvidia-cuda-runtime==13.0.96",),
    "older": ("nvidia-nvjitlink-cu12==12.1.105",),
    "apart": ("nvidia-cudnn-cu12==9.10.2.21", "nvidia-nccl-cu12==2.27.3"),
    "nvcc11": ("nvidia-cuda-nvcc-cu11==11.8.89",),
    "onnxruntime": ("onnxruntime==1.22.0",),
    "frameworks": ("ctranslate2==4.8.5", "torchvision==0.23.0"),
    "nvcc": ("nvidia-cuda-nvcc==13.0.88", "nvidia-cuda-crt==13.0.88", "nvidia-nvvm==13.0.88"),
    "nvcc12": ("nvidia-cuda-nvcc-cu12==12.8.93",),
}


def main() -> int:
    """Fetch what is not there yet; 1 where that is impossible."""
    for name, requirements in WHEELS.items():
        if (CACHE / name).exists():
            continue
        work = CACHE / f"{name}.new"
        shutil.rmtree(work, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", "install", "--no-deps"]
        command += ["--no-compile", "--only-binary=:all:", "--no-cache-dir", "--target", str(work), *requirements]
        if subprocess.run(command, check=False).returncode != 0:
            print(f"the wheels for the tests cannot be fetched: {' '.join(requirements)}", file=sys.stderr)
            return 1
        work.rename(CACHE / name)
    print(", ".join(sorted(path.name for path in CACHE.iterdir())))
    return 0


def why_not() -> str | None:
    """Why the tests on real packages cannot run here; None where they can."""
    missing = [name for name in WHEELS if not (CACHE / name).is_dir()]
    if missing:
        return f"{', '.join(missing)} not fetched (python tests/packages/fetch.py)"
    return None if shutil.which("cc") else "no C compiler"


if __name__ == "__main__":
    sys.exit(main())
