"""Say of what fits a form whether it is a secret: filler words, names, ids and code are none."""

from __future__ import annotations

import base64
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping

_FILLERS = re.compile(
    r"x{4,}|\*{3,}|\.{3,}|example|placeholder|change.?me|your[-_ ]|dummy|redacted|<|>|\$|\{|%\("
    r"|\[secret:|process\.env|environ",
    re.IGNORECASE,
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_HEX = re.compile(r"[0-9a-f]{7,128}\Z|[0-9A-F]{7,128}\Z")
_CODE = re.compile(r"[A-Za-z_]\w*(?:[.:/?!-]+[A-Za-z_]\w*)*(?:\(\)|[.:])?\Z")
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
_WHOLE = re.compile(r"sk-ant-[a-z]{3,5}\d\d-[A-Za-z0-9_-]{40}")


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


def _is_whole(value: str, whole: str) -> bool:
    """Say whether a value is as long as its maker's keys, whatever it is made of, or random."""
    full = _WHOLE.match(value) is not None and not _FILLERS.search(value)
    return full or _is_random(value, whole)


def _is_typed(value: str, whole: str) -> bool:
    """Say whether what a person passes a program as a password is one, not a variable or port."""
    return not _FILLERS.search(value) and not value.isdigit()


def _is_login(value: str, whole: str) -> bool:
    """Say whether an encoded value is a name and a password."""
    try:
        return b":" in base64.b64decode(value, validate=True)
    except ValueError:
        return False


_KEY = re.compile(
    rb"sk-ant-[a-z0-9-]{3,}|AKIA[A-Z0-9]{16}|ghp_[A-Za-z0-9]{36}|github_pat_\w{22}"
    rb"|-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY"
)


def _is_key(value: str, whole: str) -> bool:
    """Say whether a value in base64 is a key."""
    plain = value.rstrip("=").replace("-", "+").replace("_", "/")
    plain = plain[:-1] if len(plain) % 4 == 1 else plain
    return _KEY.match(base64.b64decode(plain + "=" * (-len(plain) % 4))) is not None


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
    "anthropic_key": _is_whole,
    "openai_key": lambda value, whole: _is_random(value, whole) and bool(_DIGITS.search(value)),
    "huggingface_token": _is_random,
    "encoded_key": _is_key,
    "bearer": _is_random,
    "url_password": lambda value, whole: not _FILLERS.search(value),
}
