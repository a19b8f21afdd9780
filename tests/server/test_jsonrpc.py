"""No request goes unanswered, and nothing that is sent ends the server, over stdio and HTTP."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.server import jsonrpc
from tests.server.test_http import Web, start, stop

PARSE, INVALID, PARAMS = -32700, -32600, -32602
DEEP = 200_000


def ping(id: str) -> str:
    return f'{{"jsonrpc":"2.0","id":{id},"method":"ping"}}'


ERRORS: dict[str, tuple[bytes, int, Any]] = {
    "no JSON": (b"hello", PARSE, None),
    "cut off": (b'{"jsonrpc":"2.0","id":7,"method":"ping"', PARSE, 7),
    "cut off in the arguments": (b'{"id":"a","method":"x","params":{"id":3,"a":"b', PARSE, "a"),
    "a digit too many": (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"a":01}}', PARSE, 7),
    "deep": (
        b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"a":'
        + b"[" * DEEP + b"]" * DEEP + b"}}", PARSE, 7,
    ),
    "deep before the id": (
        b'{"method":"ping","params":{"a":' + b'{"id":' * DEEP + b"1" + b"}" * DEEP
        + b'},"jsonrpc":"2.0","id":"x"}', PARSE, "x",
    ),
    "deep and cut off": (b"[" * DEEP, PARSE, None),
    "UTF-16": (ping("7").encode("utf-16"), PARSE, None),
    "a number": (b"7", INVALID, None),
    "a string": (b'"ping"', INVALID, None),
    "null": (b"null", INVALID, None),
    "an empty object": (b"{}", INVALID, None),
    "no version": (b'{"id":7,"method":"ping"}', INVALID, 7),
    "another version": (b'{"jsonrpc":"1.0","id":7,"method":"ping"}', INVALID, 7),
    "no method": (b'{"jsonrpc":"2.0","id":7}', INVALID, 7),
    "method of a wrong type": (b'{"jsonrpc":"2.0","id":7,"method":3}', INVALID, 7),
    "params of a wrong type": (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":3}', PARAMS, 7),
    "params by place": (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":[]}', PARAMS, 7),
    "null id": (ping("null").encode(), INVALID, None),
    "fractional id": (ping("7.5").encode(), INVALID, None),
    "true as id": (ping("true").encode(), INVALID, None),
    "object as id": (ping('{"a":1}').encode(), INVALID, None),
    "an empty batch": (b"[]", INVALID, None),
    "a batch": (f"[{ping('7')}]".encode(), INVALID, 7),
    "a broken response": (b'{"jsonrpc":"2.0","id":7,"result":3}', INVALID, None),
}  # fmt: skip

ANSWERED = {
    "byte-order mark": b"\xef\xbb\xbf" + ping("7").encode(),
    "CRLF": ping("7").encode() + b"\r",
    "spaces": b" \t " + ping("7").encode() + b"  ",
    "broken UTF-8": b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"a":"\xff\xfe\xc3"}}',
    "half a character": b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"\\ud800":"\\udc00"}}',
    "not a number": b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"a":NaN}}',
    "twice the same key": b'{"jsonrpc":"2.0","id":1,"id":7,"method":"ping","params":{}}',
    "a large integer": b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"a":' + b"9" * 5_000
    + b"}}",
}  # fmt: skip


class Wire:
    """A server over stdio that is spoken to in bytes."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-Im", "rlm_mcp.cli", "serve", "--root", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "RLM_MCP_MODEL": "extractive:"},
            bufsize=0,
        )
        first = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        }
        said = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": first}
        self.say(json.dumps(said).encode())
        assert "result" in self.hear()
        self.say(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')

    def say(self, line: bytes) -> None:
        assert self.process.stdin is not None
        data = memoryview(line + b"\n")
        while data:
            data = data[self.process.stdin.write(data) :]

    def hear(self) -> dict[str, Any]:
        """Return the next message, which is valid UTF-8 without half characters."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], 60)
        assert ready, "no reply"
        line = self.process.stdout.readline().decode()
        assert "\\ud8" not in line.lower()
        message: dict[str, Any] = json.loads(line)
        return message

    def lives(self) -> None:
        self.say(ping('"still there"').encode())
        assert self.hear() == {"jsonrpc": "2.0", "id": "still there", "result": {}}


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    folder = tmp_path_factory.mktemp("project")
    (folder / "a.txt").write_text("one\n")
    made = Wire(folder)
    yield made
    with made.process:
        assert made.process.stdin is not None
        made.process.stdin.close()
        assert made.process.wait(20) == 0


@pytest.mark.parametrize("name", ERRORS)
def test_what_is_no_request_gets_an_error(name: str, wire: Wire) -> None:
    line, code, id = ERRORS[name]
    # What UTF-16 holds of line ends makes more than one line of it.
    wire.say(line.replace(b"\n", b" "))
    reply = wire.hear()
    assert (reply["error"]["code"], reply["id"]) == (code, id)
    assert len(reply["error"]["message"]) < 400
    wire.lives()


@pytest.mark.parametrize("name", ANSWERED)
def test_what_can_be_mended_gets_its_result(name: str, wire: Wire) -> None:
    wire.say(ANSWERED[name])
    reply = wire.hear()
    assert reply["id"] == 7
    assert "result" in reply or reply["error"]["code"] in (PARSE, INVALID, PARAMS)
    wire.lives()


def test_blank_lines_and_notifications_are_no_requests(wire: Wire) -> None:
    for line in (b"", b"\r", b"   ", b'{"jsonrpc":"2.0","method":"notifications/x"}'):
        wire.say(line)
    wire.lives()


def test_each_request_of_a_batch_is_answered(wire: Wire) -> None:
    note = '{"jsonrpc":"2.0","method":"notifications/x"}'
    wire.say(f"[{ping('1')},{note},{ping('null')},7,{ping('2')}]".encode())
    assert [wire.hear()["id"] for _ in range(2)] == [1, 2]
    wire.lives()


def test_two_requests_of_one_id_are_two_replies(wire: Wire) -> None:
    wire.say(ping("5").encode() + b"\n" + ping("5").encode())
    assert [wire.hear()["id"] for _ in range(2)] == [5, 5]
    wire.lives()


def test_an_enormous_line_is_refused_by_its_id_and_forgotten(wire: Wire) -> None:
    filling = b"x" * (jsonrpc.LARGEST_MESSAGE + 10)
    first = b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"a":"' + filling + b'"}}'
    last = b'{"jsonrpc":"2.0","method":"ping","params":{"a":"' + filling + b'"},"id":8}'
    for line, id in ((first, 7), (last, 8)):
        wire.say(line)
        reply = wire.hear()
        assert (reply["id"], reply["error"]["code"]) == (id, INVALID)
        assert "64 MB" in reply["error"]["message"]
        wire.lives()


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("grep", '{"pattern":"a\\ud83d"}', "0 matching"),
        ("execute", '{"code":"print(len(\'\\ud99c\'))"}', "1"),
        ("execute", '{"code":"print(chr(0xd800))"}', "\ufffd"),
        ("peek", '{"ref":"repo:\\udfff"}', "\ufffd"),
        ("\\ud800", "{}", "no tool"),
    ],
)
def test_a_half_character_never_costs_the_reply(
    tool: str, arguments: str, says: str, wire: Wire
) -> None:
    call = f'{{"name":"{tool}","arguments":{arguments}}}'
    wire.say(f'{{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{call}}}'.encode())
    reply = wire.hear()
    assert reply["id"] == 9
    assert says in reply["result"]["content"][0]["text"]
    wire.lives()


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("web") / "project"
    folder.mkdir()
    made = start(folder)
    yield made
    assert stop(made) == 0


def post(web: Web, body: bytes, **more: str) -> tuple[int, dict[str, str], str]:
    headers = {
        "authorization": f"Bearer {web.token}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        **more,
    }
    return web.request("POST", "/mcp", headers, body)


ERAS: tuple[dict[str, str], ...] = (
    {},
    {"mcp-protocol-version": "2025-11-25"},
    {"mcp-protocol-version": "2026-07-28"},
)


@pytest.mark.parametrize("era", ERAS, ids=str)
@pytest.mark.parametrize("name", ERRORS)
def test_over_http_too_what_is_no_request_gets_an_error(
    name: str, era: dict[str, str], web: Web
) -> None:
    body, code, id = ERRORS[name]
    status, _, text = post(web, body, **era)
    assert status == 400
    reply = json.loads(text)
    assert (reply["error"]["code"], reply["id"]) == (code, id)


def test_over_http_an_id_in_use_is_refused_and_its_request_answered(web: Web) -> None:
    first = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    said = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": first}
    status, given, _ = post(web, json.dumps(said).encode())
    assert status == 200
    session = {"mcp-session-id": given["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
    post(web, b'{"jsonrpc":"2.0","method":"notifications/initialized"}', **session)
    code = "while True: pass"
    params = {"name": "execute", "arguments": {"code": code, "timeout_s": 3}}
    call = {"jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": params}
    got: list[tuple[int, dict[str, str], str]] = []
    threads = [
        threading.Thread(target=lambda: got.append(post(web, json.dumps(call).encode(), **session)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(status for status, _, _ in got) == [200, 400]
    texts = {status: text for status, _, text in got}
    assert json.loads(texts[400])["error"]["code"] == INVALID
    assert "data:" in texts[200] and '"id":4' in texts[200].replace(" ", "")


def test_a_projects_limit_that_breaks_every_cell_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / ".rlm").mkdir()
    (tmp_path / ".rlm" / "config.toml").write_text("cell_memory_mb = 1\n")
    wire = Wire(tmp_path)
    with wire.process:
        params = {"name": "execute", "arguments": {"code": "1"}}
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        wire.say(json.dumps(call).encode())
        text = wire.hear()["result"]["content"][0]["text"]
        assert "cell_memory_mb = 1" in text and ".rlm/config.toml" in text
        assert wire.process.stdin is not None
        wire.process.stdin.close()
        assert wire.process.wait(20) == 0
