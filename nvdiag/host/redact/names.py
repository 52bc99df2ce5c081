"""Names of people and of machines: where they stand in prompts, logs and listings, and which of them name nobody."""

from __future__ import annotations

import re
from functools import cache

from nvdiag.host.redact.context import Context

_GROUPS = {
    "<user>": r"[A-Za-z_][\w.+-]{0,63}",
    "<host>": r"[\w.-]{1,255}",
    "<home>": r"[^/\s:;,\"'`()<>|&*$\[\]{}\\\x00]+",
}


def _place(pattern: str, *hints: str) -> Context:
    """A place in a text. `<user>` and `<host>` are such names in their usual form, `<home>` is a folder's name."""
    counts = dict.fromkeys(("user", "host"), 0)

    def group(found: re.Match[str]) -> str:
        kind = "host" if found[0] == "<host>" else "user"
        counts[kind] += 1
        return f"(?P<{kind}{counts[kind]}>{_GROUPS[found[0]]})"

    whole = re.sub(r"(?<!\?P)<(?:user|host|home)>", group, pattern)
    return Context(re.compile(whole, re.M), hints)


NAMES = (
    _place(r"/(?i:homes?|users)/<home>", "/home", "/users/"),
    _place(r"(?:/run)?/media/<home>/|/var/(?:spool/)?mail/<home>", "/media/", "/mail/"),
    _place(r"\b[A-Za-z]:\\{1,4}(?i:users)\\{1,4}(?P<user>[^\\/:*?\"<>|\n]{1,64})(?=\\)", "users\\"),
    # prompts, and addresses of other machines
    _place(
        r"^[ \t]{0,8}(?:\([\w.\-/ ]{1,60}\) {0,2}){0,3}\[?<user>@<host>"
        r"(?=[ :\]~$#%>][^\n]{0,200}[$#%>]|[$#%>])", "@",
    ),
    _place(r"^(?P<host>[A-Za-z][\w.-]{1,62}):[~/][\w./~-]{0,100} ?[$#%>] ", ":~", ":/"),
    _place(r"\b(?:ssh|scp|sftp|rsync|ssh-copy-id|mosh)\b[^\n@]{0,200}?\b(?!git@)<user>@<host>", "@"),
    _place(r"^<host> login: <user>?", " login: "),
    # what the system says of itself
    _place(r"\bLinux <host> \d{1,2}\.\d{1,3}[^\s/]{0,80} #\d", "linux "),
    _place(
        r"^[ \t]{0,20}(?i:(?:static |transient |pretty )?host ?name)[ \t]{0,9}: (?P<host>\S[^\n]{0,254})",
        "hostname", "host name",
    ),
    _place(r"\b(?:HOST|HOSTNAME|SLURM\w{0,30}(?:NODENAME|NODELIST|HOST))=[\"']?<host>", "host", "slurm"),
    _place(r"(?<![\w-])(?i:host_?name)[\"']?[ \t]?[:=] ?[\"']?<host>", "hostname", "host_name"),
    _place(r"\b[Hh]ostname (?:set )?to <?<host>", "hostname "),
    _place(r"\bHost: <host> (?:Kernel|OS):", "host: "),
    _place(r"^127\.0\.1\.1[ \t]{1,20}<host>(?:[ \t]{1,20}<host>)?", "127.0.1.1"),
    _place(r"Release Build {1,4}\((?!dvs-builder@)<user>@<host>\)", "release build"),
    # logs
    _place(
        r"^(?:<\d{1,3}>)?(?:\d{4}-\d\d-\d\d[T ][\d:.,]{8,18}(?:Z|[+-]\d\d:?\d\d)?"
        r"|[^\W\d]{3,9}\.? {1,2}\d{1,2},? (?:\d{4} )?\d\d:\d\d:\d\d[\d.]{0,7}|\d{1,2}月 {1,2}\d{1,2} [\d:]{8}"
        r"|\d{1,2} [\d:]{8}) (?!(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL|CRITICAL)\b)<host>"
        r" (?:(?:kernel|systemd|sudo|su|cron|CRON|sshd|dbus-daemon|nvidia-[a-z]{1,30}|nv-[a-z]{1,30})"
        r"|[\w@./:()\\-]{1,120}\[\d{1,10}\]): ",
        " kernel: ", "]: ", " systemd: ", " sudo: ", " su: ", " cron: ", " sshd: ", "dbus-daemon: ", " nv",
    ),
    _place(r"(?:^|[\s|])<host>:\d{1,8}:\d{1,8} (?:\[\d{1,3}\] )?NCCL ", " nccl "),
    _place(r"^[ \t]{1,8}host[ \t]{1,9}: <host>", "host "),
    _place(r"^<host> {1,40}\w{3} \w{3} {1,2}\d{1,2} \d\d:\d\d:\d\d \d{4} {1,9}\d{3}\.", ":"),
    _place(r"^Requested-By: <user> \(\d", "requested-by"),
    _place(r"^\d{4}-\d\d-\d\d [\d:]{8}\|[a-z]{3,8} ?\|(?:[^|\n]{0,200}\|){0,3}?<user>@<host>(?=\|)", "|"),
    _place(r"^User {0,12}: (?:(?P<user>[^<\n]{1,100}?) )?<<user>>", "user"),
    _place(r"\bsudo(?:\[\d{1,10}\])?: {1,12}<user> : ", "sudo"),
    _place(r"\bCRON(?:\[\d{1,10}\])?: \(<user>\)", "cron"),
    _place(
        r"\b(?:session (?:opened|closed) for user|password for(?: invalid user)?|New session \S{1,20} of user"
        r"|Accepted \S{1,40} for|Invalid user|preauth\] user|Connection closed by (?:authenticating )?user"
        r"|Removed session of user) <user>",
        " user ", "password for", "accepted ",
    ),
    _place(r"\b(?:ruser|user|logname|acct|auid)=[\"']?<user>", "user=", "logname=", "acct=", "auid="),
    _place(r"\b(?:USER|LOGNAME|USERNAME|SUDO_USER|JUPYTERHUB_USER)=[\"']?<user>", "user=", "logname=", "username="),
    # listings: id, ls -l, ps, top, fuser, gpustat, who, and commands that name an account
    _place(r"\b[ug]id=\d{1,10}\(<user>\)", "uid=", "gid="),
    _place(
        r"^(?:\*\*\* ls: |[ \t]{0,8})[bcdlps-][rwxsStT-]{9}[.+@]? {1,9}\d{1,6} {1,9}<user> {1,9}<user> ",
        "r--", "rw-", "rwx", "---",
    ),
    _place(r"^<user> {1,20}\d{1,8} {1,9}\d{1,4}\.\d {1,9}\d{1,3}\.\d {1,9}\d{1,12} ", "."),
    _place(r"^ {0,9}\d{1,8} <user> {1,12}(?:\d{1,3}|rt) {1,6}-?\d{1,2} {1,9}[\d.]{1,9}", " "),
    _place(r"(?:^|:)[ \t]{1,40}<user>[ \t]{1,20}\d{1,8}[ \t]{1,6}[cefFrm.]{5}[ \t]", ".."),
    _place(r"(?<=[| ])(?P<user>[A-Za-z_][\w-]{0,31})(?::[\w./-]{1,60})?\(\d{1,7}M\)", "m)"),
    _place(r"^<user> {1,20}(?:pts/\d{1,4}|tty\d{1,2}|:\d) ", "pts/", " tty", " :"),
    _place(r"\b(?:UserId|user_id|User)=<user>\(\d{1,10}\)", "user"),
    _place(
        r"\b(?:usermod|adduser|gpasswd|useradd)\b[^\n|;&]{0,120}?[ \t]<user>[ \t]*$",
        "usermod", "adduser", "gpasswd", "useradd",
    ),
    _place(r"\bchown\b[^\n|;&]{0,40}?[ \t]<user>:<user>[ \t]", "chown"),
)  # fmt: skip
"""Where names stand. A name that was met in one of these places is replaced wherever it stands, unless it is a word."""

