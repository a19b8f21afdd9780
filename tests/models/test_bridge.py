"""The editor's bridge: loopback, a token, and the protocol of docs/bridge.md."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.errors import ModelError
from rlm_mcp.models import retry
from rlm_mcp.models.bridge import Bridge, bridge_address
from rlm_mcp.models.model import ChatMessage, ModelReply, ModelRequest
from tests.models.conftest import sentence


class Editor:
    """A stand-in for the extension: replies in order, or hangs."""

    def __init__(self) -> None:
        self.replies: list[tuple[int, Any]] = []
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.headers: dict[str, str] = {}
        self.chunked = False
        self.gone = threading.Event()
        editor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                editor.requests.append((self.path, dict(self.headers), json.loads(raw)))
                if not editor.replies:
                    self.connection.settimeout(20)
                    if self.connection.recv(1) == b"":
                        editor.gone.set()
                    self.close_connection = True
                    return
                status, body = editor.replies.pop(0)
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in editor.headers.items():
                    self.send_header(name, value)
                if editor.chunked:
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    for part in (data[:5], data[5:]):
                        self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                    self.wfile.write(b"0\r\n\r\n")
                else:
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def editor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Editor]:
    stand_in = Editor()
    stand_in.thread.start()
    monkeypatch.setenv("RLM_MCP_BRIDGE_URL", stand_in.url)
    monkeypatch.setenv("RLM_MCP_BRIDGE_TOKEN", "t0ken")
    yield stand_in
    stand_in.server.shutdown()
    stand_in.server.server_close()
    stand_in.thread.join()


def ask(model: str = "", **changes: object) -> ModelReply:
    request = ModelRequest([ChatMessage("user", "hello")], **changes)  # type: ignore[arg-type]
    return asyncio.run(Bridge(model).complete(request))


def failure(**changes: object) -> ModelError:
    with pytest.raises(ModelError) as caught:
        ask(**changes)  # type: ignore[arg-type]
    return sentence(caught.value)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_reply_carries_text_model_and_usage(editor: Editor, chunked: bool) -> None:
    editor.chunked = chunked
    usage = {"input": 7, "output": 2}
    editor.replies = [(200, {"text": "hi é", "model": "gpt", "stop": "max_tokens", "usage": usage})]
    reply = ask("gpt", system="rules", max_tokens=99)
    assert (reply.text, reply.model, reply.stop) == ("hi é", "gpt", "max_tokens")
    assert (reply.usage.input, reply.usage.output, reply.cost_usd) == (7, 2, None)
    path, headers, body = editor.requests[0]
    assert path == "/v1/complete"
    assert headers["Authorization"] == "Bearer t0ken"
    assert body["messages"] == [{"role": "user", "text": "hello"}]
    assert (body["model"], body["system"], body["max_tokens"]) == ("gpt", "rules", 99)


def test_missing_usage_is_estimated(editor: Editor) -> None:
    editor.replies = [(200, {"text": "hi", "usage": None})]
    assert ask().usage.input > 0


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, "auth"), (404, "unknown_model"), (413, "too_long"), (400, "refused")],
)
def test_an_error_is_typed_and_keeps_the_editors_words(
    editor: Editor, status: int, kind: str
) -> None:
    editor.replies = [(status, {"error": {"message": "the user said no"}})]
    error = failure()
    assert (error.kind, error.status) == (kind, status)
    assert "the user said no" in str(error)


def test_a_rate_limit_is_retried_after_the_time_that_was_asked_for(editor: Editor) -> None:
    editor.headers = {"Retry-After": "0.1"}
    editor.replies = [(429, {"error": {"message": "slow"}}), (200, {"text": "ok"})]
    assert ask().attempts == 2


@pytest.mark.parametrize(
    "body", [b"not json", {"words": "x"}, {"text": 7}, {"text": "x", "stop": "whenever"}]
)
def test_a_malformed_reply_is_typed(editor: Editor, body: object) -> None:
    editor.replies = [(200, body)]
    assert failure().kind == "malformed"


def test_cancellation_closes_the_connection(editor: Editor) -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(Bridge().complete(ModelRequest([ChatMessage("user", "hello")])))
        while not editor.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert editor.gone.wait(10)


def test_a_silent_editor_meets_the_time_limit(editor: Editor) -> None:
    assert failure(timeout_s=0.3).kind == "timeout"
    assert editor.gone.wait(10)


def test_an_editor_that_has_closed_is_said(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.01)
    monkeypatch.setenv("RLM_MCP_BRIDGE_URL", "http://127.0.0.1:9")
    error = failure()
    assert (error.kind, error.attempts) == ("network", 0)


def test_without_an_editor_there_is_one_sentence() -> None:
    error = failure()
    assert (error.kind, error.attempts) == ("auth", 0)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com:80",
        "http://10.0.0.1:80",
        "https://127.0.0.1:80",
        "http://127.0.0.1",
        "http://127.0.0.1@example.com:80",
        "http://127.0.0.1:99999999",
        "file:///etc/passwd",
        "nonsense",
    ],
)
def test_nothing_but_loopback_is_spoken_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLM_MCP_BRIDGE_URL", url)
    monkeypatch.setenv("RLM_MCP_BRIDGE_TOKEN", "t0ken")
    with pytest.raises(ModelError, match="stays on this machine"):
        bridge_address()


def test_a_token_cannot_add_headers(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLM_MCP_BRIDGE_TOKEN", "x\r\nX-Evil: 1")
    assert failure().attempts == 0
    assert not editor.requests


def test_the_server_in_the_document_serves_the_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[2] / "docs" / "bridge.md").read_text()
    source = text.partition("```python\n")[2].partition("```")[0]
    head, _, _ = source.partition("http.server.HTTPServer(")
    space: dict[str, Any] = {}
    exec(head, space)
    with ThreadingHTTPServer(("127.0.0.1", 0), space["Bridge"]) as server:
        space["Bridge"].log_message = lambda *_: None
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        monkeypatch.setenv("RLM_MCP_BRIDGE_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("RLM_MCP_BRIDGE_TOKEN", "x")
        try:
            assert ask().text == "5"
        finally:
            server.shutdown()
            thread.join()
