"""Trajectories: their schema, their size, and what is read out of them again."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.config import state_dir
from rlm_mcp.engine import export, import_rlms, run_tree
from rlm_mcp.engine.trajectory import Event, Recorder, find_trajectory, read_events
from rlm_mcp.errors import BadRequest, ModelError
from rlm_mcp.models.fake import Fake
from rlm_mcp.models.model import ModelRequest
from rlm_mcp.viewer import draw_page
from tests.engine.conftest import Desks, cell, run, scripted

jsonschema = pytest.importorskip("jsonschema")
ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "trajectory.schema.json").read_text("utf-8"))


def sub(text: str) -> str | ModelError:
    return ModelError("no", kind="refused") if text.startswith("bad") else "fine </script><b>"


CELLS = [
    cell("h = grep('line 7 of file 3')\nprint(h.shown)"),
    cell(
        "from rlm_mcp.sdk import rlm_query\n"
        "a = llm_query_batched(['good', 'bad', 'better'])\n"
        "c = rlm_query(['and the child?'], mode='recursive')\nprint(a.done, c[0])"
    ),
    cell("FINAL('at ' + h[0].ref)"),
]


def model() -> Fake:
    inner = scripted(CELLS, sub)

    def reply(request: ModelRequest) -> Any:
        if request.purpose == "root" and "child?" in request.messages[0].text:
            return cell("print(len(repo))\nFINAL('from the child')")
        return inner.replies(request)  # type: ignore[operator]

    return Fake(replies=reply)


async def recorded(desk: Desks) -> tuple[str, list[ModelRequest]]:
    async with desk() as d:
        used = model()
        d.use(used)
        result = await d.workspace.run_query("Where is it?", mode="recursive")
        return result.run, used.requests


def test_every_event_fits_the_published_schema(desk: Desks) -> None:
    id, _ = run(recorded(desk))
    validator = jsonschema.Draft202012Validator(SCHEMA)
    types = set()
    for line in (state_dir() / "runs" / f"{id}.jsonl").read_text("utf-8").splitlines():
        event = json.loads(line)
        validator.validate(event)
        types.add(event["type"])
    assert types == {"run.start", "prompt", "call", "cell", "turn", "child", "run.end"}


def test_a_file_is_at_most_twice_what_was_sent_and_answered(desk: Desks) -> None:
    id, requests = run(recorded(desk))
    sent = sum(len(r.system) + sum(len(m.text) for m in r.messages) for r in requests)
    assert (state_dir() / "runs" / f"{id}.jsonl").stat().st_size <= 2 * sent


def test_a_file_is_for_its_user_alone(desk: Desks) -> None:
    id, _ = run(recorded(desk))
    assert (state_dir() / "runs" / f"{id}.jsonl").stat().st_mode & 0o077 == 0


def test_the_tree_holds_turns_calls_and_children(desk: Desks) -> None:
    id, _ = run(recorded(desk))
    node = run_tree.load_tree(state_dir() / "runs", id)
    assert [turn.number for turn in node.turns] == [1, 2, 3]
    failures = {call["part"]: "failure" in call for call in node.turns[1].calls}
    assert failures == {"1": False, "2": True, "3": False}
    assert [child.id for child in node.turns[1].children] == [f"{id}.1"]
    assert node.children[0].end["answer"] == "from the child"
    assert (node.status, node.cost_usd()) == ("partial", 0.0)
    assert run_tree.load_tree(state_dir() / "runs", f"{id}.1").depth == 1


def test_runs_are_listed_newest_first(desk: Desks) -> None:
    first, _ = run(recorded(desk))
    second, _ = run(recorded(desk))
    found = run_tree.list_summaries(state_dir() / "runs")
    assert [item.run for item in found] == [second, first]
    assert (found[0].question, found[0].status, found[0].calls) == ("Where is it?", "partial", 1)
    assert found[1].calls == 7


def test_a_torn_last_line_is_left_out_and_other_damage_is_told(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "a1")
    recorder.write_event("run.start", question="x", mode="agent", depth=0)
    recorder.close()
    path = tmp_path / "a1.jsonl"
    whole = path.read_text()
    path.write_text(whole + '{"v": 1, "ru')
    assert [event.type for event in read_events(path)] == ["run.start"]
    assert run_tree.list_summaries(tmp_path)[0].status == "running"
    path.write_text("[]\n" + whole)
    with pytest.raises(BadRequest, match="line 1"):
        list(read_events(path))
    assert run_tree.list_summaries(tmp_path) == []


def test_a_run_is_found_by_a_unique_start(tmp_path: Path) -> None:
    for name in ("1121-a", "1121-b", "1120-c"):
        (tmp_path / f"{name}.jsonl").touch()
    assert find_trajectory(tmp_path, "1120").stem == "1120-c"
    assert find_trajectory(tmp_path, "1121-a.1.2").stem == "1121-a"
    with pytest.raises(BadRequest, match="2 runs begin so"):
        find_trajectory(tmp_path, "1121")
    with pytest.raises(BadRequest, match="Did you mean 1121-b"):
        find_trajectory(tmp_path, "1122-b")


def test_a_replay_comes_to_the_same_answer_without_a_model(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            used = model()
            d.use(used)
            result = await d.workspace.run_query("Where is it?", mode="recursive")
            asked = len(used.requests)
            replay = await d.workspace.replay_run(result.run)
            assert replay.same and replay.answer == result.answer
            assert len(used.requests) == asked
            assert len(list((state_dir() / "runs").glob("*.jsonl"))) == 1
            (d.folder / "f3.txt").write_text("nothing\n")
            changed = await d.workspace.replay_run(result.run)
            assert not changed.same and changed.status == "failed"

    run(go())


def test_the_export_is_the_conversation_that_the_root_had(desk: Desks) -> None:
    id, requests = run(recorded(desk))
    node = run_tree.load_tree(state_dir() / "runs", id)
    lines = [json.loads(line) for line in export.jsonl_lines(node)]
    assert [line["run"] for line in lines] == [id, f"{id}.1"]
    last = [r for r in requests if r.purpose == "root" and "child?" not in r.messages[0].text][-1]
    told = lines[0]["messages"]
    assert told[0] == {"role": "system", "content": last.system}
    for message, ours in zip(last.messages[1:], told[2:], strict=False):
        assert message.text == ours["content"]
    assert told[-1]["role"] == "assistant"
    assert len(lines[0]["sub_calls"]) == 3


def test_the_page_shows_a_run_and_runs_nothing_that_it_says(desk: Desks) -> None:
    id, _ = run(recorded(desk))
    page = export.run_page(run_tree.load_tree(state_dir() / "runs", id))
    assert "Where is it?" in page and "Content-Security-Policy" in page
    assert page.count("</script>") == 2, "no text of the run can end the data"
    for outside in ("http://", "https://"):
        assert outside not in page.replace("http://www.w3.org/2000/svg", "")


def test_the_page_marks_what_would_steer_a_display() -> None:
    run_data = {"id": "1", "turns": [{"shown": "evil\u202etxt\x1b[2J\u200b", "n": 1}], "end": {}}
    page = draw_page(run_data)
    assert "evil<U+202E>txt" in page.replace("\\u003c", "<")
    assert not any(mark in page for mark in ("\\u202e", "\\u001b", "\\u200b"))


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_page_draws_every_turn_and_call(desk: Desks, tmp_path: Path) -> None:
    id, _ = run(recorded(desk))
    data = json.dumps(export.tree_json(run_tree.load_tree(state_dir() / "runs", id)))
    script = (ROOT / "rlm_mcp" / "viewer" / "page.js").read_text("utf-8")
    shim = (ROOT / "tests" / "engine" / "dom.js").read_text("utf-8")
    path = tmp_path / "draw.js"
    path.write_text(f"{shim}\nconst DATA = {json.dumps(data)};\n{script}\nreport();\n", "utf-8")
    done = subprocess.run(["node", path], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert "from the child" in shown["text"] and "NO ANSWER: no" in shown["text"]
    assert shown["rect"] == 7
    assert shown["text"].count("fine </script><b>") >= 2, "as text"


OFFICIAL = [
    {"type": "metadata", "timestamp": "2026-06-01T10:00:00", "root_model": "m", "max_depth": 1},
    {
        "type": "iteration",
        "iteration": 1,
        "timestamp": "2026-06-01T10:00:02",
        "prompt": [
            {"role": "system", "content": "You are"},
            {"role": "user", "content": "How many?"},
        ],
        "response": "```repl\nprint(llm_query('x'))\n```",
        "code_blocks": [
            {
                "code": "print(llm_query('x'))",
                "result": {
                    "stdout": "seven",
                    "stderr": "",
                    "locals": {"context": "long"},
                    "rlm_calls": [
                        {
                            "root_model": "s",
                            "prompt": "x",
                            "response": "seven",
                            "execution_time": 0.5,
                            "usage_summary": {"model_usage_summaries": {}},
                        },
                        {"root_model": "s", "prompt": "y", "response": "", "error": "429"},
                    ],
                },
            }
        ],
        "final_answer": None,
        "iteration_time": 1.5,
    },
    {
        "type": "iteration",
        "iteration": 2,
        "timestamp": "2026-06-01T10:00:03",
        "prompt": [],
        "response": "done",
        "code_blocks": [],
        "final_answer": "7",
        "iteration_time": 0.5,
    },
]


def test_logs_of_the_official_library_are_shown_as_runs(tmp_path: Path) -> None:
    path = tmp_path / "rlm_2026.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in OFFICIAL) + '{"type": "ite')
    assert import_rlms.is_official(path)
    node = run_tree.build_tree(import_rlms.read_log(path))
    assert [turn.code for turn in node.turns] == ["print(llm_query('x'))", ""]
    assert node.turns[0].calls[0]["reply"] == "seven"
    assert node.turns[0].calls[1]["failure"]["reason"] == "429"
    assert (node.status, node.end["answer"], node.cost_usd()) == ("complete", "7", None)
    assert node.prompt == {"system": "You are", "first": "How many?"}
    assert "long" not in str(node), "variables are left out"
    assert export.run_page(node)
    assert [json.loads(line)["answer"] for line in export.jsonl_lines(node)] == ["7"]


def nested(levels: int) -> dict[str, Any]:
    """Return an iteration whose cell started a child run, which did the same, and so on."""
    entry: dict[str, Any] = json.loads(json.dumps(OFFICIAL[1]))
    if levels:
        inner = [nested(levels - 1), {**OFFICIAL[2], "prompt": []}]
        entry["code_blocks"][0]["result"]["rlm_calls"][0] |= {
            "prompt": "a part of it",
            "metadata": {"run_metadata": {"root_model": "s", "max_depth": 9}, "iterations": inner},
        }
    return entry


def test_child_runs_of_the_official_library_are_part_of_the_tree(tmp_path: Path) -> None:
    path = tmp_path / "rlm_2026.jsonl"
    entries = [OFFICIAL[0], nested(3), OFFICIAL[2]]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    found = list(run_tree.walk_runs(run_tree.build_tree(import_rlms.read_log(path))))
    assert [node.depth for node in found] == [0, 1, 2, 3]
    assert [node.start["model"] for node in found] == ["m", "s", "s", "s"]
    assert [node.start["question"] for node in found] == ["How many?", *["a part of it"] * 3]
    assert [node.end["answer"] for node in found] == ["7"] * 4
    assert len(found[0].all_calls()) == 4 * 2 + 3 * 1 + 2
    assert export.run_page(found[0])


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        '{"type": "iteration", "timestamp": ' + "[" * 50_000 + "}",
        json.dumps({**OFFICIAL[1], "code_blocks": [{"code": "x", "result": []}]}),
        json.dumps({**OFFICIAL[1], "code_blocks": 5}),
    ],
)
def test_a_line_that_is_none_is_told_without_internals(tmp_path: Path, line: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(f"{json.dumps(OFFICIAL[0])}\n{line}\n")
    with pytest.raises(BadRequest, match="line 2: not a line of the official") as caught:
        import_rlms.read_log(path)
    assert "Error" not in str(caught.value)


def test_a_log_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(OFFICIAL[0]) + "\n" + '{"type": "iteration", "timestamp": 5}\n')
    with pytest.raises(BadRequest, match="line 2"):
        import_rlms.read_log(path)


def test_an_event_is_one_line_whatever_it_holds(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "a")
    recorder.write_event("turn", turn=1, shown="a\nb\u2028c\ud800", left="", ready=False)
    recorder.close()
    assert [type(event) for event in read_events(tmp_path / "a.jsonl")] == [Event]
