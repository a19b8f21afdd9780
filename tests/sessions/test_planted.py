"""Files that are swapped, cut or planted in an agent's folder; and that nothing there changes."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.config import Settings
from rlm_mcp.corpus.search import Query
from rlm_mcp.corpus.store.watch import Inotify
from rlm_mcp.errors import Denied, Unavailable
from rlm_mcp.refs import parse_ref
from rlm_mcp.sessions import locate
from rlm_mcp.sessions.schema import TranscriptEvent, TranscriptSource
from rlm_mcp.sessions.session import Session
from tests.sessions.conftest import SID
from tests.sessions.generator.layouts import LAYOUTS
from tests.sessions.generator.story import tell

Record = Callable[..., dict[str, Any]]
Write = Callable[..., Path]
Open = Callable[[Path], Session]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of POSIX")


@pytest.fixture
def outside(tmp_path: Path, record: Record) -> Path:
    """Return a folder beside the roots with what must not be read."""
    folder = tmp_path.parent / f"{tmp_path.name}-outside"
    folder.mkdir()
    line = json.dumps(record("user", "z", None, "word: outside")) + "\n"
    for name in ("agent-x.jsonl", f"{SID}.jsonl"):
        (folder / name).write_text(line)
    (folder / "agent-y.meta.json").write_text('{"description": "word: outside"}')
    return folder


def words(session: Session) -> list[str]:
    found = session.grep(Query("word: [a-z]+"), parse_ref("session"))
    return [hit.text for hit in found.hits]


@pytest.fixture
def main(record: Record, transcript: Write) -> Path:
    path = transcript(record("user", "a", None, "word: inside"))
    child = path.with_suffix("") / "subagents" / "agent-y.jsonl"
    child.parent.mkdir(parents=True)
    child.write_text(json.dumps(record("user", "s", None, "word: sub")) + "\n")
    return path


def test_no_link_or_pipe_beside_a_transcript_is_followed(
    main: Path, outside: Path, opened: Open
) -> None:
    folder = main.with_suffix("") / "subagents"
    (folder / "agent-x.jsonl").symlink_to(outside / "agent-x.jsonl")
    (folder / "more").symlink_to(outside)
    os.mkfifo(folder / "agent-z.jsonl")
    (folder / "agent-y.meta.json").symlink_to(outside / "agent-y.meta.json")
    session = opened(main)
    assert sorted(words(session)) == ["word: inside", "word: sub"]
    assert "outside" not in json.dumps(session.methods["subagents"]())
    (folder / "agent-y.meta.json").unlink()
    os.mkfifo(folder / "agent-y.meta.json")
    session.refresh()
    assert sorted(words(session)) == ["word: inside", "word: sub"]


@pytest.mark.parametrize("swap", ["link", "pipe", "folder"])
def test_a_transcript_that_becomes_a_link_or_a_pipe_is_refused(
    swap: str, main: Path, outside: Path, opened: Open
) -> None:
    session = opened(main)
    if swap == "folder":
        main.parent.rename(main.parent.with_name("moved"))
        main.parent.symlink_to(outside)
    else:
        main.unlink()
        if swap == "link":
            main.symlink_to(outside / main.name)
        else:
            os.mkfifo(main)
    with pytest.raises(Unavailable, match="not followed"):
        session.refresh()


def test_listing_waits_for_no_pipe_and_reads_behind_no_link(
    tmp_path: Path, outside: Path, record: Record
) -> None:
    folder = Path.home() / ".claude" / "projects" / "-w"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "11111111-aaaa-4bbb-8ccc-000000000001.jsonl")
    os.mkfifo(folder / ".session-aliases")
    link = folder / "22222222-aaaa-4bbb-8ccc-000000000002.jsonl"
    link.symlink_to(outside / "agent-x.jsonl")
    listed = locate.list_sessions(Settings(roots=(tmp_path,)), "*")
    assert {item.native[0] for item in listed} == {"1", "2"}
    assert not any("outside" in item.title for item in listed)
    with pytest.raises(Denied, match="leaves the agent's folder"):
        Session("session:22222222", "session", Settings(roots=(tmp_path,)))


def test_a_saved_output_that_is_a_pipe_or_lies_behind_a_link_is_not_read(
    tmp_path: Path, outside: Path, record: Record, transcript: Write, opened: Open
) -> None:
    use = {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "x"}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "cut"}
    saved = tmp_path / "project" / SID / "tool-results"
    rich = {"persistedOutputPath": str(saved / "t.txt")}
    saved.mkdir(parents=True)
    os.mkfifo(saved / "t.txt")
    lines = [record("assistant", "a", None, [use]),
             record("user", "b", "a", [result], toolUseResult=rich)]  # fmt: skip
    session = opened(transcript(*lines))
    assert session.methods["get"]("session#1.2")["text"] == "cut"
    shutil.rmtree(saved)
    saved.symlink_to(outside)
    (outside / "t.txt").write_text("word: outside")
    path = transcript(*lines, record("user", "c", "b", "more"))
    assert opened(path).methods["get"]("session#1.2")["text"] == "cut"


def test_a_ref_to_a_saved_output_that_changed_is_stale(
    tmp_path: Path, record: Record, transcript: Write, opened: Open
) -> None:
    use = {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "x"}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "cut"}
    saved = tmp_path / "project" / SID / "tool-results" / "t.txt"
    saved.parent.mkdir(parents=True)
    saved.write_text("the whole output")
    session = opened(
        transcript(
            record("assistant", "a", None, [use]),
            record("user", "b", "a", [result], toolUseResult={"persistedOutputPath": str(saved)}),
        )
    )
    verify = session.methods["verify"]
    assert session.methods["get"]("session#1.2")["text"] == "the whole output"
    assert verify("session#1.2")["stale"] is False
    saved.write_text("another output")
    assert verify("session#1.2")["stale"] is True


@pytest.mark.parametrize("later", ["other", "shorter", "gone"])
def test_a_transcript_that_is_swapped_while_it_is_read_gives_one_of_both_whole(
    later: str, record: Record, transcript: Write, opened: Open
) -> None:
    path = transcript(*[record("user", f"a{n}", None, f"word: old{n}") for n in range(5)])
    session = opened(path)
    kept = path.read_bytes()
    fresh = "".join(
        json.dumps(record("user", f"b{n}", None, f"word: new{'x' * n}")) + "\n" for n in range(9)
    )
    reader = session.index.reader
    swaps = iter([True])

    def swapping(source: TranscriptSource, start: int) -> Iterator[TranscriptEvent]:
        for event in reader.read_events(source, start):
            if next(swaps, False):
                if later == "shorter":
                    path.write_text("")
                elif later == "gone":
                    path.unlink()
                else:
                    path.with_suffix(".new").write_text(fresh)
                    path.with_suffix(".new").replace(path)
            yield event

    session.index.reader = replace(reader, read_events=swapping)
    path.write_bytes(kept.replace(b"old", b"odd"))
    if later == "gone":
        with pytest.raises(Unavailable, match="cannot be read"):
            session.refresh()
        path.write_text(fresh)
    session.refresh()
    session.refresh()
    expected = [] if later == "shorter" else [f"word: new{'x' * n}" for n in range(9)]
    assert words(session) == expected


def test_a_mirror_is_not_written_behind_a_link(main: Path, outside: Path, opened: Open) -> None:
    session = opened(main)
    folder = Path(session.methods["mirror"]()["path"]).parent
    folder.rename(folder.with_name("moved"))
    folder.symlink_to(outside)
    before = sorted(outside.iterdir())
    for method, arguments in (("mirror", ()), ("rollup_save", ({},))):
        with pytest.raises(Denied, match="is a link"):
            session.methods[method](*arguments)
    assert sorted(outside.iterdir()) == before
    assert session.methods["prompts"]() and session.methods["brief"]()
    session.close()
    again = opened(main)
    assert again.methods["prompts"]() and sorted(outside.iterdir()) == before


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux tells every write")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_in_an_agents_folder_is_written_locked_or_touched(
    layout: str, tmp_path: Path
) -> None:
    written = tmp_path / "written"
    path = LAYOUTS[layout].write(tell(4), written)
    folders = [str(written), *(str(folder) for folder in written.rglob("*") if folder.is_dir())]
    before = {file: os.lstat(file) for file in sorted(written.rglob("*"))}
    watch = Inotify(folders)
    session = Session(str(path), "session", Settings(roots=(tmp_path,)))
    for call in ("brief", "files", "errors", "mirror", "commits", "subagents", "sessions"):
        session.methods[call]()
    session.methods["search_all"]("lock")
    session.search("lock", parse_ref("session"))
    assert not any(
        session.index.is_stale(row) for row in session.index.query_rows("SELECT * FROM blocks")
    )
    session.close()
    assert watch.changed_paths() == set()
    watch.close()
    after = {file: os.lstat(file) for file in sorted(written.rglob("*"))}
    assert list(before) == list(after)
    for file, status in before.items():
        told = [(s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in (status, after[file])]
        assert told[0] == told[1], file
