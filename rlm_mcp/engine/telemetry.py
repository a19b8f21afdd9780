"""Runs and model calls as OpenTelemetry spans (GenAI conventions), where an exporter is set.

Nothing is imported unless the user's environment names an exporter (OTEL_EXPORTER_OTLP_ENDPOINT,
OTEL_TRACES_EXPORTER, or their kin). Spans hold names, counts, costs and times; no prompt, no
reply and no code.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlm_mcp.engine.trajectory import Event, Listener

PROVIDERS = {"claude-cli": "anthropic"}
"""What the conventions call a provider, where that is another name; ours are added to theirs."""

FLUSH_S = 3.0
"""Seconds that the last spans may take on their way out."""
_ours: list[Any] = []
"""The provider that was set up here: none, or one for the process."""


def is_enabled() -> bool:
    """Say whether an exporter is configured."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if os.environ.get("OTEL_TRACES_EXPORTER", "") not in ("", "none"):
        return True
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return any(os.environ.get(name) for name in names)


def span_listener() -> Listener | None:
    """Return what turns events into spans, or None where nobody wants them or can send them."""
    if not is_enabled():
        return None
    try:
        from opentelemetry import trace  # 40 ms, and only where it is used
    except ImportError:
        return None
    provider: Any = trace.get_tracer_provider()
    if not hasattr(provider, "add_span_processor") and not _install_sdk(trace):
        return None
    return RunSpans(trace.get_tracer("rlm-mcp")).on_event


def _install_sdk(trace: Any) -> bool:
    """Set up the SDK as the environment says. False where it is not installed."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
            OTLPSpanExporter,  # 120 ms
        )
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        return False
    provider = TracerProvider(resource=Resource.create({"service.name": "rlm-mcp"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    _ours.append(provider)
    return True


def flush_spans() -> None:
    """Send the spans that wait for their batch, in at most FLUSH_S; for the end of a process.

    A process that is told to stop ends without the exit handlers that would send them.
    """
    for provider in _ours:
        provider.force_flush(int(FLUSH_S * 1000))


class RunSpans:
    """Open spans by run; a call's span is made when it has ended, with its own times."""

    def __init__(self, tracer: Any) -> None:
        from opentelemetry import trace  # as `listener` says

        self._tracer = tracer
        self._client, self._error = trace.SpanKind.CLIENT, trace.StatusCode.ERROR
        self._open: dict[str, Any] = {}

    def on_event(self, event: Event) -> None:
        """Take one event of a trajectory."""
        data = event.data
        if event.type == "run.start":
            self._start_span(event)
        elif event.type == "call":
            self._call_span(event)
        elif event.type == "run.end" and (span := self._open.pop(event.run, None)) is not None:
            span.set_attribute("rlm.status", str(data.get("status")))
            if data.get("cost_usd") is not None:
                span.set_attribute("rlm.cost_usd", data["cost_usd"])
            span.set_attribute("rlm.calls", int(data.get("calls", 0)))
            if data.get("status") == "failed":
                span.set_status(self._error)
            span.end(end_time=_to_nanoseconds(event.t))

    def _start_span(self, event: Event) -> None:
        data = event.data
        self._open[event.run] = self._tracer.start_span(
            "invoke_agent rlm",
            context=self._parent_context(event.run.rpartition(".")[0]),
            start_time=_to_nanoseconds(event.t),
            attributes={
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.name": "rlm",
                "gen_ai.agent.id": event.run,
                **_model_attributes(str(data.get("model", ""))),
                "rlm.mode": str(data.get("mode", "")),
                "rlm.depth": int(data.get("depth", 0)),
            },
        )

    def _call_span(self, event: Event) -> None:
        data = event.data
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            **_model_attributes(str(data["model"])),
            "rlm.purpose": data["purpose"],
            "rlm.cached": data["cached"],
        }
        if "usage" in data and not data["cached"]:
            read, written, cache_read, cache_write = data["usage"]
            attributes["gen_ai.usage.input_tokens"] = read + cache_read + cache_write
            attributes["gen_ai.usage.output_tokens"] = written
            attributes["gen_ai.usage.cache_read.input_tokens"] = cache_read
            attributes["gen_ai.usage.cache_creation.input_tokens"] = cache_write
        if "stop" in data:
            attributes["gen_ai.response.finish_reasons"] = [data["stop"]]
        if "failure" in data:
            attributes["error.type"] = data["failure"]["kind"]
        span = self._tracer.start_span(
            f"chat {attributes['gen_ai.request.model']}",
            context=self._parent_context(event.run),
            kind=self._client,
            start_time=_to_nanoseconds(event.t - data["seconds"]),
            attributes=attributes,
        )
        if "failure" in data:
            span.set_status(self._error)
        span.end(end_time=_to_nanoseconds(event.t))

    def _parent_context(self, run: str) -> Any:
        from opentelemetry import trace

        span = self._open.get(run)
        return None if span is None else trace.set_span_in_context(span)


def _model_attributes(spec: str) -> dict[str, str]:
    """Return the provider and the model of a spec by the conventions' names."""
    provider, _, rest = spec.partition(":")
    model = rest.partition("@")[0]
    return {
        "gen_ai.provider.name": PROVIDERS.get(provider, provider),
        "gen_ai.request.model": model or provider,
    }


def _to_nanoseconds(t: float) -> int:
    return int(t * 1e9)
