"""The scripted model that ships for tests."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from rlm_mcp.config import Settings
from rlm_mcp.errors import BadRequest, ModelError
from rlm_mcp.models import choose_model, fake
from rlm_mcp.models.fake import Fake
from rlm_mcp.models.model import ChatMessage, ModelReply, ModelRequest, Price, TokenUsage


def ask(model: Fake, text: str = "hello") -> ModelReply:
    return asyncio.run(model.complete(ModelRequest([ChatMessage("user", text)])))


def script(folder: Path, content: object) -> Fake:
    path = folder / "script.json"
    path.write_text(json.dumps(content))
    return fake.load_script(path)


def test_replies_come_in_the_order_of_the_calls() -> None:
    model = Fake(["one", "two"])
    assert [ask(model).text, ask(model).text] == ["one", "two"]
    assert len(model.requests) == 2


def test_a_script_that_has_run_out_fails_instead_of_inventing() -> None:
    model = Fake(["one"])
    ask(model)
    with pytest.raises(ModelError, match="all were used"):
        ask(model)


def test_a_script_may_begin_again() -> None:
    model = Fake(["one", "two"], repeat=True)
    assert [ask(model).text for _ in range(3)] == ["one", "two", "one"]


def test_a_callable_answers_from_the_request() -> None:
    model = Fake(lambda request: request.messages[-1].text.upper())
    assert ask(model, "abc").text == "ABC"


def test_an_async_callable_is_awaited() -> None:
    async def answer(request: ModelRequest) -> str:
        await asyncio.sleep(0)
        return "later"

    assert ask(Fake(answer)).text == "later"


def test_a_scripted_failure_is_raised_anew_each_time() -> None:
    scripted = ModelError("busy", kind="rate", retryable=True, retry_after_s=2.0)
    model = Fake([scripted, scripted])
    caught = []
    for _ in range(2):
        with pytest.raises(ModelError) as error:
            ask(model)
        caught.append(error.value)
    assert [error.retry_after_s for error in caught] == [2.0, 2.0]
    assert caught[0] is not caught[1]


def test_usage_is_counted_from_the_texts_and_never_zero() -> None:
    usage = ask(Fake(["a longer reply " * 10]), "a longer question " * 10).usage
    assert usage.input >= 45 and usage.output >= 37


def test_a_price_makes_a_cost() -> None:
    model = Fake(
        ["x"], usage=TokenUsage(1_000_000, 100_000), price=Price(1.0, 5.0, 0.1, 1.25, "today")
    )
    assert ask(model).cost_usd == pytest.approx(1.5)


def test_latency_lets_calls_overlap_and_the_peak_is_kept() -> None:
    model = Fake(["x"] * 5, latency_s=0.05)

    async def all_at_once() -> None:
        await asyncio.gather(
            *(model.complete(ModelRequest([ChatMessage("user", "q")])) for _ in range(5))
        )

    asyncio.run(all_at_once())
    assert model.peak == 5


def test_a_file_scripts_texts_replies_rules_and_failures(tmp_path: Path) -> None:
    model = script(
        tmp_path,
        {
            "replies": ["one", {"text": "cut", "stop": "max_tokens", "usage": {"input": 9}}],
            "rules": [
                {"match": "France", "reply": "Paris"},
                {"match": "busy", "reply": {"error": "rate", "retry_after_s": 3}},
            ],
        },
    )
    assert ask(model, "the capital of France?").text == "Paris"
    assert ask(model).text == "one"
    reply = ask(model)
    assert (reply.text, reply.stop, reply.usage.input) == ("cut", "max_tokens", 9)
    with pytest.raises(ModelError) as caught:
        ask(model, "are you busy?")
    assert (caught.value.kind, caught.value.retryable) == ("rate", True)
    assert caught.value.retry_after_s == 3


@pytest.mark.parametrize(
    "content",
    [
        {"repleis": []},
        {"replies": [{"error": "gone fishing"}]},
        {"replies": [{"stop": "end"}]},
        {"replies": [{"text": "x", "stop": "later"}]},
        {"rules": [{"match": "(", "reply": "x"}]},
        {"replies": [7]},
        [],
    ],
)
def test_a_wrong_script_is_refused_with_its_path(tmp_path: Path, content: object) -> None:
    with pytest.raises(BadRequest, match=r"script\.json"):
        script(tmp_path, content)


def test_a_missing_or_broken_script_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="no script"):
        fake.load_script(tmp_path / "nothing.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(BadRequest, match="Cannot read"):
        fake.load_script(tmp_path / "broken.json")


def test_a_spec_opens_a_script(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text('{"replies": ["hi"], "window": 5000}')
    model = choose_model(f"fake:{path}", Settings())
    assert (model.spec, model.window_tokens) == (f"fake:{path}", 5_000)


def test_the_script_in_the_document_is_one(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    path = tmp_path / "script.json"
    path.write_text(text.partition("```json\n")[2].partition("```")[0])
    model = fake.load_script(path)
    assert ask(model, "the capital of France?").text == "Paris"
    assert [ask(model).stop for _ in range(2)] == ["end", "max_tokens"]
