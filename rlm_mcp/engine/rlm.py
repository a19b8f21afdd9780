"""A run with the interface of a model call.

    from rlm_mcp import RLM
    answer = RLM(model="anthropic:claude-sonnet-5-5").complete("What changed?", context=text)

The context is a text of any size, a path (file or folder), or a list of both. The answer is a
str with the whole result beside it (`answer.result`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rlm_mcp import config, promptbook, toolbox
from rlm_mcp.engine.budget import Allowance
from rlm_mcp.engine.workspace import Workspace
from rlm_mcp.errors import BadRequest

if TYPE_CHECKING:
    from rlm_mcp.engine.job import Result
    from rlm_mcp.variable import Variable

Context = str | Path | Sequence[str | Path] | None


class Completion(str):
    """The answer as a str; `result` holds status, evidence, coverage and cost."""

    result: Result


class RLM:
    """A recursive language model: `complete` is one run over a context.

    `model` and `sub_model` are specs such as "anthropic:NAME"; empty means the default model.
    `budget` lowers limits by name: usd, calls, seconds, input_tokens, output_tokens, depth,
    iterations, errors. `settings` are the user's own unless given. Nothing stays open between
    two calls.
    """

    def __init__(
        self,
        model: str = "",
        sub_model: str = "",
        budget: Mapping[str, float] | None = None,
        *,
        mode: str = "auto",
        settings: config.Settings | None = None,
    ) -> None:
        self.model, self.sub_model, self.mode = model, sub_model, mode
        self.settings = settings if settings is not None else config.load_settings()
        self.budget = dict(budget or {})
        Allowance.from_settings(self.settings).with_limits(
            **self.budget
        )  # a wrong name is told here

    def complete(self, prompt: str, context: Context = None) -> Completion:
        """Answer `prompt` about `context`: a text, a path (file or folder), or a list of both.

        Raises RlmError. Inside a running event loop use `acomplete`.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self.acomplete(prompt, context))
        raise BadRequest(
            "An event loop runs here already (as in a notebook); use `await rlm.acomplete(...)`."
        )

    async def acomplete(self, prompt: str, context: Context = None) -> Completion:
        """Answer like `complete`, inside an event loop; cancelling the task stops the run."""
        paths, texts = _split_context(context)
        roots = tuple(path if path.is_dir() else path.parent for path in paths)
        settings = replace(self.settings, roots=roots or (Path.cwd(),))
        tools = {tool.name: tool.source for tool in toolbox.read_tools()}
        workspace = Workspace(settings, tools, promptbook.read_prompts().texts_by_name)
        try:
            opened = await asyncio.to_thread(_open_variables, workspace, paths, texts)
            result = await workspace.run_query(
                prompt,
                refs=tuple(opened),
                contexts=tuple(opened),
                mode=self.mode,
                model=self.model,
                sub_model=self.sub_model,
                budget=dict(self.budget),
                variables={name: v for name, v in opened.items() if v is not None},
            )
        finally:
            await workspace.close()
        completion = Completion(result.answer)
        completion.result = result
        return completion


def _split_context(context: Context) -> tuple[list[Path], list[str]]:
    items: object = [context] if isinstance(context, str | Path) else context or []
    if not isinstance(items, Sequence) or not all(isinstance(item, str | Path) for item in items):
        raise BadRequest(
            f"context is a str, a Path or a list of them, not {type(context).__name__}; decode it, "
            "or write it as text, first."
        )
    paths = [item.expanduser().absolute() for item in items if isinstance(item, Path)]
    for path in paths:
        if not path.exists():
            raise BadRequest(f"There is no file or folder {path}.")
    return paths, [item for item in items if isinstance(item, str)]


def _open_variables(
    workspace: Workspace, paths: Sequence[Path], texts: Sequence[str]
) -> dict[str, Variable | None]:
    """Return the variables of a completion by name; None for those that the catalog holds."""
    opened: dict[str, Variable | None] = {}
    if texts:
        items = [
            (f"text{number}" if len(texts) > 1 else "text", text.encode("utf-8", "surrogatepass"))
            for number, text in enumerate(texts, 1)
        ]
        opened["context"] = workspace.services.open_texts(
            "context", "texts that were handed over", items
        )
    for path in paths:
        opened[workspace.catalog.open_context(str(path)).name] = None
    return opened
