"""nats-servers that are restarted, hang, lose their leadership or die for good, under load."""

import pytest

from tests.cluster.fleet import STREAM
from tests.cluster.scene import Scene

pytestmark = pytest.mark.timeout(400)


def test_a_rolling_restart_of_nats_is_survived(scene: Scene) -> None:
    """Each server leaves as a lame duck, and the next only when that one is back and current."""
    scene.start(scene.bridges)
    for name, server in scene.cluster.servers.items():
        server.lame_duck()
        scene.cluster.heal(STREAM)
        scene.load.goes_on(f"the load after the restart of {name}")
    assert scene.finish() > 0


def test_a_server_that_dies_for_good_is_not_missed(scene: Scene) -> None:
    victim = scene.start_with_all_on_one_server()
    scene.cluster[victim].kill()
    scene.await_another_leader(victim)
    assert scene.finish() > 0
    assert not scene.cluster[victim].running


def test_a_server_that_hangs_and_comes_back_is_survived(scene: Scene) -> None:
    """Its connections stay open: nobody is told of it, nor of its return."""
    victim = scene.start_with_all_on_one_server()
    scene.cluster.pause(victim)
    scene.await_another_leader(victim)
    for bridge in scene.bridges:
        bridge.await_other_server(victim)
    scene.load.goes_on(f"the load while {victim} hangs")
    scene.load.ghosts = True
    scene.cluster.heal(STREAM)
    assert scene.finish() > 0


def test_leaders_that_move_time_and_again_cost_nothing(scene: Scene) -> None:
    scene.start(scene.bridges)
    for _ in range(3):
        scene.cluster.move_stream(STREAM)
        scene.cluster.move_meta()
        scene.load.goes_on("the load under other leaders")
    assert scene.finish() > 0
