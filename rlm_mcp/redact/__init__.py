"""Take secrets out of text that leaves: replies, prompts, cache, trajectories, logs.

A secret becomes a typed marker, `[secret:aws-key:3f9a]`; the same secret always gets the same
marker on this machine (a digest keyed with a salt in the state folder). Found are the known forms
of keys (`known`), and values that stand where secrets do (`forms`). Git ids, UUIDs, hashes, paths
and encoded images stay. This is a net, not a wall: a secret in an unknown form passes through.

Text is redacted first and cut then: `window` looks at what is around a cut.
"""

from __future__ import annotations

import bisect
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from rlm_mcp import config, files
from rlm_mcp.redact.forms import RULES
from rlm_mcp.redact.rules import Secret

__all__ = [
    "REACH",
    "RULES",
    "Secret",
    "count",
    "find",
    "marker",
    "redact",
    "redact_lines",
    "window",
]

REACH = 24_000
"""Characters beside a cut in which a secret that crosses it begins or ends: the longest form, a
private key, has 20,000."""
SALT_BYTES = 32
_APART = "\n\0\n"
"""Stands between texts of which no secret reaches into the next."""


def redact(text: str) -> str:
    """Return `text` with every secret replaced by its marker; a second pass changes nothing."""
    return _marked(text, find(text), 0, len(text), lines=False)


def window(text: str, start: int, end: int) -> str:
    """Return text[start:end] without secrets, also without those that begin or end outside of it.

    Each line stays one line, so that lines can be counted from the start.
    """
    low = max(0, start - REACH)
    secrets = find(text[low : end + REACH])
    moved = [Secret(one.start + low, one.end + low, one.kind) for one in secrets]
    return _marked(text, moved, start, min(end, len(text)), lines=True)


def redact_lines(texts: Sequence[str]) -> tuple[list[str], set[int]]:
    """Return texts, whole lines each, without the secrets in them, line by line as they were; and
    the numbers of those that may be a part of a secret which begins above them.
    """
    starts, size = [], 0
    for text in texts:
        starts.append(size + len(_APART))
        size += len(_APART) + len(text)
    joined = _APART.join(("", *texts, ""))
    secrets, parts = RULES.secrets_and_parts(joined)
    clean = list(texts)
    found: dict[int, list[Secret]] = {}
    for secret in secrets:
        number = bisect.bisect_right(starts, secret.start) - 1
        start = starts[number]
        moved = Secret(secret.start - start, secret.end - start, secret.kind)
        found.setdefault(number, []).append(moved)
    for number, inside in found.items():
        clean[number] = _marked(texts[number], inside, 0, len(texts[number]), lines=True)
    return clean, {bisect.bisect_right(starts, place + 1) - 1 for place in parts}


def count(text: str) -> int:
    """Return how many secrets `redact` would replace."""
    return len(find(text))


def marker(kind: str, secret: str, salt: bytes) -> str:
    """Return the marker of a secret under a salt."""
    raw = secret.encode("utf-8", "surrogatepass")
    return f"[secret:{kind}:{hashlib.blake2b(raw, digest_size=2, key=salt).hexdigest()}]"


def find(text: str) -> list[Secret]:
    """Return the secrets in `text`, in order, none overlapping another."""
    return RULES.secrets(text)


def _marked(text: str, secrets: list[Secret], start: int, end: int, *, lines: bool) -> str:
    """Return a part of a text with markers in the place of the secrets that overlap it."""
    shown = [secret for secret in secrets if secret.end > start and secret.start < end]
    if not shown:
        return text[start:end]
    salt = _salt()
    parts: list[str] = []
    for secret in shown:
        found = text[secret.start : secret.end]
        parts += [text[start : secret.start], marker(secret.kind, found, salt)]
        if lines:
            parts.append("\n" * text.count("\n", max(start, secret.start), min(end, secret.end)))
        start = secret.end
    return "".join([*parts, text[start:end]])


_salts: dict[Path, bytes] = {}


def _salt() -> bytes:
    """Return this installation's salt, made on first use; readable by its owner alone."""
    path = config.state_dir() / "redact.salt"
    if path not in _salts:
        plain = path.is_file() and not path.is_symlink() and path.stat().st_size == SALT_BYTES
        known = files.private_file(path).read_bytes() if plain else b""
        if len(known) != SALT_BYTES:  # none yet, a link, or not what was written
            path.unlink(missing_ok=True)
            fresh = path.with_name(f"redact.salt.{os.getpid()}.{os.urandom(4).hex()}")
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(os.urandom(SALT_BYTES))
            try:
                os.link(fresh, path)  # loses to another process without harm
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
            known = path.read_bytes()
        _salts[path] = known
    return _salts[path]
