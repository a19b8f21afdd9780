"""What an agent writes in a cell: help, and variables and results as arguments of functions."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading

import pytest

from rlm_mcp.errors import ModelError, RlmError
from rlm_mcp.models.fake import Fake
from rlm_mcp.models.model import ModelReply, ModelRequest, TokenUsage
from tests.engine.conftest import Desk, Desks, cell, run, scripted


def said(desk: Desks, *cells: str) -> list[str]:
    """Run cells one after another in one environment, and return what an agent is shown."""

    async def go() -> list[str]:
        async with desk() as d:
            return [await _execute(d, code) for code in cells]

    return asyncio.run(go())


async def _execute(d: Desk, code: str) -> str:
    return await d.workspace.call_tool("execute", {"code": code})


def test_help_of_a_variable_names_each_method_once_and_the_fields_of_its_results(
    desk: Desks,
) -> None:
    (shown,) = said(desk, "help(repo)")
    assert shown.count("symbols(") == 1
    assert "[each: ref, name, kind, owner, path, line, text; .total counts all]" in shown


def test_a_list_that_was_cut_tells_how_much_there_is(desk: Desks) -> None:
    shown = said(
        desk,
        "found = repo.grep('.', limit=2)\nprint(len(found), found.total > 2, found.exact)",
        "found",
        "print(found[:1])",
        "repo.symbols('no_such_name')",
        "print(found)",
    )
    assert "2 True True" in shown[0]
    assert re.search(r"2 of [0-9,]{1,9}: \[\{'ref': ", shown[1])
    assert not re.search("[0-9] of [0-9]", shown[2]) and shown[2].count("'ref': ") == 1
    assert shown[3] == "=> []"
    lines = shown[4].splitlines()
    assert re.fullmatch(r"2 of [0-9,]{1,9}:", lines[0])
    assert all(re.match(r"repo:\S{1,99}#L\d+: ", line) for line in lines[1:3])


def test_help_alone_lists_variables_functions_and_what_was_bound(desk: Desks) -> None:
    shown = said(desk, "n = len(repo)", "help()")[-1]
    assert "Context variables: repo." in shown
    assert "grep(pattern, ref, limit" in shown and "llm_query_batched(prompts" in shown
    assert "n: int = " in shown


def test_an_unknown_method_is_told_with_those_that_there_are(desk: Desks) -> None:
    (shown,) = said(desk, "repo.outline()")
    assert (
        "repo has no attribute 'outline'" in shown and "files, largest, read, grep, search" in shown
    )


def test_a_variable_that_cannot_be_there_is_told_with_the_reason(desk: Desks) -> None:
    shown = said(desk, "history.log()", "nothing.here()")
    assert "NameError: name 'history' is not defined. There is no history:" in shown[0]
    assert shown[1].endswith("NameError: name 'nothing' is not defined")


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("repo.grep('x', limits=3)", "unexpected keyword argument 'limits'"),
        ("repo.grep(1)", "pattern wants str, got int"),
        ("repo.read()", "missing a required argument: 'path'"),
        ("repo.search('x', k=True)", "k wants int, got bool"),
    ],
)
def test_wrong_arguments_of_a_method_are_told_with_how_it_is_used(
    desk: Desks, code: str, why: str
) -> None:
    (shown,) = said(desk, code)
    assert why in shown and "Use it as" in shown and "Text" not in shown


def test_a_variable_or_a_result_may_stand_where_a_ref_is_wanted(desk: Desks) -> None:
    shown = said(
        desk,
        "print(grep('line 7 of', repo).total, outline(repo)[0].name)",
        "hit = repo.grep('line 7 of file 2')[0]\nprint(peek(hit), grep('7', hit).total)",
        "print(peek(chunk(repo, 'lines', 50)[0], 1))",
    )
    assert shown[0].startswith("4 f0.txt")
    assert "line 7 of file 2 1" in shown[1]
    assert "line 0 of file 0" in shown[2]


def test_sub_calls_take_results_as_refs_and_a_variable_as_one_prompt(desk: Desks) -> None:
    prompts: list[str] = []

    def reply(text: str) -> str:
        prompts.append(text)
        return "read"

    code = (
        "hits = repo.grep('line 7 of file [12]')\n"
        "print(llm_query('what is it?', refs=hits))\n"
        "print(llm_query('what is this?', refs=hits[0]))\n"
        "print(len(llm_query_batched(repo)), len(llm_query_batched('one')))"
    )

    async def go() -> str:
        async with desk() as d:
            d.use(scripted([], reply))
            return await _execute(d, code)

    shown = asyncio.run(go())
    assert shown.splitlines() == ["['read', 'read']", "['read']", "1 1"]
    assert len(prompts) == 5
    assert "line 49 of file 3" in prompts[-2]


def test_a_prompt_of_half_a_character_is_sent_without_it(desk: Desks) -> None:
    prompts: list[str] = []

    def reply(text: str) -> str:
        prompts.append(text)
        return "read"

    async def go() -> str:
        async with desk() as d:
            d.use(scripted([], reply))
            return await _execute(d, "print(llm_query('a\\ud800b'))")

    assert asyncio.run(go()) == "read"
    assert "a\ufffdb" in prompts[0]


def test_what_has_a_ref_prints_as_ref_and_text(desk: Desks) -> None:
    one, several, as_it_is = said(
        desk,
        "found = repo.grep('line 7 of file [23]')\nprint(found[0])",
        "print(found)",
        "found",
    )
    first, second = (f"repo:f{n}.txt#L8: line 7 of file {n}" for n in (2, 3))
    assert one.startswith(first)
    assert several.startswith(f"{first}\n{second}")
    assert as_it_is.startswith("=> [{'ref': 'repo:f2.txt#L8', ")


def test_without_a_ref_a_run_looks_at_what_it_is_about(desk: Desks) -> None:
    async def go() -> tuple[str, str]:
        async with desk() as d:
            (d.folder / "apart").mkdir()
            (d.folder / "apart" / "only.txt").write_text("line 7 of its own\n")
            code = "hits = grep('line 7')\nFINAL(hits.shown + outline(limit=5).shown)"
            d.use(scripted([cell(code)]))
            d.workspace.catalog.open_context(str(d.folder / "apart"), "apart")
            of_run = await d.workspace.run_query("Where?", refs=["apart"], mode="recursive")
            return of_run.answer, await _execute(d, "print(grep('line 7').documents)")

    of_run, of_agent = asyncio.run(go())
    assert "1 matching line in 1 document" in of_run
    assert of_agent == "5"


def test_what_a_cell_opens_is_bound_in_that_cell(desk: Desks) -> None:
    first = (
        "import re\n"
        "open_context('f1.txt', 'x')\n"
        "def last(): return x[-18:].strip()\n"
        "print(x[:6], len(re.findall('line', x)), x.grep('line 7').total, last())"
    )
    shown = said(desk, first, "print(last())", "print(x[:6])")
    assert shown == ["line 0 50 1 line 49 of file 1", "line 49 of file 1", "line 0"]


def test_what_a_cell_opens_is_still_there_after_its_worker_was_killed(desk: Desks) -> None:
    opens = "open_context('f1.txt', 'x')\ndef first(): return x[:6]"
    endless = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"

    async def go() -> str:
        async with desk() as d:
            await _execute(d, opens)
            await d.execute(endless, timeout_s=0.2)
            return await _execute(d, "print(first())")

    assert asyncio.run(go()) == "line 0"


def test_what_a_cell_opened_is_fresh_in_the_next_one(desk: Desks) -> None:
    async def go() -> str:
        async with desk() as d:
            await _execute(d, "open_context('f1.txt', 'x')\ndef first(): return x[:6]")
            (d.folder / "f1.txt").write_text("another text")
            return await _execute(d, "print(first())")

    assert asyncio.run(go()) == "anothe"


def test_a_handle_that_is_not_there_is_told_with_those_that_are(desk: Desks) -> None:
    shown = said(desk, "peek('r99')", "chunk(repo)\npeek('r99')", "chunk(repo)\npeek('r99')")
    assert [line for text in shown for line in text.splitlines() if "tools/" in line] == []
    assert "There is no handle 'r99'; none is kept yet." in shown[0]
    assert "only r1 is kept. Handles end with the server" in shown[1]
    assert "r1 to r2 are kept" in shown[2]


def test_one_of_anything_is_told_in_the_singular(desk: Desks) -> None:
    async def go() -> list[str]:
        async with desk() as d:
            (d.folder / "one.txt").write_text("one")
            opened = await _execute(d, "print(open_context('one.txt', 'x'))")
            return [opened, await _execute(d, "peek('x:one.txt#L9')")]

    opened, refused = asyncio.run(go())
    assert "1 document, 1 line;" in opened and "has 1 line." in refused


URL_CELL = """
for url in {urls!r}:
    try:
        print(open_context(url))
    except Exception as error:
        print(error)
