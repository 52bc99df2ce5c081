"""What keeps the driver's packages from being upgraded on the side, and what does upgrade by itself.

Files that may hold a proxy's password are never read whole: only their lines that are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from nvdiag.facts import reading
from nvdiag.facts.holders import reload_in_question
from nvdiag.facts.kept_packages import installed_release
from nvdiag.facts.libraries import DriverLibraries
from nvdiag.facts.modules import LoadedDriver
from nvdiag.facts.packages import DriverPackages
from nvdiag.facts.system import Distribution, Family
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.finding import Evidence
from nvdiag.model.unknown import NotApplicable, Unknown

APT_FOLDER = "/etc/apt/apt.conf.d"
VERSIONLOCKS = ("/etc/dnf/plugins/versionlock.list", "/etc/yum/pluginconf.d/versionlock.list")
VERSIONLOCK_TOML = "/etc/dnf/versionlock.toml"
ZYPP_LOCKS = "/etc/zypp/locks"
PACMAN = "/etc/pacman.conf"
_TIMERS = "/etc/systemd/system/timers.target.wants"
_META = r"linux-modules-nvidia-\d+(?:-server)?(?:-open)?-((?!open-|server-)[a-z][\w.-]*)"
"""The package that follows a flavour's kernels (generic, aws), not the one of a single kernel."""
_BY_KERNEL = r"linux-(modules|objects|signatures)-nvidia-.*"


@dataclass(frozen=True, slots=True)
class Guard:
    """One rule that keeps packages: `covers` says of which names, `source` where it stands, `words` what it says."""

    source: str
    words: str
    covers: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class UpdateGuards:
    """The complete set of the driver's installed packages, split by what keeps them from upgrades.

    `kept` maps a package to the rule that keeps it; nothing keeps the `loose` ones. `kernels` are the packages that
    bring new kernels, where the driver's modules are prebuilt for each and so must move with them. `automatic` is what
    upgrades by itself here. `plugin_missing` says that dnf's versionlock is a plug-in that is not installed.
    """

    kept: Mapping[str, str]
    loose: tuple[str, ...]
    kernels: tuple[str, ...] = ()
    automatic: Evidence | None = None
    plugin_missing: bool = False

    @classmethod
    def collect(
        cls,
        host: Host,
        loaded: LoadedDriver,
        libraries: DriverLibraries,
        packages: DriverPackages,
        system: Distribution,
    ) -> UpdateGuards:
        if not reload_in_question(loaded, libraries):
            raise NotApplicable("module and libraries are one release")
        release = installed_release(libraries)
        names = [one.name for one in packages.of_release(release)] if release else []
        names = list(dict.fromkeys((*names, *packages.matching(_BY_KERNEL)))) if names else []
        if not names or system.image_based:
            raise NotApplicable("the driver is not of packages that could be held one by one")
        kept: dict[str, str] = {one.name: "apt-mark hold" for one in packages.packages if one.state.startswith("h")}
        for guard in _GUARDS.get(system.family, _of_dnf)(host):
            for name in names:
                if guard.covers(name):
                    kept.setdefault(name, f"{guard.source}: {guard.words}")
        return cls(
            kept={name: kept[name] for name in names if name in kept},
            loose=tuple(name for name in names if name not in kept),
            kernels=_kernels(host, system.family, names),
            automatic=_automatic(host, system.family),
            plugin_missing=system.family in (Family.RHEL, Family.FEDORA) and _no_plugin(host),
        )


def _of_apt(host: Host) -> Iterator[Guard]:
    for path, settings in _apt_settings(host):
        for pattern in settings.get("Unattended-Upgrade::Package-Blacklist", ()):
            yield Guard(path, pattern, _matching_at_start(pattern))
    folder = "/etc/apt/preferences.d"
    for path in ("/etc/apt/preferences", *(f"{folder}/{name}" for name in reading.names(host, folder))):
        for package, version in parse_pins(reading.text(host, path) or ""):
            yield Guard(path, f"{package} pinned to {version}", _globbing(package))


def _matching_at_start(pattern: str) -> Callable[[str], bool]:
    """unattended-upgrades takes each entry for a Python regular expression that is matched at the name's start."""
    try:
        compiled = re.compile(pattern[:200])
    except re.error:
        return lambda _: False
    return lambda name: compiled.match(name) is not None


def _globbing(patterns: str) -> Callable[[str], bool]:
    def covers(name: str) -> bool:
        from fnmatch import fnmatchcase

        return any(fnmatchcase(name, one) for one in patterns.split())

    return covers


def _apt_settings(host: Host) -> Iterator[tuple[str, dict[str, tuple[str, ...]]]]:
    """The files that speak of unattended upgrades; another one may hold a proxy's password and is not read."""
    for name in reading.names(host, APT_FOLDER):
        path = f"{APT_FOLDER}/{name}"
        if re.fullmatch(r"[\w-]+(\.conf)?", name):  # apt.conf(5): others are passed over
            try:
                speaks = host.lines_with("Unattended-Upgrade", path)
            except Unknown:
                continue
            if speaks:
                yield path, parse_apt_conf(reading.text(host, path) or "")


_COMMENT = r'("[^"\n]*")|//[^\n]*|/\*.*?\*/|#(?!clear\b|include\b)[^\n]*'


