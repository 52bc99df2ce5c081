"""A paste taken apart: what was typed, by its prompt, and what came back."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field  # noqa: TID251 - one is filled as the paste is read
from functools import lru_cache

_AT = re.compile(
    r"^[ \t]{0,8}(?:\[?(?:\d{4}-\d\d-\d\d )?\d\d:\d\d(?::\d\d)?\]? )?(?:\([\w.\-/ ]{1,60}\) {0,2}){0,3}"
    r"\[?(?P<user>(?:[\w.-]{1,20}\\)?[\w.-]{1,64}|I have no name!)@(?P<host>[\w.-]{1,64})"
    r"(?P<where>[ :][^$#%>\n]{0,160})?\]?[ \t]{0,2}[$#%>](?:[ \t]{1,4}(?P<command>.{0,2000}))?$"
)
_PLAIN = re.compile(
    r"^[ \t]{0,8}(?:\([\w.\-/ ]{1,60}\) {0,2})?[$%\u276f\u279c\xbb\u03bb][ \t]{1,4}(?P<command>.{1,2000})$"
)
_SHELL = re.compile(
    r"^(?:(?:ba|z|k|da)?sh(?:-[\d.]{1,8})?|[~/][\w./~-]{0,80}|:~)[ \t]?[$#%>][ \t]{1,4}(?P<command>.{1,2000})$"
)
_ROOT = re.compile(r"^[ \t]{0,4}#[ \t]{1,2}(?P<command>.{1,2000})$")
_WINDOWS = re.compile(r"^(?:PS )?[A-Za-z]:\\[^>\n]{0,200}>[ \t]{0,2}(?P<command>.{1,2000})$")
_ZSH = re.compile(
    r"^(?:\([\w.\-/ ]{1,60}\) )?\u279c[ \t]{1,4}\S{1,100}(?: git:\([^)\n]{0,100}\))?(?: \u2717)?"
    r"[ \t]{1,4}(?P<command>.{1,2000})$"
)
_PYTHON = re.compile(r"^(?:>>>|\.\.\.|In \[\d{1,5}\]:)[ \t](?P<command>.{0,2000})$")
_NOTEBOOK = re.compile(r"^[ \t]{0,4}(?:(?:In ?)?\[[ \d*]{0,5}\]:? ?)?[!%] ?(?P<command>[\w./~-].{0,2000})$")
_OTHER = re.compile(
    r"^[ \t]{0,8}(?P<prompt>[^|`'\"=;]{0,120}[$#%>\u276f\u279c\xbb\u03bb\u25b6\u203a\u2192\u27a4\u2717](?<![-=]>)"
    r"|\+{1,3}(?= ))[ \t]{0,4}(?P<command>[\w./~-].{0,2000})$"
)
_PROMPT_SIGN = re.compile("[$#%>+\u276f\u279c\xbb\u03bb\u25b6\u203a\u2192\u27a4\u2717]")
"""Any other prompt, known only by what is typed after it: themes of shells, two-line prompts, `set -x`."""
_FENCE = re.compile(r"^[ \t]{0,8}(?:`{3,}|~{3,})[ \t]{0,4}[\w.+-]{0,30}[ \t]{0,4}$")
_MARKUP = re.compile(
    r"^[ \t]{0,4}(?:[#*\-•]{1,6}[ \t]{1,4}|\d{1,2}[.)][ \t]{1,4})?[*_`\"']{0,6}|[*_`\"']{0,6}[ \t]{0,4}:?[*_`]{0,3}$"
)
_HEADING = re.compile(
    r"^(?:the )?(?:output|result)s?(?: of| from)?:?[ \t]{1,4}|[ \t]{1,4}(?:outputs?|prints|says|shows|gives):?$", re.I
)

_SURE = frozenset({
    "nvidia-smi", "nvcc", "lsmod", "lspci", "dkms", "modinfo", "mokutil", "ldconfig", "nvidia-container-cli",
    "nvidia-ctk", "hostnamectl", "lsb_release", "ubuntu-drivers", "prime-select", "uname", "dmesg", "journalctl",
    "inxi", "ldd", "glxinfo", "collect_env.py", "deviceQuery", "nvidia-debugdump", "nvidia-modprobe", "dpkg", "rpm",
    "modprobe", "insmod", "rmmod",
})  # fmt: skip
"""Programs whose name, with fitting arguments, is a command line even without a prompt."""

_SURE_NAME = re.compile("|".join(map(re.escape, sorted(_SURE))))

_KNOWN = _SURE | frozenset({
    "cat", "ls", "ll", "echo", "env", "printenv", "export", "grep", "zgrep", "head", "tail", "less", "find", "which",
    "whereis", "apt", "apt-get", "apt-cache", "dnf", "yum", "zypper", "pacman", "snap", "systemctl", "docker",
    "podman", "kubectl", "nvidia-docker", "pip", "pip3", "conda", "uv", "python", "python3", "gcc", "g++", "cmake",
    "make", "mount", "df", "free", "ps", "fuser", "lsof", "sudo", "akmods", "mkinitcpio", "dracut",
    "update-initramfs", "last", "uptime", "id", "strace", "nvidia-settings", "vulkaninfo", "clinfo", "ollama",
    "llama-server", "llama-cli", "singularity", "apptainer", "srun", "lxc", "incus", "flatpak", "rpm-ostree",
    "xbps-install", "nix-shell", "lshw", "hwinfo", "bash", "set",
})  # fmt: skip
"""Programs that a `#` prompt may stand before: other words there are a heading or a comment."""

_BARE = _SURE | {"cat", "ls", "tail", "head", "python", "python3", "pip", "pip3", "conda", "whereis"}
"""Programs of which a command line without a prompt is looked for."""

_PROSE = frozenset({
    "shows", "show", "showed", "gives", "give", "gave", "says", "said", "prints", "printed", "returns", "returned",
    "reports", "does", "did", "do", "not", "is", "was", "are", "were", "works", "worked", "fails", "failed", "hangs",
    "nothing", "the", "my", "me", "and", "but", "it", "also", "still", "no", "only", "any", "fine", "because", "when",
    "which", "that", "command", "output", "result",
})  # fmt: skip
"""Words of sentences about a command, which are hardly its arguments."""

_FLAGS = re.compile(r"^(?:-|/|~|\$|\.|\||>|&|;|\d|status$|nvidia|query$|list$|devices$|info$)")


@dataclass(frozen=True, slots=True)
class Command:
    """A command line. `stages` are its pipeline's parts as words; `line` is how it was typed.

    `python` is True for an expression typed to Python. `host` is the host name that the prompt showed.
    """

    line: str
    stages: tuple[tuple[str, ...], ...] = ()
    python: bool = False
    host: str = ""

    @property
    def argv(self) -> tuple[str, ...]:
        """The words of the first stage, without sudo and assignments."""
        return self.stages[0] if self.stages else ()

    @property
    def program(self) -> str:
        """The program's own name, without its folder."""
        return _name(self.argv[0]) if self.argv else ""

    @property
    def filtered(self) -> bool:
        """Whether only a part of the output was let through."""
        return any(stage and stage[0] not in ("less", "more", "cat", "tee") for stage in self.stages[1:])


