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
_VARIABLE = re.compile(r"^(?:export |declare -x |set )?([A-Z][A-Z0-9_]{2,60})=(.{0,4000})$")
_COLLECT_ENV = re.compile(
    r"^(?:PyTorch version|CUDA used to build PyTorch|Is CUDA available|Nvidia driver version)\s{0,40}:"
)
_PIP = re.compile(r"^(?:\[(?:pip3?|conda)\] )?([A-Za-z][\w.-]{1,80})(?:==|\s{1,60})(\d[\w.+!-]{0,60})(?:\s.{0,200})?$")
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


def _torch_says(block: Block, part: Part) -> None:
    """What an expression typed to Python, or given with -c, printed: torch's own versions."""
    words = block.command.line if block.command is not None else ""
    said = next((line.strip().strip("'\"") for line in block.lines if line.strip()), "")
    if "torch.__version__" in words and re.match(r"\d{1,2}\.\d", said):
        part.more(("pip", "list"), f"torch {said}")
    for name in ("torch.version.cuda", "torch.cuda.nccl.version()", "torch.cuda.is_available()"):
        if name in words and len(said) < 40 and said:
            part.put("commands", name, {"exit": 0, "stdout": said, "stderr": ""})


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
