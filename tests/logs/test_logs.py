from __future__ import annotations

import bz2
import gzip
import lzma
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp.corpus.search import Query
from rlm_mcp.errors import BadRequest, Denied, RlmError
from rlm_mcp.logs import log_files
from tests.project import OpenProject

Make = Callable[..., OpenProject]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "logs"
    made.mkdir()
    return made


def _lines(hour: int, count: int = 60, level: str = "INFO", text: str = "request {n} done") -> str:
    return "".join(
        f"2026-03-14 {hour:02}:{n % 60:02}:00,000 {level} {text.format(n=n)}\n"
        for n in range(count)
    )


@pytest.mark.parametrize("packed", ["gz", "bz2", "xz"])
def test_a_packed_log_reads_like_a_plain_one(folder: Path, catalog_of: Make, packed: str) -> None:
    text = _lines(9).encode()
    packers: dict[str, Callable[[bytes], bytes]]
    packers = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    (folder / f"app.log.{packed}").write_bytes(packers[packed](text))
    catalog = catalog_of(folder)
    variable = catalog.open_context(f"app.log.{packed}")
    assert variable.kind == "logs"
    assert catalog.full_text(variable.name) == text.decode()
    assert catalog.grep(Query("request 7 "), variable.name).hits[0].line == 8


def test_a_rotated_set_is_read_oldest_first(folder: Path, catalog_of: Make) -> None:
    (folder / "app.log").write_text(_lines(12))
    (folder / "app.log.1").write_text(_lines(11))
    (folder / "app.log.2.gz").write_bytes(gzip.compress(_lines(10).encode()))
    (folder / "app.log.10.gz").write_bytes(gzip.compress(_lines(9).encode()))
    catalog = catalog_of(folder)
    variable = catalog.open_context("app.log*")
    names = ["app.log.10.gz", "app.log.2.gz", "app.log.1", "app.log"]
    assert [
        path.name for path in log_files.rotation_order([folder / n for n in sorted(names)])
    ] == names
    hours = [hit.text[11:13] for hit in catalog.grep(Query("request 7 "), variable.name).hits]
    assert hours == ["09", "10", "11", "12"]
    description = variable.describe()
    assert description.facts["from"] == "2026-03-14T09:00:00Z"
    assert description.documents == 4


def test_the_mapped_text_is_all_logs_in_order(folder: Path, catalog_of: Make) -> None:
    (folder / "a.log").write_text(_lines(9))
    (folder / "b.log").write_text(_lines(10))
    catalog = catalog_of(folder)
    variable = catalog.open_context("*.log", "both")
    source = variable.mapped_text()
    text = b"".join(os.pread(source.fd, length, offset) for offset, length in source.spans)
    assert text.decode() == _lines(9) + _lines(10)


def test_a_growing_log_is_followed_line_by_line(folder: Path, catalog_of: Make) -> None:
    path = folder / "app.log"
    path.write_text("2026-03-14 09:00:00 INFO one\n")
    catalog = catalog_of(folder)
    catalog.open_context("app.log", "app")
    generation = catalog.get_variable("app").mapped_text().generation
    for number in range(20):
        with path.open("a") as file:
            file.write(f"2026-03-14 09:{number:02}:30 INFO more {number}\n")
        assert catalog.grep(Query("more"), "app").total == number + 1
        assert catalog.peek(f"app#L{number + 2}").text.endswith(f"more {number}")
    assert catalog.get_variable("app").mapped_text().generation > generation


def test_a_log_that_was_rotated_or_cut_is_opened_again(folder: Path, catalog_of: Make) -> None:
    path = folder / "app.log"
    path.write_text(_lines(9))
    catalog = catalog_of(folder)
    catalog.open_context("app.log", "app")
    assert catalog.grep(Query("request"), "app").total == 60
    os.rename(path, folder / "app.log.1")
    path.write_text("2026-03-14 10:00:00 INFO fresh\n")
    assert catalog.grep(Query("request"), "app").total == 0
    assert catalog.grep(Query("fresh"), "app").total == 1
    os.truncate(path, 0)
    assert catalog.grep(Query("fresh"), "app").total == 0


