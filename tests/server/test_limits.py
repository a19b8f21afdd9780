"""The largest reply that any call can cause, tried with hostile arguments over all tools."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp import reply, toolbox
from rlm_mcp.config import Settings
from tests.server.talk import Talk, in_memory

SOURCES = [
    "repo", "repo:many.txt", "repo:wide.js", "repo:wide.js#C0-C160000", "repo:**", "repo:src/",
    "history", "repo:many.txt#L1-L5000", "r1", "r2", "r3#L1-L9999", ".", "many.txt", "*", "**/*",
    "repo@HEAD", "HEAD~1..HEAD", "session:latest", "repo:" + "a" * 5_000,
    "\u202e\U0001f600" * 3_000,
]  # fmt: skip
PATTERNS = [".", "", ".*", "row", "(", "a" * 4_000, r"\w+\s", "(a+)+$", "[^x]{1,900}", "\n", "é|ü"]
CODES = [
    "print('x' * 10_000_000)",
    "'\\U0001f600' * 3_000_000",
    "list(range(300_000))",
    "{i: 'y' * 100 for i in range(20_000)}",
    "raise ValueError('z' * 2_000_000)",
    "x" * 30_000,
    "grep('.', limit=100_000)",
    "peek('repo:wide.js')",
    "print(open)",
    "for i in range(200_000): print(i)",
    "SHOW_VARS()",
    "[llm_query('q' * 5_000) for i in range(3)]",
    "answer",
]
NUMBERS = [0, 1, -1, 7, 10**6, 10**12, "99999", 2.0, True, None]
MODES = ["auto", "direct", "environment", "recursive", "x" * 3_000]

NAMED: dict[str, list[Any]] = {
    "ref": SOURCES,
    "refs": [*SOURCES, ["repo:many.txt", "repo:wide.js"], "r1 r2"],
    "source": SOURCES,
    "pattern": PATTERNS,
    "code": CODES,
    "prompt": ["Where is row 7?", "p" * 100_000, "class Greeter"],
    "mode": MODES,
    "model": ["", "extractive:", "m" * 3_000],
    "schema": ["", "{}", '{"type": "object"}', "s" * 9_000],
    "by": ["auto", "lines", "symbols", "headings", "b" * 3_000],
    "name": ["", "mine", "n" * 3_000],
    "repl": ["main", "other", "e" * 3_000],
    "timeout_s": [1, 2, 0.5],
    "seconds": [0, 0.1, 1],
    "max_seconds": [5, 0],
    "tokens": [1, 50, 4_000, 10**9],
    "run": ["x", "w" * 5_000],
    "cursor": ["", "c" * 3_000],
    "ignore_case": [True, False],
    "cancel": [True, False],
}
"""Values for each argument: the worst that a well-meaning or a malicious agent may send."""


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talk]:
    base = tmp_path_factory.mktemp("limits")
    folder = base / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "greet.py").write_text("class Greeter:\n    pass\n" * 2_000)
    (folder / "many.txt").write_text("".join(f"row {n} of the table\n" for n in range(20_000)))
    (folder / "wide.js").write_text("var x=1;" * 200_000)
    for n in range(400):
        (folder / f"{'long' * 20}-{n}.txt").write_text(f"row {n}\n")
    with pytest.MonkeyPatch.context() as environment:
        for name in ("STATE", "CACHE", "CONFIG"):
            environment.setenv(f"RLM_MCP_{name}_DIR", str(base / name.lower()))
        settings = Settings(roots=(folder,), model="extractive:", reply_chars=10**9)
        with in_memory(settings) as talk:
            yield talk


def arguments(tool: toolbox.Tool, chance: random.Random) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for parameter in tool.parameters:
        if parameter.required or chance.random() < 0.6:
            values = NAMED.get(parameter.name, NUMBERS)
            chosen[parameter.name] = chance.choice(values)
    return chosen


@pytest.mark.parametrize("tool", toolbox.read_tools(), ids=lambda tool: str(tool.name))
def test_no_call_causes_more_than_twenty_thousand_characters(
    tool: toolbox.Tool, busy: Talk
) -> None:
    chance = random.Random(f"limits {tool.name}")
    largest = 0
    for _ in range(8 if tool.name in ("rlm_query", "llm_query", "execute") else 25):
        given = arguments(tool, chance)
        said = busy.call(tool.name, given)
        assert len(said.text) <= reply.MAX_REPLY_CHARS, given
        assert "broke inside rlm-mcp" not in said.text, given
        largest = max(largest, len(said.text))
    assert largest > 0


def test_every_kind_of_large_output_is_within_the_limit(busy: Talk) -> None:
    for code in CODES:
        assert len(busy.call("execute", code=code, timeout_s=5).text) <= reply.MAX_REPLY_CHARS
    for ref in SOURCES:
        assert len(busy.call("peek", ref=ref, limit=10**6).text) <= reply.MAX_REPLY_CHARS
    for pattern in PATTERNS:
        said = busy.call("grep", pattern=pattern, limit=10**6, before=10**6, after=10**6)
        assert len(said.text) <= reply.MAX_REPLY_CHARS


def test_what_was_cut_can_be_read_to_its_end(busy: Talk) -> None:
    import re

    said = busy.call("execute", code="print('\\n'.join(f'<{i}>' for i in range(9_000)))")
    match = re.search(r'peek\("(r\d+)#L(\d+)"\)', said.text)
    assert match is not None
    seen = [int(n) for n in re.findall(r"^<(\d+)>$", said.text, re.MULTILINE)]
    ref = f"{match[1]}#L{match[2]}-L9000"
    while ref:
        said = busy.call("peek", ref=ref, limit=10_000)
        assert not said.error, said.text
        seen += [int(n) for n in re.findall(r"^ *\d+ <(\d+)>$", said.text, re.MULTILINE)]
        onward = re.search(r"^next: (\S+)$", said.text, re.MULTILINE)
        ref = onward[1] if onward else ""
    assert seen == list(range(9_000))


def test_a_smaller_limit_of_the_project_holds(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("row\n" * 5_000)
    settings = Settings(roots=(tmp_path,), model="extractive:", reply_chars=1_000)
    with in_memory(settings) as talk:
        assert len(talk.call("grep", pattern="row", limit=500).text) <= 1_000
