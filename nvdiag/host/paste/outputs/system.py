"""The system around: kernel, distribution, packages, variables, toolkits."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nvdiag.host.paste.blocks import Block
from nvdiag.host.paste.document import Part

_DPKG = re.compile(r"^([uihrp][ncHUFWti][R ]?)\s{1,3}(\S{2,80})\s{1,60}(\d\S{0,80})\s{1,60}\S")
_UNAME = re.compile(r"\bLinux \S{1,255} (\d{1,2}\.\d{1,3}\S{0,80}) #\d.{0,200}? (x86_64|aarch64|arm64|ppc64le|i686)\b")
_RELEASE = re.compile(r"^\d{1,2}\.\d{1,3}\.\d{1,4}\S{0,80}$")
_OS_RELEASE = re.compile(r'^(?:NAME|ID|VERSION_ID|PRETTY_NAME|ID_LIKE)=("[^"\n]{0,200}"|\S{0,200})$')
_NVCC = re.compile(r"^Cuda compilation tools, release \d", re.I)
_COMPILER = re.compile(r"^(?:(?:gcc|g\+\+)(?:-\d{1,2})? \(.{1,80}\)|.{0,40}\bclang version) \d{1,2}\.\d")
_COMPILER_NAME = re.compile(r"(?:gcc|g\+\+|clang(?:\+\+)?)(?:-\d{1,2})?")
_VARIABLE = re.compile(r"^(?:export |declare -x |set )?([A-Z][A-Z0-9_]{2,60})=(.{0,4000})$")
_COLLECT_ENV = re.compile(
    r"^(?:PyTorch version|CUDA used to build PyTorch|Is CUDA available|Nvidia driver version)\s{0,40}:"
)
_PIP = re.compile(r"^(?:\[(?:pip3?|conda)\] )?([A-Za-z][\w.-]{1,80})(?:==|\s{1,60})(\d[\w.+!-]{0,60})(?:\s.{0,200})?$")
_CONDA = re.compile(
    r"^(?:\[conda\] )?((?:py|lib)torch) {1,60}(\d[\w.]{0,30}) {1,60}(\S{0,30}(?:cuda|cpu)\S{0,60})(?:\s|$)"
)
_PINNED = re.compile(r"^([A-Za-z][\w.-]{1,60})==(\d[\w.+!-]{0,60})$")


def dpkg(block: Block, part: Part) -> None:
    """`dpkg -l`."""
    found = [
        (match[1].strip(), match[2].partition(":")[0], match[3]) for line in block.lines if (match := _DPKG.match(line))
    ]
    if found:
        part.more(("dpkg", "-l"), "\n".join(" ".join(words) for words in found))


def rpm_or_pacman(block: Block, part: Part) -> None:
    """`rpm -qa` and `pacman -Q`: known by the command alone."""
    if block.command is None:
        return
    program, argv = block.command.program, block.command.argv
    if program == "rpm" and any(word.startswith("-q") for word in argv):
        found = [
            re.match(r"^([\w.+-]{2,80})-(\d[\w.~^+]{0,40}-[\w.~^+]{1,40})(?:\.\w{3,8})?$", line.strip())
            for line in block.lines
        ]
        rows = [f"ii {one[1]} {one[2]}" for one in found if one]
        if rows:
            part.more(("rpm", "-qa"), "\n".join(rows))
    if program == "pacman" and any(word.startswith("-Q") for word in argv):
        named = [re.match(r"^(?:[\w-]{1,40}/)?([\w.+-]{2,80}) (\d[\w.:~+-]{0,40})", line) for line in block.lines]
        rows = [f"ii {one[1]} {one[2]}" for one in named if one]
        if rows:
            part.more(("pacman", "-Q"), "\n".join(rows))


def uname(block: Block, part: Part) -> None:
    """`uname -a` and -r."""
    for line in block.lines:
        if "Linux " in line and (found := _UNAME.search(line)):
            part.put("files", "/proc/sys/kernel/osrelease", f"{found[1]}\n")
            part.command(("uname", "-m"), f"{found[2]}\n")
            return
    if block.command is not None and block.command.program == "uname" and "-r" in block.command.argv:
        for line in block.lines:
            if _RELEASE.match(line.strip()):
                part.put("files", "/proc/sys/kernel/osrelease", f"{line.strip()}\n")
                return


def os_release(block: Block, part: Part) -> None:
    """os-release(5)."""
    found = [line for line in block.lines if "=" in line and re.match(r"^[A-Z][A-Z_]{1,30}=", line)]
    if sum(bool(_OS_RELEASE.match(line)) for line in found) >= 2:
        part.put("files", "/etc/os-release", "\n".join(found) + "\n")


def nvcc(block: Block, part: Part) -> None:
    """`nvcc --version`."""
    if any(_NVCC.match(line.strip()) for line in block.lines):
        named = block.command.argv[0] if block.command is not None and block.command.program == "nvcc" else "nvcc"
        part.command((named, "--version"), block.text + "\n")


def compiler(block: Block, part: Part) -> None:
    """`gcc --version`, and that of g++ or clang: the first line."""
    named = block.command.program if block.command is not None else ""
    for line in block.lines:
        if _COMPILER.match(line.strip()):
            program = named if _COMPILER_NAME.fullmatch(named) else line.strip().split(" ")[0]
            answer = {"exit": 0, "stdout": f"{line.strip()}\n", "stderr": ""}
            if _COMPILER_NAME.fullmatch(program):
                part.document["commands"].setdefault(f"{program} --version", answer)
            return


def variables(block: Block, part: Part) -> None:
    """`echo $NAME` and its line, `export NAME=…`, assignments before a command, and the lines of `env`."""
    if block.command is not None:
        words = block.command.line
        for name, value in re.findall(
            r"(?:^|\s)(?:export\s|set\s|-e\s|--env[\s=])?([A-Z][A-Z0-9_]{2,60})=(\"[^\"\n]{0,2000}\"|'[^'\n]{0,2000}'|[^\s;]{0,2000})",
            words,
        ):
            part.document["env"].setdefault(name, value.strip("\"'"))
        if found := re.match(r"^(?:sudo )?echo [\"']?\$\{?([A-Z][A-Z0-9_]{2,60})\}?[\"']?$", words.strip()):
            said = [line for line in block.lines if line.strip()]
            if said or block.whole:
                part.document["env"].setdefault(found[1], said[0].strip() if said else None)
    listing = block.command is not None and block.command.program in ("env", "printenv", "export", "declare", "set")
    for line in block.lines if listing else ():
        if assignment := _VARIABLE.match(line.strip()):
            part.document["env"].setdefault(assignment[1], assignment[2].strip().strip("\"'"))


def python(block: Block, part: Part) -> None:
    """torch's collect_env and lists of Python packages."""
    if sum(bool(_COLLECT_ENV.match(line)) for line in block.lines) >= 2:
        part.more(("python", "-m", "torch.utils.collect_env"), block.text)
    _torch_says(block, part)
    rows = [f"{name} {version}" for name, version in _packages(block)]
    if rows:
        part.more(("pip", "list"), "\n".join(rows))
    builds = [" ".join(found.groups()) for line in block.lines if (found := _CONDA.match(line.strip()))]
    if builds:
        part.more(("conda", "list"), "\n".join(builds))


