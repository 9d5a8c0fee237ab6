"""Waits that are open when something breaks, and are to be answered when it is whole again."""

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import Any

from tests.cluster.fleet import STREAM, FleetBridge
from tests.support import Agent, eventually

log = logging.getLogger("tests.waits")

OPEN_SECONDS = 280.0
KINDS = ("standing", "pinned", "since")


class OpenWaits:
    """A wait of every kind at one bridge; the consumer of the pinned one is at a chosen server.

    A pinned subscription has one replica, which the cluster puts where it likes, so correlation
    IDs are tried until one is there.
    """

    def __init__(self, bridge: FleetBridge, project: str, pinned_at: str = "") -> None:
        self._bridge = bridge
        self._project = project
        self._type = f"sign-{bridge.url.rpartition(':')[2]}"
        self._correlation = self._pin(pinned_at)
        queries = {"pinned": {"filter": f"correlation_id:{self._correlation}"}}
        queries |= {"standing": {}, "since": {"since": "now"}}
        self._pool = ThreadPoolExecutor(len(KINDS))
        before = bridge.open_waits
        self._answers: dict[str, Future[Any]] = {
            kind: self._pool.submit(self._wait, kind, queries[kind]) for kind in KINDS
        }
        eventually(lambda: bridge.open_waits >= before + len(KINDS), what="the open waits")

    def answer(self) -> None:
        """Publish one event for all of them, and expect each to be answered with it."""
        with Agent(self._bridge.url, "signaller", self._project) as agent:
            told = agent.publish(self._type, correlation_id=self._correlation)
        began = time.monotonic()
        found = {}
        for kind, answer in self._answers.items():
            found[kind] = [event["event_id"] for event in answer.result()["events"]]
            log.info("%s: %s after %.1f s", self._type, kind, time.monotonic() - began)
        self._pool.shutdown()
        assert found == {kind: [told["event_id"]] for kind in KINDS}, f"{told}: {found}"

    def _wait(self, kind: str, query: dict[str, Any]) -> Any:
        with Agent(self._bridge.url, kind, self._project) as agent:
            return agent.wait(self._type, timeout=OPEN_SECONDS, **query)

    def _pin(self, server: str) -> str:
        with Agent(self._bridge.url, "pinned", self._project) as agent:
            for number in count():
                correlation = f"sign-{number}"
                pinned = f"correlation_id:{correlation}"
                agent.events(self._type, filter=pinned)
                found = {each["filter"]: each["name"] for each in agent.subscriptions()}
                name = found[pinned]
                if self._bridge.cluster.consumer_leader(STREAM, name) == server or not server:
                    break
        return correlation
