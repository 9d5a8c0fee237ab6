"""What agents see of what is done to bridges and to NATS: they publish and wait all the while.

Among them are some that lease what they read, and acknowledge it with the next wait.
"""

from typing import Any

from tests.kubernetes.cluster import BRIDGES, NAME, NATS, NEWER, Cluster
from tests.support.waiting import eventually

LATEST_SECONDS = 5.0
"""What a publish or a delivery may take at most while one server or bridge goes."""


def lost_nothing(seen: dict[str, Any]) -> None:
    assert seen["wrong"] == ""
    assert seen["events"] > 50
    assert set(seen["lost"].values()) == {0}


def noticed_nothing(seen: dict[str, Any]) -> None:
    lost_nothing(seen)
    assert seen["errors"] == {}
    assert set(seen["repeated"].values()) == {0}
    assert max(seen["slowest_publish"], seen["slowest_delivery"]) < LATEST_SECONDS


def test_a_rolling_upgrade_is_not_noticed(cluster: Cluster) -> None:
    before = set(cluster.names(BRIDGES))
    with cluster.load() as load:
        cluster.install(*NEWER)
        assert before.isdisjoint(cluster.names(BRIDGES))
        noticed_nothing(load.finish())
    with cluster.load() as load:
        cluster.install()
        noticed_nothing(load.finish())


def test_a_bridge_that_is_deleted_is_not_missed(cluster: Cluster) -> None:
    with cluster.load() as load:
        cluster.kubectl("delete", "--wait", "pod", cluster.names(BRIDGES)[0])
        cluster.rollout(f"deployment/{NAME}")
        noticed_nothing(load.finish())


def test_a_drain_takes_one_bridge_at_a_time(cluster: Cluster) -> None:
    drain = ("kubectl", "drain", "node-1", "--ignore-daemonsets", "--delete-emptydir-data")
    selected = ("--pod-selector", BRIDGES, "--timeout=20s")
    try:
        said = cluster.run(*drain, *selected, status=None)
        assert "violate the pod's disruption budget" in said.stdout + said.stderr
    finally:
        cluster.run("kubectl", "uncordon", "node-1")
    cluster.rollout(f"deployment/{NAME}")


def test_a_nats_server_that_is_drained_delays_nothing(cluster: Cluster) -> None:
    drain = ("kubectl", "drain", "node-1", "--delete-emptydir-data", "--pod-selector")
    with cluster.load() as load:
        for number in range(3):
            pod = f"{NATS}-{number}"
            try:
                cluster.run(*drain, f"statefulset.kubernetes.io/pod-name={pod}")
            finally:
                cluster.run("kubectl", "uncordon", "node-1")
            cluster.rollout(f"statefulset/{NATS}")
        seen = load.finish()
    lost_nothing(seen)
    assert max(seen["slowest_publish"], seen["slowest_delivery"]) < LATEST_SECONDS


def test_a_rolling_restart_of_nats_loses_nothing(cluster: Cluster) -> None:
    with cluster.load() as load:
        cluster.kubectl("rollout", "restart", f"statefulset/{NATS}")
        cluster.rollout(f"statefulset/{NATS}")
        lost_nothing(load.finish())


def test_sudden_death_of_a_bridge_and_then_of_all_servers_loses_nothing(cluster: Cluster) -> None:
    with cluster.load() as load:
        cluster.kill(cluster.processes("bridge serve")[0])
        eventually(lambda: _restarts(cluster, BRIDGES) > 0, what="the new start of a bridge")
        cluster.rollout(f"deployment/{NAME}")
        cluster.kill(*cluster.processes("^nats-server "))
        cluster.rollout(f"statefulset/{NATS}")
        lost_nothing(load.finish())


def _restarts(cluster: Cluster, selector: str) -> int:
    return sum(
        status["restartCount"]
        for pod in cluster.pods(selector)
        for status in pod["status"]["containerStatuses"]
    )
