"""What host functions return shows no part of a secret, however it is cut."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp import redact
from rlm_mcp.config import Settings
from rlm_mcp.contexts import inline_text
from rlm_mcp.contexts.catalog import Catalog
from rlm_mcp.corpus.search import Query
from rlm_mcp.engine import evidence, sub_calls
from rlm_mcp.engine.redaction import hide_in_answer
from rlm_mcp.engine.ref_reader import RefReader
from rlm_mcp.methods import to_wire
from tests.redact.synthetic import letters

TOKEN = "ghp_" + letters(36)
JWT = f"eyJ{letters(60)}.eyJ{letters(900)}.{letters(43)}"
BODY = [letters(64) for _ in range(20)]
PEM = "\n".join(["-----BEGIN RSA PRIVATE KEY-----", *BODY, "-----END RSA PRIVATE KEY-----"])
PASSWORD = "hunter" + letters(6) + "!7"


def leaks(shown: Any) -> list[str]:
    """Return the parts of the secrets, of nine characters, that something shows."""
    text = str(shown)
    return [
        part
        for secret in (TOKEN, JWT, PASSWORD, *BODY)
        for at in range(len(secret) - 8)
        if (part := secret[at : at + 9]) in text
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("project")
    (made / "leak.txt").write_text(f"{'a ' * 26}{TOKEN} end\n")
    (made / "long.js").write_text(f"var a=1;{'b=2;' * 1490}t='{TOKEN}';{'c=3;' * 2000}\n")
    (made / "jwt.log").write_text(f"GET / {JWT} 200\n")
    (made / "key.txt").write_text(f"one\ntwo\n{PEM}\nthree\n")
    (made / "app.py").write_text(
        f'class A:\n    size = 1\n\n\nPASSWORD = \\\n  "{PASSWORD}"\n\n\n'
        f"def use(token='{TOKEN}', {'other=1, ' * 40}):\n    pass\n"
    )
    (made / "app.log").write_text(
        "".join(f"2026-11-30T12:00:{n:02} INFO sent {TOKEN} to {n}\n" for n in range(60))
    )
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "HOME": str(made)}
    for command in (
        ["init", "-q"], ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b.invalid", "commit", "-qm", f"Use {TOKEN}"],
    ):  # fmt: skip
        subprocess.run(["git", *command], cwd=made, env=environment, check=True)
    return made


@pytest.fixture
def reader(folder: Path) -> Iterator[RefReader]:
    catalog = Catalog(Settings(roots=(folder,)))
    catalog.open_context(str(folder / "app.log"), "app")
    made = RefReader(catalog, [], {}, inline_text.open_texts)
    yield made
    made.close()
    catalog.close()


def test_every_window_by_characters_hides_a_token(reader: RefReader) -> None:
    for start in range(40, 97):
        for width in (9, 20, 40, 80):
            passage = reader.peek(f"repo:leak.txt#C{start}-C{start + width}", 80)
            assert not leaks(passage.text), (start, width, passage.text)
            assert passage.ref == f"repo:leak.txt#C{start}-C{min(start + width, 97)}"
            assert not leaks(reader.full_text(f"repo:leak.txt#C{start}-C{start + width}"))


def test_pages_of_a_long_line_hide_a_token_across_their_border(reader: RefReader) -> None:
    ref, seen = "repo:long.js", ""
    while ref:
        passage = reader.peek(ref, 80)
        seen += passage.text
        ref = passage.next_ref
    assert "[secret:github-token:" in seen
    assert not leaks(seen)


def test_windows_of_lines_inside_a_key_hide_it_and_keep_their_numbers(reader: RefReader) -> None:
    for first in range(1, 26):
        for last in range(first, min(first + 4, 26)):
            passage = reader.peek(f"repo:key.txt#L{first}-L{last}", 80)
            assert not leaks(passage.text), (first, last)
            assert passage.text.count("\n") == min(last, 25) - first
    assert reader.peek("repo:key.txt#L25", 1).text == "three"


@pytest.mark.parametrize("commit", ["", "@HEAD"])
def test_hits_show_no_part_of_a_secret(reader: RefReader, commit: str) -> None:
    asked = [TOKEN[12:20], "c=3", "end", JWT[300:306], BODY[7][:12], PASSWORD[4:10], "token", "e"]
    for pattern in (*asked, "t='ghp", "[a-zA-Z0-9]{12}"):
        for around in (0, 2):
            query = Query(pattern, limit=200, before=around, after=around)
            found = reader.grep(query, f"repo{commit}")
            shown = [(hit.text, hit.before, hit.after) for hit in found.hits]
            assert not leaks(shown), pattern
    assert reader.grep(Query("three"), "repo").hits[0].text == "three"


def test_answers_of_methods_show_no_part_of_a_secret(reader: RefReader) -> None:
    calls: list[tuple[str, str, list[Any]]] = [
        ("repo", "grep", [JWT[400:407]]), ("repo", "grep", ["c=3"]),
        ("repo", "grep", [BODY[3][:9]]),
        ("repo", "read", ["key.txt", 5, 7]), ("repo", "read", ["long.js"]),
        ("repo", "symbols", ["*"]), ("repo", "search", ["use token password"]),
        ("repo", "blame", ["leak.txt"]), ("history", "grep", ["end"]), ("history", "log", []),
        ("history", "show", ["HEAD"]), ("history", "file", ["key.txt"]),
        ("app", "grep", ["to 7"]), ("app", "search", ["sent"]),
    ]  # fmt: skip
    for name, method, args in calls:
        answer = reader.call_method(name, method, args, {})
        assert answer, method
        assert not leaks(answer), (method, answer)


def test_outlines_rankings_and_listings_show_none(reader: RefReader) -> None:
    for ref in ("repo", "repo:app.py", "history", "app"):
        assert not leaks(hide_in_answer(to_wire(reader.outline(ref, 60)), reader.full_text))
        assert not leaks([hit.text for hit in reader.search("use token sent", ref, 10)])
    assert not leaks(reader.peek("history", 80).text)
    assert "[secret:github-token:" in reader.peek("history", 80).text


def test_parts_of_sub_calls_are_cut_out_of_clean_text(reader: RefReader) -> None:
    refs = [f"repo:key.txt#L{line}-L{line + 3}" for line in range(1, 22)]
    refs += [f"repo:jwt.log#C{start}-C{start + 200}" for start in range(0, 1000, 50)]
    assert not leaks([part.text for part in sub_calls.read_parts(refs, reader)])


def test_a_quote_of_what_was_shown_is_verified(reader: RefReader) -> None:
    line = reader.peek("repo:leak.txt#L1", 1).text
    answer = f'It is in repo:leak.txt#L1 "{line.strip()}".'
    (item,) = evidence.check_evidence(answer, frozenset({"repo"}), reader.full_text)
    assert item.verified and "[secret:github-token:" in item.quote
    (item,) = evidence.check_evidence(
        "See repo:leak.txt#C60-C90", frozenset({"repo"}), reader.full_text
    )
    assert not leaks(item.quote)
    assert redact.redact(item.quote) == item.quote
