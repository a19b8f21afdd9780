"""From a Messages body to a question and its documents."""

from __future__ import annotations

import json
from typing import Any

from rlm_mcp.server.messages_request import SHORT_CHARS, MessagesRequest, parse_request


def read(messages: list[tuple[str, Any]], **more: Any) -> MessagesRequest:
    body = {
        "model": "rlm",
        "max_tokens": 10,
        "messages": [{"role": role, "content": content} for role, content in messages],
        **more,
    }
    return parse_request(json.dumps(body).encode())


LONG = "x" * (SHORT_CHARS + 1)


def test_a_short_prompt_is_the_question_as_it_stands() -> None:
    prompt = read([("user", "why?")])
    assert (prompt.question, prompt.texts, prompt.model) == ("why?", (), "")


def test_a_short_conversation_is_told_in_order() -> None:
    prompt = read([("user", "a"), ("assistant", "b"), ("user", "c")], system="be brief")
    assert prompt.texts == ()
    assert prompt.question.index("be brief") < prompt.question.index("user:\na")
    assert prompt.question.index("assistant:\nb") < prompt.question.index("user:\nc")


def test_a_long_block_before_a_short_one_is_the_context_and_the_short_one_the_question() -> None:
    blocks = [{"type": "text", "text": LONG}, {"type": "text", "text": "why?"}]
    prompt = read([("user", blocks)])
    assert prompt.texts == (("001-user", LONG),)
    assert prompt.question.endswith("why?")
    assert len(prompt.question) < 500


def test_one_long_text_is_a_document_and_its_ends_are_in_the_question() -> None:
    prompt = read([("user", f"FIRST {LONG} LAST")])
    ((name, text),) = prompt.texts
    assert text == f"FIRST {LONG} LAST"
    assert name in prompt.question
    assert "FIRST" in prompt.question and "LAST" in prompt.question
    assert len(prompt.question) < 5_000


def test_a_question_below_many_lines_is_the_question_and_not_the_lines() -> None:
    lines = "\n".join(f"order {n} was shipped on day {n % 31}" for n in range(20_000))
    below = read([("user", f"{lines}\nWhich of these orders were never shipped?")])
    assert "Which of these orders were never shipped?" in below.question
    assert "was shipped on day" not in below.question
    above = read([("user", f"Which of these orders were never shipped?\n{lines}")])
    assert "Which of these orders were never shipped?" in above.question
    assert "was shipped on day" not in above.question
    both = read([("user", f"Translate this.\n\n{lines}\n\nIs it clear?")])
    assert "Translate this." in both.question and "Is it clear?" in both.question


def test_a_long_system_prompt_is_a_document_that_has_to_be_followed() -> None:
    prompt = read([("user", "why?")], system=LONG)
    assert prompt.texts == (("000-system", LONG),)
    assert "000-system" in prompt.question


def test_text_documents_are_read_and_every_text_arrives_once() -> None:
    document = {"type": "document", "source": {"type": "text", "data": LONG}}
    prompt = read([("user", [document]), ("assistant", "yes"), ("user", "why?")])
    assert [text for _, text in prompt.texts] == [LONG, "yes"]


def test_a_model_name_is_a_spec_or_anthropics() -> None:
    assert read([("user", "x")], model="claude-x").model == "anthropic:claude-x"
    assert read([("user", "x")], model="extractive:").model == "extractive:"
    assert read([("user", "x")], model="rlm").model == ""


def test_what_changes_nothing_is_let_through() -> None:
    prompt = read(
        [("user", "x")],
        metadata={"user_id": "u"},
        tools=[],
        temperature=1,
        thinking={"type": "disabled"},
        stream=True,
    )
    assert prompt.stream
