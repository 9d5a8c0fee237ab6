"""Metrics: counted as requests pass, for Prometheus at `/metrics` and in short in `/status`."""

from collections import deque
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bridge.bus import Bus

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_SLOW = (0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 15, 30, 60, 120, 300)
RECENT = 1000
"""How many of the latest requests `/status` computes percentiles from."""


class Metrics:
    """The numbers of one bridge process."""

    def __init__(self, bus: Bus) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "bridge_http_requests_total",
            "HTTP requests by endpoint and status",
            ["route", "status"],
            registry=self.registry,
        )
        self.publish_seconds = Histogram(
            "bridge_publish_seconds",
            "From a publish request to its answer, JetStream's acknowledgement included",
            buckets=_FAST,
            registry=self.registry,
        )
        self.wait_seconds = Histogram(
            "bridge_wait_seconds",
            "From a wait request to its answer, the time spent waiting included",
            buckets=_SLOW,
            registry=self.registry,
        )
        self.waiting = Gauge("bridge_waiting_polls", "Waits open right now", registry=self.registry)
        self.published = Counter(
            "bridge_events_published_total", "Events stored", registry=self.registry
        )
        self.delivered = Counter(
            "bridge_events_delivered_total",
            "Events in answers that were written, by kind of wait",
            ["kind"],
            registry=self.registry,
        )
        self.redelivered = Counter(
            "bridge_events_redelivered_total",
            "Delivered events that had been delivered before",
            registry=self.registry,
        )
        self.given_back = Counter(
            "bridge_events_given_back_total",
            "Events given back because their client had gone",
            registry=self.registry,
        )
        self.registry.register(_Store(bus))
        self._recent: dict[str, deque[float]] = {}
        self._counters: dict[tuple[str, int], Counter] = {}

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count a request and how long it took."""
        counter = self._counters.get((route, status))
        if counter is None:
            counter = self._counters[route, status] = self.requests.labels(route, status)
        counter.inc()
        recent = self._recent.get(route)
        if recent is None:
            recent = self._recent[route] = deque(maxlen=RECENT)
        recent.append(seconds)

    def latencies(self) -> dict[str, dict[str, float]]:
        """Give percentiles of the latest requests of each endpoint, in milliseconds."""
        return {route: _percentiles(sorted(recent)) for route, recent in self._recent.items()}

    def text(self) -> bytes:
        """Give everything in Prometheus' text format."""
        return generate_latest(self.registry)


class _Store(Collector):
    """What is read off the bus at the time of asking."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def collect(self) -> Iterator[Metric]:
        health = self._bus.health()
        for name, text, value in (
            ("bridge_nats_connected", "1 while there is a connection to NATS", health.connected),
            ("bridge_ready", "1 while the bridge can serve events", not health.problem),
            ("bridge_subscriptions", "Durable subscriptions", health.subscriptions),
            ("bridge_events_retained", "Events that the stream holds", health.retained),
        ):
            yield GaugeMetricFamily(name, text, value=float(value))
        reconnects = CounterMetricFamily(
            "bridge_nats_reconnects", "Connections to NATS made after the first"
        )
        reconnects.add_metric([], health.reconnects)
        yield reconnects


def _percentiles(ordered: list[float]) -> dict[str, float]:
    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 3)

    return {"count": len(ordered), "p50_ms": at(0.5), "p95_ms": at(0.95), "p99_ms": at(0.99)}
