"""What the agents of the demo do with the bridge, and how that comes out.

The agents are ordinary programs on the client; a transport between client and network writes down
every event that is published, waited for and received. The account holds that against what the
bridge says itself.
"""

import json
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import unquote

import httpx

from bridge.client import Event, EventClient
from bridge.suggest import quoted

WAIT = "/events/wait/"
EVENTS = "/events/"


@dataclass(frozen=True, slots=True)
class AwaitedQuery:
    """What a wait asks for: event types separated by commas, a filter, and for which group."""

    types: str
    filter: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """One thing that an agent did: it `waits`, has `received`, `publishes` or has `published`.

    `at` is when, and `since` when it began to wait or to publish, in seconds on the clock of
    `time.monotonic`, which the processes of one machine share.
    """

    kind: str
    at: float
    since: float
    query: AwaitedQuery | None = None
    event_id: str = ""
    event_type: str = ""
    publisher: str = ""
    at_once: bool = True
    """Whether the event was handed over as soon as it came: the last of an answer always is, those
    before it may have been held back until all that were asked for were there."""
    again: bool = False
    """Whether the bridge says that it may have delivered the event before."""

    def line(self) -> str:
        """Write it as a line of JSON."""
        return json.dumps(asdict(self))


def read_report(line: str) -> Report:
    """Read what `line` wrote."""
    content = json.loads(line)
    query = content.pop("query")
    return Report(query=None if query is None else AwaitedQuery(**query), **content)


class ReportingTransport(httpx.HTTPTransport):
    """HTTP as usual, with a report on stdout of each publish, wait and event received."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and report what it was about."""
        began = time.monotonic()
        query, event_type = _query(request), _published_type(request)
        if event_type:
            self._say(Report("publishes", began, began, event_type=event_type))
        if query is not None:
            self._say(Report("waits", began, began, query))
        response = super().handle_request(request)
        response.read()
        ended = time.monotonic()
        answer = response.json() if response.is_success else {}
        if event_type and "event_id" in answer:
            self._say(Report("published", ended, began, None, answer["event_id"], event_type))
        if query is not None:
            events = answer.get("reply", answer).get("events", [])
            for event in events:
                last, again = event is events[-1], event["delivery_count"] > 1
                self._say(Report("received", ended, began, query, *_named(event), last, again))
        return response

    def _say(self, report: Report) -> None:
        with self._lock:
            sys.stdout.write(f"{report.line()}\n")
            sys.stdout.flush()


def _published_type(request: httpx.Request) -> str:
    return request.url.path.partition(EVENTS)[2] if request.method == "POST" else ""


def _query(request: httpx.Request) -> AwaitedQuery | None:
    """Read what is waited for: by a wait, or by a question that is published."""
    params = request.url.params
    if "reply" in params:
        correlation_id = json.loads(request.content)["correlation_id"]
        return AwaitedQuery(params["reply"], f"correlation_id:{quoted(correlation_id)}")
    _, found, types = request.url.path.partition(WAIT)
    asked = AwaitedQuery(unquote(types), params.get("filter", ""), params.get("group", ""))
    return asked if found else None


def _named(event: dict[str, Any]) -> tuple[str, str, str]:
    return event["event_id"], event["event_type"], event["publisher"]


PAGE = 1000

Delivery = tuple[str, AwaitedQuery, str]
"""Which agent or group received, under which query, which event ID."""


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
    again: int
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
        yield f"{self.again} delivered again, since the worker that had it was killed"
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
        self._queries: set[tuple[str, AwaitedQuery]] = set()

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
        stored = list(_history(onlooker, AwaitedQuery("*", "")))
        ids = {event.event_id for event in stored}
        received = Counter(
            _delivery(agent, report) for agent, report in self._received if not report.again
        )
        awaited = {
            (query.group or agent, query, event.event_id)
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
            again=sum(report.again for _, report in self._received),
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
    return report.query.group or agent, report.query, report.event_id


def _history(onlooker: EventClient, query: AwaitedQuery) -> Iterator[Event]:
    since: str | None = None
    while True:
        page = onlooker.history(
            type=query.types, filter=query.filter or None, since=since, order="asc", limit=PAGE
        )
        yield from page.events
        if not page.more_available:
            return
        since = page.next_cursor
