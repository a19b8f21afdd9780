"""Ask the embedded model as a user does: one run over a folder, whose refs must all be proven."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from rlm_mcp import promptbook, toolbox
from rlm_mcp.config import Settings
from rlm_mcp.engine import Result, Workspace


def run(folder: Path, question: str, source: str = "", refs: Sequence[str] = ()) -> Result:
    """Return the result of a run over the folder, or over one source under it."""

    async def whole() -> Result:
        settings = Settings(roots=(folder,), model="extractive:")
        tools = {tool.name: tool.source for tool in toolbox.read_tools()}
        workspace = Workspace(settings, tools, promptbook.read_prompts().texts_by_name)
        try:
            if source in ("", "repo", "history", "logs"):
                return await workspace.run_query(
                    question, refs=refs or ([source] if source else [])
                )
            return await workspace.run_query(
                question, refs=[workspace.catalog.open_context(source).name]
            )
        finally:
            await workspace.close()

    return asyncio.run(whole())


def ask(folder: Path, question: str, source: str = "", refs: Sequence[str] = ()) -> str:
    """Return the answer of a complete run, of which no ref and no quote is false."""
    result = run(folder, question, source, refs)
    assert (result.status, result.cost_usd, result.calls) == ("complete", 0.0, 1), result.reason
    assert result.answer.startswith("No model was used")
    assert [proof.ref for proof in result.evidence if proof.verified is False] == []
    return result.answer
