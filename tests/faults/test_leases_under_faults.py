"""Work under faults: whatever is cut or killed, each event is done by each of its readers.

From a printed seed; `SEED=…` repeats one. `FAULTS=300 pytest tests/faults` is the long form.
"""

import os
import random
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from bridge.client import EventClient, LeasedEvent, Unreachable
from bridge.errors import BridgeError
from tests.support import BridgeProcess, NatsServer, eventually
from tests.support.agents import make_token
from tests.support.cluster import NatsCluster
from tests.support.proxy import Proxy

FAULTS = int(os.environ.get("FAULTS", "16"))
SEED = int(os.environ.get("SEED", str(time.time_ns() % 1_000_000)))
LEASE_SECONDS = 3.0
READERS = (("a", None), ("b", "g"), ("c", "g"))
"""Agents and the group whose work each does: two subscriptions."""


@dataclass(frozen=True)
class Hold:
    """One lease as its reader saw it, in Unix seconds of this machine's clock."""

    ack_id: str
    count: int
    began: float
    ended: float
    how: str


@dataclass
class Account:
    """What publishers were told, and what readers had and did."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    acknowledged: set[str] = field(default_factory=set)
    holds: dict[tuple[str, str], list[Hold]] = field(default_factory=lambda: defaultdict(list))
    done: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def all_done(self) -> bool:
        return not any(self.left().values())

    def left(self) -> dict[str, set[str]]:
        """Give the events that each subscription has not done, by its owner."""
        with self.lock:
            owners = {group or agent for agent, group in READERS}
            return {owner: self.acknowledged - self.done[owner] for owner in owners}


class World:
    """Two bridges behind a proxy that cuts connections, and those who use them."""

    def __init__(self, nats: NatsServer | NatsCluster, start: Callable[..., BridgeProcess]) -> None:
        self.nats = nats
        self._start = start
        self.bridges = [self.start() for _ in range(2)]
        self.proxy = Proxy(*self.bridges)
        self.account = Account()
        self.publishing, self.reading = threading.Event(), threading.Event()

    def start(self) -> BridgeProcess:
        replicas = "1" if isinstance(self.nats, NatsServer) else "3"
        settings = {"ack_wait_seconds": "2", "stream_replicas": replicas}
        return self._start(self.nats.url, stream_max_messages="100000", **settings)

    def client(self, agent: str) -> EventClient:
        return EventClient(self.proxy.api, make_token(agent, project_id="p"), retry_for=120)

    def publish(self, number: int) -> None:
        with self.client(f"publisher-{number}") as client:
            n = 0
            while not self.publishing.wait(0.08):
                n += 1
                stored = client.publish("task", {"n": n}, event_id=f"{number}-{n}")
                with self.account.lock:
                    self.account.acknowledged.add(stored.event_id)

    def read(self, agent: str, group: str | None, chance: random.Random) -> None:
        """Take tasks one by one, and finish most of them; some are dropped, as by a crash."""
        owner = group or agent
        with self.client(agent) as client:
            while not self.reading.is_set():
                with suppress(BridgeError, Unreachable):
                    for event in client.wait(
                        "task", timeout=2, limit=5, group=group, lease=LEASE_SECONDS
                    ):
                        self.work(client, event, owner, chance)

    def work(self, client: EventClient, event: object, owner: str, chance: random.Random) -> None:
        assert isinstance(event, LeasedEvent)
        began = time.time()
        expires = datetime.fromisoformat(event.lease_expires_at).timestamp()
        what = chance.random()
        acked = False
        settled = time.time()  # what is on its way may be another's before the answer is here
        try:
            if what < 0.8:
                acked = bool(client.ack(event).done)
            elif what < 0.9:
                client.release(event)
        finally:
            ended = expires if what >= 0.9 else min(expires, settled)
            how = "done" if acked else "dropped" if what >= 0.9 else "tried"
            hold = Hold(event.ack_id, event.delivery_count, began, ended, how)
            with self.account.lock:
                self.account.holds[owner, event.event_id].append(hold)
                if acked:
                    self.account.done[owner].add(event.event_id)

    def fault(self, chance: random.Random) -> str:
        which = chance.randrange(len(self.bridges))
        bridge = self.bridges[which]
        match chance.choice(["cut", "cut", "halve", "kill", "term", "stop", "nats"]):
            case "cut":
                self.proxy.cut()
                return "cut"
            case "halve":
                self.proxy.cut_answers(chance.randint(1, 5))
                return "answers cut in the middle"
            case "stop":
                bridge.send(signal.SIGSTOP)
                time.sleep(chance.uniform(0.2, 1.5))  # the fault itself
                bridge.send(signal.SIGCONT)
                return "stopped for a while"
            case "nats":
                self.kill_nats(chance)
                return "nats killed"
            case how:
                bridge.stop(signal.SIGKILL if how == "kill" else signal.SIGTERM)
                self.bridges[which] = self.start()
                self.proxy.backends[:] = self.bridges
                return f"bridge {how}"

    def kill_nats(self, chance: random.Random) -> None:
        server = self.nats
        if isinstance(server, NatsCluster):
            server = server[chance.choice(sorted(server.servers))]
        server.stop(signal.SIGKILL)
        server.start()
        if isinstance(self.nats, NatsCluster):
            self.nats.heal("EVENTS")  # two of three at once is another matter


@pytest.fixture(params=["one server", "three servers"])
def nats(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NatsServer | NatsCluster]:
    if request.param == "one server":
        yield request.getfixturevalue("own_nats")
        return
    cluster = NatsCluster(tmp_path / "cluster")
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.mark.timeout(3600)
def test_each_event_is_done_once_by_each_reader_whatever_is_cut_or_killed(
    nats: NatsServer | NatsCluster, start_bridge: Callable[..., BridgeProcess]
) -> None:
    print(f"SEED={SEED} FAULTS={FAULTS}")  # noqa: T201 - to repeat it
    chance = random.Random(SEED)
    world = World(nats, start_bridge)
    account = world.account
    with world.client("before") as client:  # subscriptions begin with everything all the same
        client.wait("task", timeout=0.1)
    writers = [threading.Thread(target=world.publish, args=(n,)) for n in range(2)]
    readers = [
        threading.Thread(target=world.read, args=(agent, group, random.Random(f"{SEED}{agent}")))
        for agent, group in READERS
    ]
    for thread in (*writers, *readers):
        thread.start()
    faults: Counter[str] = Counter()
    try:
        for _ in range(FAULTS):
            time.sleep(chance.uniform(0.1, 0.8))  # between two faults
            faults[world.fault(chance)] += 1
        world.publishing.set()
        for thread in writers:
            thread.join(180)
        try:
            eventually(account.all_done, what="the work", within=180)
        except AssertionError:
            print({owner: len(left) for owner, left in account.left().items()})  # noqa: T201
            for owner, left in account.left().items():
                for event_id in sorted(left)[:3]:
                    print(owner, event_id, account.holds[owner, event_id])  # noqa: T201
            raise
    finally:
        world.publishing.set()
        world.reading.set()
        for thread in (*writers, *readers):
            thread.join(180)
    with world.client("after") as client:
        stored: Counter[str] = Counter()
        until = None
        while True:
            page = client.history(type="task", limit=1000, until=until)
            stored.update(event.event_id for event in page.events)
            until = page.next_cursor
            if not page.more_available:
                break
        failed = client.history(type="delivery_failed", limit=1000).events
    print(f"{len(account.acknowledged)} events, {dict(faults)}")  # noqa: T201
    assert account.acknowledged <= stored.keys(), "lost"
    assert max(stored.values()) == 1, "stored twice"
    unmarked = {key: holds for key, holds in account.holds.items() if _unmarked(holds)}
    assert unmarked == {}
    shared = {key: holds for key, holds in account.holds.items() if _overlap(holds)}
    assert shared == {}, "two had it at the same time"
    dead = Counter((each.data["subscription"], each.data["event_id"]) for each in failed)
    assert all(count == 1 for count in dead.values())


def _unmarked(holds: list[Hold]) -> bool:
    """Tell whether more than one delivery counts itself as the first."""
    first = sorted((hold for hold in holds if hold.count == 1), key=lambda hold: hold.began)
    return any(after.ack_id != before.ack_id for before, after in pairwise(first))


def _overlap(holds: list[Hold]) -> bool:
    """Tell whether one lease began while another ran."""
    ordered = sorted(holds, key=lambda hold: hold.began)
    return any(
        after.began < before.ended and after.ack_id != before.ack_id
        for before, after in pairwise(ordered)
    )
