"""A question in plain words given to grep: passages, what they name, who calls it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlm_mcp import promptbook, toolbox
from rlm_mcp.config import Settings
from rlm_mcp.engine.plain_question import is_question
from rlm_mcp.engine.workspace import Workspace
from tests.engine.conftest import run

FILES = {
    "src/net.py": '''"""Requests over the network."""

BACKOFF_S = 2.0


def pause_before(attempt):
    """Return how long to wait before an attempt."""
    return BACKOFF_S ** attempt


def send_request(request, attempts=3):
    """Send a request, and again after a pause while the connection is refused."""
    for attempt in range(attempts):
        try:
            return request()
        except ConnectionRefusedError:
            sleep(pause_before(attempt))
    raise TimeoutError("no connection")
''',
    "src/app.py": "from net import send_request\n\n\ndef main(j):\n    return send_request(j)\n",
    "src/color.py": "def parse_color(text):\n    return int(text, 16)\n",
    "docs/faq.md": "# FAQ\n\n## How do I choose a color?\n\nGive it as six digits.\n",
}


def ask(folder: Path, question: str, ref: str = "repo") -> str:
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    async def call() -> str:
        settings = Settings(roots=(folder,), model="extractive:")
        tools = {tool.name: tool.source for tool in toolbox.read_tools()}
        workspace = Workspace(settings, tools, promptbook.read_prompts().texts_by_name)
        try:
            return str(await workspace.call_tool("grep", {"pattern": question, "ref": ref}))
        finally:
            await workspace.close()

    return run(call())


@pytest.mark.parametrize(
    ("pattern", "asks"),
    [
        ("How does the server decide which protocol version to speak?", True),
        ("Which part of the code calls the model?", True),
        ("why is `send_request` slow when main() runs", True),
        ("Explain the retry policy of net.py", True),
        ("What is it?", True),
        ("colou?r", False),
        ("is it?", False),
        ("how (are|is) the (lines|words) found?", False),
        (r"what \w+ is it for?", False),
        ("connection reset by peer", False),
        ("does .* end with a dot?", False),
        ("", False),
    ],
)
def test_a_sentence_that_asks_is_told_from_a_pattern(pattern: str, asks: bool) -> None:
    assert is_question(pattern) is asks


def test_a_question_gets_the_passage_what_it_names_and_who_calls_it(tmp_path: Path) -> None:
    said = ask(tmp_path, "What happens when the connection is refused?")
    passage = said.index("repo:src/net.py#L11-L")
    assert "ranked, not counted" in said[:passage]
    assert "16         except ConnectionRefusedError:" in said
    assert "1 call of send_request, by the parsed source:" in said
    assert "repo:src/app.py#L5 in main: return send_request(j)" in said
    assert len(said) <= 6_000


def test_a_question_that_is_one_name_is_answered_in_a_line(tmp_path: Path) -> None:
    said = ask(tmp_path, "Where is send_request defined?").splitlines()
    assert said[:2] == [
        "1 definition of send_request.",
        "repo:src/net.py#L11-L18: def send_request(request, attempts=3):",
    ]
    assert len(said) == 4


def test_who_calls_a_name_that_nothing_calls_says_what_was_looked_at(tmp_path: Path) -> None:
    said = ask(tmp_path, "Who calls parse_color?")
    assert "No line that the parsed source knows as a call calls parse_color." in said


def test_lines_with_the_very_words_are_told(tmp_path: Path) -> None:
    said = ask(tmp_path, "How do I choose a color?")
    assert "1 line with these very words: repo:docs/faq.md#L3." in said


def test_a_scope_narrows_a_question(tmp_path: Path) -> None:
    said = ask(tmp_path, "How is a color read?", "repo:docs/")
    assert "repo:docs/faq.md" in said and "repo:src/" not in said


def test_words_that_occur_nowhere_are_named_with_how_much_was_looked_at(tmp_path: Path) -> None:
    said = ask(tmp_path, "Why zyzzyva quokka?", "repo:src/app.py")
    assert said == (
        "zyzzyva, quokka: in none of 1 document of repo:src/app.py, in any case or ending."
    )


def test_a_pattern_stays_a_pattern(tmp_path: Path) -> None:
    assert ask(tmp_path, "def (send|parse)_").startswith("2 matching lines in 2 documents")
