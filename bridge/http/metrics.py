"""Metrics: counted as requests pass, for Prometheus at `/metrics` and in short in `/status`.

Counting is plain arithmetic in one event loop; the library's own counters take a lock and several
calls each, on every request. It still writes the format, from what is collected here.
"""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from bridge.bus import Bus
from bridge.request_counts import ENDPOINTS, RequestCounts

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_SLOW = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0)
RECENT = 1000
"""How many of the latest requests `/status` computes percentiles from."""


class Durations:
    """How many durations, in seconds, fell into which bucket."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count a duration."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def metric(self, name: str, text: str) -> Metric:
        """Give the buckets as Prometheus has them: each with all that is shorter."""
        bounds = [*map(str, self._bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(map(float, self._counts)), strict=True))
        return HistogramMetricFamily(name, text, buckets=buckets, sum_value=self._sum)


class Metrics(Collector):
    """The numbers of one bridge process."""

    def __init__(self, bus: Bus, traffic: RequestCounts) -> None:
        self._bus = bus
        self._traffic = traffic
        self.publish_seconds = Durations(_FAST)
        self.wait_seconds = Durations(_SLOW)
        self.waiting = self.streaming = 0
        self.published = 0
        self.delivered = Counter(durable=0, replay=0)
        self.redelivered = 0
        self._recent: dict[str, deque[float]] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count a request and how long it took."""
        self._traffic.count(route, status, seconds)
        recent = self._recent.get(route)
        if recent is None:
            recent = self._recent[route] = deque(maxlen=RECENT)
        recent.append(seconds)

    def latencies(self) -> dict[str, dict[str, float]]:
        """Give percentiles of the latest requests of each endpoint, in milliseconds."""
        return {route: _percentiles(sorted(recent)) for route, recent in self._recent.items()}

    def served(self) -> dict[str, dict[str, int]]:
        """Count the answers of each endpoint, and those with a status of 500 and above."""
        told = ((name, self._traffic.served(name)) for name in ENDPOINTS)
        return {
            name: {"requests": one.requests, "failed": one.failed}
            for name, one in told
            if one.requests
        }

    def text(self) -> bytes:
        """Give everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Give every metric as it stands, for the library to write."""
        yield self._requests()
        yield self.publish_seconds.metric(
            "bridge_publish_seconds",
            "From a publish request to its answer, JetStream's acknowledgement included",
        )
        yield self.wait_seconds.metric(
            "bridge_wait_seconds",
            "From a wait request to its answer, the time spent waiting included",
        )
        yield self._delivered()
        health = self._bus.health()
        for name, text, count in (
            ("bridge_events_published", "Events stored", self.published),
            (
                "bridge_events_redelivered",
                "Delivered events that had been delivered before",
                self.redelivered,
            ),
            (
                "bridge_events_given_back",
                "Events given back because their client had gone",
                health.given_back,
            ),
            ("bridge_events_leased", "Events leased to a reader", health.leases.leased),
            ("bridge_leases_acknowledged", "Leases that ended done", health.leases.acknowledged),
            ("bridge_leases_released", "Leases that were given back", health.leases.released),
            ("bridge_dead_letters", "Events that became dead letters", health.leases.dead),
            ("bridge_dead_letters_redriven", "Dead letters redriven", health.leases.redriven),
            (
                "bridge_nats_reconnects",
                "Connections to NATS made after the first",
                health.reconnects,
            ),
        ):
            yield CounterMetricFamily(name, text, value=count)
        for name, text, value in (
            ("bridge_waiting_polls", "Waits open right now", self.waiting),
            ("bridge_open_streams", "Streams open right now", self.streaming),
            ("bridge_nats_connected", "1 while there is a connection to NATS", health.connected),
            ("bridge_ready", "1 while the bridge can serve events", not health.problem),
            ("bridge_subscriptions", "Durable subscriptions", health.subscriptions),
            ("bridge_events_retained", "Events that the stream holds", health.retained),
            ("bridge_events_capacity", "Events that the stream may hold", health.capacity),
            ("bridge_stream_bytes", "Bytes that the stream holds", health.stored_bytes),
            ("bridge_stream_max_bytes", "Bytes that the stream may hold", health.max_bytes),
        ):
            yield GaugeMetricFamily(name, text, value=float(value))

    def _requests(self) -> Metric:
        family = CounterMetricFamily(
            "bridge_http_requests",
            "HTTP requests by endpoint and status",
            labels=["route", "status"],
        )
        for (route, status), count in self._traffic.requests.items():
            family.add_metric([route, str(status)], count)
        return family

    def _delivered(self) -> Metric:
        family = CounterMetricFamily(
            "bridge_events_delivered",
            "Events in answers that were written, by kind of wait",
            labels=["kind"],
        )
        for kind, count in self.delivered.items():
            family.add_metric([kind], count)
        return family


def _percentiles(ordered: list[float]) -> dict[str, float]:
    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 3)

    return {"count": len(ordered), "p50_ms": at(0.5), "p95_ms": at(0.95), "p99_ms": at(0.99)}
