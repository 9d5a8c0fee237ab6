"""A server that is cut off from the others, and comes back: nobody is told of it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import island
from tests.cluster.fleet import STREAM, Fleet
from tests.cluster.scene import Scene
from tests.support.cluster import NatsCluster

pytestmark = pytest.mark.timeout(400)

LONELY = "n3"


@pytest.fixture
def islanders(tmp_path: Path) -> Iterator[tuple[island.Island, Scene]]:
    """A scene on a fleet of its own, of which the server n3 is on an island."""
    if why := island.why_not():
        pytest.skip(why)
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(contextlib.closing(island.Island(tmp_path)))
        places = [made.mainland, made.mainland, made.place]
        fleet = Fleet(tmp_path, NatsCluster(tmp_path / "nats", places=places), first_at=LONELY)
        stack.callback(fleet.stop)
        scene = Scene(fleet)
        stack.callback(scene.stop)
        fleet.start()
        yield made, scene


def test_a_server_that_is_cut_off_from_the_others_is_survived(
    islanders: tuple[island.Island, Scene],
) -> None:
    """Its clients still reach it, to no avail: it has no quorum, and the others have."""
    alone, scene = islanders
    scene.fleet.heal()
    assert scene.start_with_all_on_one_server() == LONELY
    alone.cut("routes")
    scene.cluster.forget(LONELY)
    scene.await_another_leader(LONELY)
    for bridge in scene.bridges:
        bridge.await_other_server(LONELY)
    scene.load.goes_on(f"the load while {LONELY} is cut off")
    alone.mend()
    scene.cluster.remember(LONELY)
    scene.load.ghosts = True
    scene.cluster.heal(STREAM)
    assert scene.finish() > 0
