"""HTTP requests counted by endpoint: `/metrics` reads them, and so do NATS's service statistics."""

from collections import Counter, defaultdict
from typing import NamedTuple

ENDPOINTS = (
    "publish",
    "publish_many",
    "wait",
    "stream",
    "history",
    "explain",
    "event",
    "catalog",
    "agents",
    "subscriptions",
    "deliveries",
    "tokens",
    "status",
)
"""What agents call. Probes, `/metrics` and paths that do not exist are counted beside these."""


class Served(NamedTuple):
    """What one endpoint has answered; `failed` are those with a status of 500 and above."""

    requests: int
    failed: int
    seconds: float
    by_status: dict[str, int]


class RequestCounts:
    """The requests that one bridge process has answered."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def count(self, endpoint: str, status: int, seconds: float) -> None:
        """Count an answer, and the seconds from its request to its end."""
        self.requests[endpoint, status] += 1
        self._seconds[endpoint] += seconds

    def served(self, endpoint: str) -> Served:
        """Sum up one endpoint."""
        by_status = {
            status: count for (name, status), count in self.requests.items() if name == endpoint
        }
        return Served(
            requests=sum(by_status.values()),
            failed=sum(count for status, count in by_status.items() if status >= 500),
            seconds=self._seconds[endpoint] if by_status else 0.0,
            by_status={str(status): by_status[status] for status in sorted(by_status)},
        )
