"""The release: installed, tried by `helm test`, taken away and installed again."""

import json

from tests.kubernetes.cluster import BRIDGES, KEY_SECRET, NATS, RELEASE, Cluster
from tests.support.waiting import eventually

SERVERS = "app.kubernetes.io/component=nats"


def test_it_is_ready_under_the_restricted_standard(cluster: Cluster) -> None:
    assert len(cluster.pods(BRIDGES)) == 2
    events = cluster.get("events")["items"]
    refused = [event["message"] for event in events if "violates PodSecurity" in event["message"]]
    assert refused == []


def test_helm_test_needs_no_filter(cluster: Cluster) -> None:
    assert "published and received" in cluster.helm("test", RELEASE, "--logs")


def test_nats_servers_that_were_restarted_are_left_alone_by_the_next_upgrade(
    cluster: Cluster,
) -> None:
    cluster.kubectl("rollout", "restart", f"statefulset/{NATS}")
    cluster.rollout(f"statefulset/{NATS}")
    before = [pod["metadata"]["uid"] for pod in cluster.pods(SERVERS)]
    assert len(before) == 3
    with cluster.changed("--set", "podAnnotations.of=another"):
        cluster.rollout(f"statefulset/{NATS}")
        assert [pod["metadata"]["uid"] for pod in cluster.pods(SERVERS)] == before


def test_what_was_stored_is_there_after_a_reinstallation(cluster: Cluster) -> None:
    with cluster.load() as load:
        stored = load.finish()["events"]
    before = _messages(cluster)
    assert before >= stored
    cluster.helm("uninstall", RELEASE, "--wait")
    # The finished pod of `helm test` stays where Helm is older than 4.1; see the chart's README.
    ours = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component!=test"
    eventually(lambda: not cluster.names(ours), what="the end of all pods")
    assert KEY_SECRET in [secret["metadata"]["name"] for secret in cluster.get("secrets")["items"]]
    cluster.install()
    assert _messages(cluster) >= before  # and what `helm test` has published
    assert "published and received" in cluster.helm("test", RELEASE, "--logs")


def _messages(cluster: Cluster) -> int:
    box = ("exec", f"deploy/{NATS}-box", "--")
    told = json.loads(cluster.kubectl(*box, "nats", "stream", "info", "EVENTS", "--json"))
    return int(told["state"]["messages"])
