"""The smoke test's kernel: ptxas takes it for every GPU that it knows, and by its own text it does what is expected."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nvdiag.probes import smoke
from tests.packages.fetch import CACHE

PTXAS = sorted(Path("/usr/local").glob("cuda-*/bin/ptxas"))
MASK = 0xFFFFFFFF


def assembled(ptxas: Path, folder: Path) -> list[str]:
    """The GPUs that this ptxas knows, each of which it has assembled the kernel for, without a word."""
    source = folder / "smoke.ptx"
    source.write_bytes(smoke.kernel_text())
    listed = subprocess.run([str(ptxas), "--help"], capture_output=True, text=True, check=True).stdout
    known = sorted(set(re.findall(r"'(sm_\d+[af]?)'", listed)))
    for one in known:
        argv = [str(ptxas), "-arch", one, str(source), "-o", str(folder / "smoke.cubin")]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, ""), one
    return known


@pytest.mark.skipif(not PTXAS, reason="no ptxas is installed below /usr/local")
@pytest.mark.parametrize("ptxas", PTXAS, ids=str)
def test_the_installed_ptxas_assembles_it_for_every_gpu(ptxas: Path, tmp_path: Path) -> None:
    assert assembled(ptxas, tmp_path)


@pytest.mark.packages
@pytest.mark.parametrize(("name", "oldest", "newest"), [("nvcc11", "sm_35", "sm_90"), ("nvcc12", "sm_50", "sm_120")])
def test_older_compilers_assemble_it_for_gpus_that_newer_ones_have_dropped(
    name: str, oldest: str, newest: str, tmp_path: Path
) -> None:
    ptxas = CACHE / name / "nvidia/cuda_nvcc/bin/ptxas"
    if not ptxas.exists():
        why = f"{name} not fetched (python tests/packages/fetch.py)"
        (pytest.fail if os.environ.get("NVDIAG_RIGS_REQUIRED") else pytest.skip)(why)
    known = assembled(ptxas, tmp_path)
    assert {oldest, newest} <= set(known)


def test_it_asks_for_a_compiler_and_a_gpu_that_are_as_old_as_any_driver_here() -> None:
    """PTX 3.0 came with CUDA 4.1, sm_20 is Fermi: nvdiag's table of drivers begins with those of CUDA 5."""
    text = smoke.kernel_text().decode()
    assert re.findall(r"^\.(?:version|target|address_size) .*$", text, re.M) == [
        ".version 3.0",
        ".target sm_20",
        ".address_size 64",
    ]


def test_it_turns_every_word_of_the_page_into_what_is_expected() -> None:
    given = [index * 2654435761 & MASK for index in range(smoke.WORDS)]
    page = list(given)
    for index in range(smoke.WORDS + 64):  # more threads than words
        run_thread(page, smoke.WORDS, *divmod(index, 128))
    assert page == [(word * 1664525 + 1013904223 & MASK) ^ index for index, word in enumerate(given)]
    assert len(set(page) - set(given)) == smoke.WORDS


def run_thread(page: list[int], words: int, block: int, thread: int) -> None:
    """Do what the kernel's text says, for one thread of blocks of 128."""
    values = {"%ctaid.x": block, "%ntid.x": 128, "%tid.x": thread, "[page]": 1 << 32, "[words]": words}

    def of(name: str) -> int:
        return values[name] if name in values else int(name)

    compute: dict[str, Callable[..., int]] = {
        "mov.u32": lambda a: a,
        "ld.param.u32": lambda a: a,
        "ld.param.u64": lambda a: a,
        "cvta.to.global.u64": lambda a: a,
        "mad.lo.u32": lambda a, b, c: a * b + c & MASK,
        "mul.wide.u32": lambda a, b: a * b,
        "add.u64": lambda a, b: a + b,
        "xor.b32": lambda a, b: a ^ b,
        "setp.ge.u32": lambda a, b: int(a >= b),
    }
    for code, target, operands in instructions():
        if code == "ld.global.u32":
            values[target] = page[word_at(of(operands[0].strip("[]")))]
        elif code == "st.global.u32":
            page[word_at(of(target.strip("[]")))] = of(operands[0])
        elif code == "bra":
            if values["%beyond"]:
                return
        elif code != "ret":
            values[target] = compute[code](*(of(one) for one in operands))


def word_at(address: int) -> int:
    assert address % 4 == 0
    return (address - (1 << 32)) // 4


def instructions() -> Iterator[tuple[str, str, list[str]]]:
    """Operation, first operand and the others; the one branch, `@%beyond bra END`, leaves the kernel."""
    body = smoke.kernel_text().decode().partition("\n{")[2]
    for line in (one.strip().rstrip(";") for one in body.splitlines()):
        if not line or line.startswith((".reg", "}", "END")):
            continue
        code, _, rest = line.removeprefix("@%beyond ").partition(" ")
        target, *operands = [one.strip() for one in rest.split(",")]
        yield code, target, operands
