"""The day's budget over several processes that share one file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rlm_mcp.engine.budget import NANO, DailySpend

CAP_USD = 0.5
SPENDER = """
import asyncio, random, sys
from pathlib import Path
from rlm_mcp.engine.budget import NANO, Allowance, Budget
from rlm_mcp.engine.cache import ReplyCache
from rlm_mcp.engine.calls import Account, Answer, ModelCalls
from rlm_mcp.engine.concurrency import Breaker
from rlm_mcp.engine.budget import DailySpend
from rlm_mcp.engine import sub_calls
from rlm_mcp.models.fake import Fake
from rlm_mcp.models.model import ModelReply, Price, TokenUsage

folder, name = Path(sys.argv[1]), sys.argv[2]
price = Price(1.0, 5.0, 0.1, 1.25, "2026-11-01")
chance = random.Random(name)
paid = 0

async def reply(request):
    global paid
    await asyncio.sleep(chance.uniform(0, 0.004))
    usage = TokenUsage(output=chance.randrange(1, request.max_tokens))
    paid += round(price.cost_usd(usage) * NANO)
    return ModelReply("ok", usage, "fake", price.cost_usd(usage))

async def run(calls, model, number):
    account = Account(Budget(Allowance()), Breaker(5), lambda type, **data: None)
    asks = sub_calls.prompt_calls([f"{name} {number} {n}" for n in range(30)], "sub", "", None)
    got = await calls.answer_all(model, asks, account)
    assert all(isinstance(item, Answer) or item.kind == "budget" for item in got), got

async def main():
    day = DailySpend(folder / "spend.sqlite", float(sys.argv[3]))
    calls = ModelCalls(ReplyCache(folder / f"{name}.sqlite"), day, 16)
    model = Fake(replies=reply, price=price)
    await asyncio.gather(*(run(calls, model, number) for number in range(2)))
    await calls.close()
    print(paid)

asyncio.run(main())
"""


def test_processes_that_share_a_day_never_pass_its_cap_together(tmp_path: Path) -> None:
    watch = DailySpend(tmp_path / "spend.sqlite", CAP_USD)
    command = [sys.executable, "-c", SPENDER, str(tmp_path)]
    workers = [
        subprocess.Popen([*command, name, str(CAP_USD)], stdout=subprocess.PIPE, text=True)
        for name in ("a", "b", "c")
    ]
    seen = [0.0]
    while any(worker.poll() is None for worker in workers):
        seen.append(watch.spent_usd())
    told = [worker.communicate(timeout=30)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    paid = sum(map(int, told))
    assert max(seen) <= CAP_USD  # settled and held together, at every look
    assert 0.5 * CAP_USD < paid / NANO <= CAP_USD
    assert watch.spent_usd() == pytest.approx(paid / NANO, abs=1e-6)  # nothing stays held
    watch.db.close()
