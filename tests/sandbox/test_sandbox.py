"""The public face: limits, kills and what is restored, interrupts, variables, tools, threads."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.errors import BadRequest, SandboxError
from rlm_mcp.sandbox import Attachment, Sandbox, SandboxLimits, sandbox_layers
from tests.sandbox.conftest import Make


def test_all_layers_are_active_by_name_here() -> None:
    found = sandbox_layers()
    assert "linux-full" in found or "linux-seccomp" in found
    assert "seccomp" in found and "rlimits" in found


def test_a_cell_prints_echoes_and_keeps_its_variables(make: Make) -> None:
    box = make()
    first = box.execute("x = [1, 2]\nprint('hello')\nx")
    assert (first.stdout, first.value_repr, first.value, first.error) == (
        "hello\n",
        "[1, 2]",
        [1, 2],
        None,
    )
    assert box.execute("len(_) + x[1]").value == 4


def test_an_error_shows_the_lines_that_led_to_it_and_keeps_what_was_set(make: Make) -> None:
    box = make()
    box.execute("def f(n):\n    return 1 / n")
    outcome = box.execute("y = 5\nf(0)")
    assert outcome.error == (
        "  cell 2, line 2: f(0)\n  cell 1, line 2, in f: return 1 / n\n"
        "ZeroDivisionError: division by zero"
    )
    assert box.execute("y").value == 5


def test_a_syntax_error_shows_its_line(make: Make) -> None:
    outcome = make().execute("x = 1\ny = (2\n")
    assert outcome.error and "line 2: y = (2" in outcome.error and "never closed" in outcome.error


def test_long_output_is_cut_in_the_middle_with_counts_and_kept_whole(make: Make) -> None:
    box = make(limits=SandboxLimits(seconds=10, output_chars=1000))
    outcome = box.execute("for i in range(5000): print(i)")
    assert outcome.stdout_chars == 23_890
    assert len(outcome.stdout) < 1200
    assert outcome.stdout.startswith("0\n1\n") and outcome.stdout.endswith("4999\n")
    assert "22,890 of 23,890 characters left out" in outcome.stdout
    assert box.execute("len(_stdout), _stdout[:3]").value == [23_890, "0\n1"]


def test_a_large_value_is_cut_before_its_repr_is_built(make: Make) -> None:
    box = make(limits=SandboxLimits(seconds=10, output_chars=500))
    for code in (
        "'x' * 50_000_000",
        "list(range(3_000_000))",
        "{i: 'y' * 99 for i in range(9999)}",
    ):
        outcome = box.execute(code)
        assert outcome.error is None and outcome.value_repr is not None
        assert len(outcome.value_repr) < 800


def test_many_threads_run_many_environments(make: Make) -> None:
    boxes = [make(host={"echo": lambda value: value}) for _ in range(4)]
    results: list[Any] = []

    def work(number: int) -> None:
        for i in range(10):
            results.append(boxes[number % 4].execute(f"echo({number} * 100 + {i})").value)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(results) == sorted(n * 100 + i for n in range(8) for i in range(10))


def test_variables_are_set_read_and_listed(make: Make) -> None:
    box = make()
    box.set_variable("answer", {"content": "", "ready": False})
    box.execute("FINAL('done')\nhits = ['a'] * 3\ndef f(): pass")
    assert box.get_variable("answer") == {"content": "done", "ready": True}
    assert box.get_variable("missing", 7) == 7
    rows = {row["name"]: row for row in box.list_variables()}
    assert rows["hits"]["type"] == "list" and rows["hits"]["size"] == 3
    assert rows["hits"]["preview"] == "['a', 'a', 'a']"
    assert set(rows) == {"answer", "hits", "f"}
    with pytest.raises(BadRequest, match="cannot be copied"):
        box.get_variable("f")
    assert box.get_variable("__builtins__") is None


def test_a_cell_tells_in_its_own_reply_what_there_is_after_it(make: Make) -> None:
    box = make()
    box.set_variable("answer", {"content": "", "ready": False})
    after = box.execute("FINAL('done')\nhits = ['a']", look="answer").after
    assert after is not None and after.copied
    assert after.value == {"content": "done", "ready": True}
    assert after.names == box.list_variables()
    assert box.execute("1").after is None, "only where it is asked for"
    failed = box.execute("more = 2\n1 / 0", look="answer")
    assert failed.error and failed.after is not None
    assert [row["name"] for row in failed.after.names] == ["answer", "hits", "more"]


@pytest.mark.parametrize(
    "code",
    ["x = 1", "def answer(): pass", "answer = 'é' * 900_000", "answer = [float('nan')]"],
)
def test_what_cannot_be_told_after_a_cell_costs_neither_the_cell_nor_the_names(
    make: Make, code: str
) -> None:
    after = make().execute(code, look="answer").after
    assert after is not None and not after.copied and after.value is None
    assert len(after.names) == 1


def test_names_that_cannot_be_shown_cost_only_their_previews(make: Make) -> None:
    code = "class A:\n    def __repr__(self):\n        raise ValueError('no')\na = A()\nb = 2"
    outcome = make().execute(code, look="answer")
    assert outcome.error is None and outcome.after is not None
    shown = {row["name"]: row["preview"] for row in outcome.after.names}
    assert shown["a"] == "(cannot be shown)" and shown["b"] == "2"


@pytest.mark.parametrize("text", ["\\x00", "\\U000e0001", "語", '"', "\\ud800"])
def test_no_character_makes_a_bounded_result_too_long_for_the_wire(make: Make, text: str) -> None:
    box = make(limits=SandboxLimits(seconds=20, output_chars=200_000))
    code = f"text = '{text}' * 1_000_000\nprint(text)\nanswer = [text]\ntext"
    outcome = box.execute(code, look="answer")
    assert not outcome.killed and outcome.error is None and outcome.stdout_chars == 1_000_001
    assert len(outcome.stdout) < 201_000 and len(outcome.value_repr or "") < 201_000
    box.execute(f"answer = '{text}' * 1_000_000")
    assert len(box.get_variable("answer")) == 1_000_000


def test_final_takes_a_variable_by_name_and_says_what_is_missing(make: Make) -> None:
    box = make()
    assert "no answer to set" in (box.execute("FINAL('x')").error or "")
    box.set_variable("answer", {"content": "", "ready": False})
    box.execute("text = 'long'\nFINAL_VAR('text')")
    assert box.get_variable("answer") == {"content": "long", "ready": True}
    assert "no variable 'nope'" in (box.execute("FINAL_VAR('nope')").error or "")


def test_long_texts_are_fetched_in_parts(make: Make) -> None:
    box = make(limits=SandboxLimits(seconds=10, wire_bytes=1 << 16))
    box.execute("text = 'aé' * 100_000")
    assert box.get_text("text") == "aé" * 100_000
    assert box.get_text("text", 3, 7) == "éaéa"
    assert box.get_text("missing") is None
    with pytest.raises(BadRequest):
        box.get_variable("text")


def test_surrogates_and_control_characters_come_out_printable(make: Make) -> None:
    outcome = make().execute("print('a\\ud800b')\n'\\udcff'")
    assert outcome.stdout == "a\ufffdb\n"
    outcome.stdout.encode()
    (outcome.value_repr or "").encode()


def test_an_attached_context_is_read_and_called(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "pack"
    path.write_bytes("deadold text\nfirst line\nsecond ünï\n".encode())
    box = make(
        host={"call_method": lambda name, method, args, kwargs: [name, method, args, kwargs]}
    )
    with open(path, "rb") as file:
        methods = {"symbols": "symbols(kind='all'): list definitions"}
        spans = [(13, 11), (24, 13)]
        box.attach_variable(
            "repo", Attachment("repo", "a repo", (file.fileno(), spans, 1), methods)
        )
    assert box.execute("repo[:10], len(repo), 'ünï' in repo").value == ["first line", 22, True]
    assert box.execute("repo.symbols('x', kind='f')").value == [
        "repo",
        "symbols",
        ["x"],
        {"kind": "f"},
    ]
    assert box.execute("import itertools\n-1 in itertools.count()", seconds=0.2).killed
    assert box.execute("repo[-4:]").value == "ünï\n"


def test_rebinding_a_context_shows_the_new_text(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "pack"
    path.write_bytes(b"one two")
    box = make()
    with open(path, "rb+") as file:
        box.attach_variable("t", Attachment("text", "", (file.fileno(), [(0, 3)], 1), {}))
        assert box.execute("t[:]").value == "one"
        box.attach_variable("t", Attachment("text", "", (file.fileno(), [(4, 3)], 2), {}))
    assert box.execute("t[:]").value == "two"


def test_a_worker_cannot_write_to_the_file_of_a_context(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "pack"
    path.write_bytes(b"x" * 8192)
    box = make(language=False)
    with open(path, "rb+") as file:
        box.attach_variable("t", Attachment("text", "", (file.fileno(), [(0, 8192)], 1), {}))
    code = (
        "import os, ctypes\nlibc = ctypes.CDLL(None)\nresults = []\n"
        "for n in range(3, 64):\n"
        "    for work in (lambda: os.write(n, b'') and 0, lambda: os.pwrite(n, b'EVIL', 0),\n"
        "                 lambda: os.ftruncate(n, 0)):\n"
        "        try:\n            work()\n        except OSError: pass\n"
        "view = t\n"
        "m = view._mapped._map\n"
        "try:\n    m[0:4] = b'EVIL'\nexcept TypeError as e: results.append(str(e))\n"
        "buffer = (ctypes.c_char * 4096)\n"
        "results"
    )
    outcome = box.execute(code)
    assert path.read_bytes() == b"x" * 8192, outcome
    assert outcome.value == ["mmap can't modify a readonly memory map."]


def test_only_regular_files_can_be_attached(make: Make) -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(SandboxError, match="regular file"):
            make().attach_variable("t", Attachment("text", "", (reading, [(0, 1)], 1), {}))
    finally:
        os.close(reading)
        os.close(writing)


def test_a_context_without_text_has_its_methods_alone(make: Make) -> None:
    box = make(host={"call_method": lambda **call: call["method"]})
    box.attach_variable(
        "history", Attachment("history", "90 commits", None, {"log": "log(n): commits"})
    )
    assert box.execute("history.log(3)").value == "log"
    assert "no text of its own; its methods: log" in (box.execute("len(history)").error or "")
    assert box.execute("history").value_repr == "<history history: 90 commits>"


def test_a_closed_environment_says_so(make: Make) -> None:
    box = make()
    box.close()
    with pytest.raises(SandboxError, match="closed"):
        box.execute("1")
    box.close()


def test_no_worker_outlives_its_environment(make: Make) -> None:
    box = make()
    assert box._connection is not None
    pid = box._connection.process.pid
    box.close()
    for _ in range(100):
        if not Path(f"/proc/{pid}/fd").exists():
            break
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}/fd").exists()


def test_without_a_kernel_layer_the_users_own_word_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from rlm_mcp.sandbox.jail import select

    monkeypatch.setattr(select, "FULL_LAYERS", frozenset({"windows-full"}))
    with pytest.raises(SandboxError, match=r"no full kernel layer here.*reduced_sandbox"):
        Sandbox()
    with Sandbox(reduced=True) as box:
        assert box.execute("1 + 1").value == 2


def test_a_text_longer_than_what_was_asked_for_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Sandbox() as box:
        box.execute("text = 'x'")
        monkeypatch.setattr(box, "_send_order", lambda order: {"text": "x" * (1 << 20)})
        with pytest.raises(SandboxError, match="more than it was asked for"):
            box.get_text("text")
