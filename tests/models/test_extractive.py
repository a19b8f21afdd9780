"""The embedded model: finds, quotes, and says that it understood nothing."""

from __future__ import annotations

import ast
import asyncio
import subprocess
from pathlib import Path

import pytest

from rlm_mcp import RLM
from rlm_mcp.models.extractive import (
    NOTHING_HERE,
    NOTICE,
    Extractive,
    rank,
)
from rlm_mcp.models.extractive import cell as cell_parts
from rlm_mcp.models.extractive.names import files_in, names_in, words_of
from rlm_mcp.models.extractive.question import parse, relations_in
from rlm_mcp.models.model import ChatMessage, ModelReply, ModelRequest
from tests.models.asking import ask, run

VARIABLES = "Context variables:\n- repo (repo): /x; 1 KB\n- history (history): /x; 1 KB"


def reply(*texts: str, purpose: str = "sub") -> ModelReply:
    roles = ["user", "assistant"]
    messages = [ChatMessage(roles[n % 2], text) for n, text in enumerate(texts)]  # type: ignore[arg-type]
    return asyncio.run(
        Extractive().complete(ModelRequest(messages, purpose=purpose))  # type: ignore[arg-type]
    )


def cell(text: str) -> str:
    return text.partition("```repl\n")[2].partition("\n```")[0]


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("Where is the QuerySet class defined?", ["QuerySet"]),
        ("Where is the class Stream defined?", ["Stream"]),
        ("What does `ModelForm.save` return?", ["ModelForm.save"]),
        ("who calls get_or_create and parse_date()?", ["get_or_create", "parse_date"]),
        ("Which class handles CSRF?", []),
        ("What is max_tokens set to in httpClient?", ["max_tokens", "httpClient"]),
        ("How does it work?", []),
        ("Which functions call innerFrom?", ["innerFrom"]),
        ("Which functions handle errors?", []),
        ("List all TODO comments", ["TODO"]),
        ("How many lines mention esm5?", ["esm5"]),
    ],
)
def test_names_of_code_are_told_from_words(question: str, names: list[str]) -> None:
    assert names_in(question) == names


@pytest.mark.parametrize(
    ("question", "files"),
    [
        ("What does src/net.py define?", ["src/net.py"]),
        ("Count the errors in java.log and app.jsonl.", ["java.log", "app.jsonl"]),
        ("What is in src/internal/ and .github/workflows?", ["src/internal", ".github/workflows"]),
        ("Where is os.path.join used?", []),
        ("See https://example.org/a/b", []),
    ],
)
def test_files_and_folders_are_told_from_names(question: str, files: list[str]) -> None:
    assert files_in(question) == files
    assert not set(files) & set(parse(question).names)


@pytest.mark.parametrize(
    ("question", "overview"),
    [
        ("Summarise the architecture of this codebase", True),
        ("What does this project do?", True),
        ("How is the repository organised?", True),
        ("What does this code do in net.py?", False),
        ("Explain the code path of QuerySet.filter", False),
    ],
)
def test_a_question_about_the_whole_is_known(question: str, overview: bool) -> None:
    assert ("overview" in parse(question).about) is overview


@pytest.mark.parametrize(
    ("question", "relations"),
    [
        ("What calls get_prep_value?", [("call", "get_prep_value")]),
        ("How many files import json?", [("import", "json")]),
        ("Who uses MAX_SIZE?", [("use", "MAX_SIZE")]),
        ("Which modules depend on the app.core.io?", [("import", "app.core.io")]),
        ("Which callers use QuerySet.filter?", [("call", "QuerySet.filter")]),
        ("Where is QuerySet defined?", []),
        ("Who calls the other function?", []),
    ],
)
def test_a_question_may_ask_who_relates_to_a_name(
    question: str, relations: list[tuple[str, str]]
) -> None:
    assert relations_in(question, names_in(question)) == relations