def parse_apt_conf(text: str) -> dict[str, tuple[str, ...]]:
    """apt.conf(5): each option's values by its full name; a list's entries are values of the list."""
    found: dict[str, tuple[str, ...]] = {}
    scopes: list[str] = []
    words: list[str] = []
    clean = re.sub(_COMMENT, lambda one: one[1] or " ", text, flags=re.S)
    for quoted, mark, word in re.findall(r'"([^"\n]*)"|([{};])|([^\s{};"]+)', clean):
        if mark == "{":
            scopes.append(words[-1] if words else "")
            words = []
        elif mark:
            if words:
                name = "::".join(one for one in (*scopes, *words[:-1]) if one).removesuffix("::")
                found[name] = (*found.get(name, ()), words[-1])
            words = []
            if mark == "}" and scopes:
                scopes.pop()
        else:
            words.append(word or quoted)
    return found


def parse_pins(text: str) -> Iterator[tuple[str, str]]:
    """apt_preferences(5): the packages and the version of each pin that keeps one release.

    A pin to a whole branch (580.*) keeps no release: upgrades within the branch are what makes a mismatch.
    """
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^(Package|Pin|Pin-Priority):[ \t]*(.{1,500}?)[ \t]*$", stanza, re.M))
        version = re.fullmatch(r"version (\S{1,80})", fields.get("Pin", ""))
        priority = fields.get("Pin-Priority", "")
        if version and re.fullmatch(r"\d{1,5}", priority) and int(priority) > 500 and re.search(r"\d\.\d", version[1]):
            yield fields.get("Package", ""), version[1]


def _of_dnf(host: Host) -> Iterator[Guard]:
    for path in VERSIONLOCKS:
        for line in (reading.text(host, path) or "").splitlines():
            entry = line.strip()
            if entry and not entry.startswith(("#", "!")):
                yield Guard(path, entry, _globbing(_name_of_lock(entry)))
    for name in re.findall(r'^name = "([^"\n]{1,120})"', reading.text(host, VERSIONLOCK_TOML) or "", re.M):
        yield Guard(VERSIONLOCK_TOML, name, _globbing(name))
    for path in ("/etc/dnf/dnf.conf", "/etc/yum.conf"):
        try:
            lines = host.lines_with("exclude", path)
        except Unknown:
            continue
        for line in lines:
            found = re.fullmatch(r"exclude(?:pkgs)?\s*=\s*(.{1,1000})", line.strip())
            if found:
                yield Guard(path, line.strip(), _globbing(found[1].replace(",", " ")))


def _name_of_lock(entry: str) -> str:
    """The package of a line of versionlock.list: NAME-EPOCH:VERSION-RELEASE.ARCH, parts of it as globs."""
    found = re.match(r"(.+?)-(?:\d{1,4}:)?\d[^-\s]*(?:-[^-\s]+)?$", entry)
    return found[1] if found else entry


def _of_zypper(host: Host) -> Iterator[Guard]:
    for name in re.findall(r"^solvable_name:\s*(\S{1,120})\s*$", reading.text(host, ZYPP_LOCKS) or "", re.M):
        yield Guard(ZYPP_LOCKS, name, _globbing(name))


def _of_pacman(host: Host) -> Iterator[Guard]:
    try:
        lines = host.lines_with("IgnorePkg", PACMAN)
    except Unknown:
        return
    for line in lines:
        found = re.fullmatch(r"IgnorePkg\s*=\s*(.{1,1000})", line.strip())
        if found:
            yield Guard(PACMAN, line.strip(), _globbing(found[1]))


_GUARDS: Mapping[Family, Callable[[Host], Iterator[Guard]]] = {
    Family.DEBIAN: _of_apt, Family.UBUNTU: _of_apt, Family.SUSE: _of_zypper, Family.ARCH: _of_pacman,
}  # fmt: skip


def _no_plugin(host: Host) -> bool:
    """dnf 5 has versionlock built in; in dnf 4 it is a plug-in with a configuration file."""
    return reading.certainly_absent(host, "/usr/bin/dnf5") and reading.certainly_absent(
        host, "/etc/dnf/plugins/versionlock.conf"
    )


def _automatic(host: Host, family: Family) -> Evidence | None:
    if family in (Family.DEBIAN, Family.UBUNTU):
        for path, settings in _apt_settings(host):
            value = settings.get("APT::Periodic::Unattended-Upgrade", ("0",))[-1]
            if value not in ("", "0"):
                return Evidence(source=path, excerpt=f'APT::Periodic::Unattended-Upgrade "{value}"')
        return None
    for name in reading.names(host, _TIMERS):
        if re.fullmatch(r"dnf5?-automatic(-install)?\.timer|(transactional|os)-update\.timer", name):
            return Evidence(source=_TIMERS, excerpt=name)
    return None


def _kernels(host: Host, family: Family, names: list[str]) -> tuple[str, ...]:
    """The packages that bring new kernels of the flavour for which the driver's modules are prebuilt."""
    if family is Family.ARCH:
        prebuilt = {
            "nvidia": "linux",
            "nvidia-open": "linux",
            "nvidia-lts": "linux-lts",
            "nvidia-open-lts": "linux-lts",
        }
        return tuple(dict.fromkeys(prebuilt[name] for name in names if name in prebuilt))
    metas = (re.fullmatch(_META, name) for name in names)
    flavours = list(dict.fromkeys(one[1] for one in metas if one))
    if not flavours:
        return ()
    asked = [f"linux-{kind}{flavour}" for flavour in flavours for kind in ("", "image-", "headers-")]
    try:
        listing = host.run("dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package}\\n", *asked).stdout
    except Unknown:
        return ()
    rows = (line.split() for line in listing.splitlines())
    return tuple(row[1] for row in rows if len(row) == 2 and row[0][:2] == "ii")