def test_at_finds_the_first_line_of_a_time(folder: Path, catalog_of: Make) -> None:
    (folder / "app.log").write_text("".join(_lines(hour) for hour in range(24)) * 1)
    catalog = catalog_of(folder)
    catalog.open_context("app.log", "app")
    for wish, text in (
        ("2026-03-14T13:30", "13:30"), ("13:30", "13:30"), ("13:30:30", "13:31"), ("10m", "23:49"),
    ):  # fmt: skip
        row = catalog.call_method("app", "at", [wish], {})[0]
        assert row["text"][11:16] == text, wish
        assert catalog.peek(row["ref"]).text == row["text"]
    assert catalog.call_method("app", "at", ["2027-01-01"], {}) == []
    with pytest.raises(BadRequest, match="no time"):
        catalog.call_method("app", "at", ["yesterday-ish"], {})


def test_select_counts_whole_records_by_level_and_time(folder: Path, catalog_of: Make) -> None:
    trace = "Traceback (most recent call last):\n  File x\nValueError: bad ERROR text\n"
    (folder / "app.log").write_text(
        _lines(9) + "2026-03-14 10:00:00,000 ERROR failed\n" + trace + _lines(11)
    )
    catalog = catalog_of(folder)
    catalog.open_context("app.log", "app")
    found = catalog.call_method("app", "select", [], {"level": "error"})
    assert (found["total"], len(found["records"])) == (1, 1)
    assert catalog.call_method("app", "select", [], {"pattern": "ValueError"})["total"] == 1
    assert catalog.call_method("app", "select", [], {})["total"] == 121
    window = {"since": "2026-03-14T09:30", "until": "2026-03-14T10:30"}
    assert catalog.call_method("app", "select", [], window)["total"] == 31
    with pytest.raises(BadRequest, match="no level"):
        catalog.call_method("app", "select", [], {"level": "loud"})


def test_histogram_totals_are_exact(folder: Path, catalog_of: Make) -> None:
    (folder / "app.log").write_text(_lines(9) + _lines(10, 30, "ERROR", "bad {n}"))
    catalog = catalog_of(folder)
    catalog.open_context("app.log", "app")
    slots = catalog.call_method("app", "histogram", [], {"by": "hour"})
    assert slots["total"] == 90
    assert [(slot["records"], slot.get("error", 0)) for slot in slots["slots"]] == [
        (60, 0),
        (30, 30),
    ]


def test_templates_join_lines_that_differ_in_parameters(folder: Path, catalog_of: Make) -> None:
    text = "".join(
        f"2026-03-14 09:00:{n % 60:02} INFO user {n} from 10.0.{n}.1 took {n}ms id=req-{n:08x}\n"
        for n in range(100)
    )
    (folder / "app.log").write_text(text + "2026-03-14 09:59:00 ERROR disk full on /dev/sda1\n")
    catalog = catalog_of(folder)
    catalog.open_context("app.log", "app")
    found = catalog.call_method("app", "templates", [], {})
    assert [(item["count"], item["level"]) for item in found["templates"]] == [
        (100, "info"),
        (1, "error"),
    ]
    assert found["of_lines"] == 101
    rare = catalog.call_method("app", "templates", [], {"rare": True, "top": 1})["templates"][0]
    assert catalog.peek(rare["first"]).text.endswith("disk full on /dev/sda1")


def test_compare_finds_what_is_new(folder: Path, catalog_of: Make) -> None:
    (folder / "app.log").write_text(
        _lines(9) + _lines(10) + "".join(
            f"2026-03-14 11:{n:02}:00,000 ERROR payment refused for order {n}\n" for n in range(30)
        )
    )  # fmt: skip
    catalog = catalog_of(folder)
    catalog.open_context("app.log", "app")
    found = catalog.call_method("app", "compare", [], {"at": "2026-03-14T11:00"})
    first = found["changes"][0]
    assert (first["state"], first["after"], first["before"]) == ("new", 30, 0)
    assert "payment refused" in first["template"]
    with pytest.raises(BadRequest, match="compare"):
        catalog.call_method("app", "compare", [], {})


def test_follow_orders_lines_of_an_id_by_time_over_files(folder: Path, catalog_of: Make) -> None:
    (folder / "web.log").write_text("2026-03-14T09:00:02Z INFO req-7 answered\n")
    (folder / "api.log").write_text("2026-03-14T09:00:01Z INFO req-7 asked\nreq-77 not this?\n")
    catalog = catalog_of(folder)
    catalog.open_context("*.log", "both")
    found = catalog.call_method("both", "follow", ["req-7 "], {})
    assert [row["text"].partition("\n")[0][-8:] for row in found["records"]] == [
        "-7 asked",
        "answered",
    ]
    assert found["total"] == 2


