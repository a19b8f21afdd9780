"""Secrets planted in every source, looked for in everything that leaves: one sweep.

A real server over HTTP, a real provider on loopback that logs what it was sent, a collector that
takes the spans, the command line for what is shown afterwards.
"""

from __future__ import annotations

import asyncio
import http.client
import http.server
import json
import os
import random
import re
import signal
import string
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from rlm_mcp import redact
from rlm_mcp.cli import main
from tests.server.conftest import git
from tests.sim.call import Call, Refused, Say
from tests.sim.server import SimServer

chance = random.Random(11)
ROOT = Path(__file__).parents[2]


def letters(size: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(chance.choice(alphabet) for _ in range(size))


ANTHROPIC = "sk-ant-api03-" + letters(90)  # in the environment
PASSWORD = "b7" + letters(18)  # in the repository's configuration, and in a URL
AWS = "AKIA" + letters(16, string.ascii_uppercase + string.digits)  # in a file of the context
GITHUB = "ghp_" + letters(36)  # in a question, and in arguments
STRIPE = "sk_live_" + letters(24)  # in the root model's reply
SLACK = "xoxb-" + letters(12, string.digits) + "-" + letters(24)  # in a sub-model's reply
GOOGLE = "AIza" + letters(35)  # in a file of tools
NPM = "npm_" + letters(36)  # in the text of an exception
OPENAI = "sk-proj-" + letters(60)  # in the body of a provider's error
GITLAB = "glpat-" + letters(20)  # in a header
SECRETS = {
    ANTHROPIC: "anthropic-key",
    PASSWORD: "url-password",
    AWS: "aws-key",
    GITHUB: "github-token",
    STRIPE: "stripe-key",
    SLACK: "slack-token",
    GOOGLE: "google-key",
    NPM: "npm-token",
    OPENAI: "openai-key",
    GITLAB: "gitlab-token",
}
TOOL = f'''"""Tell a value."""


def tell(fail: bool = False) -> str:
    """Tell a value, or fail with it."""
    if fail:
        raise ValueError("no {NPM}")
    return "the value is {GOOGLE}"
'''
CELLS = (
    "print(peek('repo:config.py'))\nprint(tell())",
    f"raise ValueError('no {NPM}')",
    f"a = llm_query_batched(['tell {GITHUB}', 'please fail'])\nprint(list(a), a.failed)",
    "print(rlm_query('a child about ' + str(a[0])))",
    f"FINAL('found {STRIPE} and ' + str(a[0]) + str(peek('repo:config.py')))",
)


def mind(call: Call) -> Say | str:
    """Be a root that repeats secrets, and a sub-model that has its own and fails with another."""
    if "fail" in call.last.rpartition("</part>")[2][:40]:
        raise Refused(f"no such key: {OPENAI}", 400)
    if len(call.system) < 2_000:
        return f"I know {SLACK} and {call.last[-200:]}"
    if "a child" in call.turns[0].text:
        return "```repl\nprint(repo)\nFINAL('child saw ' + str(peek('repo:config.py')))\n```"
    return f"My key is {STRIPE}.\n```repl\n{CELLS[min(call.replies, len(CELLS) - 1)]}\n```"


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """Serve an OTLP collector that keeps what it is sent."""
    taken: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def project(folder: Path, config: Path, sim: SimServer) -> None:
    """Make a repository with a secret, a tool and a configuration with others."""
    folder.mkdir()
    (folder / "config.py").write_text(f'AWS = "{AWS}"\n' + "line = 1\n" * 12_000)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", f"Add {AWS}")
    (config / "tools").mkdir(parents=True, exist_ok=True)
    (config / "tools" / "tell.py").write_text(TOOL)
    git(folder, "remote", "add", "origin", f"http://joe:{PASSWORD}@127.0.0.1:1/x.git")
    (config / "config.toml").write_text(
        f'model = "anthropic:haiku"\nsub_model = "openai:sim@{sim.url}/v1"\n'
    )


@contextmanager
def server(folder: Path, environment: dict[str, str]) -> Iterator[tuple[int, str, list[str]]]:
    """Serve over HTTP; give the port, the token, and at the end what stood on stderr."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rlm_mcp.cli", "serve", "--http", "127.0.0.1:0"],
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = process.stderr.readline() + process.stderr.readline()
    port, token = re.search(r":(\d+)/mcp", said), re.search(r"bearer token (\S+)", said)
    assert port and token, said
    rest: list[str] = []
    try:
        yield int(port[1]), token[1], rest
    finally:
        process.send_signal(signal.SIGTERM)
        rest.append(process.communicate(timeout=30)[1])


async def all_tools(port: int, token: str) -> list[str]:
    """Call each of the ten tools, and ours, with secrets in arguments; return all that came."""
    web = httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"}, timeout=60)
    replies: list[str] = []
    async with web:
        transport = streamable_http_client(f"http://127.0.0.1:{port}/mcp", http_client=web)
        async with Client(transport) as client:
            replies.append(str(await client.list_tools()))
            run = ""
            calls: list[tuple[str, dict[str, Any]]] = [
                ("contexts", {}),
                ("open_context", {"source": "repo"}),
                ("open_context", {"source": f"/nowhere/{GITHUB}"}),
                ("open_context", {"source": f"http://joe:{PASSWORD}@127.0.0.1:1/x.git"}),
                ("peek", {"ref": "repo:config.py", "limit": 3}),
                ("peek", {"ref": f"repo:{GITHUB}"}),
                ("grep", {"pattern": "AKIA"}),
                ("grep", {"pattern": f"({GITHUB}"}),
                ("grep", {"pattern": "AKIA", "ref": "history"}),
                ("outline", {"ref": "repo"}),
                ("chunk", {"ref": "repo:config.py"}),
                ("tell", {}),
                ("tell", {"fail": True}),
                ("execute", {"code": f"raise ValueError('no {NPM}')"}),
                ("execute", {"code": "print(str(repo)[:4000])\nbig = str(repo)\nbig"}),
                ("llm_query", {"prompt": f"tell {GITHUB}"}),
                ("llm_query", {"prompt": "please fail"}),
                ("llm_query", {"prompt": "what?", "refs": "repo:config.py#L1-L2"}),
                ("llm_query", {"prompt": "x", "model": f"openai:x@http://{GITHUB}"}),
                ("rlm_query", {"prompt": f"Who is {GITHUB}?", "mode": "recursive"}),
                ("wait", {"run": "RUN", "seconds": 5}),
                ("wait", {"run": GITHUB}),
            ]
            for tool, arguments in calls:
                given = {**arguments, **({"run": run} if arguments.get("run") == "RUN" else {})}
                got = str(await client.call_tool(tool, given))
                replies.append(got)
                if tool == "rlm_query":
                    found = re.search(r"run (\d{4}-\d{6}-\w+)", got)
                    assert (found and "complete" in got) or "partial" in got, got
                    run = found[1] if found else ""
    return replies


def endpoint(port: int, token: str) -> list[str]:
    """Ask the Messages endpoint, whole and streamed, and what it refuses; return all that came."""
    replies = []
    for stream, mode, text in [
        (False, "direct", f"Who is {GITHUB}?"),
        (True, "direct", f"Who is {GITHUB}?"),
        (False, "direct", "please fail"),
        (False, GITLAB, "Who?"),
        (True, GITLAB, "Who?"),
    ]:
        body = {
            "model": "rlm",
            "max_tokens": 500,
            "stream": stream,
            "messages": [{"role": "user", "content": text}],
        }
        headers = {"x-api-key": token, "rlm-mode": mode, "x-other": GITLAB}
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/v1/messages", json.dumps(body), headers)
        answer = connection.getresponse()
        replies.append(f"{answer.getheaders()} {answer.read().decode()}")
        connection.close()
    return replies


def afterwards(runs: list[str], page: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what the command line shows of the runs, in every form."""
    shown = []
    for arguments in [
        ["list"],
        ["list", "--json"],
        *([form, run] for run in runs for form in ("show", "export", "replay")),
        *(["show", run, "--code"] for run in runs),
        *(["show", run, "--json"] for run in runs),
        *(["show", run, "--html", "-o", str(page)] for run in runs),
        ["export", "--all", "--unfinished"],
    ]:
        with pytest.raises(SystemExit):
            main(["runs", *arguments])
        shown.append(f"{arguments} {capsys.readouterr()}")
        if page.exists():
            shown.append(page.read_text())
    return shown


def files(state: Path) -> Iterator[tuple[str, bytes]]:
    for path in state.rglob("*"):
        if path.is_file() and path.name != "redact.salt":
            yield str(path.relative_to(state)), path.read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_no_secret_from_any_source_leaves_by_any_path(
    own_folders: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "project"
    left: list[tuple[str, bytes]] = []
    with SimServer(mind) as sim, collector() as (otlp, spans):
        project(folder, own_folders / "config", sim)
        environment = {
            **os.environ,
            "ANTHROPIC_API_KEY": ANTHROPIC,
            "ANTHROPIC_BASE_URL": sim.url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": otlp,
            "PYTHONPATH": str(ROOT),
        }
        environment.pop("RLM_MCP_HTTP_TOKEN", None)
        with server(folder, environment) as (port, token, stderr):
            said = asyncio.run(all_tools(port, token)) + endpoint(port, token)
            left += [
                (f"while it runs: {name}", data) for name, data in files(own_folders / "state")
            ]
        runs = sorted(path.stem for path in (own_folders / "state" / "runs").glob("*.jsonl"))
        assert len(runs) >= 4
        said += stderr
        monkeypatch.chdir(folder)
        for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
            monkeypatch.setenv(name, environment[name])
        whole = max(
            runs, key=lambda run: (own_folders / "state/runs" / f"{run}.jsonl").stat().st_size
        )
        said += afterwards([whole], tmp_path / "page.html", capsys)
        with pytest.raises(SystemExit):
            main(["ask", f"Who is {GITHUB}?", "--mode", "recursive", "--json"])
        said.append(str(capsys.readouterr()))
        assert "found [secret:stripe-key:" in said[-1]
        left += [(f"reply {n}", text.encode()) for n, text in enumerate(said)]
        left += list(files(own_folders / "state"))
        left += [
            (f"sent to a model {n}", json.dumps(c.body).encode()) for n, c in enumerate(sim.calls)
        ]
        left += [(f"spans {n}", data) for n, data in enumerate(spans)]
        assert spans and any(b"gen_ai" in data for data in spans)
        names = " ".join(name for name, _ in left)
        assert all(f in names for f in ("answers.sqlite", "contexts.json", "servers/", "runs/"))
    leaks = [(SECRETS[s], name) for name, data in left for s in SECRETS if s.encode() in data]
    assert not leaks, sorted(set(leaks))
    everything = b"\n".join(data for _, data in left).decode("utf-8", "replace")
    for secret, kind in SECRETS.items():
        form = f"http://joe:{secret}@h" if kind == "url-password" else secret
        marker = re.search(r"\[secret:[\w-]+:\w{4}\]", redact.redact(form))
        assert marker is not None and f":{kind}:" in marker[0]
        if kind != "anthropic-key":  # it is never read by anything that could tell it
            assert set(re.findall(rf"\[secret:{kind}:\w{{4}}\]", everything)) == {marker[0]}, kind
