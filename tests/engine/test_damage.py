"""A damaged or unwritable state folder: said in a sentence, and in nobody's way."""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp import config
from rlm_mcp.engine.budget import DailySpend
from rlm_mcp.engine.cache import ReplyCache
from rlm_mcp.errors import BudgetSpent
from rlm_mcp.models import ModelReply, Price, TokenUsage
from tests.engine.conftest import Desks, run, scripted

STORES = ("answers.sqlite", "spend.sqlite")


def write_garbage(path: Path) -> None:
    """Put something else in a file's place."""
    path.write_bytes(b"garbage" * 500)


def zero_page(path: Path) -> None:
    """Overwrite the second page, where the table is."""
    data = bytearray(path.read_bytes())
    data[4096:8192] = bytes(4096)
    path.write_bytes(data)


def cut_short(path: Path) -> None:
    """Leave the first page and a bit."""
    path.write_bytes(path.read_bytes()[:5000])


def put_foreign(path: Path) -> None:
    """Put a database of another program in its place."""
    path.unlink()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE reply (something TEXT)")
    other.execute("CREATE TABLE day (something TEXT)")
    other.commit()
    other.close()


DAMAGES: list[Callable[[Path], None]] = [write_garbage, zero_page, cut_short, put_foreign]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("store", STORES)
def test_a_damaged_store_is_told_and_search_goes_on(
    desk: Desks, store: str, damage: Callable[[Path], None]
) -> None:
    price = Price(1.0, 5.0, 0.1, 1.25, "2026-01-01")

    async def use_once() -> None:
        async with desk() as d:
            d.use(scripted([], price=price))
            await d.workspace.call_tool("llm_query", {"prompt": "Say it."})

    async def use_damaged() -> tuple[str, str]:
        async with desk() as d:
            d.use(scripted([], price=price))
            found = await d.workspace.call_tool("grep", {"pattern": "line 7 of"})
            try:
                said = await d.workspace.call_tool("llm_query", {"prompt": "Say something else."})
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
            return found, said

    run(use_once())
    damage(config.state_dir() / store)
    found, said = run(use_damaged())
    assert "4 matching lines" in found
    if store == "spend.sqlite":
        assert "spend.sqlite" in said and "No paid call is made" in said
    else:
        assert "ok" in said
        assert list(config.state_dir().glob(f"{store}.broken-*"))
        assert "ok" in run(use_damaged())[1]


def test_a_stored_reply_with_another_bit_is_asked_again(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path / "a.sqlite")
    reply = ModelReply("limit = 1000", TokenUsage(3, 4), "m", 0.1)
    cache.put_reply(b"key", reply)
    got = cache.get_reply(b"key")
    assert got is not None and got.text == reply.text
    for change in ("text = 'limit = 9000'", "stop = 'stop'", "usage = '[1,1,1,1]'", "cost = 9"):
        cache.put_reply(b"key", reply)
        cache.db.execute(f"UPDATE reply SET {change}")
        assert cache.get_reply(b"key") is None, change
    cache.db.close()


def test_a_damaged_record_of_spending_refuses_paid_calls_and_names_the_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "spend.sqlite"
    path.write_bytes(b"garbage" * 500)
    day = DailySpend(path, 5.0)
    with pytest.raises(BudgetSpent, match=r"spend\.sqlite"):
        day.hold_nano(1)
    assert path.read_bytes() == b"garbage" * 500  # what a person may want to look at
    day.db.close()


RUN = "from rlm_mcp.cli import main; main()"
SCRIPT = {"rules": [{"match": ".", "reply": "It holds lines."}], "repeat": True}


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE")
@pytest.mark.parametrize("limit_kb", [0, 1, 4, 9, 13, 20, 33, 50])
def test_where_no_file_may_grow_a_question_ends_in_a_sentence_or_an_answer(
    limit_kb: int, tmp_path: Path
) -> None:
    """The system refuses the write that passes the limit, whichever of ours it is."""
    (tmp_path / "f.txt").write_text("a line\n" * 100)
    (tmp_path / "script.json").write_text(json.dumps(SCRIPT))
    environment = {**os.environ, "RLM_MCP_STATE_DIR": str(tmp_path / "state")}
    environment["RLM_MCP_CACHE_DIR"] = str(tmp_path / "cache")
    done = subprocess.run(
        [
            sys.executable, "-c", RUN, "ask", "What?", "--json", "--open", "f.txt",
            "--model", f"fake:{tmp_path / 'script.json'}", "--mode", "direct",
        ],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (limit_kb * 1024, resource.RLIM_INFINITY)
        ),
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (0, 3, 4), done.stderr
    told = json.loads(done.stdout)
    assert {"answer", "status", "coverage", "cost_usd", "reason"} <= told.keys()
    if told["status"] == "failed":
        assert done.returncode == 4 and told["reason"]
