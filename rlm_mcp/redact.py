"""Take secrets out of text that leaves: replies, prompts, cache, trajectories, logs.

A secret becomes a typed marker, `[secret:aws-key:3f9a]`; the same secret always gets the same
marker on this machine (a digest keyed with a salt in the state folder). Found are the known forms
of keys, and values that are assigned to names like `password`. Git ids, UUIDs, hashes, paths and
encoded images stay. This is a net, not a wall: a secret in an unknown form passes through.

Time is linear: beginnings are searched for first, and a form is tried only at one of them, at the
left border of a word, over a bounded length. Each form begins with a plain literal, which `re`
finds ten times as fast as an alternation.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rlm_mcp import config

SHORT = 48
"""Characters up to which one search for all beginnings is faster than one for each."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret stands in a text."""

    start: int
    end: int
    kind: str


def redact(text: str) -> str:
    """Return `text` with every secret replaced by its marker; a second pass changes nothing."""
    secrets = find(text)
    if not secrets:
        return text
    salt = _salt()
    parts: list[str] = []
    done = 0
    for secret in secrets:
        found = text[secret.start : secret.end]
        parts += [text[done : secret.start], marker(secret.kind, found, salt)]
        done = secret.end
    return "".join([*parts, text[done:]])


def count(text: str) -> int:
    """Return how many secrets `redact` would replace."""
    return len(find(text))


def marker(kind: str, secret: str, salt: bytes) -> str:
    """Return the marker of a secret under a salt."""
    raw = secret.encode("utf-8", "surrogatepass")
    return f"[secret:{kind}:{hashlib.blake2b(raw, digest_size=2, key=salt).hexdigest()}]"


def find(text: str) -> list[Secret]:
    """Return the secrets in `text`, in order, none overlapping another."""
    if len(text) <= SHORT and not _beginnings().search(text):
        return []
    # A character stays one character, so positions hold; a pure ASCII text is searched faster.
    plain = text if text.isascii() else text.encode("ascii", "replace").decode()
    lowered = plain.lower()
    found: list[Secret] = []
    for rule in RULES:
        found += rule.secrets(plain, lowered if rule.any_case else plain)
    found.sort(key=lambda secret: (secret.start, -secret.end))
    kept: list[Secret] = []
    for secret in found:
        if not kept or secret.start >= kept[-1].end:
            kept.append(secret)
    return kept


@functools.cache
def _beginnings() -> re.Pattern[str]:
    """Return what finds any beginning at once: most short texts have none."""
    return re.compile("|".join(rule.begin.pattern for rule in RULES), re.IGNORECASE)


class Rule:
    """Forms of secrets that share a beginning.

    `form` is matched where `begin` was found; the one named group that matched is the secret and,
    without a digit at its end and with - for _, its kind. `CHECKS` may refuse it. `inside`: it may
    begin inside a word (DB_PASSWORD); `joined`: behind a _ or - (test_AKIA…), for forms that no
    name has by chance. `sign` is a pattern for RE2 that begins where `begin` does, and at every
    secret: of many texts it leaves few to look at. Patterns are compiled at first use, in 5 ms.
    """

    def __init__(
        self,
        begin: str,
        form: str,
        *,
        inside: bool = False,
        joined: bool = False,
        any_case: bool = False,
        sign: str = "",
    ) -> None:
        self._begin, self._form, self.sign = begin, form, sign or begin
        self.inside, self.joined, self.any_case = inside, joined, any_case

    @functools.cached_property
    def begin(self) -> re.Pattern[str]:
        return re.compile(self._begin)

    @functools.cached_property
    def form(self) -> re.Pattern[str]:
        return re.compile(self._form, re.IGNORECASE if self.any_case else 0)

    def secrets(self, text: str, searched: str) -> Iterator[Secret]:
        """Yield the secrets in a text; `searched` is the text, or the text in lower case."""
        for place in self.begin.finditer(searched):
            at = place.start()
            before = text[at - 1] if at and not self.inside else " "
            if before.isalnum() or (before in "_-" and not self.joined):
                continue
            match = self.form.match(text, at)
            if match is None or match.lastgroup is None:
                continue
            kind = match.lastgroup.rstrip("0123456789").replace("_", "-")
            check = CHECKS.get(match.lastgroup)
            if check is None or check(match[match.lastgroup], match[0]):
                yield Secret(*match.span(match.lastgroup), kind)