"""
FETCHER = """
from rlm_mcp.sdk import open_context, Text


def fetcher(source: str) -> Text:
    '''Open what it is told.'''
    return open_context(source)
"""


def test_no_code_reaches_the_network_though_its_host_is_listed(desk: Desks) -> None:
    """Cells, runs and tools of a user may not; the tool open_context itself may."""
    seen: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]

    def listen() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                seen.append(connection.recv(100))
                connection.close()

    threading.Thread(target=listen, daemon=True).start()
    url = f"https://localhost:{port}/x.git"
    urls = [url, f" {url}", f"ssh://git@localhost:{port}/x", "git@localhost:x", f"HTTPS{url[5:]}",
            f"http://localhost:{port}/x", f"file://localhost:{port}/x"]  # fmt: skip
    shown = []

    async def go() -> None:
        async with desk(clone_hosts=(f"localhost:{port}", "localhost", "127.0.0.1", "::1")) as d:
            d.workspace.services.tools["fetcher"] = FETCHER  # type: ignore[index]
            shown.append(await _execute(d, URL_CELL.format(urls=urls)))
            d.use(scripted([cell(URL_CELL.format(urls=urls)), cell("FINAL('done')")]))
            await d.workspace.call_tool("rlm_query", {"prompt": "go", "refs": "repo"})
            for tool in ("fetcher", "peek"):
                with pytest.raises(RlmError) as caught:
                    name = "ref" if tool == "peek" else "source"
                    await d.workspace.call_tool(tool, {name: url})
                shown.append(str(caught.value))
            assert seen == []
            with pytest.raises(RlmError):
                await d.workspace.call_tool("open_context", {"source": url})
            assert len(seen) == 1
            shown.append(await _execute(d, URL_CELL.format(urls=urls)))
            assert len(seen) == 1

    asyncio.run(go())
    server.close()
    assert shown[0].count("reaches no network") >= 5
    assert shown[0] == shown[-1]
    assert "reaches no network" in shown[1]


def test_common_modules_and_failure_are_there_without_an_import(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            shown = await d.execute(
                "counts = defaultdict(list)\ncounts['a'].append(math.floor(2.5))\n"
                "print(re.findall('[0-9]+', 'a1b22'), json.dumps(counts), Counter('aab')['a'])\n"
                "print(isinstance(counts, Failure))"
            )
            assert "['1', '22'] {\"a\": [2]} 2" in shown and "False" in shown
            assert "re module" not in shown

    run(go())


def test_a_schema_may_be_a_mapping_and_one_reply_is_its_value(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            d.use(Fake(replies=["[]", '{"n": 2}', "[1]"]))
            shown = await d.execute(
                "a = llm_query('x', schema={'type': 'array'})\n"
                "b = llm_query('y', schema={'type': 'object'})\nprint(a == [], b['n'] + 1)\n"
                "c = llm_query_batched(['z'], schema={'type': 'array'})\nprint(c, c.ok)"
            )
            assert "True 3" in shown and "[[1]] [(0, [1])]" in shown

    run(go())


SORTED_ANSWERS = """
a = llm_query_batched(['one', 'BAD', 'NONE', 'EMPTY'], schema={'type': ['array', 'string']})
print([i for i, _ in a.ok], [(i, f.kind) for i, f in a.failures], a.nothing, a.done)
b = a.retry()
print(b is a, a.done, a.asked, a.failed, a[1], len(a.ok), isinstance(a[3], Failure))
"""


def test_failed_answers_are_told_from_empty_ones_and_asked_again(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            asked: list[str] = []

            def reply(request: ModelRequest) -> str | ModelError:
                asked.append(text := request.messages[-1].text.partition("\n")[0])
                if text == "BAD" and asked.count("BAD") == 1:
                    return ModelError("It is asleep.", kind="malformed")
                return {"NONE": '"Nothing."', "EMPTY": "[]"}.get(text, '"ok"')

            d.use(Fake(replies=reply))
            shown = await d.execute(SORTED_ANSWERS)
            assert "[0, 2, 3] [(1, 'malformed')] [2] 3" in shown
            assert "True 4 4 [] ok 4 False" in shown
            assert sorted(asked) == ["BAD", "BAD", "EMPTY", "NONE", "one"]

    run(go())


def test_the_text_of_a_cut_reply_is_kept_beside_its_failure(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:

            def reply(request: ModelRequest) -> ModelReply:
                cut = "long" in request.messages[-1].text
                return ModelReply(
                    "the first half", TokenUsage(1, 1), "fake:", 0.0, "max_tokens" if cut else "end"
                )

            d.use(Fake(replies=reply))
            shown = await d.execute("a = llm_query_batched(['long', 'short'])\nprint(a[0].partial)")
            assert "the first half" in shown

    run(go())


def test_a_text_that_a_cell_built_is_chunked_searched_and_peeked(desk: Desks) -> None:
    code = """
