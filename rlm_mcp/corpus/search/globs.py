"""Select paths by a glob, in time linear in their length: a glob may come from anyone."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import re2

from rlm_mcp.errors import BadRequest


def select_paths(paths: Iterable[str], glob: str) -> list[str]:
    """Return the paths that match; `*` stays within a folder, `**` does not.

    A glob without a slash is matched with the file's name, in whatever folder it is; one that
    ends in a slash takes everything below. Raises BadRequest for a broken one.
    """
    if glob.endswith("/"):
        glob += "**"
    pattern = _compile_glob(glob)
    by_name = "/" not in glob
    chosen = []
    for path in paths:
        text = path.rsplit("/", 1)[-1] if by_name else path
        if pattern.fullmatch(text.encode("utf-8", "surrogateescape")):
            chosen.append(path)
    return chosen


@lru_cache(maxsize=64)
def _compile_glob(glob: str) -> re2._Regexp:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.dot_nl = True
    try:
        return re2.compile(_glob_to_regex(glob.removeprefix("./")), options)
    except re2.error as error:
        raise BadRequest(f"{glob!r} is no usable glob: {error}.") from None


def _glob_to_regex(glob: str) -> bytes:
    out: list[bytes] = []
    data = glob.encode("utf-8", "surrogateescape")
    at = 0
    while at < len(data):
        char = data[at : at + 1]
        if data[at : at + 3] == b"**/":
            out.append(b"(?:.*/)?")
            at += 3
        elif data[at : at + 2] == b"**":
            out.append(b".*")
            at += 2
        elif char == b"*":
            out.append(b"[^/]*")
            at += 1
        elif char == b"?":
            out.append(b"[^/]")
            at += 1
        elif char == b"[" and (end := data.find(b"]", at + 2)) > 0:
            body = data[at + 1 : end]
            negated = body[:1] in (b"!", b"^")
            body = body[1:] if negated else body
            out.append(b"[" + (b"^" if negated else b"") + body.replace(b"\\", b"\\\\") + b"]")
            at = end + 1
        elif char == b"{" and (end := data.find(b"}", at)) > 0:
            words = data[at + 1 : end].split(b",")
            out.append(b"(?:" + b"|".join(_alternative_to_regex(word) for word in words) + b")")
            at = end + 1
        else:
            out.append(re2.escape(char))
            at += 1
    return b"".join(out)


def _alternative_to_regex(data: bytes) -> bytes:
    return _glob_to_regex(data.decode("utf-8", "surrogateescape").replace("{", "[{]"))
