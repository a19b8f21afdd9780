"""Take secrets out of text that leaves: replies, prompts, cache, trajectories, logs.

A secret becomes a typed marker, `[secret:aws-key:3f9a]`; the same secret always gets the same
marker on this machine (a digest keyed with a salt in the state folder). Found are the known forms
of keys and values that are assigned to names like `password`. Git ids, UUIDs, hashes, paths and
encoded images stay. This is a net, not a wall: a secret in an unknown form passes through.

Time is linear: literals are looked for first, and each pattern is tried only where one was found,
at the left border of a word, over a bounded length.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rlm_mcp import config

_B64 = r"[A-Za-z0-9+/_-]"


@dataclass(frozen=True, slots=True)
class Rule:
    """A form of secret: `pattern` is matched where one of `literals` begins.

    The named group `s`, or the whole match, is the secret. `fits` may refuse it.
    """

    kind: str
    literals: tuple[str, ...]
    pattern: re.Pattern[str]
    fits: Callable[[re.Match[str]], bool] | None = None
    inside: bool = False
    """Whether the literal may begin inside a word (DB_PASSWORD)."""
    any_case: bool = False


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
    salt, parts, done = _salt(), [], 0
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
    lowered = ""
    found: list[Secret] = []
    for rule in RULES:
        if rule.any_case and not lowered:
            lowered = _lower(text)
        for literal in rule.literals:
            found += _matches(rule, literal, text, lowered if rule.any_case else text)
    found.sort(key=lambda secret: secret.start)
    kept: list[Secret] = []
    for secret in found:
        if not kept or secret.start >= kept[-1].end:
            kept.append(secret)
    return kept


def _lower(text: str) -> str:
    """Return `text` in lower case with every character where it was."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)


def _matches(rule: Rule, literal: str, text: str, searched: str) -> Iterator[Secret]:
    at = searched.find(literal)
    while at >= 0:
        end = at + len(literal)
        if rule.inside or at == 0 or not (text[at - 1].isalnum() or text[at - 1] in "_-"):
            match = rule.pattern.match(text, at)
            if match and (rule.fits is None or rule.fits(match)):
                start, end = match.span("s" if "s" in rule.pattern.groupindex else 0)
                yield Secret(start, end, rule.kind)
        at = searched.find(literal, end)


