"""Load: agents that publish and wait without pause, on whichever bridge serves them, and count.

Publishers repeat an event until a bridge has acknowledged it; from then on it is owed to every
subscription that it matches.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from tests.support.roaming import RoamingAgent
from tests.support.waiting import eventually

log = logging.getLogger("tests.load")

TYPE = "work"
PINS = 3
POLL_SECONDS = 1.0
PACE_SECONDS = 0.15
PAUSE_SECONDS = 0.1
COMPLETE_SECONDS = 60.0


class Acked(NamedTuple):
    """A publisher was told that this event is stored, at `at`, after waiting so many seconds."""

    n: int
    at: float
    after: float


@dataclass
class Subscriber:
    """One subscription, what it is for, and every event that reached it, with its first time."""

    name: str
    query: dict[str, Any] = field(default_factory=dict)
    pin: int | None = None
    readers: int = 1
    seen: Counter[str] = field(default_factory=Counter)
    first: dict[str, float] = field(default_factory=dict)

    @property
    def durable(self) -> bool:
        return "since" not in self.query

    @property
    def repeats(self) -> int:
        counts = list(self.seen.values())  # while readers count on
        return sum(counts) - len(counts)

    def wants(self, event: Acked) -> bool:
        return self.pin in (None, event.n % PINS)

    def missing(self, acked: dict[str, Acked]) -> list[str]:
        """Name the acknowledged events that it is still owed."""
        return [key for key, each in acked.items() if self.wants(each) and key not in self.seen]

    def take(self, events: Iterable[dict[str, Any]]) -> None:
        for event in events:
            key = event["event_id"]
            self.seen[key] += 1
            self.first.setdefault(key, time.monotonic())


def standard_subscribers() -> list[Subscriber]:
    """Give one of every kind: of one agent, of a group, leased, pinned to an ID, since."""
    pinned = [
        Subscriber(f"pinned-{pin}", {"filter": f"correlation_id:c-{pin}"}, pin=pin)
        for pin in range(PINS)
    ]
    standing = [Subscriber(f"standing-{number}") for number in range(4)]
    group = Subscriber("team", {"group": "team"}, readers=3)
    leased = Subscriber("leased", {"group": "leased", "ack": "explicit"}, readers=2)
    return [*standing, group, leased, *pinned, Subscriber("since", {"since": "earliest"})]


class Load:
    """Publishers and subscribers of one project, each in a thread, from `start` to `stop`."""

    def __init__(self, urls: list[str], project: str, publishers: int = 3) -> None:
        self.acked: dict[str, Acked] = {}
        self.subscribers = standard_subscribers()
        self.wrong: list[str] = []
        self._agents: list[RoamingAgent] = []
        self.ghosts = False
        """Whether a server comes back that was given up while it ran."""
        self._urls = urls
        self._project = project
        self._stop_publishing, self._stop = threading.Event(), threading.Event()
        self._publishers = [self._thread(self._publish, lane) for lane in range(publishers)]
        self._readers = [
            self._thread(self._read, subscriber, reader)
            for subscriber in self.subscribers
            for reader in range(subscriber.readers)
        ]

    def start(self) -> "Load":
        """Subscribe, then publish, until every subscription has received something."""
        for thread in self._readers + self._publishers:
            thread.start()
        self.goes_on("the start of the load")
        return self

    def goes_on(self, what: str = "more load", events: int = 20) -> None:
        """Wait until so many more events were acknowledged, and have reached who they are for."""
        before = len(self.acked)
        self._await(lambda: len(self.acked) >= before + events, what)
        self._await_delivery(list(self.acked.items())[before:], what)

    def finish(self) -> None:
        """Publish no more, and expect every acknowledged event to reach every subscription."""
        self._stop_publishing.set()
        for thread in self._publishers:
            thread.join()
        try:
            self._await_delivery(
                list(self.acked.items()), "every acknowledged event at every subscription"
            )
        finally:
            self.stop()
            log.info("%s", self.report())
        assert not self.wrong, self.wrong
        many = [each.name for each in self.subscribers if each.repeats > self.tolerated(each)]
        assert not many, f"too much was delivered again: {self.report()}"

    def tolerated(self, subscriber: Subscriber) -> int:
        """Say how many events may be delivered again.

        A position that the client holds repeats nothing, one that JetStream holds what was in
        flight. A server that was given up and comes back may for a moment go on with what it had
        alone: the consumers of pinned subscriptions, which were made on others meanwhile.
        """
        if subscriber.pin is not None and self.ghosts:
            return len(self.acked)
        return len(self.acked) // 10 if subscriber.durable else 0

    def stop(self) -> None:
        """End every thread; polls that are open are waited for."""
        self._stop_publishing.set()
        self._stop.set()
        for thread in self._publishers + self._readers:
            if thread.ident is not None:
                thread.join()

    def _await_delivery(self, events: list[tuple[str, Acked]], what: str) -> None:
        for subscriber in self.subscribers:
            owed = {key for key, event in events if subscriber.wants(event)}
            self._await(partial(owed.issubset, subscriber.seen), f"{what}, for {subscriber.name}")

    def _await(self, look: Callable[[], bool], what: str) -> None:
        def found() -> bool:
            assert not self.wrong, self.wrong
            return look()

        try:
            eventually(found, within=COMPLETE_SECONDS, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.report()}") from error

    def report(self) -> str:
        """Sum up what came of it, as a line for people."""
        acked = dict(self.acked)
        missing = {
            each.name: len(gone) for each in self.subscribers if (gone := each.missing(acked))
        }
        repeats = {each.name: each.repeats for each in self.subscribers if each.repeats}
        latest, whose = self.slowest_delivery()
        return (
            f"{len(acked)} events to {len(self.subscribers)} subscriptions; slowest publish "
            f"{self.slowest_publish():.1f} s, slowest delivery {latest:.1f} s, to {whose}; "
            f"repeated {repeats or 'none'}; missing {missing or 'none'}; asked again after "
            f"{dict(self.troubles) or 'nothing'}"
        )

    @property
    def troubles(self) -> Counter[str]:
        """What kept agents from an answer, so that they asked again."""
        return sum((agent.troubles for agent in self._agents), Counter())

    def slowest_publish(self) -> float:
        """Give the longest time in seconds from an event's first try to its acknowledgement."""
        return max((event.after for event in list(self.acked.values())), default=0.0)

    def slowest_delivery(self) -> tuple[float, str]:
        """Give the longest time in seconds from an acknowledgement to a subscription, and whose."""
        late = [
            (each.first[key] - event.at, each.name)
            for each in self.subscribers
            for key, event in list(self.acked.items())
            if key in each.first
        ]
        return max(late, default=(0.0, "nobody"))

    def _publish(self, lane: int) -> None:
        with self._agent(f"publisher-{lane}", lane) as agent:
            n = 0
            while not self._stop_publishing.is_set():
                self._publish_one(agent, f"{lane}-{n}", n)
                n += 1
                self._stop_publishing.wait(PACE_SECONDS)

    def _publish_one(self, agent: RoamingAgent, key: str, n: int) -> None:
        body = {"event_id": key, "data": {"n": n}, "correlation_id": f"c-{n % PINS}"}
        began = time.monotonic()
        while not self._stop_publishing.is_set():
            answer = agent.post(f"/events/{TYPE}", body)
            if answer is not None and answer.status_code == 202:
                now = time.monotonic()
                self.acked[key] = Acked(n, now, now - began)
                return
            if answer is not None:
                self.wrong.append(f"publish {key}: {answer.status_code} {answer.text}")
                return
            self._stop_publishing.wait(PAUSE_SECONDS)

    def _read(self, subscriber: Subscriber, reader: int) -> None:
        query = {"timeout": round(POLL_SECONDS * 1000), **subscriber.query}
        name = f"{subscriber.name}-{reader}" if subscriber.readers > 1 else subscriber.name
        with self._agent(name, reader + len(name)) as agent:
            while not self._stop.is_set():
                answer = agent.get(f"/events/wait/{TYPE}", query)
                if answer is None:
                    self._stop.wait(PAUSE_SECONDS)
                elif answer.status_code != 200 or "gap" in answer.json():
                    self.wrong.append(f"{name}: {answer.status_code} {answer.text}")
                    return
                else:
                    batch = answer.json()
                    subscriber.take(batch["events"])
                    query.pop("done", None)
                    if batch.get("ack_id"):
                        query["done"] = batch["ack_id"]
                    if not subscriber.durable:
                        query["since"] = batch["next_cursor"]

    def _agent(self, name: str, first: int) -> RoamingAgent:
        agent = RoamingAgent(self._urls, name, self._project, first=first)
        self._agents.append(agent)
        return agent

    @staticmethod
    def _thread(work: Any, *args: Any) -> threading.Thread:
        return threading.Thread(target=work, args=args, daemon=True)