def test_words_are_split_and_stemmed_and_filler_is_left_out() -> None:
    assert words_of("How does the retryPolicy handle timeouts?") == [
        "retrypolicy",
        "retry",
        "policy",
        "handle",
        "timeout",
    ]


def test_rank_prefers_rare_words_and_short_lines() -> None:
    lines = ["the king sat", "the queen sat", "the king and the queen and all the others sat"]
    scores = rank([line.split() for line in lines], {"queen"})
    assert scores[0] == 0 < scores[2] < scores[1]


def test_a_root_writes_one_cell_that_is_python() -> None:
    question = 'Where is "x\'); import os #" in `A{b}`?\n```\n'
    text = reply(f"<question>\n{question}\n</question>\n\n{VARIABLES}", purpose="root").text
    ast.parse(cell(text))
    assert text.count("```repl") == 1


def test_a_root_ends_at_its_second_turn_and_names_what_went_wrong() -> None:
    text = reply("<question>q</question>", "…", "NameError: no such thing", purpose="root").text
    ast.parse(cell(text))
    assert "NameError: no such thing" in cell(text)
    assert 'answer["ready"] = True' in cell(text)


def test_the_same_request_gets_the_same_reply_for_nothing() -> None:
    prompt = f"<question>\nWhere is Foo?\n</question>\n\n{VARIABLES}"
    first, second = (reply(prompt, purpose="root") for _ in range(2))
    assert first == second
    assert first.cost_usd == 0.0 and first.usage.input > 0


def test_a_sub_model_quotes_the_lines_of_a_part_under_their_own_refs() -> None:
    part = (
        '<part ref="repo:a.py#L10-L13">\ndef retry():\n    """Try again."""\n'
        "    wait = backoff(attempt)\n    return send()\n</part>"
    )
    text = reply(f"{part}\n\n<question>\nhow long is the backoff?\n</question>").text
    assert text == f"{NOTICE}\nrepo:a.py#L12\n>     wait = backoff(attempt)"


def test_a_part_may_stand_in_a_message_of_its_own() -> None:
    messages = [
        ChatMessage("user", '<part ref="r7">\nalpha\nthe beta line\n</part>', cache=True),
        ChatMessage("user", "<question>\nwhere is beta?\n</question>"),
    ]
    text = asyncio.run(Extractive().complete(ModelRequest(messages))).text
    assert text == f"{NOTICE}\nr7\n> the beta line"


@pytest.mark.parametrize(
    "prompt",
    [
        "Who is the king?\n\nThe sea is blue.\nThe king is Bob.",
        "The sea is blue.\nThe king is Bob.\n\nWho is the king?",
        "Who is the king?\nThe sea is blue.\nThe king is Bob.",
        "Question: Who is the king?\n\nThe sea is blue.\nThe king is Bob.",
    ],
)
def test_an_unmarked_question_is_found_before_or_after_the_text(prompt: str) -> None:
    assert reply(prompt).text == f"{NOTICE}\n> The king is Bob."


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.invalid"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository of two commits with code worth asking about."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "src").mkdir()
    (folder / "src" / "query.py").write_text(
        '"""Queries."""\n\n\nclass QuerySet:\n    """A lazy set of rows."""\n\n'
        "    def __init__(self, rows):\n        self.rows = rows\n\n"
        "    def count(self):\n        return len(self.rows)\n\n"
        "    def filter(self, wanted):\n        return self._chain(wanted)\n\n"
        "    def _chain(self, wanted):\n        return QuerySet(self.rows + [wanted])\n"
    )
    (folder / "tests").mkdir()
    (folder / "tests" / "test_query.py").write_text("class QuerySet:\n    pass\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "Begin with queries")
    (folder / "src" / "net.py").write_text(
        "BACKOFF = 2.0\n\n\ndef send(request, attempts=3):\n"
        '    """Send a request and try again when the connection was refused."""\n'
        "    for attempt in range(attempts):\n        try:\n            return request()\n"
        "        except ConnectionRefusedError:\n            wait(BACKOFF ** attempt)\n"
    )
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "Send requests again after a pause")
    return folder


