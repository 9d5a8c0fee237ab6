"""Spans with OpenTelemetry; needs the extra `[otel]`. See `tracing`.

Names and attributes are those of OpenTelemetry's semantic conventions for messaging.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SpanExporter,
)
from opentelemetry.trace import Link, SpanKind, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from bridge import __version__
from bridge.errors import StartError
from bridge.events import Event, Trace
from bridge.http.tracing import Tracing

_PROPAGATOR = TraceContextTextMapPropagator()
_SYSTEM = {"messaging.system": "nats"}


class OpenTelemetryTracing(Tracing):
    """Makes spans and exports them: with `otlp`, or to the `console`."""

    def __init__(self, exporter: str) -> None:
        if exporter not in ("otlp", "console"):
            raise StartError(f"OTEL_TRACES_EXPORTER is {exporter!r}; use otlp, console or none")
        named: SpanExporter = (
            OTLPSpanExporter() if exporter == "otlp" else ConsoleSpanExporter(out=sys.stderr)
        )
        ours = {"service.name": "agent-event-bridge", "service.version": __version__}
        if "OTEL_SERVICE_NAME" in os.environ:
            del ours["service.name"]
        provider = TracerProvider(resource=Resource.create(ours))
        provider.add_span_processor(BatchSpanProcessor(named))
        self._tracer = provider.get_tracer("bridge", __version__)

    @contextmanager
    def publishing(self, event_type: str, trace: Trace | None) -> Iterator[Trace | None]:
        """Span a publish; its event carries this span's context."""
        with self._tracer.start_as_current_span(
            f"publish {event_type}",
            context=_context(trace),
            kind=SpanKind.PRODUCER,
            attributes={**_SYSTEM, "messaging.operation.type": "publish"},
        ) as span:
            written: dict[str, str] = {}
            _PROPAGATOR.inject(written, set_span_in_context(span))
            yield Trace(written["traceparent"], written.get("tracestate"))

    @contextmanager
    def waiting(self, event_types: str | None, trace: Trace | None) -> Iterator[None]:
        """Span a wait."""
        with self._tracer.start_as_current_span(
            f"receive {event_types or 'own topics'}",
            context=_context(trace),
            kind=SpanKind.CONSUMER,
            attributes={**_SYSTEM, "messaging.operation.type": "receive"},
        ):
            yield

    def delivered(self, events: Sequence[Event]) -> None:
        """Span a delivery, linked to the spans that published its events."""
        traces = [
            Trace(event.traceparent, event.tracestate)
            for event in events
            if event.traceparent is not None
        ]
        links = [Link(get_current_span(_context(trace)).get_span_context()) for trace in traces]
        attributes: Mapping[str, str | int] = {
            **_SYSTEM,
            "messaging.operation.type": "process",
            "messaging.batch.message_count": len(events),
        }
        self._tracer.start_span(
            "deliver", kind=SpanKind.CONSUMER, links=links, attributes=attributes
        ).end()


def _context(trace: Trace | None) -> Context | None:
    if trace is None:
        return None
    carrier = {"traceparent": trace.parent}
    if trace.state is not None:
        carrier["tracestate"] = trace.state
    return _PROPAGATOR.extract(carrier)
