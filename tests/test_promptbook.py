"""Reading prompts, and filling them in without evaluating anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlm_mcp import promptbook, trust
from rlm_mcp.errors import BadRequest
from rlm_mcp.promptbook import Prompt
from rlm_mcp.trust import ContentFolder

HEAD = (
    "---\ntitle: T\ndescription: D\nargument what: the thing\n"
    "argument where: a place (optional)\n---\n"
)


def one(tmp_path: Path, text: str, name: str = "mine.md") -> Prompt:
    (tmp_path / name).write_text(text)
    found = promptbook.read_prompts([tmp_path])
    assert found.problems == []
    return found[0]


def test_our_own_prompts_are_read_without_a_problem() -> None:
    found = promptbook.read_prompts()
    assert found.problems == []
    offered = {prompt.name for prompt in found if prompt.is_offered}
    assert {"ask-codebase", "summarise-session", "read-log"} <= offered
    assert "instructions" not in offered


def test_the_instructions_fit_into_what_clients_show() -> None:
    assert 500 < len(promptbook.read_prompts().texts_by_name["instructions"]) <= 2_000


def test_the_prompts_of_runs_are_short_and_show_an_example() -> None:
    texts = promptbook.read_prompts().texts_by_name
    for name in ("root", "root-environment", "root-direct", "sub", "compact"):
        assert len(texts[name]) < 5_000
        assert (
            "```repl" in texts[name]
            if name in ("root", "root-environment")
            else "example" in texts[name]
        )


def test_every_placeholder_of_our_prompts_is_an_argument_and_every_argument_is_used() -> None:
    for prompt in promptbook.read_prompts():
        if prompt.is_offered:
            given = {argument.name: f"<{argument.name}>" for argument in prompt.arguments}
            text = prompt.fill_in(given)
            assert "{{" not in text
            assert all(value in text for value in given.values())


def test_arguments_are_filled_in_once_and_never_read_as_placeholders(tmp_path: Path) -> None:
    prompt = one(tmp_path, HEAD + "Do {{what}} in {{ where }}. {{other}} {x}")
    text = prompt.fill_in({"what": "{{where}}", "where": "b"})
    assert text == "Do {{where}} in b. {{other}} {x}\n"


def test_a_paragraph_about_an_optional_argument_goes_with_it(tmp_path: Path) -> None:
    prompt = one(tmp_path, HEAD + "Do {{what}}.\n\nOnly in {{where}}.\n\nThe end.")
    assert prompt.fill_in({"what": "x"}) == "Do x.\n\nThe end.\n"


def test_a_missing_or_unknown_argument_is_a_sentence(tmp_path: Path) -> None:
    prompt = one(tmp_path, HEAD + "{{what}}")
    with pytest.raises(BadRequest, match="needs 'what'"):
        prompt.fill_in({"what": " "})
    with pytest.raises(BadRequest, match="Did you mean what"):
        prompt.fill_in({"whot": "x"})


def test_a_prompt_without_a_head_is_for_the_engine(tmp_path: Path) -> None:
    prompt = one(tmp_path, "You are {{name}}.\n", "root.md")
    assert not prompt.is_offered
    assert prompt.text == "You are {{name}}.\n"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.md", "---\nnonsense\n---\nx", "key: value"),
        ("a.md", "---\ncolour: red\n---\nx", "unknown key 'colour'"),
        ("a.md", "---\nargument A B: red\n---\nx", "unknown key"),
        ("A b.md", "x", "cannot be the name"),
    ],
)
def test_a_broken_prompt_costs_a_sentence(name: str, text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    found = promptbook.read_prompts([tmp_path])
    assert list(found) == []
    assert says in found.problems[0]


def test_a_users_prompt_hides_ours_and_that_is_reported(tmp_path: Path) -> None:
    (tmp_path / "read-log.md").write_text(HEAD + "Mine.")
    found = promptbook.read_prompts(
        [ContentFolder(trust.builtin_folder("prompts"), "rlm-mcp"), ContentFolder(tmp_path)]
    )
    mine = next(prompt for prompt in found if prompt.name == "read-log")
    assert mine.text == "Mine.\n"
    assert mine.shadows == "rlm-mcp"
    assert any("hides the prompt read-log" in problem for problem in found.problems)