def test_a_definition_and_the_members_asked_for_are_quoted(project: Path) -> None:
    answer = ask(
        project, "Where is the QuerySet class defined and how does it chain filters?", "repo"
    )
    assert "QuerySet is defined at repo:src/query.py#L4 ``class QuerySet:``" in answer
    assert ">     def _chain(self, wanted):" in answer
    assert ">     def filter(self, wanted):" in answer
    assert answer.index("src/query.py") < answer.index("tests/test_query.py")


def test_a_question_without_names_gets_the_function_that_fits(project: Path) -> None:
    answer = ask(project, "What happens when the connection is refused?", "repo")
    assert "In function send: repo:src/net.py#L4" in answer
    assert ">         except ConnectionRefusedError:" in answer


def test_callers_are_counted_and_quoted_with_what_they_stand_in(project: Path) -> None:
    answer = ask(project, "What calls _chain?", "repo")
    assert "1 line of 1 document calls _chain" in answer
    assert "call in QuerySet.filter: repo:src/query.py#L14 ``return self._chain(wanted)``" in answer


def test_a_file_that_is_named_is_outlined_and_nothing_else_is_quoted(project: Path) -> None:
    answer = ask(project, "What does net.py define?", "repo")
    assert "function send: repo:src/net.py#L4" in answer
    assert "query.py" not in answer


def test_lines_are_counted_in_the_file_that_is_named(project: Path) -> None:
    answer = ask(project, "How many lines of src/query.py mention rows?", "repo")
    assert "5 lines of repo:src/query.py hold rows" in answer


def test_a_word_is_a_name_where_something_is_defined_by_it(project: Path) -> None:
    (project / "src" / "lease.py").write_text("class Lease:\n    days = 3\n")
    try:
        answer = ask(project, "Wo wird Lease definiert?", "repo")
    finally:
        (project / "src" / "lease.py").unlink()
    assert "Lease is defined at repo:src/lease.py#L1" in answer
    assert "Wo is" not in answer


def test_what_a_build_made_stands_behind_what_people_wrote(project: Path) -> None:
    copied = project / "dist"
    copied.mkdir()
    (copied / "query.py").write_text((project / "src" / "query.py").read_text())
    try:
        answer = ask(project, "Where is QuerySet defined?", "repo")
    finally:
        (copied / "query.py").unlink()
        copied.rmdir()
    assert answer.index("repo:src/query.py") < answer.index("repo:dist/query.py")


def test_a_question_about_the_whole_gets_folders_readme_and_what_is_used(project: Path) -> None:
    (project / "README.md").write_text("# Queries\n\nSets of rows, lazily.\n")
    try:
        answer = ask(project, "Give me an overview of this codebase.", "repo")
    finally:
        (project / "README.md").unlink()
    assert "folder src/" in answer
    assert "> Sets of rows, lazily." in answer
    assert "Much used: repo:src/query.py#L" in answer


def test_a_question_about_the_past_names_commits(project: Path) -> None:
    answer = ask(project, "Which commit added BACKOFF?", "repo")
    assert "``Send requests again after a pause``" in answer
    assert "history:" in answer


def test_a_question_that_fits_nothing_says_so(project: Path) -> None:
    result = run(project, "Zyzzyva quokka?", "repo")
    assert "Zyzzyva, quokka: in none of 3 documents of repo" in result.answer
    assert not result.evidence


def test_the_parts_of_the_cell_share_no_name() -> None:
    folder = Path(cell_parts.__file__).parent
    seen: dict[str, str] = {}
    for part in cell_parts.PARTS:
        for node in ast.parse((folder / f"{part}.py").read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names = [node.name]
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [target.id for target in targets if isinstance(target, ast.Name)]
            else:
                continue
            for name in names:
                assert seen.setdefault(name, part) == part


def test_without_anything_to_search_it_says_so() -> None:
    answer = RLM(model="extractive:").complete("Where is the class Greeter defined?")
    assert answer == NOTHING_HERE
