"""Lines are read as `json.loads` reads them, and with patience where it would refuse."""

from __future__ import annotations

import io
import json
import random
from typing import Any

import pytest

from rlm_mcp.sessions import jsonl


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": 123456789012345678901234567890, "b": 18446744073709551616}',
        b'{"a": 1e400, "b": -0.0, "c": 5e-324, "d": 1.0000000000000000000001}',
        b'{"a": 1, "a": 2}',
        b'{"a": "\\ud83d\\ude00", "b": "\\u0000"}',
        b'{"a": "\\ud800", "b": "x\\udc00y"}',
        b" [1, null, true] \r\n",
        b'{"a":' * 400 + b"1" + b"}" * 400,
    ],
)
def test_a_value_is_what_json_gives(raw: bytes) -> None:
    assert jsonl.parse_line(raw) == json.loads(raw)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": "cut \xe2\x82 here"}', {"a": "cut \ufffd here"}),
        (b'{"a": "tab\tin it"}', {"a": "tab\tin it"}),
        (b'{"a": ' + b"7" * 9_000 + b"}", {"a": "7" * 9_000}),
        (b"[" * 200_000 + b"]" * 200_000, None),
        (b'{"a": 1} and more', None),
        (b'{"a": NaN, "b": [Infinity]', None),
    ],
)
def test_a_damaged_line_is_read_where_its_record_is_still_there(raw: bytes, value: Any) -> None:
    assert jsonl.parse_line(raw) == value


def test_a_line_beyond_the_limit_is_counted_and_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jsonl, "LINE_LIMIT_BYTES", 1_000)
    monkeypatch.setattr(jsonl, "LARGE_BYTES", 300)
    data = b'{"n": 1}\n{"n": "' + b"x" * 5_000 + b'"}\n{"n": 3}\n'
    found = list(jsonl.read_records(io.BytesIO(data), 0))
    assert [record for _, _, record, _ in found] == [{"n": 1}, None, {"n": 3}]
    assert [end for _, end, _, _ in found] == [9, len(data) - 9, len(data)]
    assert found[1][3]
    growing = list(jsonl.read_records(io.BytesIO(data[:4_000]), 0))
    assert growing[-1] == (9, 9, None, True)


ATOMS = [
    b"NaN", b"-Infinity", b"-NaN", b"1e999", b"-0", b"1E5", b"01", b"+1", b".5", b"1.", b"nul",
    b"123456789012345678901234567890", b"-" + b"9" * 25, b"9" * 400, b"1_0", b"0x1", b"true",
    b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\ud83d\\ude00"', b'"\xff"', b'"\xed\xa0\x80"', b'"\xc3"',
    b'"a\x00b"', b'"a\\u0000b"', b'"a\rb"', b'"\t"', b'"\\x"', b'"\\/"', b'"\\u12"', b"'a'",
    b'"\x7f"', b'"\xf0\x9f\x98"',
]  # fmt: skip
KEYS = [b'"a"', b'"\\u0061"', b'"b"', b'"\\ud800"', b"a", b'"\xff"']


def made(chance: random.Random, depth: int) -> bytes:
    """Return a JSON value, or nearly one, of a few levels."""
    kind = chance.random()
    if not depth or kind < 0.5:
        return chance.choice(ATOMS)
    many = range(chance.randrange(4))
    if kind < 0.75:
        return b"[" + b",".join(made(chance, depth - 1) for _ in many) + b"]"
    pairs = (chance.choice(KEYS) + b": " + made(chance, depth - 1) for _ in many)
    return b"{" + b",".join(pairs) + b"}"


def patient(raw: bytes) -> Any:
    """Return what the standard library gives, asked with patience; None where it gives nothing."""
    try:
        text = raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = raw.decode("utf-8", "replace")
    try:
        return json.JSONDecoder(strict=False).decode(text.lstrip("\ufeff \t\r\n"))
    except ValueError:
        return None


@pytest.mark.parametrize("seed", range(8))
def test_a_line_is_what_the_standard_library_makes_of_it(seed: int) -> None:
    chance = random.Random(seed)
    read = 0
    for _ in range(400):
        raw = b'{"v":' + made(chance, 3) + b"}"
        if chance.random() < 0.1:
            at = chance.randrange(len(raw))
            raw = raw[:at] + bytes([chance.randrange(11, 256)]) + raw[at + 1 :]
        wanted = patient(raw)
        (line,) = jsonl.read_records(io.BytesIO(raw + b"\n"), 0)
        assert repr(line[2]) == repr(wanted if isinstance(wanted, dict) else None), raw
        read += line[2] is not None
    assert 100 < read < 400
