"""Lines are read as `json.loads` reads them, and with patience where it would refuse."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from rlm_mcp.contexts.session import lines


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
    assert lines.parse(raw) == json.loads(raw)


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
    assert lines.parse(raw) == value


def test_a_line_beyond_the_limit_is_counted_and_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lines, "MOST", 1_000)
    monkeypatch.setattr(lines, "LARGE", 300)
    data = b'{"n": 1}\n{"n": "' + b"x" * 5_000 + b'"}\n{"n": 3}\n'
    found = list(lines.records(io.BytesIO(data), 0))
    assert [record for _, _, record, _ in found] == [{"n": 1}, None, {"n": 3}]
    assert [end for _, end, _, _ in found] == [9, len(data) - 9, len(data)]
    assert found[1][3]
    growing = list(lines.records(io.BytesIO(data[:4_000]), 0))
    assert growing[-1] == (9, 9, None, True)
