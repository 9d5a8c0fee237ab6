"""The bridge in an agent's own pod: put there by admission, and with a NATS of its own."""

from tests.kubernetes.cluster import (
    HARDENED,
    NAMESPACE,
    Cluster,
    agent_pod,
    ended,
)
from tests.kubernetes.images import REPOSITORY, TAG
from tests.support.agents import make_token
from tests.support.bridges import SECRET
from tests.support.waiting import eventually

ENVIRONMENT = [
    {"name": "SIDECAR_URL", "value": "http://localhost:3001/api"},
    {"name": "JWT_TOKEN", "value": make_token("injected")},
]


def test_a_labelled_pod_is_given_a_bridge_and_ends_all_the_same(cluster: Cluster) -> None:
    with cluster.changed("--set", "mutatingAdmissionPolicy.enabled=true"):
        publish = ("bridge", "events", "publish", "tests_passing", "--data", '{"coverage": 95}')
        pod = agent_pod("injected", NAMESPACE, *publish, container={"env": ENVIRONMENT})
        pod["metadata"]["labels"] = {"agent-event-bridge/inject": "true"}

        def injected() -> list[dict[str, object]]:
            # The API server takes up a policy a moment after it is told of it.
            cluster.kubectl("delete", "pod", "injected", "--ignore-not-found", "--wait")
            cluster.apply(pod)
            found: list[dict[str, object]] = cluster.get("pod", "injected")["spec"].get(
                "initContainers", []
            )
            return found

        (bridge,) = eventually(injected, what="the injection")
        assert (bridge["name"], bridge["restartPolicy"]) == ("bridge", "Always")
        assert ended(cluster, "injected")["exitCode"] == 0
        assert '"event_id"' in cluster.kubectl("logs", "injected", "--container", "agent")


def test_an_agent_s_pod_can_have_a_bridge_with_a_nats_of_its_own(bare_cluster: Cluster) -> None:
    """The image has no nats-server: it comes from NATS' own image."""
    cluster = bare_cluster
    fetch = {
        "name": "nats-server",
        "image": "lab/nats:1",
        "command": ["cp", "/usr/local/bin/nats-server", "/program/"],
        "volumeMounts": [{"name": "program", "mountPath": "/program"}],
        "securityContext": HARDENED,
    }
    bridge = {
        "name": "bridge",
        "image": f"{REPOSITORY}:{TAG}",
        "restartPolicy": "Always",
        "env": [
            {"name": "BRIDGE_HOST", "value": "127.0.0.1"},
            {"name": "BRIDGE_JWT_SECRET", "value": SECRET},
            {"name": "BRIDGE_NATS_SERVER_BINARY", "value": "/program/nats-server"},
            {"name": "BRIDGE_DATA_DIR", "value": "/data"},
        ],
        "startupProbe": {
            "exec": {"command": ["bridge", "doctor"]},
            "periodSeconds": 1,
            "timeoutSeconds": 10,
            "failureThreshold": 60,
        },
        "volumeMounts": [
            {"name": "program", "mountPath": "/program"},
            {"name": "data", "mountPath": "/data"},
        ],
        "securityContext": HARDENED,
    }
    program = (
        "from bridge.client import EventClient\n"
        "with EventClient() as client:\n"
        "    sent = client.publish('tests_passing')\n"
        "    (event,) = client.wait('tests_passing', timeout=30).events\n"
        "    assert event.event_id == sent.event_id\n"
        "    print('published and received')\n"
    )
    empty: dict[str, object] = {}
    volumes = [{"name": name, "emptyDir": empty} for name in ("program", "data")]
    pod = agent_pod(
        "alone",
        NAMESPACE,
        *("python", "-c", program),
        container={"env": ENVIRONMENT},
        initContainers=[fetch, bridge],
        volumes=volumes,
    )
    cluster.apply(pod)
    assert ended(cluster, "alone")["exitCode"] == 0
    said = cluster.kubectl("logs", "alone", "--container", "agent")
    assert said == "published and received\n"
