"""A process that carries out one run over 40 sub-calls and may be killed at any time.

`python -m tests.engine.victim LOG`: each call that a provider would bill is a line in LOG.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from rlm_mcp import promptbook, toolbox
from rlm_mcp.config import Settings
from rlm_mcp.engine.workspace import Workspace
from rlm_mcp.models.fake import Fake
from rlm_mcp.models.model import ModelRequest

CALLS = 40
WIDTH = 4
CELLS = (
    "print(len(repo))",
    f"a = llm_query_batched([f'part {{n}}' for n in range({CALLS})])\nprint(a.done)",
    "FINAL(' '.join(a))",
)


async def main(log: Path) -> None:
    """Carry out the run and print its answer."""
    folder = log.parent / "folder"
    folder.mkdir(exist_ok=True)
    (folder / "a.txt").write_text("text\n" * 9_000)
    file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    async def reply(request: ModelRequest) -> str:
        turn = sum(message.role == "assistant" for message in request.messages)
        name = request.messages[-1].text.partition("\n")[0]
        what = f"root {turn}" if request.purpose == "root" else name
        os.write(file, f"{what}\n".encode())
        await asyncio.sleep(random.uniform(0.001, 0.02))
        if request.purpose == "root":
            return f"```repl\n{CELLS[turn]}\n```"
        return what.replace(" ", "-")

    tools = {tool.name: tool.source for tool in toolbox.read_tools()}
    settings = Settings(roots=(folder,), concurrency=WIDTH)
    workspace = Workspace(settings, tools, promptbook.read_prompts().texts_by_name)
    workspace.services.loaded_models[""] = Fake(replies=reply)
    try:
        print("begin", flush=True)
        result = await workspace.run_query("What is in all parts?", mode="recursive")
    finally:
        await workspace.close()
    print(result.status, result.calls, result.cached, result.answer, flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