_NOT_PEOPLE = frozenset({"kubernetes", "linuxbrew"})
"""Folders below /home that are no person's: /home/kubernetes/bin/nvidia is where GKE has the driver."""

_ACCOUNTS = frozenset({
    "root", "daemon", "bin", "sys", "sync", "mail", "adm", "wheel", "sudo", "users", "nobody", "nogroup", "video",
    "render", "input", "disk", "tty", "kvm", "libvirt", "docker", "plugdev", "dialout", "kmem", "shadow", "staff",
    "utmp", "messagebus", "dbus", "polkitd", "systemd", "syslog", "www-data", "sshd", "gdm", "sddm", "lightdm",
    "nvidia-persistenced", "rtkit", "avahi", "chrony", "nginx", "postgres", "mysql", "redis", "jenkins", "ollama",
    "user", "dvs-builder", "buildd", "mockbuild", "nixbld", "abuild", "builder", "builduser", "archlinux-builder",
    "git", "localhost", "unknown", "none", "nvidia", "ubuntu", "slurm", "munge", "vglusers", "invalid", "uid", "from",
})  # fmt: skip
"""Accounts and groups of systems, not of people."""

_NOT_NAMES = frozenset({
    "almalinux", "amzn", "arch", "archlinux", "bin", "boot", "bus", "centos", "class", "container", "cuda", "data",
    "debian", "desktop", "dev", "device", "devices", "docker", "driver", "drivers", "etc", "fedora", "generic",
    "gpu", "gpus", "grub", "home", "host", "jetson", "kernel", "lib", "lib64", "libcuda", "linux", "local",
    "localhost", "loaded", "module", "modules", "nixos", "none", "nvidia", "opensuse", "opt", "pci", "pop", "proc",
    "rhel", "rocky", "root", "run", "sbin", "server", "share", "src", "suse", "sys", "system", "tegra", "ubuntu",
    "usr", "var", "version", "workstation",
    "btime", "crashed", "dep", "grep", "hung", "initrd", "ldconfig", "modinfo", "nvidiactl", "osrelease", "timeout",
    "uname", "vmlinuz", "zst", *(f"nvidia{number}" for number in range(16)),
})  # fmt: skip
"""Host names that name nobody, and words of the paths and texts that checks read: replacing them would break those."""


