"""What a root model (or an agent) is shown of a cell: bounded, with counts of what was left out.

Nothing here depends on the clock or on chance, so that the same run asks the same again.
"""

from __future__ import annotations

import ast
import builtins
import keyword
import re
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rlm_mcp.marks import mark_label
from rlm_mcp.plurals import count_noun

if TYPE_CHECKING:
    from rlm_mcp.sandbox import SandboxOutcome
    from rlm_mcp.variable import Description

SHOWN_CHARS = 16_000
"""Characters of a cell's output that a root model sees."""
SMALL_WINDOW_TOKENS = 64_000
"""Size of a window below which half of that is shown."""
VALUE_CHARS = 4_000
"""Characters of a last value, and of an error."""
MAX_LISTED = 16
"""Variables that are listed after a cell."""

_OPENS = re.compile(r"[ \t]*(`{3,}|~{3,})[ \t]*([\w+.#-]*)[ \t]*\Z")
_CELL_TAGS = frozenset({"repl", "python", "py", "python3", "ipython", "ipython3", "tool_code"})
_OTHER_TAGS = frozenset(
    {
        "text", "txt", "json", "jsonl", "yaml", "toml", "xml", "html", "css", "md", "markdown",
        "diff", "patch", "bash", "sh", "shell", "console", "log", "output", "sql", "js",
        "javascript", "ts", "typescript", "java", "c", "cpp", "go", "rust", "ruby", "php", "csv",
    }
)  # fmt: skip
_THINKS = re.compile(
    r"^[ \t]*<(think|thinking|reasoning)>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE | re.MULTILINE
)
_THOUGHT = re.compile(r"\A(?:(?!```).)*?</(?:think|thinking|reasoning)>", re.DOTALL | re.IGNORECASE)
_CELL_NAMES = frozenset(
    {
        "answer", "context", "peek", "grep", "chunk", "outline", "search", "llm_query",
        "llm_query_batched", "rlm_query", "rlm_query_batched", "FINAL", "FINAL_VAR", "SUBMIT",
        "SHOW_VARS",
    }
)  # fmt: skip
"""Names that only code for the environment uses."""
MAX_CLOSERS = 50
"""Lines that may end a fence which are tried."""
_FINAL = re.compile(r"^\s*FINAL(_VAR)?\((.*)\)\s*\Z", re.DOTALL | re.MULTILINE)
_PLAIN_NAME = re.compile(r"[\"']?([A-Za-z_]\w*)[\"']?\Z")


def strip_reasoning(reply: str) -> str:
    """Return a reply without what a model thought aloud: it is neither cell nor answer."""
    return _THOUGHT.sub("", _THINKS.sub("", reply)).strip()