@dataclass(slots=True)
class Block:
    """What followed a command, or stood without one. `whole` is True where the next command shows that it had ended.

    `heading` is the line that the command stood in, with its prompt.
    """

    command: Command | None
    lines: list[str] = field(default_factory=list)
    whole: bool = False
    heading: str = ""

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def words(self) -> str:
        """All that was written: the command line, and what came back."""
        return f"{self.heading}\n{self.text}" if self.heading else self.text


def blocks_of(lines: Sequence[str]) -> Iterator[Block]:
    """The blocks of a paste, in order. A fence of Markdown ends one."""
    block = Block(None)
    for line in lines:
        if line.startswith("[sudo] "):
            continue  # the question for a password is nothing that the command printed
        if ("```" in line or "~~~" in line) and _FENCE.match(line):
            if not block.lines and block.command is not None:
                continue  # a heading that names the command, and then its output in a fence
            block.whole = True
            yield block
            block = Block(None)
            continue
        if block.command is not None and not block.lines and block.command.line.endswith("\\"):
            block.command = _longer(block.command, line)
            block.heading = f"{block.heading[:-1].rstrip()} {line.strip()}"[:4000]
            continue
        command = command_of(line)
        if command is not None:
            block.whole = True
            yield block
            block = Block(command, heading=line)
        else:
            block.lines.append(line)
    yield block


def _longer(command: Command, line: str) -> Command:
    """A command line that goes on after a backslash; it is taken apart once it is whole."""
    text = f"{command.line[:-1].rstrip()} {line.strip()}"[:4000]
    return Command(text, host=command.host) if text.endswith("\\") else _command(text, command.host)


def command_of(line: str) -> Command | None:
    """The command line that stands in a line, with or without a prompt; None where it is output."""
    if not line or line.isspace() or len(line) > 2400:
        return None
    if (
        line[0] in " \t!%[I"
        and (found := _NOTEBOOK.match(line))
        and _first_word(found["command"]) in _KNOWN
        and _plausible(found["command"])
    ):
        return _command(found["command"])
    if found := _PYTHON.match(line):
        return Command(found["command"], (("python", found["command"]),), python=True)
    if not _PROMPT_SIGN.search(line):  # most lines; every prompt ends with one
        return _without_prompt(line)
    for pattern in (_AT, _ZSH, _PLAIN, _SHELL, _WINDOWS):
        if found := pattern.match(line):
            host = found["host"] if pattern is _AT else ""
            return _command(found["command"] or "", host)
    if (found := _ROOT.match(line)) and _first_word(found["command"]) in _KNOWN and _plausible(found["command"]):
        return _command(found["command"])
    return _without_prompt(line) or _after_other_prompt(line)


