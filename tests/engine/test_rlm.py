"""A run with the interface of a model call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rlm_mcp
from rlm_mcp import RLM
from rlm_mcp.config import Settings, state_dir
from rlm_mcp.engine.rlm import Context
from rlm_mcp.errors import BadRequest
from tests.engine.conftest import cell, scripted


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def use(*cells: str) -> Any:
        model = scripted(list(cells), lambda text: "direct: " + text[-40:])
        monkeypatch.setattr("rlm_mcp.models.choose_model", lambda spec, settings: model)
        monkeypatch.setattr("rlm_mcp.engine.services.Services.get_model", lambda self, spec: model)
        return model

    return use


def test_it_is_exported_without_being_imported() -> None:
    assert "RLM" in dir(rlm_mcp) and rlm_mcp.RLM is RLM


def test_a_text_of_any_size_is_a_context(models: Callable[..., Any], tmp_path: Path) -> None:
    models(cell("h = grep('needle', 'context')\nFINAL(h[0].ref + ' `' + h[0].text + '`')"))
    text = "hay\n" * 500_000 + "the needle is 7\n" + "hay\n" * 500_000
    rlm = RLM(settings=Settings(roots=(tmp_path,)), mode="recursive")
    answer = rlm.complete("What is the needle?", context=text)
    assert isinstance(answer, str) and "the needle is 7" in answer
    assert answer.result.status == "complete"
    assert [item.verified for item in answer.result.evidence] == [True]
    assert "500001" in answer.result.evidence[0].ref


def test_files_and_folders_are_contexts(models: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("alpha\n")
    (tmp_path / "b.txt").write_text("beta\n")
    models(cell("FINAL(str('alpha' in docs) + str('beta' in b) + str(len(context)))"))
    rlm = RLM(mode="recursive", settings=Settings(roots=(tmp_path,)))
    answer = rlm.complete("Both?", context=[tmp_path / "docs", tmp_path / "b.txt", "and text"])
    assert answer == "TrueTrue8"


def test_a_small_text_is_one_call(models: Callable[..., Any]) -> None:
    model = models()
    answer = RLM().complete("What?", context="small")
    assert answer.result.mode == "direct" and len(model.requests) == 1


def test_the_budget_is_a_hard_limit(models: Callable[..., Any]) -> None:
    models(cell("print(len(context))"))
    answer = RLM(budget={"calls": 3}, mode="recursive").complete("What?", context="x" * 9)
    assert answer.result.status == "failed" and answer.result.calls == 3
    with pytest.raises(BadRequest, match="Did you mean calls"):
        RLM(budget={"call": 3})


def test_the_async_twin_runs_inside_a_loop(models: Callable[..., Any]) -> None:
    models()

    async def go() -> list[str]:
        rlm = RLM()
        texts = [rlm.acomplete("What?", context=f"text {n}") for n in range(3)]
        return [str(answer) for answer in await asyncio.gather(*texts)]

    assert len(asyncio.run(go())) == 3


def test_nothing_stays_behind_but_the_record(models: Callable[..., Any]) -> None:
    models(cell("FINAL(str(len(context)))"))
    RLM(mode="recursive").complete("What?", context="y" * 100_000)
    assert list((state_dir() / "handles").iterdir()) == []
    assert list((state_dir() / "servers").iterdir()) == []
    assert len(list((state_dir() / "runs").iterdir())) == 1


@pytest.mark.parametrize("context", [Path("/nowhere/at/all"), [Path("/nowhere")]])
def test_a_path_that_does_not_exist_is_refused(context: Context) -> None:
    with pytest.raises(BadRequest, match="no file or folder"):
        RLM().complete("What?", context=context)


def test_inside_a_running_event_loop_the_asynchronous_twin_is_named(
    models: Callable[..., Any],
) -> None:
    models()

    async def notebook() -> str:
        with pytest.raises(BadRequest, match=r"await rlm\.acomplete"):
            RLM().complete("What?", context="small")
        return await RLM().acomplete("What?", context="small")

    assert asyncio.run(notebook()).startswith("direct: ")


@pytest.mark.parametrize("context", [b"bytes", 5, {"a": 1}, ["text", b"x"], [1]])
def test_a_context_of_another_type_is_refused(context: Any) -> None:
    with pytest.raises(BadRequest, match="context is a str, a Path or a list of them, not"):
        RLM(model="extractive:").complete("What is it?", context=context)