def test_chunks_cover_each_line_once_on_record_borders(folder: Path, catalog_of: Make) -> None:
    record = "2026-03-14 09:00:00 ERROR x\n  File a\n  File b\n"
    (folder / "app.log").write_text(record * 500)
    catalog = catalog_of(folder)
    catalog.open_context("app.log", "app")
    parts = [catalog.full_text(chunk.ref) for chunk in catalog.chunk("app", tokens=400)]
    assert len(parts) > 10
    assert "\n".join(parts) + "\n" == record * 500
    assert all(part.startswith("2026-03-14") for part in parts)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("by", ["records", "time", "lines"])
def test_parts_of_a_log_are_no_larger_than_asked(
    folder: Path, catalog_of: Make, by: str, ending: str
) -> None:
    """Also where records are of any size, out of order, or larger than a part."""
    record = "2026-03-14 09:{:02}:00 ERROR x\n" + "  at frame\n"
    text = "".join(record.format(n * 7 % 60) + "  at frame\n" * (n * 37 % 90) for n in range(300))
    data = (text + "no newline").replace("\n", ending).encode()
    (folder / "app.log").write_bytes(data)
    catalog = catalog_of(folder)
    catalog.open_context("app.log", "app")
    parts = [catalog.full_text(chunk.ref).encode() for chunk in catalog.chunk("app", by, 200)]
    assert b"\n".join(parts) == data
    assert max(map(len, parts)) <= 200 * 2.4
    if by != "lines":
        cut = [part for part in parts if not part.startswith(b"2026")]
        whole = [part for part in parts if part.startswith(b"2026")]
        assert len(whole) > 100 and len(cut) < len(parts) * 0.7


def test_a_log_is_not_chunked_by_characters(folder: Path, catalog_of: Make) -> None:
    (folder / "app.log").write_text(_lines(9))
    catalog = catalog_of(folder)
    catalog.open_context("app.log", "app")
    with pytest.raises(BadRequest, match="some lines"):
        catalog.chunk("app:app.log#C0-C10")


def test_outline_gives_refs_that_open(folder: Path, catalog_of: Make) -> None:
    (folder / "app.log").write_text(_lines(9) + _lines(10, 5, "ERROR", "bad {n}"))
    catalog = catalog_of(folder)
    catalog.open_context("app.log", "app")
    outline = catalog.outline("app")
    assert {item.kind for item in outline.items} >= {"log", "time", "error", "info"}
    for item in outline.items:
        catalog.peek(item.ref)


def test_rank_puts_the_worse_and_the_fitting_lines_first(folder: Path, catalog_of: Make) -> None:
    (folder / "app.log").write_text(
        _lines(9, text="payment {n} accepted") + "2026-03-14 10:00:00 ERROR payment timed out\n"
    )
    catalog = catalog_of(folder)
    catalog.open_context("app.log", "app")
    hits = catalog.search("why did a payment time out?", "app", 3)
    assert "timed out" in hits[0].text
    assert len(hits) == 2


def test_a_bomb_is_unpacked_to_the_limit_and_no_further(
    folder: Path, catalog_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files, "MAX_UNPACKED_BYTES", 4 << 20)
    (folder / "bomb.log.gz").write_bytes(gzip.compress(b"a" * 79 + b"\n") + gzip.compress(
        (b"b" * 79 + b"\n") * 1_000_000))  # fmt: skip
    catalog = catalog_of(folder)
    description = catalog.open_context("bomb.log.gz").describe()
    assert description.size_bytes == 4 << 20
    assert any("Only the first" in note for note in description.notes)