_KEYWORD = (
    r"(?:pass(?:w(?:or)?d|phrase|wd)?|(?:client_?)?secret(?:_?(?:access_?)?key)?|token|credentials?"
    r"|(?:(?<=api)|(?<=api[_-])|(?<=access)|(?<=access[_-])|(?<=private[_-])|(?<=auth[_-])"
    r"|(?<=signing[_-])|(?<=encryption[_-]))key)(?:[_-]?(?:value|string|prod|dev|test|live|\d))?"
)

RULES = (
    Rule(
        r"-----BEGIN ",
        r"(?P<private_key>-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"(?=(?:(?!-----)[\s\S]){0,300}?[A-Za-z0-9+/]{32})"
        r"(?:(?:(?!-----)[\s\S]){0,20000}-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"|(?:[\s\\nr\"',+]{0,12}[A-Za-z0-9+/=]{16,}){1,400}))",
        inside=True,
    ),
    Rule(
        r"A(?:[KSBC][IC]A|Iza|GE-SEC)",
        r"(?P<aws_key>A[KSBC][IC]A[A-Z0-9]{16}(?![A-Za-z0-9]))"
        r"|(?P<google_key>AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-]))"
        r"|(?P<age_key>AGE-SECRET-KEY-1[A-Z0-9]{50,70})",
        joined=True,
    ),
    Rule(
        r"g(?:h[pousr]_|ithub_pat_|lpat-)",
        r"(?P<github_token>gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})"
        r"|(?P<gitlab_token>glpat-[A-Za-z0-9_.-]{20,200})",
        joined=True,
    ),
    Rule(
        r"sk[-_]",
        r"(?P<anthropic_key>sk-ant-[A-Za-z0-9_-]{16,250})"
        r"|(?P<stripe_key>sk_(?:live|test)_[A-Za-z0-9]{16,250})"
        r"|(?P<openai_key>sk-(?:[a-z]{2,10}-)?[A-Za-z0-9_-]{20,250})",
    ),
    Rule(r"rk_live_", r"(?P<stripe_key>rk_live_[A-Za-z0-9]{16,250})"),
    Rule(r"whsec_", r"(?P<stripe_key>whsec_[A-Za-z0-9+/=]{16,250})"),
    Rule(
        r"x(?:ox[abceoprs]|app)-",
        r"(?P<slack_token>(?:xox[abceoprs]|xapp)-[A-Za-z0-9-]{10,250})",
    ),
    Rule(
        r"hooks\.slack\.com/services/",
        r"hooks\.slack\.com/services/"
        r"(?P<slack_webhook>T[A-Z0-9]{6,14}/B[A-Z0-9]{6,14}/[A-Za-z0-9]{16,40})",
    ),
    Rule(r"npm_", r"(?P<npm_token>npm_[A-Za-z0-9]{36}(?![A-Za-z0-9]))", joined=True),
    Rule(r"hf_", r"(?P<huggingface_token>hf_[A-Za-z0-9]{30,60}(?![A-Za-z0-9_]))"),
    Rule(r"pypi-AgE", r"(?P<pypi_token>pypi-AgE[A-Za-z0-9_-]{40,500})"),
    Rule(r"do[op]_v1_", r"(?P<digitalocean_token>do[op]_v1_[a-f0-9]{64})"),
    Rule(r"GOCSPX-", r"(?P<google_token>GOCSPX-[A-Za-z0-9_-]{20,60})"),
    Rule(r"ya29\.", r"(?P<google_token>ya29\.[A-Za-z0-9_-]{20,500})"),
    Rule(
        r"S(?:G\.|haredAccessKey=)",
        r"(?P<sendgrid_key>SG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{40,50})"
        r"|SharedAccessKey=(?P<azure_key>[A-Za-z0-9+/]{40,90}={0,2})",
    ),
    Rule(r"AccountKey=", r"AccountKey=(?P<azure_key>[A-Za-z0-9+/]{40,90}={0,2})", inside=True),
    Rule(
        r"shp",
        r"(?P<shopify_token>shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32})",
    ),
    Rule(r"hvs\.", r"(?P<vault_token>hvs\.[A-Za-z0-9_-]{24,300})"),
    Rule(r"hvb\.", r"(?P<vault_token>hvb\.[A-Za-z0-9_-]{24,300})"),
    Rule(r"dapi", r"(?P<databricks_token>dapi[a-f0-9]{32}(?:-\d)?(?![A-Za-z0-9]))"),
    Rule(r"dckr_", r"(?P<docker_token>dckr_[po]at_[A-Za-z0-9_-]{20,60})"),
    Rule(r"lin_api_", r"(?P<linear_key>lin_api_[A-Za-z0-9]{32,60})"),
    Rule(r"rubygems_", r"(?P<rubygems_key>rubygems_[a-f0-9]{48})"),
    *(
        # Keys of services that serve models: a short word, then at least 32 random characters.
        Rule(word, rf"(?P<model_key>{word}[A-Za-z0-9_-]{{32,250}})")
        for word in ("gsk_", "xai-", "nvapi-", "pplx-", "r8_")
    ),
    Rule(
        r":AA",
        r"(?<=\d{8}):(?P<telegram_token>AA[A-Za-z0-9_-]{32,40})(?![A-Za-z0-9_-])",
        inside=True,
    ),
    Rule(
        r"machine ",
        r"machine {1,4}\S{1,200}\s{1,20}login {1,4}\S{1,100}\s{1,20}"
        r"password {1,4}(?P<password8>\S{4,200})",
    ),
    Rule(
        r"curl ",
        r"curl [^\n|;]{0,300}?(?:-u|--user)[ =]{0,4}[\"']?[^\s:\"'$]{1,100}:"
        r"(?P<password6>[^\s\"']{4,200})",
    ),
    Rule(
        r"mysql",
        r"mysql(?:dump|admin|import|show)? (?:[^\n|;]{0,300}? )?"
        r"-p[\"']?(?P<password7>[^\s\"']{4,100})",
    ),
    Rule(
        r"\"auth\":",
        r"\"auth\":\s{0,4}\"(?P<basic_auth2>[A-Za-z0-9+/]{12,400}={0,2})\"",
        inside=True,
    ),
    Rule(
        r"cookie",
        r"cookie[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?:[^\n\"'=;]{1,80}=[^\n\"';]{0,400};\s?){0,20}?"
        r"[\w.-]{0,40}(?:sess|auth|sid|token|jwt)[\w.-]{0,40}=(?P<cookie>[A-Za-z0-9%._~+/-]{16,500})",
        inside=True,
        any_case=True,
    ),
    Rule(
        r"eyJ",
        r"(?P<jwt>eyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{8,2000})",
    ),
    Rule(
        r"://",
        r"://[^\s:/@\"'<>?#]{0,100}:(?P<url_password>[^\s:/@\"'<>?#]{3,200})@[A-Za-z0-9_\[.-]",
        inside=True,
        sign=r"://[^\x09-\x0d /@\"'<>?#]+@",
    ),
    Rule(
        r"bearer ",
        r"bearer {1,4}(?P<bearer>[A-Za-z0-9._~+/-]{16,4000}={0,2})",
        any_case=True,
    ),
    Rule(
        r"authorization",
        r"authorization[\"']?\s{0,4}[:=,]\s{0,4}[\"']?basic {1,4}"
        r"(?P<basic_auth>[A-Za-z0-9+/]{8,400}={0,2})",
        inside=True,
        any_case=True,
    ),
    *(
        Rule(
            word,
            _KEYWORD + r"(?:\\{0,4}[\"']?\]?\s{0,8}(?::\s{0,4}(?:str|string)\s{0,4}=|:=|=>|[=:])"
            r"\s{0,8}[bru@]?(?:\\{1,4}[\"'](?P<password5>[^\s\"'\\]{6,300})\\{1,4}[\"']"
            r"|\"(?P<password1>[^\s\"]{6,300})\"|'(?P<password2>[^\s']{6,300})'"
            r"|`(?P<password3>[^\s`]{6,300})`)"
            r"|(?:\s{0,4}=\s{0,4}|\s{0,4}:\s{1,4})(?P<password4>[A-Za-z0-9#@^%][\w!#%*+/?@^~=.-]{7,250}+"
            r"(?:&(?!\w{1,40}=)[\w!#%*+/?@^~=.-]{0,60}+){0,3}+)(?![^\s,;&)\]}\"']))",
            inside=True,
            any_case=True,
            sign=word + r"[a-z0-9_-]{0,28}\\{0,4}[\"']?\]?[\x09-\x0d\x1c-\x20]{0,8}[:=]",
        )
        for word in ("pass", "secret", "token", "key", "credential")
    ),
)

_FILLERS = re.compile(
    r"x{4,}|\*{3,}|\.{3,}|example|placeholder|change.?me|your[-_ ]|dummy|redacted|<|>|\$|\{|%\("
    r"|\[secret:|process\.env|environ",
    re.IGNORECASE,
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_HEX = re.compile(r"[0-9a-f]{7,128}\Z|[0-9A-F]{7,128}\Z")
_CODE = re.compile(r"[A-Za-z_]\w*(?:[.:/?!-]+[A-Za-z_]\w*)*[.:]?\Z")
_PATH = re.compile(r"(?:\.{0,2}/|[A-Za-z]:\\)[\w./\\-]*\Z")
_OWN_NAME = re.compile(r"pass|secret|token|key|credential|auth", re.IGNORECASE)
_CLASSES = (
    re.compile("[a-z]"),
    re.compile("[A-Z]"),
    re.compile("[0-9]"),
    re.compile("[^A-Za-z0-9]"),
)
_VERSION = re.compile(r"[\^~<>=v ]{0,3}\d+(?:\.[\w*]+)+\Z")
_OTHERS = re.compile("[^A-Za-z0-9]+")
_DIGITS = re.compile("[0-9]+")


def entropy(value: str) -> float:
    """Return the Shannon entropy of a value's characters, in bits a character."""
    size = len(value)
    return -sum(n / size * math.log2(n / size) for n in Counter(value).values())


def _classes(value: str) -> int:
    """Return how many kinds of characters a value mixes: lower, upper, digits, others."""
    return sum(kind.search(value) is not None for kind in _CLASSES)


def _is_quoted(value: str, whole: str) -> bool:
    """Say whether a quoted value that stands beside a secret's name is one."""
    if _FILLERS.search(value) or (_UUID.match(value) and whole[:5].lower() == "token"):
        return False
    if _PATH.match(value) or _VERSION.match(value):
        return False
    if _HEX.match(value) and whole[:4].lower() != "pass":
        return len(value) >= 32
    classes, digits = _classes(value), len(_DIGITS.findall(value))
    if _CODE.match(value) and (not digits or _OWN_NAME.search(value)):
        return False
    if whole[:4].lower() == "pass":
        return classes >= 2 and bool(digits or classes >= 3)
    return classes >= 2 and len(value) >= 12 and (digits >= 2 or classes >= 3)


def _is_bare(value: str, whole: str) -> bool:
    """Say whether a value without quotes is a secret rather than code."""
    if _FILLERS.search(value) or _UUID.match(value) or value.replace(".", "").isdigit():
        return False
    if _HEX.match(value):
        return len(value) >= 32
    if _CODE.match(value) and ("." in value or len(_DIGITS.findall(value)) < 2):
        return False
    return _classes(value) >= 3 and entropy(value) >= 2.8


def _is_random(value: str, whole: str) -> bool:
    """Say whether a value in the form of a key is more than filler words."""
    if _FILLERS.search(value) or _UUID.match(value):
        return False
    return _classes(_OTHERS.sub("", value)) >= 2 and entropy(value) >= 3.0


def _is_typed(value: str, whole: str) -> bool:
    """Say whether what a person passes a program as a password is one, not a variable or port."""
    return not _FILLERS.search(value) and not value.isdigit()


def _is_login(value: str, whole: str) -> bool:
    """Say whether an encoded value is a name and a password."""
    try:
        return b":" in base64.b64decode(value, validate=True)
    except ValueError:
        return False


CHECKS: Mapping[str, Callable[[str, str], bool]] = {
    "password1": _is_quoted,
    "password2": _is_quoted,
    "password3": _is_quoted,
    "password5": _is_quoted,
    "password4": _is_bare,
    "password8": _is_typed,
    "password6": _is_typed,
    "password7": _is_typed,
    "basic_auth2": _is_login,
    "model_key": _is_random,
    "vault_token": _is_random,
    "telegram_token": _is_random,
    "cookie": _is_random,
    "aws_key": lambda value, whole: not _FILLERS.search(value),
    "anthropic_key": _is_random,
    "openai_key": lambda value, whole: _is_random(value, whole) and bool(_DIGITS.search(value)),
    "huggingface_token": _is_random,
    "bearer": _is_random,
    "url_password": lambda value, whole: not _FILLERS.search(value),
}

_salts: dict[Path, bytes] = {}


def _salt() -> bytes:
    """Return this installation's salt, made on first use; readable by its owner alone."""
    path = config.state_dir() / "redact.salt"
    if path not in _salts:
        if not path.exists():
            fresh = path.with_name(f"redact.salt.{os.getpid()}.{os.urandom(4).hex()}")
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(os.urandom(32))
            try:
                os.link(fresh, path)  # loses to another process without harm
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        _salts[path] = path.read_bytes()
    return _salts[path]