_CONTAINER = re.compile(r"(?=[a-f]*\d)[0-9a-f]{12}")
"""The host name that Docker gives a container. Messages are known by it."""


def is_machine(name: str) -> bool:
    """Whether a word in a host name's place names one machine: no number, and no container."""
    small = name.lower()
    if small in _NOT_NAMES or small.startswith("example.") or re.fullmatch(r"[\d.\s_-]+", small):
        return False
    return not _CONTAINER.fullmatch(name)


def is_person(name: str) -> bool:
    """Whether a word in a user name's place may be a person's."""
    return name not in _NOT_PEOPLE and name not in _ACCOUNTS and not name.startswith(("systemd-", "_", "$"))


def is_name_anywhere(name: str) -> bool:
    """Whether a name is to be replaced wherever it stands: it is none of the words that nvdiag goes by."""
    return len(name) > 2 and not is_of_known_words(name)


def is_of_known_words(name: str) -> bool:
    """Whether a name is made of nothing but words that nvdiag goes by, and numbers: `gpu-1`, `CUDA0`."""
    words = re.findall(r"[^\W_]+", re.sub(r"\b(gpu|cuda)(?=\d{1,3}\b)", r"\1-", name.lower()))
    return all(word.isdecimal() or word in _NOT_NAMES or word in _vocabulary() for word in words)


@cache
def _vocabulary() -> frozenset[str]:
    """The words of the messages that nvdiag knows, and of its tables: in those places they are no names."""
    from nvdiag.knowledge.messages import messages

    found: set[str] = set(_WORDS)
    for row in messages():
        for text in (*row.literals, row.pattern, row.name):
            found.update(re.findall(r"[a-z0-9]+", text.lower()))
    return frozenset(found)


_WORDS = frozenset({
    "ada", "ampere", "blackwell", "fermi", "geforce", "grace", "hopper", "kepler", "maxwell", "pascal", "quadro",
    "tesla", "titan", "turing", "volta",
})  # fmt: skip
"""Words of products' names."""
