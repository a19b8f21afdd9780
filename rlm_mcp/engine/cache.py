"""Finished replies, by what was asked: SQLite (WAL) in the state folder.

A reply is committed before it is handed on, so that a killed run never pays for it twice. The
key is a digest of model, parameters and every text of the request. Texts are redacted before
they come here. Nothing here commits: `disk` does, for all that waits. Several processes may share
the file.
"""

from __future__ import annotations

import hashlib
import json
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

from rlm_mcp.engine.write_queue import open_or_replace
from rlm_mcp.models import ModelReply, ModelRequest, TokenUsage

KEEP_BYTES = 512 << 20
"""Size of the file from which the replies that were not used for longest are dropped."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS reply (
    key BLOB PRIMARY KEY, model TEXT NOT NULL, text TEXT NOT NULL, stop TEXT NOT NULL,
    usage TEXT NOT NULL, cost REAL, used REAL NOT NULL
) STRICT, WITHOUT ROWID
"""


def request_key(spec: str, request: ModelRequest, texts: tuple[str, ...] | None = None) -> bytes:
    """Return the digest of a request.

    `texts` stands for the messages where parts of them must not count (what a root is told of
    its budget differs between two runs that are otherwise the same).
    """
    if texts is None:
        texts = tuple(message.text for message in request.messages)
    digest = hashlib.blake2b(digest_size=20)
    # What a root may write follows from what is left, as the budget that it is told does.
    most = 0 if request.purpose == "root" else request.max_tokens
    parameters = [spec, most, request.temperature, list(request.stop)]
    roles = [message.role for message in request.messages]
    for part in (json.dumps([parameters, roles]), request.system, *texts):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.digest()


class ReplyCache:
    """The stored replies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.db = open_or_replace(path, _SCHEMA)
        self._trim_file()

    def get_reply(self, wanted: bytes) -> ModelReply | None:
        """Return the stored reply, as it came."""
        row = self.db.execute(
            "SELECT text, usage, model, cost, stop FROM reply WHERE key = ?", (wanted,)
        ).fetchone()
        if row is None:
            return None
        text, usage, model, cost, stop = row
        try:
            *numbers, seal = json.loads(usage)
            whole = seal == _row_checksum(wanted, model, text, stop, numbers, cost)
        except ValueError:
            whole = False
        # SQLite does not notice a bit that another program changed; asked again, it is right.
        return ModelReply(text, TokenUsage(*numbers), model, cost, stop) if whole else None

    def put_reply(self, wanted: bytes, reply: ModelReply) -> None:
        """Store a reply."""
        usage = reply.usage
        numbers = [usage.input, usage.output, usage.cache_read, usage.cache_write]
        seal = _row_checksum(wanted, reply.model, reply.text, reply.stop, numbers, reply.cost_usd)
        self.db.execute(
            "INSERT OR REPLACE INTO reply VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                wanted,
                reply.model,
                reply.text,
                reply.stop,
                json.dumps([*numbers, seal]),
                reply.cost_usd,
                time.time(),
            ),
        )

    def drop_replies(self, keys: Sequence[bytes]) -> None:
        """Drop the replies under these keys."""
        self.db.executemany("DELETE FROM reply WHERE key = ?", [(key,) for key in keys])

    def _trim_file(self) -> None:
        if not self._path.exists() or self._path.stat().st_size <= KEEP_BYTES:
            return
        with self.db:
            self.db.execute(
                "DELETE FROM reply WHERE used < (SELECT used FROM reply ORDER BY used LIMIT 1 "
                "OFFSET (SELECT count(*) / 2 FROM reply))"
            )
        self.db.execute("VACUUM")


def _row_checksum(key: bytes, *values: object) -> int:
    """Return the checksum of a reply's row, kept behind its usage."""
    return zlib.crc32(json.dumps(values).encode(), zlib.crc32(key))
