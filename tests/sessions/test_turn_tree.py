"""Messages are found again, however many readings they came in."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from rlm_mcp.sessions import tables, turn_tree
from rlm_mcp.sessions.turn_tree import NativeIdMap


def test_every_message_is_found_after_many_readings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn_tree, "RECENT_LIMIT", 50)
    db = tables.open_database(tmp_path / "index.sqlite", "1")
    rng = random.Random(3)
    known: dict[int, int] = {}
    for _ in range(60):
        one = NativeIdMap(db, 1)
        for _ in range(rng.randint(0, 120)):
            key = rng.choice([*known, 0])
            key = key if rng.random() < 0.1 and known else rng.getrandbits(63)
            known[key] = one[key] = rng.randint(0, 1 << 20)
            one.compact_recent()
        one.save_map()
    last = NativeIdMap(db, 1)
    assert {key: last.get(key) for key in known} == known
    assert last.get(rng.getrandbits(63)) is None
    assert NativeIdMap(db, 2).get(next(iter(known))) is None
    assert db.execute("SELECT count(*) FROM nodes").fetchone()[0] < 14
    db.close()