def parse_python(code: str) -> ast.Module | None:
    """Return the syntax tree of a cell, or None where it is no Python."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = compile(code, "<cell>", "exec", flags)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return tree if isinstance(tree, ast.Module) and tree.body else None


def is_cell_code(text: str) -> bool:
    """Say whether a whole text is code for the environment: words that parse are none."""
    tree = parse_python(text)
    return tree is not None and any(
        isinstance(node, ast.Name) and node.id in {*_CELL_NAMES, "print"} for node in ast.walk(tree)
    )


class ReplyCells:
    """The code of a reply: the first cell, and how many more there were.

    `rest` is the text without its fences.
    """

    def __init__(self, reply: str) -> None:
        text = strip_reasoning(reply)
        fences, prose = _read_fences(text.splitlines())
        marked = [
            code
            for tag, code in fences
            if tag in _CELL_TAGS
            or (tag and tag not in _OTHER_TAGS and parse_python(code) is not None)
        ]
        found = marked or [code for tag, code in fences if not tag][:1]
        if not fences and is_cell_code(text):
            found, prose = [text], ""
        self.code = found[0].rstrip() if found else ""
        self.more = max(0, len(marked) - 1)
        self.rest = prose.strip()


def _read_fences(lines: Sequence[str]) -> tuple[list[tuple[str, str]], str]:
    """Return the fences of a reply with their tags, dedented, and the text around them."""
    fences, prose, at = [], [], 0
    while at < len(lines):
        opened = _OPENS.match(lines[at])
        if opened is None:
            prose.append(lines[at])
            at += 1
            continue
        mark, tag = opened[1], opened[2].lower()
        closers = [
            number
            for number in range(at + 1, len(lines))
            if (bare := lines[number].strip()).startswith(mark) and not bare.strip(mark[0])
        ][:MAX_CLOSERS]
        end = closers[0] if closers else len(lines)
        if tag not in _OTHER_TAGS:  # a fence inside a string does not end a cell
            bodies = (n for n in closers if parse_python(_fence_body(lines, at, n)) is not None)
            end = next(bodies, end)
        fences.append((tag, _fence_body(lines, at, end)))
        at = end + 1
    return fences, "\n".join(prose)


def _fence_body(lines: Sequence[str], start: int, end: int) -> str:
    body = "\n".join(lines[start + 1 : end])
    if lines[start][:1].isspace() and parse_python(body) is None:
        return textwrap.dedent(body)
    return body


def direct_answer(reply: str) -> str:
    """Return the answer in the reply of a direct call, or nothing where it is code to be run."""
    cells = ReplyCells(reply)
    text = strip_reasoning(reply)
    final = _FINAL.search(text)
    if final is not None and not final[1] and not cells.code:
        return final[2].strip().strip("\"'")
    only_code = bool(cells.code) and not cells.rest
    return "" if only_code and is_cell_code(cells.code) else text


def final_cell(reply: str) -> str | None:
    """Return the cell that means the same as a FINAL(...) written as plain text, if it is one."""
    found = _FINAL.search(reply)
    if found is None:
        return None
    inner = found[2].strip()
    name = _PLAIN_NAME.match(inner)
    if found[1]:
        return f"FINAL_VAR({name[1]!r})" if name else None
    word = name[1] if name else ""
    if name and inner == word and not keyword.iskeyword(word) and not hasattr(builtins, word):
        return f"try:\n    FINAL({word})\nexcept NameError:\n    FINAL({word!r})"
    if len(inner) > 1 and inner[0] == inner[-1] and inner[0] in "\"'":
        inner = inner[1:-1]
    return f"FINAL({inner!r})"


def truncate_middle(text: str, limit: int, whole: int = 0, handle: str = "") -> str:
    """Return head and tail of a text with the count of what is left out between them."""
    length = max(len(text), whole)
    if length <= limit:
        return text
    head, tail = limit * 5 // 8, limit * 3 // 8
    where = f"; whole: {handle}" if handle else ""
    return (
        f"{text[:head]}\n[... {length - head - tail:,} of {length:,} characters left out"
        f"{where} ...]\n{text[-tail:]}"
    )


def truncate_lines(text: str, limit: int, handle: str) -> str:
    """Return whole lines from head and tail of a text, and the call that opens those between."""
    if len(text) <= limit:
        return text
    head, tail = text[: limit * 5 // 8], text[-(limit * 3 // 8) :]
    head_end, tail_start = head.rfind("\n") + 1, tail.find("\n") + 1
    first, last = text.count("\n", 0, head_end) + 1, text.count("\n", 0, -len(tail) + tail_start)
    if not head_end or not tail_start or last < first:  # lines too long to be cut between them
        left = f"{handle}#C{len(head)}-C{len(text) - len(tail)}"
        said = f"{len(text) - len(head) - len(tail):,} of {len(text):,} characters"
        return f'{head}\n[... {said} left out: print(peek("{left}")) ...]\n{tail}'
    opens = f'peek("{handle}#L{first}-L{last}", limit={last - first + 1})'
    return (
        f"{head[:head_end]}[... lines {first}-{last} of {text.count(chr(10)) + 1} left out: "
        f"print({opens}) ...]\n{tail[tail_start:]}"
    )


def outcome_text(outcome: SandboxOutcome, limit: int = SHOWN_CHARS, handle: str = "") -> str:
    """Return what a cell printed, its last value and its error."""
    parts = []
    if outcome.stdout:
        printed = outcome.stdout.rstrip("\n")
        parts.append(
            truncate_lines(printed, limit, handle)
            if handle
            else truncate_middle(printed, limit, outcome.stdout_chars)
        )
    if outcome.value_repr is not None and outcome.value_repr != "None":
        parts.append(f"=> {truncate_middle(outcome.value_repr, min(VALUE_CHARS, limit // 2))}")
    if outcome.error:
        parts.append(truncate_middle(outcome.error, min(VALUE_CHARS, limit // 2)))
    if outcome.lost:
        parts.append(
            "The environment had to be restarted; these variables could not be kept: "
            + ", ".join(outcome.lost)
        )
    return "\n".join(parts) or "(no output)"


def list_variables(
    names: Iterable[Mapping[str, Any]],
    hidden: frozenset[str],
    before: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return one line that lists a cell's variables with type and size, the changed ones first.

    Modules, classes and names of one letter are left out; `before` are the labels of last time.
    """
    items = [
        item
        for item in reversed(list(names))
        if item["name"] not in hidden
        and len(item["name"]) > 1
        and item["type"] not in ("module", "type")
    ]
    items.sort(key=lambda item: before.get(item["name"]) == type_label(item))
    shown = [f"{item['name']} {type_label(item)}" for item in items[:MAX_LISTED]]
    more = f", and {len(items) - MAX_LISTED} more (SHOW_VARS())" if len(items) > MAX_LISTED else ""
    return f"variables: {', '.join(shown)}{more}" if shown else ""


