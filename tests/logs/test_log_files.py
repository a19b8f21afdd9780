"""Which files are logs, and how they are named."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp.errors import BadRequest, Denied
from rlm_mcp.logs.logs import Logs
from rlm_mcp.refs import Ref
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


def test_a_folder_means_its_logs_and_those_below_and_says_what_it_leaves_out(
    catalog_of: Make, folder: Path
) -> None:
    for name, text in (
        ("svc/pay/app.log", STEPS),
        ("svc/catalina.out", STEPS),
        ("svc/worker.glog", STEPS),
        ("svc/notes.txt", "some words\n" * 20),
        ("svc/picture.png", "x"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    opened = catalog_of(folder.parent).open_context(f"logs:{folder}")
    assert isinstance(opened, Logs)
    assert sorted(opened.documents(Ref(opened.name))) == [
        "catalina.out",
        "pay/app.log",
        "worker.glog",
    ]
    (said,) = [note for note in opened.describe().notes if "Not taken" in note]
    assert "svc/notes.txt (no times" in said and "svc/picture.png (its name)" in said


def test_a_log_brings_its_rotated_set(catalog_of: Make, folder: Path) -> None:
    for number, name in enumerate(("app.log.2", "app.log.1", "app.log")):
        (folder / name).write_text(f"2026-03-14 0{number}:00:00 INFO part {number}\n")
    (folder / "other.log").write_text(STEPS)
    catalog = catalog_of(folder)
    catalog.open_context("logs:app.log", "app")
    rows = catalog.call_method("app", "select", [], {})["records"]
    assert [row["text"][-1] for row in rows] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("tz=Europe/Berlin", "2026-03-14T08:00:00Z"),
        ("tz=-05:00&year=2024", "2024-03-14T14:00:00Z"),
        ("year=2024", "2024-03-14T09:00:00Z"),
    ],
)
def test_what_times_lack_is_given_when_opening(
    catalog_of: Make, folder: Path, asked: str, shown: str
) -> None:
    (folder / "app.log").write_text("Mar 14 09:00:00 host app[1]: up\n")
    os.utime(folder / "app.log", (1_790_000_000, 1_790_000_000))
    catalog = catalog_of(folder)
    catalog.open_context(f"logs:app.log?{asked}", "app")
    assert catalog.call_method("app", "select", [], {})["records"][0]["time"] == shown
    with pytest.raises(BadRequest, match="no time zone"):
        catalog.open_context("logs:app.log?tz=Mars", "mars")


def test_a_log_that_is_renamed_while_open_loses_no_line(catalog_of: Make, folder: Path) -> None:
    path, written = folder / "app.log", 0
    catalog = catalog_of(folder)
    for turn in range(5):
        with path.open("a") as file:
            for _ in range(100):
                file.write(f"2026-03-14 09:{turn:02}:00 INFO line {written}\n")
                written += 1
        if not turn:
            catalog.open_context("logs:app.log", "app")
        found = catalog.call_method("app", "select", [], {"limit": 1_000})
        said = [row["text"].rpartition(" ")[2] for row in found["records"]]
        assert said == [str(number) for number in range(written)]
        for row in found["records"][:: max(1, written // 7)]:
            assert catalog.peek(row["ref"]).text == row["text"]
        for old in range(turn, 0, -1):
            os.rename(folder / f"app.log.{old}", folder / f"app.log.{old + 1}")
        os.rename(path, folder / "app.log.1")


def test_a_log_that_was_cut_and_outgrew_its_size_is_read_anew(
    catalog_of: Make, folder: Path
) -> None:
    path = folder / "app.log"
    path.write_text("".join(f"2026-03-14 09:00:00 INFO old {n}\n" for n in range(5_000)))
    catalog = catalog_of(folder)
    catalog.open_context("app.log", "app")
    assert catalog.call_method("app", "select", [], {})["total"] == 5_000
    with path.open("r+") as file:
        file.truncate(0)
        file.write("".join(f"2026-03-14 10:00:00 INFO a new line {n}\n" for n in range(9_000)))
    rows = catalog.call_method("app", "select", [], {"pattern": "line 8999$"})["records"]
    assert [row["ref"].partition("#")[2] for row in rows] == ["L9000"]
    assert catalog.peek(rows[0]["ref"]).text == rows[0]["text"]


def test_an_empty_log_that_fills_is_dated(catalog_of: Make, folder: Path) -> None:
    (folder / "app.log").write_text("")
    catalog = catalog_of(folder)
    catalog.open_context("app.log", "app")
    assert catalog.call_method("app", "files", [], {})[0]["format"] == "plain"
    (folder / "app.log").write_text(STEPS)
    assert catalog.call_method("app", "histogram", [], {})["total"] == 40
