"""The redactor: learns from a whole document what names somebody or is secret, then replaces it everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from nvdiag.host.base import SECTIONS, Json
from nvdiag.host.redact import names, numbers, secrets
from nvdiag.host.redact.anywhere import MARK, Anywhere
from nvdiag.host.redact.context import Context
from nvdiag.host.redact.stand_ins import StandIns
from nvdiag.model.text import as_json

_OWN_NAMES = {"env", "probes"}
"""Sections whose keys are words of the format's own; those of the others are paths and command lines."""
_TELL_THE_HOST = ("/etc/hostname", "/proc/sys/kernel/hostname", "hostname", "hostname -f", "hostname -s", "uname -n")


class Redactor:
    """Replaces each secret by its stand-in, the same one everywhere.

    `host_name` and `people` are the machine's name and its users', where they are known beforehand.
    """

    def __init__(self, host_name: str = "", people: Iterable[str] = ()) -> None:
        self._stand_ins = StandIns()
        self._names = Anywhere()
        self._secrets = Anywhere()
        self._beforehand = [("host", host_name), *(("user", name) for name in people)]

    def document(self, snapshot: dict[str, Json]) -> dict[str, Json]:
        """A redacted copy of a snapshot, keys and values alike."""
        for text in _texts(snapshot):
            self._stand_ins.keep_clear_of(text)
        self._learn_beforehand()
        for host in _host_names(snapshot):
            self._stand_in("host", host)
        for user in _users(snapshot):
            self._stand_in("user", user)
        for text in _texts(snapshot):
            self._learn(text)
        return self._document(snapshot)

    def text(self, text: str) -> str:
        """One text with every secret of it replaced, and with what earlier texts told."""
        self._learn_beforehand()
        self._learn(text)
        return self._redacted(text)

    def without_secrets(self, text: str) -> str:
        """One text with its passwords, tokens and keys replaced, and nothing else of it."""
        self._stand_ins.keep_clear_of(text)
        text = text.replace(MARK, "\N{REPLACEMENT CHARACTER}")
        return _bare(self._secrets.replaced(self._in(secrets.SECRETS, text)))

    def _document(self, snapshot: dict[str, Json]) -> dict[str, Json]:
        return {name: self._section(name, value) for name, value in snapshot.items()}

    def _section(self, name: str, value: Json) -> Json:
        if name in SECTIONS and name not in _OWN_NAMES and isinstance(value, dict):
            return {self._redacted(key): self._value(one, key) for key, one in value.items()}
        if name == "parts" and isinstance(value, list):
            return [self._document(one) if isinstance(one, dict) else self._value(one) for one in value]
        return self._value(value, name)

    def _value(self, value: Json, key: str = "") -> Json:
        if isinstance(value, str):
            if key == "user" and self._stand_ins.has("user", value):  # even where it is a word, and kept elsewhere
                return self._stand_ins.of("user", value)
            if "serial" in key.rpartition("/")[2].lower() and re.search(r"\d", value):
                return _bare(value.replace(value.strip(), self._stand_in("serial", value.strip())))
            return self._redacted(value)
        if isinstance(value, list):
            return [self._value(one, key) for one in value]
        if isinstance(value, dict):
            return {self._key(name): self._value(one, name) for name, one in value.items()}
        return value

    def _key(self, key: str) -> str:
        """A key is text too (a path, a command), but where it is one plain word, which is the format's own."""
        return key if key.isidentifier() else self._redacted(key)

    def _learn_beforehand(self) -> None:
        for kind, name in self._beforehand:
            self._stand_in(kind, name)
        self._beforehand.clear()

    def _learn(self, text: str) -> None:
        """Take in the names and secrets that a text tells, to know them in other texts, too."""
        small = text.lower()
        for context in (*secrets.SECRETS, *numbers.SERIALS, *names.NAMES):
            for kind, words in context.found(text, small):
                self._stand_in(kind, words)
        for found in numbers.UUID.finditer(text):
            if len(found[0]) == numbers.WHOLE_UUID and found[0].lower() not in numbers.VENDORS:
                self._stand_ins.of("uuid", found[0].lower())

    def _redacted(self, text: str) -> str:
        text = text.replace(MARK, "\N{REPLACEMENT CHARACTER}")
        text = self._secrets.replaced(self._in(secrets.SECRETS, text))
        text = numbers.UUID.sub(self._uuid, text)
        text = numbers.IPV6.sub(self._ipv6, text)
        text = numbers.MAC.sub(lambda found: self._of("mac", found[0].lower().replace("-", ":")), text)
        if "." in text:
            whole = text
            text = numbers.IPV4.sub(
                lambda found: found[0] if numbers.is_version(whole, found) else self._of("ipv4", found[0]), text
            )
        text = self._in((*numbers.SERIALS, *names.NAMES), text)
        if "@" in text:
            text = numbers.MAIL.sub(self._mail, text)
        return _bare(self._names.replaced(text))

    def _in(self, contexts: Sequence[Context], text: str) -> str:
        small = text.lower()
        for context in contexts:
            changed = context.replaced(text, small, self._stand_in)
            if changed != text:
                text, small = changed, changed.lower()
        return text

    def _of(self, kind: str, secret: str) -> str:
        return _marked(self._stand_ins.of(kind, secret))

    def _mail(self, found: re.Match[str]) -> str:
        if not numbers.is_mail(found) or self._stand_ins.is_of_another_kind("mail", found[1]):
            return found[0]
        return self._of("mail", found[0])

    def _uuid(self, found: re.Match[str]) -> str:
        uuid = found[0].lower()
        return found[0] if uuid in numbers.VENDORS else _marked(self._stand_ins.of_beginning("uuid", uuid))

    def _ipv6(self, found: re.Match[str]) -> str:
        address = numbers.address(found[0])
        return found[0] if address is None else self._of("ipv6", address)

    def _stand_in(self, kind: str, words: str) -> str:
        """What is put in the place of these words, marked; the words themselves where they are no secret."""
        if MARK in words:  # what was replaced in it already does not make the rest of it public
            if words.count(MARK) == 2 and words.startswith(MARK) and words.endswith(MARK):
                return words
            words = _bare(words)
        if self._stand_ins.is_of_another_kind("secret" if kind in ("token", "maybe") else kind, words):
            return _marked(words)
        match kind:
            case "user":
                return self._user(words)
            case "host":
                return self._host(words)
            case "serial" | "machine":
                return self._number(kind, words)
            case _:
                return self._secret(kind, words)

    def _secret(self, kind: str, words: str) -> str:
        if not secrets.is_secret(kind, words):
            return words
        stand_in = self._stand_ins.of("secret", words)
        if secrets.is_known_anywhere(kind, words):
            self._secrets.add(words, stand_in)
        return _marked(stand_in)

    def _number(self, kind: str, words: str) -> str:
        stand_in = self._stand_ins.of(kind, words)
        if len(words) > 7 and len(set(words)) > 2:
            self._names.add(words, stand_in)
        return _marked(stand_in)

    def _user(self, words: str) -> str:
        name = words.rstrip(".")
        if not name or not names.is_person(name):
            return words
        stand_in = self._stand_ins.of("user", name)
        if names.is_name_anywhere(name):
            self._names.add(name, stand_in)
        return _marked(stand_in) + words[len(name) :]

    def _host(self, words: str) -> str:
        """A machine has one stand-in, whether it is called by its whole name or without its domain."""
        name = words.rstrip(".- ")
        short = name.partition(".")[0]
        if not name or not names.is_machine(name):
            return words
        stand_in = self._stand_ins.of("host", (short if names.is_machine(short) else name).lower())
        for one in {name, short}:
            if names.is_machine(one) and names.is_name_anywhere(one):
                self._names.add(one, stand_in, any_case=True)
        return _marked(stand_in) + words[len(name) :]


