"""Spans go out where an exporter is configured, and nothing is imported where none is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rlm_mcp.engine.spans import Spans, listener
from tests.engine.conftest import Desks, cell, run, scripted

ROOT = Path(__file__).parents[2]


def test_without_an_exporter_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_EXPORTER"):
        monkeypatch.delenv(name, raising=False)
    assert listener() is None
    code = (
        "import sys; from rlm_mcp.engine import spans; spans.listener(); "
        "print('opentelemetry' in sys.modules)"
    )
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert got.stdout.strip() == "False", got.stderr


def test_runs_and_calls_are_nested_spans_without_texts(desk: Desks) -> None:
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    simple = pytest.importorskip("opentelemetry.sdk.trace.export").SimpleSpanProcessor
    memory = export.InMemorySpanExporter()
    provider = trace.TracerProvider()
    provider.add_span_processor(simple(memory))

    async def go() -> None:
        async with desk() as d:
            spans = Spans(provider.get_tracer("test"))
            d.workspace.shared.listeners += (spans.event,)
            code = (
                "from rlm_mcp.sdk import run\nllm_query('x')\n"
                "run(['child'], mode='recursive') if 'child' not in answer else 0\n"
                "FINAL('done' + str(len(repo)))"
            )
            d.use(scripted([cell(code)]))
            await d.workspace.ask("Where is the needle?", mode="recursive")

    run(go())
    provider.shutdown()
    spans = {span.context.span_id: span for span in memory.get_finished_spans()}
    runs = [span for span in spans.values() if span.name == "invoke_agent rlm"]
    calls = [span for span in spans.values() if span.name.startswith("chat")]
    assert len([span for span in runs if span.parent is None]) == 1
    assert all(spans[span.parent.span_id].name == "invoke_agent rlm" for span in calls)
    assert all(span.end_time >= span.start_time for span in spans.values())
    assert {span.attributes["gen_ai.operation.name"] for span in calls} == {"chat"}
    told = " ".join(str(span.attributes) for span in spans.values())
    assert "needle" not in told and "done" not in told
