"""The gates: no attack of the corpus leaks, hangs or escapes, with all layers and without one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from rlm_mcp.sandbox import Sandbox, SandboxLimits
from tests.sandbox.ground import Attack, Ground, attacks, ground, judge

CORPUS = attacks()
GROUPS = sorted({(attack.category, int(attack.id[-3:]) // 25) for attack in CORPUS})


def group(name: tuple[str, int]) -> list[Attack]:
    return [a for a in CORPUS if (a.category, int(a.id[-3:]) // 25) == name]


def fallen(found: list[Attack], *, language: bool, kernel: bool) -> list[str]:
    """Run attacks and describe each that was not held."""
    with ground() as place:
        verdicts = [judge(attack, place, language=language, kernel=kernel) for attack in found]
    return [f"{v.name} {v.attack.id}: {v.why}" for v in verdicts if v.name != "HELD"]


def test_the_corpus_has_at_least_250_attacks_with_ids_of_their_own() -> None:
    assert len(CORPUS) >= 250
    assert max(Counter(attack.id for attack in CORPUS).values()) == 1
    assert max(Counter(attack.code for attack in CORPUS).values()) == 1


@pytest.mark.parametrize("name", GROUPS, ids=lambda name: f"{name[0]}-{name[1]}")
def test_nothing_falls_with_all_layers(name: tuple[str, int]) -> None:
    assert fallen(group(name), language=True, kernel=True) == []


@pytest.mark.parametrize("name", GROUPS, ids=lambda name: f"{name[0]}-{name[1]}")
def test_nothing_leaks_or_hangs_without_the_language_layer(name: tuple[str, int]) -> None:
    assert fallen(group(name), language=False, kernel=True) == []


@pytest.mark.parametrize(
    "name", [name for name in GROUPS if name[0] != "dos"], ids=lambda name: f"{name[0]}-{name[1]}"
)
def test_nothing_leaks_or_escapes_without_the_kernel_layer(name: tuple[str, int]) -> None:
    assert fallen(group(name), language=True, kernel=False) == []


@pytest.mark.parametrize(
    "code",
    [
        "print(open('{FILE}').read())",
        "open('{OUT}', 'w').write('x')",
        "import socket\ns = socket.create_connection(('127.0.0.1', {PORT}), 2)",
        "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('{SOCK}')",
        "import os\nos.posix_spawn('/usr/bin/touch', ['touch', '{OUT}'], {})\n"
        "import time\ntime.sleep(0.3)",
    ],
)
def test_the_ground_sees_a_leak_where_no_layer_is_on(code: str) -> None:
    with ground() as place:
        verdict = judge(Attack("x", "x", code, ""), place, language=False, kernel=False)
    assert verdict.name == "LEAKED", verdict


def test_the_ground_sees_an_escape_from_the_language() -> None:
    with ground() as place:
        attack = Attack("x", "x", "print('BREACH')", "")
        assert judge(attack, place, language=True, kernel=True).name == "PYESC"


def test_the_ground_sees_what_a_host_function_must_not_be_given(tmp_path: Path) -> None:
    place = Ground(tmp_path, "c")
    place.look([{"a": (1, 2)}], 0)
    assert place.strange == ["tuple at depth 2"]


def test_nothing_of_a_cell_reaches_the_stdout_of_the_parent(
    capfd: pytest.CaptureFixture[str],
) -> None:
    code = "import os, sys\nos.write(1, b'OUT')\nos.write(2, b'ERR')\nsys.__stdout__.write('OUT')"
    with Sandbox(limits=SandboxLimits(seconds=5), language=False) as sandbox:
        sandbox.execute(code)
        sandbox.execute("print('kept')")
    assert capfd.readouterr() == ("", "")


def test_a_worker_holds_neither_the_environment_nor_descriptors_of_its_parent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")
    with (
        open(tmp_path / "open", "w"),
        Sandbox(limits=SandboxLimits(seconds=5), language=False) as box,
    ):
        code = "import os\ndict(os.environ), [n for n in range(256) if _open(n)]"
        helper = (
            "import os\ndef _open(n):\n    try:\n        os.get_inheritable(n)\n"
            "    except OSError:\n        return False\n    return True"
        )
        box.execute(helper)
        outcome = box.execute(code)
    assert outcome.value is not None, outcome
    environment, descriptors = outcome.value
    assert "sk-secret" not in json.dumps(environment)
    assert len(descriptors) == 4, "stdin, stdout, stderr and the line to the parent"
