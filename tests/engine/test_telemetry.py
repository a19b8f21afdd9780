"""Spans go out where an exporter is configured, and nothing is imported where none is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.engine.telemetry import RunSpans, span_listener
from rlm_mcp.engine.trajectory import Event
from tests.engine.conftest import Desks, cell, run, scripted

ROOT = Path(__file__).parents[2]


def test_without_an_exporter_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_EXPORTER"):
        monkeypatch.delenv(name, raising=False)
    assert span_listener() is None
    code = (
        "import sys; from rlm_mcp.engine import telemetry; telemetry.span_listener(); "
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
            spans = RunSpans(provider.get_tracer("test"))
            d.workspace.services.listeners += (spans.on_event,)
            code = (
                "from rlm_mcp.sdk import rlm_query\nllm_query('x')\n"
                "rlm_query(['child'], mode='recursive') if 'child' not in answer else 0\n"
                "FINAL('done' + str(len(repo)))"
            )
            d.use(scripted([cell(code)]))
            await d.workspace.run_query("Where is the needle?", mode="recursive")

    run(go())
    provider.shutdown()
    spans = {span.context.span_id: span for span in memory.get_finished_spans()}
    runs = [span for span in spans.values() if span.name == "invoke_agent rlm"]
    calls = [span for span in spans.values() if span.name.startswith("chat")]
    assert len([span for span in runs if span.parent is None]) == 1
    assert all(spans[span.parent.span_id].name == "invoke_agent rlm" for span in calls)
    assert all(span.end_time >= span.start_time for span in spans.values())
    assert {span.attributes["gen_ai.operation.name"] for span in calls} == {"chat"}
    assert {span.kind.name for span in calls} == {"CLIENT"}
    told = " ".join(str(span.attributes) for span in spans.values())
    assert "needle" not in told and "done" not in told


def told(spans: Any, event: str, **data: Any) -> None:
    """Tell the spans one event of a trajectory."""
    spans.on_event(Event("a", 0, 100.0, event, data))


@pytest.mark.parametrize(
    ("spec", "provider", "model"),
    [
        ("anthropic:claude-haiku-5-5", "anthropic", "claude-haiku-5-5"),
        ("claude-cli:haiku", "anthropic", "haiku"),
        ("openai:qwen3:8b@http://127.0.0.1:11434/v1", "openai", "qwen3:8b"),
        ("extractive:", "extractive", "extractive"),
    ],
)
def test_names_are_those_of_the_conventions(spec: str, provider: str, model: str) -> None:
    """Compared with the constants that OpenTelemetry publishes for this very purpose."""
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    known = pytest.importorskip("opentelemetry.semconv._incubating.attributes.gen_ai_attributes")
    errors = pytest.importorskip("opentelemetry.semconv.attributes.error_attributes")
    export = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    simple = pytest.importorskip("opentelemetry.sdk.trace.export").SimpleSpanProcessor
    memory, tracers = export.InMemorySpanExporter(), trace.TracerProvider()
    tracers.add_span_processor(simple(memory))
    spans = RunSpans(tracers.get_tracer("test"))
    call = {"purpose": "sub", "model": spec, "seconds": 1.0, "cached": False}
    told(spans, "run.start", model=spec, mode="recursive", depth=0)
    told(spans, "call", **call, usage=[5, 7, 11, 13], stop="end")
    told(spans, "call", **call, failure={"kind": "rate", "reason": "slow down"})
    told(spans, "run.end", status="failed", calls=2, cost_usd=0.1)
    tracers.shutdown()
    good, bad, run = memory.get_finished_spans()
    for span in (good, bad, run):
        names = {name for name in span.attributes if not name.startswith("rlm.")}
        constants = {str(value) for value in vars(known).values()}
        assert names <= constants | {errors.ERROR_TYPE}
        assert span.attributes["gen_ai.provider.name"] == provider
        assert span.attributes["gen_ai.request.model"] == model
        operations = {item.value for item in known.GenAiOperationNameValues}
        assert span.attributes["gen_ai.operation.name"] in operations
    assert good.name == f"chat {model}" and good.status.is_ok
    used = {name: value for name, value in good.attributes.items() if "usage" in name}
    assert used == {
        known.GEN_AI_USAGE_INPUT_TOKENS: 29,
        known.GEN_AI_USAGE_OUTPUT_TOKENS: 7,
        known.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: 11,
        known.GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS: 13,
    }
    assert bad.attributes[errors.ERROR_TYPE] == "rate"
    assert not bad.status.is_ok and not run.status.is_ok
