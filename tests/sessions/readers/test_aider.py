"""A history of aider is many conversations, and much in it that nobody said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp.sessions.session import Session

Open = Callable[[Path], Session]


@pytest.fixture
def history(tmp_path: Path, opened: Open) -> Callable[[str], Session]:
    def make(text: str) -> Session:
        path = tmp_path / ".aider.chat.history.md"
        path.write_text(text)
        return opened(path)

    return make


def chat(hour: int, *lines: str) -> str:
    return f"\n# aider chat started at 2026-03-14 {hour:02}:00:00\n\n" + "\n".join(lines) + "\n"


def in_force(session: Session) -> dict[str, str]:
    facts = session.methods["preferences"]()
    return {f"{fact['quote']} ({fact['status']})": fact["ref"] for fact in facts}


def test_rules_of_an_earlier_chat_are_past_and_those_said_again_in_force(
    history: Callable[[str], Session],
) -> None:
    session = history(
        chat(8, "#### Never edit a.sql.  ", "", "Fine.", "", "#### Always use tabs.  ", "", "Yes.")
        + chat(9, "#### Rename the loop to retry_loop, please.  ", "", "Done.", "",
               "#### always use tabs.  ", "", "Yes.")
        + chat(10, "> Aider v0.86.2  ")
    )  # fmt: skip
    assert list(in_force(session)) == [
        "Never edit a.sql. (past)", "Always use tabs. (past)", "always use tabs. (active)",
    ]  # fmt: skip
    brief = session.methods["brief"]()
    assert "Never edit a.sql." not in brief and "always use tabs." in brief
    assert "- Rename the loop" in brief.split("## ")[1], "the goal is the newest chat's"


def test_what_the_person_had_run_is_a_command_without_a_known_end(
    history: Callable[[str], Session],
) -> None:
    session = history(
        chat(8, "#### /run make test  ", "> Added 13 lines of output to the chat.  ", "",
             "#### !ls -la  ", "", "#### <blank>  ", "", "#### Go on.  ", "",
             "> make all  ", "> Run shell command? (Y)es/(N)o/(D)on't ask again [Yes]: n  ")
    )  # fmt: skip
    assert [(c["command"], c["exit_codes"], c["ok"]) for c in session.methods["commands"]()] == [
        ("make test", [], 0), ("ls -la", [], 0),
    ]  # fmt: skip
    assert [prompt["text"] for prompt in session.methods["prompts"]()] == ["Go on."]