def test_a_broken_archive_keeps_what_could_be_read_and_says_so(
    folder: Path, catalog_of: Make
) -> None:
    data = gzip.compress(os.urandom(3 << 20) + b"\n")
    (folder / "broken.log.gz").write_bytes(data[: len(data) // 2])
    (folder / "fake.log.gz").write_bytes(b"\x1f\x8bnothing")
    catalog = catalog_of(folder)
    variable = catalog.open_context("broken.log.gz")
    notes = variable.describe().notes
    assert any("is broken" in note and "is lost" in note for note in notes)
    with pytest.raises(RlmError, match="cannot be unpacked"):
        catalog.open_context("fake.log.gz")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig"])
def test_other_encodings_are_read(folder: Path, catalog_of: Make, encoding: str) -> None:
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    (folder / "app.log").write_bytes(mark + "2026-03-14 09:00:00 ERROR échec\n".encode(encoding))
    catalog = catalog_of(folder)
    catalog.open_context("app.log", "app")
    assert catalog.grep(Query("échec"), "app").total == 1
    assert catalog.call_method("app", "select", [], {"level": "error"})["total"] == 1


def test_utf16_without_a_mark_is_told_by_its_nuls(folder: Path, catalog_of: Make) -> None:
    text = "2026-03-14 09:00:00 ERROR a line of some length, then échec\n"
    (folder / "app.log").write_bytes(text.encode("utf-16-le"))
    catalog = catalog_of(folder)
    catalog.open_context("app.log", "app")
    assert catalog.full_text("app") == text


def test_hostile_bytes_harm_nothing(folder: Path, catalog_of: Make) -> None:
    (folder / "app.log").write_bytes(
        b"\x00\xff\xfe\n\x1b[31m2026-03-14 09:00:00 ERROR \x00 \x1b[0m\n" + b"x" * 3_000_000 + b"\n"
    )
    catalog = catalog_of(folder)
    catalog.open_context("app.log", "app")
    hit = catalog.grep(Query("xxx"), "app").hits[0]
    assert hit.line == 3 and len(hit.text) <= 300 and hit.cut
    assert len(catalog.peek("app#L3").text) <= 6_000
    catalog.outline("app")
    catalog.chunk("app", tokens=100)
    with pytest.raises(BadRequest):
        catalog.grep(Query("(a"), "app")
    with pytest.raises(BadRequest):
        catalog.grep(Query("(?=a)"), "app")


def test_an_empty_log_opens(folder: Path, catalog_of: Make) -> None:
    (folder / "app.log").write_bytes(b"")
    catalog = catalog_of(folder)
    catalog.open_context("app.log", "app")
    assert catalog.describe("app").size_bytes == 0
    assert catalog.peek("app").text == ""
    assert catalog.grep(Query("x"), "app").total == 0
    assert catalog.outline("app").items
    assert catalog.call_method("app", "templates", [], {})["of_lines"] == 0


def test_a_link_or_a_secret_is_no_log(folder: Path, catalog_of: Make) -> None:
    (folder.parent / "outside.log").write_text("outside\n")
    (folder / "in.log").symlink_to("../outside.log")
    catalog = catalog_of(folder)
    with pytest.raises(Denied):
        catalog.open_context("in.log")
    assert "logs" not in dict(catalog.openable_defaults())
    with pytest.raises(BadRequest):
        catalog.get_variable("logs")


def test_lines_are_found_by_number_across_blocks(folder: Path, catalog_of: Make) -> None:
    count = 120_000
    (folder / "app.log").write_text("".join(f"line number {n:07}\n" for n in range(1, count + 1)))
    catalog = catalog_of(folder)
    catalog.open_context("app.log", "app")
    for line in (1, 2, 55_187, 55_188, 55_189, 110_376, count):
        assert catalog.peek(f"app#L{line}").text == f"line number {line:07}"
    hit = catalog.grep(Query("0099999$"), "app").hits[0]
    assert hit.line == 99_999
    with pytest.raises(BadRequest, match="120,000 lines"):
        catalog.peek(f"app#L{count + 1}")


def test_a_log_that_is_cut_under_a_reader_is_answered_or_refused(
    folder: Path, catalog_of: Make
) -> None:
    path = folder / "app.log"
    line = b"2026-03-14 09:00:00 INFO something happened here\n"
    path.write_bytes(line * 60_000)
    catalog = catalog_of(folder)
    catalog.open_context("app.log", "app")
    over = threading.Event()

    def cut() -> None:
        while not over.wait(0.005):
            os.truncate(path, 1_000)
            path.write_bytes(line * 60_000)

    thread = threading.Thread(target=cut)
    thread.start()
    answers = 0
    try:
        for _ in range(25):
            for call in (
                lambda: catalog.grep(Query("happened"), "app"),
                lambda: catalog.peek("app#L100"),
                lambda: catalog.full_text("app#L1-L50"),
                lambda: catalog.call_method("app", "at", ["09:00"], {}),
            ):
                try:
                    call()
                    answers += 1
                except RlmError:
                    pass
    finally:
        over.set()
        thread.join()
    assert answers
