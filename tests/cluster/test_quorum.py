"""Two of three servers gone: nothing can be stored, everybody is told so, and it passes."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import pytest

from tests.cluster.fleet import STREAM, FleetBridge
from tests.cluster.scene import Scene
from tests.support.agents import make_token

pytestmark = pytest.mark.timeout(400)


def assert_refuses(project: str, bridge: FleetBridge) -> None:
    assert httpx.get(f"{bridge.url}/livez").status_code == 200
    refused = httpx.post(
        f"{bridge.url}/api/events/refused",
        json={},
        headers={"Authorization": f"Bearer {make_token(project_id=project)}"},
        timeout=20,
    )
    assert refused.status_code == 503
    assert "publish it again with event_id" in refused.json()["message"]


def test_a_lost_quorum_is_told_and_regained(scene: Scene) -> None:
    """The server that stays is the one that the first bridge is connected to."""
    scene.start(scene.bridges)
    for name in scene.cluster.others(scene.bridges[0].server):
        scene.cluster[name].kill()
    for probe in scene.probes:
        probe.await_unready()
    with ThreadPoolExecutor() as pool:
        list(pool.map(partial(assert_refuses, scene.project), scene.bridges))
    scene.cluster.heal(STREAM)
    assert scene.finish() > 0
    for probe in scene.probes:
        assert probe.last.ready
        assert probe.reasons, "it was never unready"
