"""Network policies, enforced: who reaches the bridges and NATS, and who does not."""

from collections.abc import Iterator

import pytest

from tests.kubernetes.cluster import BRIDGES, NAME, NAMESPACE, NATS, RELEASE, Cluster, agent_pod
from tests.support.waiting import eventually

OTHER = "other"
SERVER = ("python", "-m", "http.server", "8080")
BRIDGE, BUS = (f"{name}.{NAMESPACE}.svc.cluster.local" for name in (NAME, NATS))


@pytest.fixture(scope="module")
def guarded(cluster: Cluster) -> Iterator[Cluster]:
    """The release behind its policies, and a pod that serves HTTP in this and another namespace."""
    cluster.namespace(OTHER, restricted=True)
    for namespace in (NAMESPACE, OTHER):
        cluster.apply(agent_pod("probe", namespace, *SERVER))
        ready = ("wait", "--for=condition=Ready", "pod/probe", "--timeout=60s")
        cluster.kubectl(*ready, namespace=namespace)
    with cluster.changed("--set", "networkPolicy.enabled=true"):
        eventually(
            lambda: not reaches(cluster, "probe", BUS, 4222), what="that policies are enforced"
        )
        yield cluster
    for namespace in (NAMESPACE, OTHER):
        cluster.kubectl("delete", "pod", "probe", "--wait", namespace=namespace)


def reaches(cluster: Cluster, pod: str, host: str, port: int, namespace: str = NAMESPACE) -> bool:
    """Tell whether a pod can connect; a name that is not found is no answer."""
    dial = f"import socket; socket.create_connection(({host!r}, {port}), timeout=4)"
    status, said = cluster.python(pod, dial, namespace)
    assert status == 0 or "timed out" in said or "refused" in said, said
    return status == 0


def address(cluster: Cluster, pod: str, namespace: str = NAMESPACE) -> str:
    return str(cluster.get("pod", pod, namespace=namespace)["status"]["podIP"])


def test_agents_of_the_namespace_reach_the_bridge_and_not_nats(guarded: Cluster) -> None:
    assert reaches(guarded, "probe", BRIDGE, 3001)
    assert not reaches(guarded, "probe", BUS, 4222)
    server = address(guarded, f"{NATS}-0")
    for port in (4222, 6222, 8222):
        assert not reaches(guarded, "probe", server, port)


def test_other_namespaces_reach_neither(guarded: Cluster) -> None:
    assert not reaches(guarded, "probe", BRIDGE, 3001, OTHER)
    assert not reaches(guarded, "probe", BUS, 4222, OTHER)


def test_a_bridge_reaches_nats_and_nobody_else(guarded: Cluster) -> None:
    bridge = guarded.names(BRIDGES)[0]
    assert reaches(guarded, bridge, BUS, 4222)
    elsewhere = address(guarded, "probe", OTHER)
    assert reaches(guarded, "probe", elsewhere, 8080)
    assert not reaches(guarded, bridge, elsewhere, 8080)


def test_operators_and_helm_test_get_through(guarded: Cluster) -> None:
    box = ("exec", f"deploy/{NATS}-box", "--")
    assert "EVENTS" in guarded.kubectl(*box, "nats", "stream", "info", "EVENTS")
    assert "published and received" in guarded.helm("test", RELEASE, "--logs")
