"""Take secrets out of text that leaves: replies, prompts, cache, trajectories, logs.

A secret becomes a typed marker, `[secret:aws-key:3f9a]`; the same secret always gets the same
marker on this machine (a digest keyed with a salt in the state folder). Found are the known forms
of keys, and values that are assigned to names like `password`. Git ids, UUIDs, hashes, paths and
encoded images stay. This is a net, not a wall: a secret in an unknown form passes through.

`forms` holds the forms, `checks` says of what fits one whether it is a secret.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from pathlib import Path

from rlm_mcp import config
from rlm_mcp.redact.forms import RULES, Secret

__all__ = ["RULES", "Secret", "count", "find", "marker", "redact"]

SHORT = 48
"""Characters up to which one search for all beginnings is faster than one for each."""


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
