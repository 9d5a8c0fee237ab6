"""Probes and metrics at a port that the public Service does not carry."""

from typing import Any

import pytest

from tests.chart.conftest import Render
from tests.chart.starting import Load, bridges, container_of
from tests.support.helm import text_of
from tests.support.manifests import Object, at, of_kind
from tests.support.manifests.selectors import selected

PROMETHEUS = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
VALUES: dict[str, Any] = {
    "monitoring": {"serviceMonitor": {"enabled": True}},
    "networkPolicy": {"enabled": True, "metricsFrom": [PROMETHEUS]},
    "mutatingAdmissionPolicy": {"enabled": True},
}
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


@pytest.fixture(params=[3102, 0])
def port(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture
def objects(port: int, render: Render) -> list[Object]:
    return render(text_of(VALUES | {"internalPort": port}))


@pytest.fixture
def name(port: int) -> str:
    """The name of the port that probes and metrics have."""
    return "internal" if port else "http"


def services(objects: list[Object]) -> dict[str, list[str]]:
    """Give the names of the ports of the chart's own Services, by name."""
    (pod,) = bridges(objects)
    return {
        one["metadata"]["name"]: [port["targetPort"] for port in one["spec"]["ports"]]
        for one in of_kind(objects, "Service")
        if [found.where for found in selected(objects, {"matchLabels": one["spec"]["selector"]})]
        == [pod.where]
    }


def test_the_bridge_listens_there(port: int, objects: list[Object], load: Load) -> None:
    (pod,) = bridges(objects)
    assert load(objects, pod).internal_port == port
    listed = {one["name"]: one["containerPort"] for one in container_of(pod)["ports"]}
    assert listed == {"http": 3001} | ({"internal": port} if port else {})


def test_probes_ask_there(name: str, objects: list[Object]) -> None:
    (pod,) = bridges(objects)
    asked = {probe: at(container_of(pod), f"{probe}.httpGet.port") for probe in PROBES}
    assert asked == dict.fromkeys(PROBES, name)


def test_the_public_service_does_not_carry_it(port: int, objects: list[Object]) -> None:
    public = {"demo-agent-event-bridge": ["http"]}
    internal = {"demo-agent-event-bridge-internal": ["internal"]} if port else {}
    assert services(objects) == public | internal


def test_prometheus_scrapes_there_and_is_let_in_there_alone(
    name: str, objects: list[Object]
) -> None:
    (monitor,) = of_kind(objects, "ServiceMonitor")
    assert [end["port"] for end in monitor["spec"]["endpoints"]] == [name]
    policy = of_kind(objects, "NetworkPolicy")[0]
    (rule,) = [one for one in policy["spec"]["ingress"] if PROMETHEUS in one["from"]]
    assert rule == {"from": [PROMETHEUS], "ports": [{"port": name}]}
    assert policy["spec"]["ingress"][0]["ports"] == [{"port": "http"}]


def test_nobody_is_let_in_where_nobody_is_named(render: Render) -> None:
    """A rule without peers is one for everybody."""
    policy = of_kind(render(text_of({"networkPolicy": {"enabled": True}})), "NetworkPolicy")[0]
    assert [one["ports"] for one in policy["spec"]["ingress"]] == [[{"port": "http"}]]
