"""Tracing: spans for publishes, waits and deliveries, where OpenTelemetry is configured.

It is configured by its own environment variables, as OTEL_EXPORTER_OTLP_ENDPOINT; without them
nothing of it is imported, and events carry the trace context that their publishers sent.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bridge.events import Event, Trace

log = logging.getLogger("bridge.tracing")

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Tracing:
    """Makes no spans."""

    @contextmanager
    def publishing(
        self,
        event_type: str,  # noqa: ARG002 - what others say
        trace: Trace | None,
    ) -> Iterator[Trace | None]:
        """Span a publish; gives the trace context that its event carries."""
        yield trace

    @contextmanager
    def waiting(
        self,
        event_types: str | None,  # noqa: ARG002 - what others say
        trace: Trace | None,  # noqa: ARG002 - the same
    ) -> Iterator[None]:
        """Span a wait."""
        yield

    def delivered(self, events: Sequence[Event]) -> None:
        """Note that events were delivered, linked to what published them."""


def tracing_from_environment() -> Tracing:
    """Make what the environment asks for."""
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "").lower()
    wanted = bool(exporter) or any(os.environ.get(name) for name in _ENDPOINTS)
    disabled = exporter == "none" or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if not wanted or disabled:
        return Tracing()
    try:
        from bridge.http.otel import OpenTelemetryTracing  # noqa: PLC0415 - an extra of its own
    except ModuleNotFoundError as error:
        log.warning(
            "OpenTelemetry is configured but %r is missing, so there are no spans; install with: "
            "pip install 'agent-event-bridge[otel]'",
            error.name,
        )
        return Tracing()
    return OpenTelemetryTracing(exporter or "otlp")