def _after_other_prompt(line: str) -> Command | None:
    """A command after a prompt of unknown form: only a program that is sure, with arguments that are no sentence."""
    found = _OTHER.match(line) if _SURE_NAME.search(line) else None
    if not found or found["prompt"] == "#" or _first_word(found["command"]) not in _SURE:
        return None
    if not _plausible(found["command"]):
        return None
    where = re.search(r"[\w.-]{1,64}@([\w.-]{1,64})", found["prompt"])
    return _command(found["command"], where[1] if where else "")


def _without_prompt(line: str) -> Command | None:
    """A line that is nothing but a command, perhaps as a heading: `nvidia-smi`, "Output of `nvcc -V`:"."""
    if len(line) > 160 or not _names_a_program(line):
        return None
    bare = _HEADING.sub("", _MARKUP.sub("", line.strip()))
    bare = _MARKUP.sub("", bare).removeprefix("$ ")
    if _first_word(bare) in _SURE and _plausible(bare) and (" " in bare or not re.search(r"[/\\]", bare)):
        return _command(bare)  # a path alone is what `which` printed
    if re.match(r"^(?:sudo )?(?:cat|ls|tail|head) (?:-\w{1,5} )?(?:/|~)\S{2,120}$", bare):
        return _command(bare)
    if re.match(r"^whereis [\w.-]{2,40}$", bare):
        return _command(bare)
    if re.match(r"^python3? -c (['\"])import torch\b.{1,200}\1$", line.strip()):
        return _command(line)
    if re.match(r"^(?:python3?|pip3?|conda) (?:-m torch\.utils\.collect_env|list|freeze|collect_env\.py)\b", bare):
        return _command(bare)
    return None


def _names_a_program(line: str) -> bool:
    """Whether one of the first words can be a program's: looked at first, since most lines have none."""
    if not _BARE.isdisjoint([word.strip("*_`\"':#-()") for word in line.split(None, 6)[:6]]):
        return True
    return ("/" in line or ".exe" in line) and _SURE_NAME.search(line) is not None


def _plausible(text: str) -> bool:
    """Whether what follows the program's name are arguments, not the words of a sentence."""
    words = text.split()
    if words and words[0] == "sudo":
        words = words[1:]
    if not words or (words[-1].endswith((".", ",", "?", "!")) and not words[-1].endswith(("..", "/."))):
        return False
    if any(word in _PROSE for word in words[1:]):
        return False
    return all(_FLAGS.match(word) for word in words[1:2]) or "|" in words or len(words) == 1


def _first_word(text: str) -> str:
    words = [word for word in text.split()[:4] if word != "sudo" and "=" not in word]
    return _name(words[0]) if words else ""


def _name(word: str) -> str:
    """A program's name without its folder, and without what Windows puts behind it."""
    return word.rpartition("/")[2].rpartition("\\")[2].removesuffix(".exe")


@lru_cache(maxsize=256)
def _command(text: str, host: str = "") -> Command:
    text = text.strip()
    return Command(text, tuple(_stages(text)), host=host)


def _stages(text: str) -> Iterator[tuple[str, ...]]:
    """The stages of the first pipeline, each as words."""
    try:
        lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        lexer.commenters = ""
        words = list(lexer)
    except ValueError:  # a quote without its partner
        words = text.split()
    stage: list[str] = []
    for word in words:
        if word in ("|", "|&"):
            yield _without_sudo(stage)
            stage = []
        elif word in ("&&", "||", ";", "&"):
            break
        elif word not in (">", ">>", "<", "2>&1"):
            stage.append(word)
    yield _without_sudo(stage)


def _without_sudo(words: Sequence[str]) -> tuple[str, ...]:
    rest = list(words)
    while len(rest) > 1 and (rest[0] in _BEFORE or re.match(r"^[A-Za-z_]\w{0,60}=", rest[0])):
        before = rest.pop(0)
        while before in ("sudo", "watch") and len(rest) > 1 and rest[0].startswith("-"):
            option = rest.pop(0)
            if option in _WITH_VALUE and len(rest) > 1:
                rest.pop(0)
    return tuple(rest)


_BEFORE = ("sudo", "time", "env", "watch")
_WITH_VALUE = ("-u", "-g", "-n", "--interval")
