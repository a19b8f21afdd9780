"""HTTP on loopback: the token, the guard against rebinding, MCP, and the Messages endpoint."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from rlm_mcp.errors import BadRequest
from rlm_mcp.server import http as over_http
from tests.server.conftest import git
from tests.server.talk import Talk


@dataclass
class Web:
    """A server that listens on loopback."""

    process: subprocess.Popen[str]
    port: int
    token: str
    script: str = ""
    """The spec of a configured model: it says forty-two, and fails what asks for the dead."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(
        self, method: str, path: str, headers: dict[str, str], body: bytes = b""
    ) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            given = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, given, answer.read().decode()
        finally:
            connection.close()

    def post(self, body: Any, **headers: str) -> tuple[int, dict[str, str], str]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        known = {"x-api-key": self.token, "content-type": "application/json"}
        return self.request("POST", "/v1/messages", {**known, **headers}, data)


def start(folder: Path, *arguments: str) -> Web:
    script = folder.parent / "script.json"
    dead = {"match": "provider dead", "reply": {"error": "server"}}
    script.write_text(json.dumps({"rules": [dead, {"match": ".*", "reply": "forty-two"}]}))
    process = subprocess.Popen(
        [sys.executable, "-Im", "rlm_mcp.cli", "serve", "--http", "127.0.0.1:0", *arguments],
        cwd=folder,
        env={**os.environ, "RLM_MCP_MODEL": "extractive:", "RLM_MCP_SUB_MODEL": f"fake:{script}"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = process.stderr.readline() + process.stderr.readline()
    port = re.search(r"http://127\.0\.0\.1:(\d+)/mcp", said)
    token = re.search(r"bearer token (\S+)", said)
    assert port and token, said
    return Web(process, int(port[1]), token[1], f"fake:{script}")


def stop(web: Web) -> int:
    web.process.send_signal(signal.SIGTERM)
    code = web.process.wait(20)
    assert web.process.stderr is not None
    web.process.stderr.close()
    return code


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    base = tmp_path_factory.mktemp("web")
    folder = base / "project"
    folder.mkdir()
    (folder / "greet.py").write_text("class Greeter:\n    pass\n")
    git(folder, "init", "-q")
    with ExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        for name in ("STATE", "CACHE", "CONFIG"):
            environment.setenv(f"RLM_MCP_{name}_DIR", str(base / name.lower()))
        environment.delenv(over_http.TOKEN_VARIABLE, raising=False)
        made = start(folder)
        try:
            yield made
        finally:
            assert stop(made) == 0


def question(text: Any, **more: Any) -> dict[str, Any]:
    return {
        "model": "rlm",
        "max_tokens": 2_000,
        "messages": [{"role": "user", "content": text}],
        **more,
    }


@pytest.mark.parametrize(
    ("path", "method"), [("/mcp", "POST"), ("/v1/messages", "POST"), ("/", "GET"), ("/mcp", "GET")]
)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Basic TOKEN"},
        {"x-api-key": "é"},
        {"authorization": "TOKEN"},
    ],
)
def test_nothing_is_answered_without_the_token(
    path: str, method: str, headers: dict[str, str], web: Web
) -> None:
    sent = {name: value.replace("TOKEN", web.token) for name, value in headers.items()}
    status, given, text = web.request(method, path, sent, b"{}")
    assert status == 401
    assert given["www-authenticate"] == "Bearer"
    assert web.token not in text


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "10.0.0.1:80"},
        {"host": ""},
        {"host": "[::1"},
        {"host": "evil.example@127.0.0.1"},
        {"host": "evil.example:1@127.0.0.1:80"},
        {"host": "127.0.0.1/evil.example"},
        {"host": "127.0.0.1?evil.example"},
        {"host": "127.0.0.1#evil.example"},
        {"host": "127.0.0.1:x"},
        {"host": "127.0.0.1\\evil.example"},
        {"origin": "http://evil.example@127.0.0.1"},
        {"origin": "http://127.0.0.1/evil.example"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost.evil.example"},
    ],
)
@pytest.mark.parametrize("path", ["/mcp", "/v1/messages"])
def test_a_page_that_rebinds_its_name_gets_nothing(
    headers: dict[str, str], path: str, web: Web
) -> None:
    token = {"authorization": f"Bearer {web.token}"}
    assert web.request("POST", path, {**token, **headers}, b"{}")[0] in (400, 403)


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0:80", "192.168.1.1:80", "example.com:80", "[::]:80", "x", "127.0.0.1:x", "1:99999"],
)
def test_only_loopback_is_listened_on(address: str) -> None:
    with pytest.raises(BadRequest):
        over_http.parse_address(address)


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("127.0.0.1:8765", ("127.0.0.1", 8765)),
        ("localhost:1", ("localhost", 1)),
        ("[::1]:2", ("::1", 2)),
        (":3", ("127.0.0.1", 3)),
        ("4", ("127.0.0.1", 4)),
    ],
)
def test_addresses_of_loopback_are_read(address: str, parsed: tuple[str, int]) -> None:
    assert over_http.parse_address(address) == parsed


