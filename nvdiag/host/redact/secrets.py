"""Passwords, tokens and keys: by how they are given to programs, and by their own form."""

from __future__ import annotations

import re

from nvdiag.host.redact.context import Context

_PASSWORD = "password|passwd|passphrase"
_KEY = r"(?:api|access|secret|private|account|auth|license|encryption|signing|master|shared|storage|ngc)[_-]?key"
_HINTS = ("passw", "passphrase", "key", "secret", "token", "credential", "psk", "auth")
_PREFIX = r"(?<![A-Za-z])(?:[a-z0-9]{1,20}[_-]){0,4}"
_QUOTE = r"(?:\\{0,3}[\"'])"
_IS = r"[ \t]{0,3}(?::|=>?)[ \t]{0,3}"


def _value(kind: str) -> str:
    """A value up to its closing quote, or as far as a word goes."""
    word = r"[^\s\"'`\\,;|&<>()\[\]{}]"
    return rf"(?:{_QUOTE}(?P<{kind}1>[^\"'\n\\]{{1,4000}})|(?P<{kind}2>{word}{{1,4000}}))"


_REST = r"(?:(?P<q>[\"'])(?P<token1>[^\n]{1,4000}?)(?P=q)[ \t]*$|(?P<token2>[^\s\"'`\\][^\n]{0,4000}))"
_VARIABLE = (
    rf"(?:(?i:{_PASSWORD}|{_KEY}|secret|token|credentials?)"
    r"|(?<![A-Za-z])(?:PASS|PASSCODE|KEY|AUTH|PAT|PSK)(?![A-Za-z]))"
    r"(?![a-z])(?!S_|S=)[A-Z0-9_]{0,40}"
)
"""A variable's name from the word in it that tells of a secret; MAX_TOKENS is none."""

_BREAK = r"(?:\s|\\[nr])"
_BLOCK = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?P<secret>"
    rf"(?:{_BREAK}{{0,40}}(?:[A-Za-z0-9+/]{{16,8000}}={{0,2}}|(?:Proc-Type|DEK-Info): [^\n\\]{{1,100}}))*"
    rf"(?:{_BREAK}{{0,40}}[A-Za-z0-9+/]{{1,15}}={{0,2}}(?={_BREAK}{{0,40}}-----END))?)"
)
_LINE_OF_A_KEY = re.compile(
    r"(?<![\w+/=])(?=[^\n]{0,400}[a-z])(?=[^\n]{0,400}[A-Z])(?P<secret>[A-Za-z0-9+/]{48,4000}={0,2})(?![\w+/=])"
)
_OWN_FORM = re.compile(
    r"(?<![A-Za-z0-9_-])(?P<secret>"
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,20}"
    r"|hf_[A-Za-z0-9]{16,80}|api_org_[A-Za-z0-9]{16,80}"
    r"|gh[pousr]_[A-Za-z0-9]{16,255}|github_pat_[A-Za-z0-9_]{16,255}|gl(?:pat|dt|rt|cbt|ptt|ft|soat)-[\w.-]{16,255}"
    r"|(?:sk|pk|rk)[-_](?=[\w-]{0,40}\d)[A-Za-z0-9_-]{14,400}"
    r"|nvapi-[A-Za-z0-9_-]{12,200}|xox[a-z]-[A-Za-z0-9-]{8,255}|xapp-[A-Za-z0-9-]{8,255}"
    r"|AIza[A-Za-z0-9_-]{30,60}|ya29\.[A-Za-z0-9._-]{16,400}|GOCSPX-[A-Za-z0-9_-]{16,60}"
    r"|npm_[A-Za-z0-9]{16,80}|pypi-[A-Za-z0-9_-]{16,400}|dckr_(?:pat|oat)_[A-Za-z0-9_-]{16,80}"
    r"|r8_[A-Za-z0-9]{16,80}|tskey-[A-Za-z0-9-]{8,120}|SG\.[\w-]{16,80}\.[\w-]{16,80}|AGE-SECRET-KEY-1[A-Z0-9]{16,80}"
    r"|eyJ[A-Za-z0-9_-]{6,8000}\.[A-Za-z0-9_-]{4,8000}(?:\.[A-Za-z0-9_-]{0,8000}){0,3}"
    r")(?![A-Za-z0-9_])"
)
"""What its makers gave a form to be known by: AWS, Hugging Face, GitHub, GitLab, OpenAI and its like, NVIDIA NGC,
Slack, Google, npm, PyPI, Docker, Replicate, Tailscale, SendGrid, age, and JSON Web Tokens."""

