"""What no report says, whoever reads it: passwords, tokens and keys in what a machine or a text told."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

from nvdiag.model.regex import regex

_MAY_HOLD_ONE = regex(
    # a name that tells of a secret, and behind it a value
    r"(?:pass|secret|token|credential|psk|auth|key|cookie|sig(?:nature)?|pat)[\w.\\\"'}\]-]{0,40}[ \t]{0,60}[:=]"
    r"|-[\w-]{0,60}(?:pass|key|secret|token|credential|auth)[\w-]{0,40}[ \t=]"
    r"|[ \t](?:-u|--(?:proxy-)?user)[ \t=]{1,4}\S{1,80}:|sshpass|login[^\n]{0,300}[ \t]-p|mysql|sudo[ \t]{1,4}-s|wandb"
    r"|://[^\s/@]{1,800}@|bearer|authorization|private key|identified by|password[ \t]|grub\.pbkdf2|hooks\.slack"
    r"|(?:echo|printenv)[ \t][^\n]{0,200}\n|(?:ssh-|ecdsa-)\S{1,40} aaaa"
    r"|(?<![a-z0-9_-])(?:akia|asia|abia|acca|hf_|api_org_|gh[pousr]_|github_pat_|gl[a-z]{2,4}-|[spr]k[-_]|nvapi-"
    r"|xox[a-z]-|xapp-|aiza|ya29\.|gocspx-|npm_|pypi-|dckr_|r8_|tskey-|sg\.|age-secret|eyj)[\w.-]{6}"
)
"""Whether a text in small letters is worth the dear look: of the words that reports are made of nearly none is."""

_HINTS = (
    "passw", "passphrase", "pass=", "pass:", "-pass", "_pass", "secret", "token", "credential", "psk", "auth", "key=",
    "key:", "key =", "key\"", "key\\", "key'", "_key", "-key", "cookie", "sig=", "signature=", "pat=", " -u",
    "--user", "proxy-user", "sshpass", "login", "mysql", "sudo -s", "wandb", "://", "bearer", "private key",
    "identified by", "pbkdf2", "hooks.", "echo ", "printenv", "ssh-", "ecdsa-", "akia", "asia", "abia", "acca", "hf_",
    "api_org_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat", "gldt", "glrt", "glcbt", "glptt",
    "glft", "glsoat", "sk-", "sk_", "pk-", "pk_", "rk-", "rk_", "nvapi-", "xox", "xapp-", "aiza", "ya29.", "gocspx-",
    "npm_", "pypi-", "dckr_", "r8_", "tskey-", "sg.", "age-secret", "eyj",
)  # fmt: skip
"""One of these is in each text that the pattern finds: looking for them costs less than compiling it."""


@lru_cache(maxsize=4096)  # a report says most of its words many times
def without_secrets(text: str) -> str:
    """The text with a stand-in for each secret that its place or its own form shows to be one."""
    small = text.lower()
    if not any(hint in small for hint in _HINTS) or _MAY_HOLD_ONE.search(small) is None:
        return text
    from nvdiag.host.redact import Redactor

    return Redactor().without_secrets(text)


def secrets_among(texts: Collection[str]) -> dict[str, str]:
    """Those of many texts that hold a secret, each with what is said in its place.

    As `without_secrets` of each; but most hints are in none of them, which one look at all of them together tells.
    """
    together = "\n".join(texts).lower()
    hints = [hint for hint in _HINTS if hint in together]
    suspects = [text for text in texts if any(hint in text.lower() for hint in hints)]
    return {text: said for text in suspects if (said := without_secrets(text)) != text}
