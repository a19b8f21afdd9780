"""Which files are logs, and how they are named."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp.errors import BadRequest, Denied
from rlm_mcp.logs.logs import Logs
from tests.project import OpenProject

Make = Callable[..., OpenProject]
STEPS = "".join(f"2026-03-14 09:00:{n:02} INFO step {n} done\n" for n in range(40))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "logs"
    made.mkdir()
    return made


@pytest.mark.parametrize(
    ("name", "line", "is_log"),
    [
        ("run.txt", "2026-03-14 09:00:{n:02} INFO step {n} done\n", True),
        ("app.jsonl", '{{"ts":"2026-03-14T09:00:{n:02}Z","level":"warn","msg":"x {n}"}}\n', True),
        ("events.jsonl", '{{"ts":"2026-03-14T09:00:{n:02}Z","price":{n}}}\n', False),
        ("notes.txt", "Chapter {n}. It was 2026-03-14, an error of judgement.\n", False),
        ("run.csv", "2026-03-14 09:00:{n:02},INFO,{n}\n", False),
    ],
)
def test_a_file_of_no_telling_name_is_a_log_where_it_begins_like_one(
    catalog_of: Make, folder: Path, name: str, line: str, is_log: bool
) -> None:
    (folder / name).write_text("".join(line.format(n=n) for n in range(40)))
    opened = catalog_of(folder.parent).open_context(str(folder / name))
    assert (opened.kind == "logs") is is_log
    asked = catalog_of(folder.parent).open_context(f"logs:{folder / name}")
    assert asked.kind == "logs"


def test_the_logs_of_a_folder_are_opened_together(catalog_of: Make, folder: Path) -> None:
    (folder / "a.log").write_text(STEPS)
    (folder / "b.txt").write_text(STEPS)
    (folder / "readme.md").write_text("# Logs\n")
    opened = catalog_of(folder.parent).open_context(f"logs:{folder}")
    assert isinstance(opened, Logs)
    assert [file.name for file in opened.files] == ["a.log", "b.txt"]
    os.mkdir(folder / "empty")
    with pytest.raises(BadRequest, match="holds no logs"):
        catalog_of(folder.parent).open_context(f"logs:{folder / 'empty'}")
    with pytest.raises(Denied):
        catalog_of(folder).open_context("logs:/etc/hostname")


@pytest.mark.parametrize(("by", "minutes"), [("hour", 60), ("time", 30), ("minute", 1)])
def test_logs_are_chunked_by_windows_of_time(
    catalog_of: Make, folder: Path, by: str, minutes: int
) -> None:
    lines = [
        f"2026-03-14 {9 + n // 60:02}:{n % 60:02}:{s:02} INFO step {n} took {s} ms\n"
        for n in range(150)
        for s in (5, 35)
    ]
    (folder / "a.log").write_text("".join(lines))
    limit = len("".join(lines[:90])) // 3 if by == "time" else 100_000
    parts = catalog_of(folder).chunk("logs", by, limit)
    text = [catalog_of(folder).full_text(part.ref).splitlines() for part in parts]
    assert [line for part in text for line in part] == "".join(lines).splitlines()
    starts = [part[0][11:16] for part in text]
    assert all(int(start[3:]) % minutes == 0 for start in starts), starts
    assert len(parts) > 2 if by == "hour" else len(parts) >= 5


def test_records_out_of_order_lose_no_line_in_windows(catalog_of: Make, folder: Path) -> None:
    hours = [9, 12, 10, 10, 8, 11, 9, 12]
    lines = [f"2026-03-14 {hour:02}:00:{n:02} INFO step {n}\n" for n, hour in enumerate(hours * 7)]
    (folder / "a.log").write_text("".join(lines))
    for by in ("hour", "time"):
        parts = catalog_of(folder).chunk("logs", by, 60)
        text = "\n".join(catalog_of(folder).full_text(part.ref).rstrip("\n") for part in parts)
        assert text.splitlines() == "".join(lines).splitlines()