SECRETS = (
    Context(_BLOCK, ("private key",), line=False),
    Context(_LINE_OF_A_KEY, ("private key",), line=False),
    Context(
        re.compile(r"\b(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-\S{1,40}) (?P<secret>AAAA[A-Za-z0-9+/]{16,2000}={0,2})"),
        ("ssh-", "ecdsa-"),
    ),
    # user:password@ in an address; what has a slash before the @ is a path
    Context(
        re.compile(
            r"\b[A-Za-z][A-Za-z0-9+.-]{1,30}://(?P<secret1>[^\s/@:\"'<>?#]{1,400})(?::(?P<secret2>[^\s/@\"'<>?#]{1,400}))?"
            r"@(?!sha256:)"
        ),
        ("://",),
    ),
    Context(
        re.compile(
            r"[?&;](?:[\w.-]{0,40}(?:token|key|secret|signature|password|passwd|credential)|sig|auth)="
            r"(?P<token>[^\s&#\"'<>;]{1,4000})",
            re.I,
        ),
        ("token=", "key=", "secret=", "sig", "passw", "credential=", "auth="),
    ),
    Context(re.compile(r"\bhooks\.slack\.com/services/(?P<secret>[\w/-]{8,200})"), ("hooks.slack",)),
    Context(
        re.compile(
            rf"authorization{_QUOTE}?{_IS}{_QUOTE}?(?:(?:bearer|basic|token|digest|negotiate|apikey)[ \t]{{1,4}})?"
            r"(?P<token>[^\s\"'\\,]{4,8000})",
            re.I,
        ),
        ("authorization",),
    ),
    Context(re.compile(r"\bbearer[ \t]{1,4}(?P<token>(?=[\w.~+/=-]{0,200}\d)[\w.~+/=-]{8,8000})", re.I), ("bearer",)),
    Context(
        re.compile(
            r"(?<![\w-])(?:x-api-key|x-auth-token|x-amz-security-token|api-key|private-token|set-cookie|cookie)"
            rf"{_QUOTE}?[ \t]{{0,3}}:[ \t]{{0,3}}{_QUOTE}?(?P<token>[^\r\n\"'\\]{{4,8000}})",
            re.I,
        ),
        ("-key", "-token", "cookie"),
    ),
    # a line that is nothing but an assignment, as env(1) and unit files have it: all of the rest is the value
    Context(
        re.compile(
            r"^[ \t]{0,8}(?:(?:export|declare -x|set|-e|--env|Environment=|-)[ \t]{0,4})?[\"']?(?:[A-Z0-9]{1,30}_){0,6}"
            rf"{_VARIABLE}=(?![ \t]){_REST}",
            re.M,
        ),
        _HINTS,
    ),
    Context(re.compile(rf"{_VARIABLE}{_QUOTE}?=(?!=){_value('token')}"), _HINTS),
    Context(
        re.compile(rf"{_PREFIX}(?:{_PASSWORD}){_QUOTE}?{_IS}{_value('secret')}", re.I), ("passw", "passphrase")
    ),
    Context(
        re.compile(rf"{_PREFIX}(?:{_KEY}|client[_-]?secret|psk){_QUOTE}?{_IS}{_value('token')}", re.I),
        ("key", "secret", "psk"),
    ),
    Context(
        re.compile(rf"{_PREFIX}(?:secret|token|credentials?){_QUOTE}?{_IS}{_value('maybe')}", re.I),
        ("secret", "token", "credential"),
    ),
    # how engines keep what registries ask for: Docker's config.json, containerd's config.toml, Podman's auth.json
    Context(
        re.compile(rf"(?<![\w.-])(?:auth|(?:identity|registry)_?token){_QUOTE}?{_IS}{_value('maybe')}", re.I),
        ("auth", "ytoken", "y_token"),
    ),
    # of a boot menu and of kernels' command lines: who may edit the menu, and what a system is given at boot
    Context(re.compile(r"\bgrub\.pbkdf2\.(?P<secret>\S{1,4000})"), ("grub.pbkdf2.",)),
    Context(re.compile(r"^[ \t]{0,20}password[ \t]{1,8}\S{1,200}[ \t]{1,8}(?P<secret>\S{1,400})", re.M), ("password",)),
    Context(
        re.compile(
            r"(?<![\w.-])(?:[\w.-]{1,40}[._-])?(?:password|passwd|secret|token|set_credential(?:_binary)?)="
            r"(?P<token>[^\s\"']{1,4000})"
        ),
        ("passw", "secret=", "token=", "credential"),
    ),
    # what a shell printed when it was asked for one
    Context(
        re.compile(
            rf"\b(?:echo|printenv)[ \t]{{1,4}}[\"']?(?:\$\{{?)?(?:[A-Z0-9]{{1,30}}_){{0,6}}{_VARIABLE}"
            r"\}?[\"']?[ \t]*\n"
            r"(?P<token>[^\s][^\n]{0,4000})"
        ),
        ("echo", "printenv"),
        line=False,
    ),
    # options of programs
    Context(
        re.compile(
            rf"(?<![\w-])--?(?:[a-z0-9]{{1,20}}[_-]){{0,4}}(?:{_PASSWORD}|pass)"
            rf"(?:[ \t]{{1,4}}(?!-)|=){_value('secret')}"
        ),
        ("-pass", "passw"),
    ),
    Context(
        re.compile(
            rf"(?<![\w-])--?(?:[a-z0-9]{{1,20}}[_-]){{0,4}}(?:{_KEY}|client[_-]?secret|secret|token|credentials?|auth)"
            rf"(?:[ \t]{{1,4}}(?!-)|=){_value('token')}"
        ),
        _HINTS,
    ),
    Context(
        re.compile(
            r"[ \t](?:-u|--user|--proxy-user|-U)[ \t=]{1,4}[\"']?(?!\d{1,10}:\d{1,10}\b)"
            r"(?P<user>[^\s:\"'/=]{1,64}):(?P<secret>[^\s\"'/:][^\s\"':]{0,400})"
        ),
        ("-u", "--user", "--proxy-user"),
    ),
    Context(re.compile(r"\bsshpass[ \t]{1,4}-p[ \t]{0,4}[\"']?(?P<secret>[^\s\"']{1,400})"), ("sshpass",)),
    Context(re.compile(r"\blogin\b[^\n]{0,300}?[ \t]-p[ \t=]{0,4}[\"']?(?P<secret>[^\s\"']{1,4000})"), ("login",)),
    Context(re.compile(r"\bmysql\w{0,12}\b[^\n]{0,300}?[ \t]-p(?P<secret>[^\s\"']{1,400})"), ("mysql",)),
    Context(
        re.compile(r"\becho[ \t]{1,4}[\"']?(?P<secret>[^\s\"'|]{1,400})[\"']?[ \t]{0,4}\|[ \t]{0,4}sudo[ \t]{1,4}-S"),
        ("sudo",),
    ),
    Context(re.compile(r"\bwandb\b[^\n]{0,60}?[ \t](?P<secret>[0-9a-f]{40})\b"), ("wandb",)),
    Context(re.compile(r"\blogin[ \t]{1,8}\S{1,200}[ \t]{1,8}password[ \t]{1,8}(?P<secret>\S{1,400})"), ("password",)),
    Context(re.compile(r"\bidentified by[ \t]{1,4}[\"'](?P<secret>[^\"'\n]{1,400})", re.I), ("identified by",)),
    Context(
        _OWN_FORM,
        (
            "akia", "asia", "abia", "acca", "hf_", "api_org_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_",
            "gl", "sk-", "sk_", "pk-", "pk_", "rk-", "rk_", "nvapi-", "xox", "xapp-", "aiza", "ya29.", "gocspx-",
            "npm_", "pypi-", "dckr_", "r8_", "tskey-", "sg.", "age-secret", "eyj",
        ),
    ),
)  # fmt: skip
"""Where secrets stand, the surest places first."""

