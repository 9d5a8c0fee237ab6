"""What an agent of the demo does with the bridge, seen where it leaves and enters the process.

The agents are ordinary programs on the client; a transport between client and network writes down
every event that is published, waited for and received.
"""

import json
import sys
import threading
import time
from dataclasses import asdict, dataclass
from urllib.parse import unquote

import httpx

WAIT = "/events/wait/"
EVENTS = "/events/"


@dataclass(frozen=True, slots=True)
class Query:
    """What a wait asks for: event types separated by commas, and a filter."""

    types: str
    filter: str


@dataclass(frozen=True, slots=True)
class Report:
    """One thing that an agent did: it `waits`, has `received`, `publishes` or has `published`.

    `at` is when, and `since` when it began to wait or to publish, in seconds on the clock of
    `time.monotonic`, which the processes of one machine share.
    """

    kind: str
    at: float
    since: float
    query: Query | None = None
    event_id: str = ""
    event_type: str = ""
    publisher: str = ""
    at_once: bool = True
    """Whether the event was handed over as soon as it came: the last of an answer always is, those
    before it may have been held back until all that were asked for were there."""

    def line(self) -> str:
        """Write it as a line of JSON."""
        return json.dumps(asdict(self))


def read_report(line: str) -> Report:
    """Read what `line` wrote."""
    content = json.loads(line)
    query = content.pop("query")
    return Report(query=None if query is None else Query(**query), **content)


class ReportingTransport(httpx.HTTPTransport):
    """HTTP as usual, with a report on stdout of each publish, wait and event received."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and report what it was about."""
        began = time.monotonic()
        query = _query(request)
        event_type = request.url.path.rpartition(EVENTS)[2] if request.method == "POST" else ""
        if query is not None:
            self._say(Report("waits", began, began, query))
        elif event_type:
            self._say(Report("publishes", began, began, event_type=event_type))
        response = super().handle_request(request)
        response.read()
        ended = time.monotonic()
        if query is not None and response.status_code == httpx.codes.OK:
            events = response.json()["events"]
            for event in events:
                last = event is events[-1]
                self._say(Report("received", ended, began, query, *_named(event), at_once=last))
        elif event_type and response.status_code == httpx.codes.ACCEPTED:
            event_id = response.json()["event_id"]
            self._say(Report("published", ended, began, None, event_id, event_type))
        return response

    def _say(self, report: Report) -> None:
        with self._lock:
            sys.stdout.write(f"{report.line()}\n")
            sys.stdout.flush()


def _query(request: httpx.Request) -> Query | None:
    _, found, types = request.url.path.partition(WAIT)
    return Query(unquote(types), request.url.params.get("filter", "")) if found else None


def _named(event: dict[str, str]) -> tuple[str, str, str]:
    return event["event_id"], event["event_type"], event["publisher"]
