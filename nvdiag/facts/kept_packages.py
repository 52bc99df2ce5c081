"""Packages of the loaded module's release that are still to be had: in the package manager's cache, or in its archive.

With them the libraries can go back to the module that runs, and nothing that uses the GPU is touched. Asked only where
module and libraries differ. The cache is one `find`; apt's archive is asked with a cache of its own in memory, so that
nothing is written. dnf would write logs: what its repositories have, and zypper's, is read in the lists that they keep
of them (repodata/*-primary.xml.gz, dnf5-caching(7)), of those repositories that bring the driver.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from nvdiag.facts.holders import reload_in_question
from nvdiag.facts.libraries import DriverLibraries, Kind
from nvdiag.facts.modules import LoadedDriver
from nvdiag.facts.packages import DriverPackages, Package
from nvdiag.facts.system import Distribution, Family
from nvdiag.host import Host
from nvdiag.model.dataclass import dataclass
from nvdiag.model.unknown import NotApplicable, Unknown
from nvdiag.model.versions import DriverRelease

CACHES = (
    "/var/cache/apt/archives", "/var/cache/dnf", "/var/cache/libdnf5", "/var/cache/yum", "/var/cache/zypp/packages",
    "/var/cache/pacman/pkg",
)  # fmt: skip
FIND = ("find", *CACHES, "-maxdepth", "5", "-type", "f", "(", "-name", "*nvidia*", "-o", "-name", "libcuda*",
        "-o", "-name", "cuda-drivers*", ")")  # fmt: skip
MADISON = ("apt-cache", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "madison")
LISTS = ("find", "/var/cache/dnf", "/var/cache/libdnf5", "/var/cache/zypp/raw", "-maxdepth", "3", "-type", "f",
         "-name", "*-primary.xml.gz")  # fmt: skip
PACKAGE = "<location href="
"""In a repository's list, the element that names a package's file; createrepo_c gives it a line of its own."""

_DRIVER_REPOSITORY = r"/[^/]*(?:cuda|nvidia|rpmfusion|negativo)[^/]*/repodata/[^/]+"
_DEB = r"(?P<name>[a-z0-9.+-]{2,120})_(?P<version>[^_]{1,120})_[a-z0-9]{1,20}\.deb"
_RPM = r"(?P<name>\S{2,120})-(?P<version>[^-\s]{1,80}-[^-\s]{1,80})\.[a-z0-9_]{1,20}\.rpm"
_PACMAN = r"(?P<name>\S{2,120})-(?P<version>[^-\s]{1,80}-[\d.]{1,10})-[a-z0-9_]{1,20}\.pkg\.tar(?:\.\w{1,4})?"
_FORMS = {Family.DEBIAN: _DEB, Family.UBUNTU: _DEB, Family.ARCH: _PACMAN}


@dataclass(frozen=True, slots=True)
class KeptPackages:
    """For each installed package of the libraries' release: where the same of the loaded module's release is.

    `files` are paths in the cache, `versions` what the archive has of those that are not in the cache (an RPM's with
    its release number and without its epoch), `lacking` the names of packages that neither has. `beside` are modules
    that stay as they are, since their packages' versions are a kernel's.
    """

    release: DriverRelease
    files: Mapping[str, str]
    versions: Mapping[str, str]
    lacking: tuple[str, ...]
    beside: tuple[str, ...] = ()

    @classmethod
    def collect(
        cls,
        host: Host,
        loaded: LoadedDriver,
        libraries: DriverLibraries,
        packages: DriverPackages,
        system: Distribution,
    ) -> KeptPackages:
        if not reload_in_question(loaded, libraries):
            raise NotApplicable("module and libraries are one release")
        if system.image_based:
            raise NotApplicable("an image's packages are not taken back one by one")
        installed = installed_release(libraries)
        wanted = packages.of_release(installed) if installed and installed != loaded.release else ()
        if not wanted:
            raise NotApplicable("the libraries are not of a package that is listed")
        form = _FORMS.get(system.family, _RPM)
        files = _cached(host, wanted, loaded.release, form)
        rest = [one for one in wanted if one.name not in files]
        ask = {_DEB: _archived, _RPM: _in_repositories}.get(form)
        versions = ask(host, rest, loaded.release) if rest and ask else {}
        return cls(
            release=loaded.release,
            files=files,
            versions=versions,
            lacking=tuple(one.name for one in rest if one.name not in versions),
            beside=packages.matching(r"linux-(modules|objects|signatures)-nvidia-.*"),
        )


def installed_release(libraries: DriverLibraries) -> DriverRelease | None:
    """The release of the driver's own libraries that the loader takes, by their files' names."""
    return next((copy.release for copy in libraries.taken if copy.kind is Kind.DRIVER and copy.release), None)


def _cached(host: Host, wanted: Sequence[Package], release: DriverRelease, form: str) -> dict[str, str]:
    try:
        paths = host.run(*FIND).stdout.splitlines()
    except Unknown:
        return {}
    names = {one.name for one in wanted}
    return {
        one.name: path for path, one in parse_file_names(paths, form) if one.name in names and one.release == release
    }


def parse_file_names(paths: Iterable[str], form: str) -> Iterator[tuple[str, Package]]:
    """Path and package of each package file with a driver's release; a colon in a .deb's version is written %3a."""
    for path in paths:
        found = re.fullmatch(form, path.rpartition("/")[2])
        if found:
            one = Package(name=found["name"], version=_unquoted(found["version"]))
            if one.release is not None:
                yield path, one


def _unquoted(version: str) -> str:
    return re.sub(r"%([0-9a-fA-F]{2})", lambda code: chr(int(code[1], 16)), version)


def _archived(host: Host, wanted: Sequence[Package], release: DriverRelease) -> dict[str, str]:
    """What apt could fetch: the newest version of each package that is of this release."""
    try:
        text = host.run(*MADISON, *(one.name for one in wanted)).stdout
    except Unknown:
        return {}
    found: dict[str, str] = {}
    for name, version in re.findall(r"^\s*([a-z0-9.+-]{2,120}) \| (\S{1,120}) \| ", text, re.M):
        if Package(name=name, version=version).release == release:
            found.setdefault(name, version)
    return found


def _in_repositories(host: Host, wanted: Sequence[Package], release: DriverRelease) -> dict[str, str]:
    """What dnf or zypper could fetch: a package's version of this release, the last one where there are several."""
    try:
        lists = [path for path in host.run(*LISTS).stdout.splitlines() if re.search(_DRIVER_REPOSITORY, path)]
    except Unknown:
        return {}
    names = {one.name for one in wanted}
    found: dict[str, str] = {}
    for path in lists:
        try:
            lines = host.lines_with(PACKAGE, path)
        except Unknown:
            continue
        hrefs = (line.partition('"')[2].partition('"')[0] for line in lines)
        for _, one in parse_file_names(hrefs, _RPM):
            if one.name in names and one.release == release:
                found[one.name] = max(one.version, found.get(one.name, ""))
    return found