def type_label(item: Mapping[str, Any]) -> str:
    size = item.get("size")
    return f"{item['type']}[{size:,}]" if isinstance(size, int) else str(item["type"])


def describe_line(d: Description) -> str:
    """Return one line about a variable."""
    lines = f", {count_noun(d.lines, 'line')}" if d.lines is not None else ""
    return mark_label(
        f"- {d.name} ({d.kind}): {d.source}; {size_text(d.size_bytes)}, "
        f"~{count_noun(d.tokens, 'token')}, {count_noun(d.documents, 'document')}{lines}; "
        f"{d.freshness}; refs look like {d.ref_example}"
    )


def describe_brief(d: Description) -> str:
    """Return one line about a variable, and what its reader must know."""
    return "\n".join([describe_line(d), *(mark_label(f"  note: {note}") for note in d.notes)])


def describe_text(d: Description) -> str:
    """Return everything that is known about a variable, a fact a line."""
    parts = [describe_line(d)]
    parts += [mark_label(f"  {name}: {value}") for name, value in d.facts.items()]
    if d.skipped:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in d.skipped.items())
        parts.append(f"  not loaded: {counts}")
    parts += [mark_label(f"  note: {note}") for note in d.notes]
    parts += [f"  {d.name}.{method}" for method in d.methods]
    return "\n".join(parts)


def size_text(size: int) -> str:
    """Return a number of bytes for people."""
    value = float(size)
    for unit in ("bytes", "KB", "MB", "GB"):
        if value < 1024 or unit == "GB":
            return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def spent_text(calls: int, cached: int, cost_usd: float | None) -> str:
    """Return what something cost, for the one who asked for it."""
    price = "price unknown" if cost_usd is None else f"${cost_usd:.4f}"
    stored = f", {cached:,} answered from the cache" if cached else ""
    return f"({count_noun(calls, 'model call')}{stored}, {price})"


def first_lines(texts: Sequence[str], limit: int) -> list[str]:
    """Return the first line of each text, cut."""
    return [text.strip().partition("\n")[0][:limit] for text in texts]