def test_a_port_in_use_is_a_sentence(web: Web, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rlm_mcp.cli", "serve", "--http", f"127.0.0.1:{web.port}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 4
    assert "Cannot listen" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_tools_work_over_http_in_both_eras(mode: str, web: Web) -> None:
    @asynccontextmanager
    async def connect() -> AsyncIterator[Client]:
        headers = {"authorization": f"Bearer {web.token}"}
        async with httpx2.AsyncClient(headers=headers, timeout=60) as carrier:
            transport = streamable_http_client(f"{web.url}/mcp", http_client=carrier)
            async with Client(transport, mode=mode) as client:
                yield client

    with Talk(connect) as talk:
        assert talk.call("grep", pattern="class Greeter").text.startswith("1 matching")
        said = talk.call("execute", code="while True: pass", timeout_s=2)
        assert said.progress


@pytest.fixture(scope="module")
def client(web: Web) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=web.url, api_key=web.token, max_retries=0) as made:
        yield made


NEEDLE = "The vault of Zanzibar opens with MAGENTA-77."


def haystack(lines: int) -> str:
    rows = [f"row {n} holds nothing of interest, as the others do" for n in range(lines)]
    rows.insert(lines // 3, NEEDLE)
    return "\n".join(rows)


def test_the_official_client_gets_an_answer_with_usage_and_status(
    client: anthropic.Anthropic,
) -> None:
    raw = client.messages.with_raw_response.create(
        **question(
            [
                {"type": "text", "text": haystack(5_000)},
                {"type": "text", "text": "What opens the vault of Zanzibar?"},
            ]
        )
    )
    message = raw.parse()
    assert raw.headers["rlm-status"] == "complete"
    assert re.fullmatch(r"\d+/\d+", raw.headers["rlm-coverage"])
    assert raw.headers["rlm-run"]
    assert float(raw.headers["rlm-cost-usd"]) == 0
    assert message.stop_reason == "end_turn"
    assert message.content[0].type == "text"
    assert "MAGENTA-77" in message.content[0].text
    assert message.usage.input_tokens > 0


def test_a_streamed_reply_is_the_same_answer(client: anthropic.Anthropic) -> None:
    body = question(haystack(3_000) + "\n\nWhat opens the vault of Zanzibar?")
    with client.messages.stream(**body) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert "MAGENTA-77" in text
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > 0


def test_a_stream_ends_with_the_facts_of_the_run(web: Web) -> None:
    status, given, text = web.post(question("Where is class Greeter?", stream=True))
    assert status == 200
    assert given["content-type"].startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    kinds = [event["type"] for event in events if event["type"] != "ping"]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    facts = events[-2]["rlm"]
    assert facts["status"] == "complete"
    assert facts["run"]


def test_a_prompt_of_ten_million_tokens_is_taken(web: Web) -> None:
    big = ("row of the table that says nothing\n" * 1_150_000)[:40_000_000]
    half = len(big) // 2
    text = f"{big[:half]}\nopen_the_vault_of_zanzibar = MAGENTA-77\n{big[half:]}"
    body = question(
        [
            {"type": "text", "text": text},
            {"type": "text", "text": "What is open_the_vault_of_zanzibar set to?"},
        ]
    )
    started = time.monotonic()
    status, given, answer = web.post(body)
    assert status == 200, answer
    assert given["rlm-status"] == "complete"
    assert "MAGENTA-77" in answer
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "not JSON"),
        (b"[]", 400, "not a JSON object"),
        ({}, 400, "max_tokens"),
        (question(""), 400, "empty"),
        (question([]), 400, "empty"),
        (question("x", max_tokens=0), 400, "max_tokens"),
        (question("x", model=""), 400, "model"),
        (question("x", model="nope:y"), 400, "nope:y"),
        (question("x", tools=[{"name": "t"}]), 400, "tools"),
        (question("x", temperature=0.2), 400, "temperature"),
        (question("x", stop_sequences=["y"]), 400, "stop_sequences"),
        (question("x", thinking={"type": "enabled"}), 400, "thinking"),
        (question("x", sistem="y"), 400, "Did you mean system"),
        (question([{"type": "image", "source": {}}]), 400, "'image'"),
        (question("x", messages=[]), 400, "messages"),
        (question("x", messages=[{"role": "robot", "content": "x"}]), 400, "role"),
        (
            question(
                "x",
                messages=[{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}],
            ),
            400,
            "prefilled",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_a_sentence(
    body: Any, status: int, says: str, web: Web
) -> None:
    got, given, text = web.post(body)
    error = json.loads(text)
    assert got == status
    assert error["type"] == "error"
    assert says in error["error"]["message"]
    assert given["x-should-retry"] == "false"


def test_a_configured_model_named_in_the_request_answers_it(web: Web) -> None:
    status, given, text = web.post(question("How much is it?", model=web.script))
    assert status == 200, text
    assert "forty-two" in json.loads(text)["content"][0]["text"]
    assert given["rlm-status"] in ("complete", "partial", "forced")


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_names_no_file_no_address_and_no_unknown_price(
    stream: bool, web: Web, tmp_path: Path
) -> None:
    script = tmp_path / "other.json"
    script.write_text(json.dumps({"rules": [{"match": ".*", "reply": "read"}]}))
    for model in (
        f"fake:{script}", "openai:gpt-x@http://127.0.0.1:1/v1", "openai:gpt-6-sol", "claude-new-99"
    ):  # fmt: skip
        status, _, text = web.post(question("How much is it?", model=model, stream=stream))
        assert (status, json.loads(text)["error"]["type"]) == (403, "permission_error"), model


def test_the_mode_of_a_run_is_chosen_by_a_header_and_told_in_one(web: Web) -> None:
    for mode in ("direct", "environment", "recursive"):
        _, given, text = web.post(
            question("How much is it?\n" + haystack(3_000), model=web.script), **{"rlm-mode": mode}
        )
        assert given.get("rlm-mode") == mode, text
        assert "as asked" in given["rlm-reason"]
    status, _, text = web.post(question("How much?"), **{"rlm-mode": "sideways"})
    assert status == 400 and "environment" in text


@pytest.mark.parametrize("stream", [False, True])
def test_a_dead_provider_is_an_error_that_is_not_worth_a_retry(stream: bool, web: Web) -> None:
    body = question("Is the provider dead?", model=web.script, stream=stream)
    status, given, text = web.post(body)
    if stream:
        assert "event: error" in text
        assert "message_stop" not in text
    else:
        assert status >= 500
        assert given["x-should-retry"] == "false"
        assert json.loads(text)["type"] == "error"


def test_other_paths_of_the_api_are_named_as_missing(web: Web) -> None:
    status, _, text = web.request("POST", "/v1/messages/count_tokens", {"x-api-key": web.token})
    assert status == 404
    assert "/v1/messages" in text


def test_an_answer_longer_than_max_tokens_is_cut_and_says_so(web: Web) -> None:
    _, _, text = web.post(question("Where is class Greeter?", max_tokens=3))
    message = json.loads(text)
    assert message["stop_reason"] == "max_tokens"
    assert len(message["content"][0]["text"]) <= 12


def test_a_client_that_hangs_up_stops_its_run(web: Web) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=5)
    body = json.dumps(question(haystack(200_000), stream=True)).encode()
    connection.request("POST", "/v1/messages", body, {"x-api-key": web.token})
    connection.close()
    assert web.post(question("Where is class Greeter?"))[0] == 200


def test_the_budget_of_the_day_is_a_matter_of_payment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STATE", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"RLM_MCP_{name}_DIR", str(tmp_path / name.lower()))
    monkeypatch.delenv(over_http.TOKEN_VARIABLE, raising=False)
    monkeypatch.setenv("RLM_MCP_MAX_USD_DAY", "0.000001")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-not-a-secret")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")  # nothing may be sent
    folder = tmp_path / "project"
    folder.mkdir()
    priced = start(folder, "--model", "anthropic:claude-opus-5")
    try:
        for mode in ("direct", "recursive"):
            status, _, text = priced.post(question("Which?"), **{"rlm-mode": mode})
            assert status == 402, text
            assert json.loads(text)["error"]["type"] == "billing_error"
            assert "budget of the day" in text
        streamed = priced.post(question("Which?", stream=True), **{"rlm-mode": "direct"})[2]
        assert "billing_error" in streamed and "budget of the day" in streamed
    finally:
        stop(priced)