_NONE = re.compile(
    r"true|false|none|null|yes|no|on|off|unset|empty|required|optional|auto|default|invalid|\*{1,99}|x{3,99}|\.{2,99}"
    r"|\$.{0,200}|%[\w.]{1,60}%?|<.{0,200}|\{.{0,200}",
    re.I | re.S,
)
_STAND_IN = re.compile(r"REDACTED-\d{1,6}")
_SMALL = re.compile(r"\d{1,7}|.{1,3}", re.S)
_RANDOM = re.compile(r"(?=.*[A-Za-z])(?=.*\d)|(?=.*[a-z])(?=.*[A-Z])|.{16}", re.S)
_VERSION = re.compile(r"[vV]?\d{1,6}(?:\.\d{1,6}){1,5}\S{0,60}|/.{0,4000}", re.S)


def is_secret(kind: str, value: str) -> bool:
    """Whether a value in a secret's place is one, and not a variable's name, a word such as `none`."""
    if _STAND_IN.fullmatch(value):
        return True
    if _NONE.fullmatch(value) or (kind != "secret" and _SMALL.fullmatch(value)):
        return False
    return kind != "maybe" or (len(value) > 7 and _RANDOM.match(value) is not None)


def is_known_anywhere(kind: str, value: str) -> bool:
    """Whether a secret is to be replaced wherever it stands: it is long, and no number, version, path or known word."""
    from nvdiag.host.redact.names import is_of_known_words

    if _VERSION.fullmatch(value) or is_of_known_words(value):
        return False
    return len(value) > 5 if kind == "secret" else len(value) > 7 and _RANDOM.match(value) is not None
