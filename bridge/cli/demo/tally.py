"""The demo's account: what was published, awaited and received, held against the bridge's own."""

import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from bridge.cli.demo.reports import Query, Report
from bridge.client import Event, EventClient

PAGE = 1000

Delivery = tuple[str, Query, str]
"""Who received, under which query, which event ID."""


@dataclass(frozen=True, slots=True)
class Account:
    """How it came out: counts of events and deliveries, latencies in milliseconds."""

    published: int
    stored: int
    unstored: int
    awaited: int
    received: int
    lost: int
    repeated: int
    unasked: int
    rounds: int
    latencies: tuple[float, ...]

    @property
    def clean(self) -> bool:
        """Whether everything that was awaited came, once, and nothing else."""
        wrong = (self.unstored, self.lost, self.repeated, self.unasked)
        return not any(wrong) and self.published == self.stored and self.received > 0

    def sentences(self) -> Iterator[str]:
        """Say it in words."""
        yield f"{self.published} events published, {self.stored} stored"
        yield (
            f"{self.awaited} deliveries awaited, {self.received} received: "
            f"{self.lost} lost, {self.repeated} repeated, {self.unasked} that nobody asked for"
        )
        yield f"{self.rounds} rounds until the tests passed"
        if self.latencies:
            usual, slowest = statistics.median(self.latencies), max(self.latencies)
            yield (
                f"publish to received, by an agent that was waiting: p50 {usual:.1f} ms, "
                f"max {slowest:.1f} ms ({len(self.latencies)} deliveries)"
            )


class Tally:
    """Collects the agents' reports; what they should have received is for the bridge to say."""

    def __init__(self) -> None:
        self._published: dict[str, Report] = {}
        self._received: list[tuple[str, Report]] = []
        self._queries: set[tuple[str, Query]] = set()

    def take(self, agent: str, report: Report) -> None:
        """Count one report."""
        if report.kind == "published":
            self._published[report.event_id] = report
        elif report.query is not None:
            self._queries.add((agent, report.query))
            if report.kind == "received":
                self._received.append((agent, report))

    def account(self, onlooker: EventClient) -> Account:
        """Hold the reports against the bridge's history, asked query by query."""
        stored = list(_history(onlooker, Query("*", "")))
        ids = {event.event_id for event in stored}
        received = Counter(_delivery(agent, report) for agent, report in self._received)
        awaited = {
            (agent, query, event.event_id)
            for agent, query in self._queries
            for event in _history(onlooker, query)
        }
        return Account(
            published=len(self._published),
            stored=len(stored),
            unstored=len(self._published.keys() - ids),
            awaited=len(awaited),
            received=received.total(),
            lost=len(awaited - received.keys()),
            repeated=sum(count - 1 for count in received.values()),
            unasked=len(received.keys() - awaited),
            rounds=max((event.data.get("round", 0) for event in stored), default=0),
            latencies=tuple(self._latencies()),
        )

    def _latencies(self) -> Iterator[float]:
        """Give milliseconds from a publish to each agent that was waiting when it began."""
        for _, report in self._received:
            sent = self._published.get(report.event_id)
            if sent is not None and report.since < sent.since and report.at_once:
                yield (report.at - sent.since) * 1000


def _delivery(agent: str, report: Report) -> Delivery:
    assert report.query is not None  # noqa: S101 - `take` saw to it
    return agent, report.query, report.event_id


def _history(onlooker: EventClient, query: Query) -> Iterator[Event]:
    since: str | None = None
    while True:
        page = onlooker.history(
            type=query.types, filter=query.filter or None, since=since, order="asc", limit=PAGE
        )
        yield from page.events
        if not page.more_available:
            return
        since = page.next_cursor