def _marked(stand_in: str) -> str:
    return f"{MARK}{stand_in}{MARK}"


def _bare(text: str) -> str:
    return text.replace(MARK, "")


def _texts(value: Json) -> Iterator[str]:
    """All texts of a document, keys and values alike, in its order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from _texts(one)


def _host_names(snapshot: dict[str, Json]) -> Iterator[str]:
    """What the files and commands that say it have for the machine's name."""
    for section in ("files", "commands"):
        answers = snapshot.get(section)
        for key in _TELL_THE_HOST:
            said = answers.get(key) if isinstance(answers, dict) else None
            said = said.get("stdout") if isinstance(said, dict) else said
            if isinstance(said, str) and said.strip():
                yield said.strip().split()[0]


_FIRST_PERSON = 1000
"""User ids below it are the system's own (login.defs(5), UID_MIN): their names are those of services."""


def _users(snapshot: dict[str, Json]) -> Iterator[str]:
    """The people whose processes probes have recorded; units and containers may be called after them."""
    probes = snapshot.get("probes")
    documents = probes if isinstance(probes, dict) else {}
    nvml = documents.get("nvml")
    gpus = nvml.get("devices") if isinstance(nvml, dict) else None
    told = [
        *((documents.get("holders"), name) for name in ("processes", "supposed")),
        *((gpu, f"{kind}_processes") for gpu in (gpus if isinstance(gpus, list) else ()) for kind in _KINDS),
    ]
    lists = [document.get(name) for document, name in told if isinstance(document, dict)]
    for row in [row for rows in lists if isinstance(rows, list) for row in rows if isinstance(row, dict)]:
        user, uid = row.get("user"), row.get("uid")
        if isinstance(user, str) and isinstance(uid, int) and uid >= _FIRST_PERSON:
            yield user


_KINDS = ("compute", "graphics")
"""NVML's lists of a GPU's processes."""


def redacted(snapshot: dict[str, Json], host_name: str = "", people: Iterable[str] = ()) -> dict[str, Json]:
    """A copy of a snapshot without secrets, and without what names the machine or its people."""
    return Redactor(host_name, people).document(snapshot)


def as_text(snapshot: dict[str, Json]) -> str:
    """A snapshot as the text of its file."""
    return as_json(snapshot)
