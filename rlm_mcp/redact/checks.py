"""Say of what fits a form whether it is a secret: filler words, names, ids and code are none."""

from __future__ import annotations

import base64
import math
import re
from collections import Counter

_FILLERS = re.compile(
    r"x{4,}|\*{3,}|\.{3,}|example|placeholder|change.?me|your[-_ ]|dummy|redacted|<|>|\$|\{|%\("
    r"|\[secret:|process\.env|environ",
    re.IGNORECASE,
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_HEX = re.compile(r"[0-9a-f]{7,128}\Z|[0-9A-F]{7,128}\Z")
_CODE = re.compile(r"[A-Za-z_]\w*(?:[.:/?!-]+[A-Za-z_]\w*)*(?:\(\)|[.:])?\Z")
_CALL = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+\Z|[\w.]*[(\[]")
_PATH = re.compile(r"(?:\.{0,2}/|[A-Za-z]:\\)[\w./\\-]*\Z")
_OWN_NAME = re.compile(r"pass|secret|token|key|credential|auth", re.IGNORECASE)
_LABEL = re.compile(
    r"(?:help|text|label|msg|message|prompt|error|title|hint|regex|file|path|policy|pattern|field"
    r"|name|dir|len|length|min|max)$",
    re.IGNORECASE,
)
_EXPLAINED = re.compile(
    r"(?:my|the|a|user|db|some|test)?[-_]?(?:p|pw|pwd|pass|passw|passwd|password|passphrase|secret"
    r"|token|apikey|api[-_]key|user|username|user-password|x-oauth-basic)s?[0-9]?\Z",
    re.IGNORECASE,
)
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


def _is_scrambled(value: str) -> bool:
    """Say whether letters of both cases stand as by chance, as in no name, whatever its style."""
    letters = [char for char in value if char.isalpha()]
    share = sum(map(str.isupper, letters)) / max(1, len(letters))
    return len(value) >= 24 and 0.3 <= share <= 0.7 and entropy(value) >= 4


def is_filled(value: str, match: re.Match[str]) -> bool:
    """Say whether a value is more than filler words."""
    return not _FILLERS.search(value)


def is_quoted(value: str, match: re.Match[str]) -> bool:
    """Say whether a quoted value that stands beside a secret's name is one."""
    whole = match[0]
    if _FILLERS.search(value) or (_UUID.match(value) and whole[:5].lower() == "token"):
        return False
    if _PATH.match(value) or _VERSION.match(value):
        return False
    password = whole[:4].lower() == "pass" or whole[:3].lower() == "pwd"
    if _HEX.match(value) and not password:
        return len(value) >= 32
    classes, digits = _classes(value), len(_DIGITS.findall(value))
    if _is_scrambled(value):
        return True
    if _CODE.match(value) and (not digits or _OWN_NAME.search(value)):
        return False
    if password:
        return classes >= 2 and bool(digits or classes >= 3)
    return classes >= 2 and len(value) >= 12 and (digits >= 2 or classes >= 3)


def is_bare(value: str, match: re.Match[str]) -> bool:
    """Say whether a value without quotes is a secret rather than code."""
    if _FILLERS.search(value) or _UUID.match(value) or value.replace(".", "").isdigit():
        return False
    if _HEX.match(value):
        return len(value) >= 32
    if _is_scrambled(value) and "." not in value:
        return True
    if _CODE.match(value) and ("." in value or len(_DIGITS.findall(value)) < 2):
        return False
    return _classes(value) >= 3 and entropy(value) >= 2.8


def is_literal(value: str, match: re.Match[str]) -> bool:
    """Say whether the value of a shell's or a file's variable, always meant as it is, is one."""
    name = match[0][: match.start(match.lastindex or 0) - match.start()].rstrip("\"'= :\t")
    if _FILLERS.search(value) or _LABEL.search(name) or _PATH.match(value) or _CALL.match(value):
        return False
    if value.isdigit() or _VERSION.match(value) or _EXPLAINED.match(value):
        return False
    return _DIGITS.search(value) is not None or _classes(value) >= 3 or value.count(" ") >= 2


def is_alone(value: str, match: re.Match[str]) -> bool:
    """Say the same of a value that ends its line, where nothing but its name stands before it."""
    text, start = match.string, match.start()
    lead = text[max(0, start - 80) : start]
    lead = lead[lead.rfind("\n") + 1 :]
    return re.fullmatch(r"\s*(?:- |export |set )?[\w.-]*", lead) is not None and (
        is_literal(value, match)
        and (_DIGITS.search(value) is not None)
        and not (_OWN_NAME.search(value) and _CODE.match(value))
    )


def is_random(value: str, match: re.Match[str]) -> bool:
    """Say whether a value in the form of a key is more than filler words."""
    if _FILLERS.search(value) or _UUID.match(value):
        return False
    return _classes(_OTHERS.sub("", value)) >= 2 and entropy(value) >= 3.0


def is_random_with_digits(value: str, match: re.Match[str]) -> bool:
    """Say the same, and that digits are in it, as words have none."""
    return bool(_DIGITS.search(value)) and is_random(value, match)


def is_sent(value: str, match: re.Match[str]) -> bool:
    """Say whether what a header sends is a secret, not code that makes one."""
    named = _CODE.match(value) is not None
    return is_user(value, match) or (not named and is_random_with_digits(value, match))


def is_user(value: str, match: re.Match[str]) -> bool:
    """Say whether the user of an URL is a token rather than a name, a host or a project."""
    likely = len(_DIGITS.findall(value)) >= 3 or _is_scrambled(value)
    return likely and is_random(value, match) and entropy(value) >= 3.5


def is_whole(value: str, match: re.Match[str]) -> bool:
    """Say whether a value is as long as its maker's keys, whatever it is made of, or random."""
    full = _WHOLE.match(value) is not None and not _FILLERS.search(value)
    return full or is_random(value, match)


def is_typed(value: str, match: re.Match[str]) -> bool:
    """Say whether what a person passes a program as a password is one, not a variable or port."""
    return not _FILLERS.search(value) and not value.isdigit()


def is_option(value: str, match: re.Match[str]) -> bool:
    """Say whether what follows an option of a command is a secret, not a word of its help."""
    if _FILLERS.search(value) or value.isdigit() or _PATH.match(value) or _CALL.match(value):
        return False
    if _EXPLAINED.match(value) or value[:1] in "-|[":
        return False
    return _DIGITS.search(value) is not None or _classes(value) >= 3


def is_element(value: str, match: re.Match[str]) -> bool:
    """Say whether the text of an element is a secret; its own name is none."""
    return not _FILLERS.search(value) and not _EXPLAINED.match(value) and not value.isdigit()


def is_password_of_url(value: str, match: re.Match[str]) -> bool:
    """Say whether what stands where a password does in an URL is one, not the word for it."""
    return not _FILLERS.search(value) and not _EXPLAINED.match(value)


def is_password_with_slash(value: str, match: re.Match[str]) -> bool:
    """Say the same of what holds a slash, which elsewhere ends a port."""
    return "/" in value and not re.match(r"\d{1,5}/", value) and is_password_of_url(value, match)


def is_password_of_pgpass(value: str, match: re.Match[str]) -> bool:
    """Say whether the fifth field of a line is a password: four others begin the line."""
    text, start = match.string, match.start()
    lead = text[max(0, start - 120) : start]
    lead = lead[lead.rfind("\n") + 1 :].lstrip("+-")
    return re.fullmatch(r"[\w.*-]{1,100}", lead) is not None and is_typed(value, match)


def is_login(value: str, match: re.Match[str]) -> bool:
    """Say whether an encoded value is a name and a password."""
    try:
        return b":" in base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except ValueError:
        return False


_KEY = re.compile(
    rb"sk-ant-[a-z0-9-]{3,}|AKIA[A-Z0-9]{16}|ghp_[A-Za-z0-9]{36}|github_pat_\w{22}"
    rb"|-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY"
)


def is_encoded_key(value: str, match: re.Match[str]) -> bool:
    """Say whether a value in base64 is a key."""
    plain = value.rstrip("=").replace("-", "+").replace("_", "/")
    plain = plain[:-1] if len(plain) % 4 == 1 else plain
    return _KEY.match(base64.b64decode(plain + "=" * (-len(plain) % 4))) is not None