_TORCH = re.compile(
    r"torch\.(?:__version__|version\.cuda|cuda\.nccl\.version\(\)|cuda\.is_available\(\)|cuda\.get_arch_list\(\)"
    r"|cuda\.get_device_(?:capability|name)|backends\.cudnn\.version\(\)|cuda\.device_count\(\))"
)
_PRINTED = re.compile(r"\([\d, ]{1,20}\)|\['[\w', ]{1,400}\]|\S{1,60}")


def _torch_says(block: Block, part: Part) -> None:
    """What expressions typed to Python, or given with -c, printed: torch's own versions, and what it holds."""
    asked = _TORCH.findall(block.command.line) if block.command is not None else []
    said = [line.strip().strip("'\"") for line in block.lines if line.strip()]
    if len(asked) == 1:
        form = _FORMS.get(asked[0], re.compile(r"\d{1,2}\.\d.{0,40}"))
        answers = [line for line in said if form.fullmatch(line)][:1]
    elif asked and block.command is not None and block.command.line.count("print(") == len(asked) <= len(said):
        answers = said[: len(asked)]
    else:
        answers = _PRINTED.findall(said[0]) if asked and said else []
    for expression, answer in zip(asked, answers, strict=False) if len(asked) == len(answers) else ():
        if expression == "torch.__version__" and re.match(r"\d{1,2}\.\d", answer):
            part.more(("pip", "list"), f"torch {answer}")
        elif _FORMS.get(expression, re.compile("$^")).fullmatch(answer):
            part.command((expression,), answer)


_FORMS = {
    "torch.version.cuda": re.compile(r"None|\d{1,2}\.\d{1,2}(?:\.\d{1,4})?"),
    "torch.cuda.nccl.version()": re.compile(r"\(\d[\d, ]{1,20}\)|\d{1,2}(?:\.\d{1,3}){1,3}"),
    "torch.cuda.is_available()": re.compile(r"True|False"),
    "torch.cuda.get_arch_list()": re.compile(r"\['sm_[\w', ]{1,400}\]"),
    "torch.cuda.get_device_capability": re.compile(r"\(\d{1,2}, ?\d\)"),
    "torch.cuda.get_device_name": re.compile(r"(?=.{0,60}[A-Z]{2})[\w ().+/-]{3,80}"),
}
"""The forms of answers: what is none, such as a warning, is passed over."""


def _packages(block: Block) -> Iterator[tuple[str, str]]:
    program = block.command.program if block.command is not None else ""
    listing = program in ("pip", "pip3", "conda", "mamba", "uv", "python", "python3", "python3.10", "micromamba")
    name = ""
    for line in block.lines:
        if line.startswith("Name: "):
            name = line[6:].strip()
        elif line.startswith("Version: ") and name:
            yield name, line[9:].strip()
        elif found := (_PIP if listing or line.startswith("[") else _PINNED).match(line.strip()):
            yield found[1], found[2]
