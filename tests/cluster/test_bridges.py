"""Bridges that are restarted one after the other, and one that dies, under load."""

import signal

import pytest

from tests.cluster.scene import Scene
from tests.support import Agent, eventually
from tests.test_delivery import open_wait

pytestmark = pytest.mark.timeout(400)


def test_a_rolling_restart_of_the_bridges_is_not_noticed(scene: Scene) -> None:
    scene.start(waiting=[])
    for bridge in scene.bridges:
        assert bridge.stop(signal.SIGTERM) == 0, bridge.log
        scene.load.goes_on("the load on the two other bridges")
        bridge.revive()
    assert scene.finish() > 0
    for probe in scene.probes:
        assert not probe.refusals, probe.refusals


def test_a_bridge_killed_with_events_in_hand_loses_nothing(scene: Scene) -> None:
    """One event is delivered to a wait for two, and so is held without acknowledgement."""
    doomed, *others = scene.bridges
    scene.start(others)
    with (
        Agent(doomed.url, "holder", scene.project) as holder,
        Agent(others[0].url, "holder", scene.project) as elsewhere,
        open_wait(doomed.url, holder, "held?timeout=100000&count=2"),
    ):
        told = elsewhere.publish("held")
        eventually(lambda: _held(elsewhere) == 1, what="the hold")
        doomed.kill()
        [event] = elsewhere.events("held", timeout=30)
    assert event["event_id"] == told["event_id"]
    assert event["delivery_count"] >= 2
    scene.load.goes_on("the load on the two other bridges")
    doomed.revive()
    assert scene.finish() > 0


def _held(agent: Agent) -> int:
    return sum(found["ack_pending"] for found in agent.subscriptions())