_FILLERS = re.compile(
    r"(?i)x{4,}|\*{3,}|\.{3,}|example|placeholder|change.?me|your[-_ ]|dummy|redacted|<|>|\$\{|\{\{"
    r"|%\(|\[secret:"
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_HEX = re.compile(r"[0-9a-f]+\Z|[0-9A-F]+\Z")
_NAME = re.compile(r"[A-Za-z_]+(?:[.-][A-Za-z_]+)*\Z|[A-Z][A-Z0-9_]*\Z|[a-z][a-z0-9_]*\Z|[\d.,]+\Z")


def _classes(value: str) -> int:
    """Return how many kinds of characters a value mixes."""
    kinds = ("[a-z]", "[A-Z]", "[0-9]", "[^A-Za-z0-9]")
    return sum(re.search(kind, value) is not None for kind in kinds)


def entropy(value: str) -> float:
    """Return the Shannon entropy of a value's characters, in bits a character."""
    size = len(value)
    return -sum(n / size * math.log2(n / size) for n in Counter(value).values())


def _is_value(match: re.Match[str]) -> bool:
    """Say whether a quoted value that was assigned to a secret's name is one."""
    value = match["s"]
    if _FILLERS.search(value) or (_UUID.match(value) and "token" in match[0].lower()[:24]):
        return False
    return _classes(value) >= 2 and not (_NAME.match(value) and _classes(value) < 3)


def _is_bare(match: re.Match[str]) -> bool:
    """Say whether an unquoted value is a secret rather than code."""
    value = match["s"]
    if _FILLERS.search(value) or _NAME.match(value) or _UUID.match(value):
        return False
    if _HEX.match(value):
        return len(value) >= 32
    return _classes(value) >= 3 and entropy(value) >= 3.0


def _is_random(match: re.Match[str]) -> bool:
    value = match["s"] if "s" in match.re.groupindex else match[0]
    return not _FILLERS.search(value) and _classes(value) >= 2 and entropy(value) >= 2.5


_KEYWORDS = (
    "passw", "passphrase", "secret", "token", "api_key", "apikey", "api-key", "access_key",
    "accesskey", "private_key", "auth_key", "credential", "signing_key", "encryption_key",
)  # fmt: skip
_ASSIGN = (
    r"(?i:passw(?:or)?d|passphrase|(?:client_?)?secret(?:_?(?:access_?)?key)?|token"
    r"|api[_-]?key|access_?key|private_key|auth_key|credentials?|signing_key|encryption_key)"
    r"(?i:[_-]?(?:value|string|prod|dev|test|live|[0-9]))?[\"']?\]?"
)

RULES: tuple[Rule, ...] = (
    Rule(
        "private-key",
        ("-----BEGIN ",),
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            r"(?:(?:(?!-----)[\s\S]){0,20000}-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            r"|(?:[\s\\nr\"',]{0,12}[A-Za-z0-9+/=]{16,}){0,400})"
        ),
        inside=True,
    ),
    Rule(
        "aws-key",
        ("AKIA", "ASIA", "ABIA", "ACCA"),
        re.compile(r"A[KSBC][IC]A[A-Z0-9]{16}(?![A-Z0-9])"),
    ),
    Rule(
        "github-token",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
        re.compile(r"gh[a-z]_[A-Za-z0-9]{36,255}"),
    ),
    Rule("github-token", ("github_pat_",), re.compile(r"github_pat_[A-Za-z0-9_]{22,255}")),
    Rule("gitlab-token", ("glpat-",), re.compile(r"glpat-[A-Za-z0-9_.-]{20,200}")),
    Rule("anthropic-key", ("sk-ant-",), re.compile(r"sk-ant-[A-Za-z0-9_-]{16,250}"), _is_random),
    Rule(
        "openai-key",
        ("sk-",),
        re.compile(r"sk-(?!ant-)(?:[a-z]{2,10}-)?[A-Za-z0-9_-]{20,250}(?![A-Za-z0-9])"),
        lambda match: _is_random(match) and _classes(match[0][3:].replace("-", "")) >= 3,
    ),
    Rule("google-key", ("AIza",), re.compile(r"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])")),
    Rule(
        "google-token", ("ya29.", "GOCSPX-"), re.compile(r"(?:ya29\.|GOCSPX-)[A-Za-z0-9_-]{20,500}")
    ),
    Rule(
        "slack-token", ("xox", "xapp-"), re.compile(r"(?:xox[abceoprs]|xapp)-[A-Za-z0-9-]{10,250}")
    ),
    Rule(
        "slack-webhook",
        ("hooks.slack.com/services/",),
        re.compile(
            r"hooks\.slack\.com/services/(?P<s>"
            r"T[A-Z0-9]{6,14}/B[A-Z0-9]{6,14}/[A-Za-z0-9]{16,40})"
        ),
    ),
    Rule(
        "stripe-key",
        ("sk_live_", "rk_live_", "sk_test_", "whsec_"),
        re.compile(r"(?:[rs]k_(?:live|test)|whsec)_[A-Za-z0-9]{16,250}"),
    ),
    Rule("npm-token", ("npm_",), re.compile(r"npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])")),
    Rule("pypi-token", ("pypi-AgE",), re.compile(r"pypi-AgE[A-Za-z0-9_-]{40,500}")),
    Rule(
        "huggingface-token",
        ("hf_",),
        re.compile(r"hf_[A-Za-z0-9]{30,60}(?![A-Za-z0-9_])"),
        _is_random,
    ),
    Rule("sendgrid-key", ("SG.",), re.compile(r"SG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{40,50}")),
    Rule("digitalocean-token", ("dop_v1_", "doo_v1_"), re.compile(r"do[op]_v1_[a-f0-9]{64}")),
    Rule("age-key", ("AGE-SECRET-KEY-1",), re.compile(r"AGE-SECRET-KEY-1[A-Z0-9]{50,70}")),
    Rule(
        "azure-key",
        ("AccountKey=", "SharedAccessKey="),
        re.compile(r"(?:Account|SharedAccess)Key=(?P<s>[A-Za-z0-9+/]{40,90}={0,2})"),
        inside=True,
    ),
    Rule(
        "jwt",
        ("eyJ",),
        re.compile(r"eyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{8,2000}"),
    ),
    Rule(
        "bearer",
        ("bearer ",),
        re.compile(rf"(?i:bearer) {{1,4}}(?P<s>{_B64}[A-Za-z0-9._~+/-]{{15,4000}}={{0,2}})"),
        _is_random,
        any_case=True,
    ),
    Rule(
        "basic-auth",
        ("authorization",),
        re.compile(
            r"(?i:authorization)[\"']?\s{0,4}[:=,]\s{0,4}[\"']?"
            r"(?i:basic) {1,4}(?P<s>[A-Za-z0-9+/]{8,400}={0,2})"
        ),
        inside=True,
        any_case=True,
    ),
    Rule(
        "url-password",
        ("://",),
        re.compile(r"://[^\s:/@\"'<>?#]{0,100}:(?P<s>[^\s:/@\"'<>?#]{3,200})@[A-Za-z0-9_\[.-]"),
        lambda match: not _FILLERS.search(match["s"]) and match["s"][0] not in "${%",
        inside=True,
    ),
    Rule(
        "password",
        _KEYWORDS,
        re.compile(
            _ASSIGN + r"\s{0,8}(?::\s{0,4}(?:str|string|String)\s{0,4}=|:=|=>|[=:,])\s{0,8}"
            r"[bru@]?(?P<q>[\"'`])(?P<s>[^\s\"'`]{6,300})(?P=q)"
        ),
        _is_value,
        inside=True,
        any_case=True,
    ),
    Rule(
        "password",
        _KEYWORDS,
        re.compile(
            _ASSIGN + r"\s{0,4}[=:]\s{0,4}(?P<s>"
            r"[A-Za-z0-9!#%&*+/?@^_~=.-]{8,300})(?![^\s,;&)\]}\"'])"
        ),
        _is_bare,
        inside=True,
        any_case=True,
    ),
)

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