made = "\\n".join(f"row {n}" for n in range(5000))
parts = chunk(made, tokens=1000)
print(len(parts) > 3, parts[0].text.startswith("row 0\\nrow 1"))
print("".join(part.text for part in parts).count("row ") == 5000)
hit = grep("row 4321", made)[0]
print(hit.text, peek(hit), peek(made, limit=2))
"""
    shown = said(desk, code)[0]
    assert "True True\nTrue\nrow 4321 row 4321 row 0\nrow 1" in shown


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("grep('a', 'repo', context=2)", "Use it as grep(pattern, ref='', limit=30, ignore_case"),
        ("chunk('repo', size=3)", "Use it as chunk(ref, by='auto', tokens=4000)"),
        ("peek('repo:f1.txt', 10, 20)", "Use it as peek(ref, limit=80)"),
        ("llm_query('x', temperature=0)", "Use it as llm_query(prompt, model=''"),
        ("chunk('repo')[0].content", "It has: ref, text, title, tokens"),
        (
            "grep('line').hits",
            "It has: cursor, documents, exact, note, per_folder, ranked, related, shown, total",
        ),
        ("grep('line')[0].content", "It has: after, before, cut, line, note"),
    ],
)
def test_a_wrong_guess_is_told_what_there_is(desk: Desks, code: str, hint: str) -> None:
    assert hint in said(desk, code)[0]
