"""Values that are passed on arrive where Kubernetes looks for them, and nowhere without them."""

from typing import Any

import pytest

from tests.chart.conftest import Render
from tests.chart.valuesets import in_turn
from tests.support.helm import HELMS, text_of
from tests.support.manifests import Object, at, pods, where

SERVICE, INTERNAL = "Service/demo-agent-event-bridge", "Service/demo-agent-event-bridge-internal"
DEPLOYMENT, TEST = "Deployment/demo-agent-event-bridge", "Pod/demo-agent-event-bridge-test"
POD = "spec.template.spec"
BALANCED: dict[str, Any] = {"type": "LoadBalancer"}
SIDE: dict[str, Any] = {"name": "side", "image": "registry.example.org/side:1"}

Case = tuple[str, Any, str, str]
"""A value's dotted name, what it is set to, the object and the path where it arrives."""

OF_SERVICES: list[Case] = [
    ("service.type", "NodePort", SERVICE, "spec.type"),
    ("service.labels", {"a": "b"}, SERVICE, "metadata.labels"),
    ("service.annotations", {"a": "b"}, SERVICE, "metadata.annotations"),
    ("service.loadBalancerIP", "192.0.2.1", SERVICE, "spec.loadBalancerIP"),
    ("service.loadBalancerClass", "a/b", SERVICE, "spec.loadBalancerClass"),
    ("service.loadBalancerSourceRanges", ["192.0.2.0/24"], SERVICE,
     "spec.loadBalancerSourceRanges"),
    ("service.externalTrafficPolicy", "Local", SERVICE, "spec.externalTrafficPolicy"),
    ("service.ipFamilyPolicy", "PreferDualStack", SERVICE, "spec.ipFamilyPolicy"),
    ("service.ipFamilyPolicy", "RequireDualStack", INTERNAL, "spec.ipFamilyPolicy"),
    ("service.ipFamilies", ["IPv6", "IPv4"], SERVICE, "spec.ipFamilies"),
    ("service.ipFamilies", ["IPv6"], INTERNAL, "spec.ipFamilies"),
]  # fmt: skip
OF_PODS: list[Case] = [
    ("deployment.strategy", {"rollingUpdate": {"maxSurge": "50%"}}, DEPLOYMENT, "spec.strategy"),
    ("initContainers", [SIDE], DEPLOYMENT, f"{POD}.initContainers"),
    *(
        (name, value, DEPLOYMENT, f"{POD}.{name}")
        for name, value in {
            "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["one"]}],
            "dnsPolicy": "Default",
            "dnsConfig": {"nameservers": ["192.0.2.53"]},
            "runtimeClassName": "gvisor",
        }.items()
    ),
    ("runtimeClassName", "gvisor", TEST, "spec.runtimeClassName"),
    ("dnsPolicy", "None", TEST, "spec.dnsPolicy"),
    ("imagePullSecrets", [{"name": "a"}], TEST, "spec.imagePullSecrets"),
    ("global.imagePullSecrets", [{"name": "a"}], DEPLOYMENT, f"{POD}.imagePullSecrets"),
]


def the(objects: list[Object], name: str) -> Object:
    (found,) = [one for one in objects if where(one) == name]
    return found


def nested(name: str, value: Any) -> dict[str, Any]:
    for part in reversed(name.split(".")):
        value = {part: value}
    found: dict[str, Any] = value
    return found


@pytest.mark.parametrize(
    ("name", "value", "object_", "path", "helm"),
    [(*case, helm) for case, helm in in_turn(OF_SERVICES + OF_PODS, HELMS)],
)
def test_a_value_arrives(
    name: str, value: Any, object_: str, path: str, helm: str, render: Render
) -> None:
    values = nested(name, value)
    if name.startswith(("service.load", "service.external")):
        values["service"] |= BALANCED
    found = at(the(render(text_of(values), helm=helm), object_), path)
    before = at(the(render("", helm=helm), object_), path)
    assert found != before
    if isinstance(value, dict):
        assert contains(found, value)
    else:
        assert found == value


def contains(found: Any, value: Any) -> bool:
    """Tell whether what was found holds all of a value, whatever else it holds."""
    if not isinstance(value, dict):
        return bool(found == value)
    return all(contains(found.get(key), one) for key, one in value.items())


def bridge_of(objects: list[Object]) -> Any:
    return at(the(objects, DEPLOYMENT), f"{POD}.containers")[0]


def test_a_node_port_is_that_of_the_public_service(render: Render) -> None:
    objects = render(text_of({"service": {"type": "NodePort", "nodePort": 30301}}))
    (port,) = the(objects, SERVICE)["spec"]["ports"]
    assert (port["name"], port["nodePort"]) == ("http", 30301)
    assert "nodePort" not in the(objects, INTERNAL)["spec"]["ports"][0]


def test_labels_of_the_service_are_not_those_it_is_found_by(render: Render) -> None:
    given = {"app.kubernetes.io/instance": "other", "team": "agents"}
    labels = the(render(text_of({"service": {"labels": given}})), SERVICE)["metadata"]["labels"]
    assert (labels["app.kubernetes.io/instance"], labels["team"]) == ("demo", "agents")


def test_more_containers_stand_beside_the_bridge(render: Render) -> None:
    objects = render(text_of({"extraContainers": [SIDE]}))
    bridge, side = at(the(objects, DEPLOYMENT), f"{POD}.containers")
    assert (bridge["name"], side) == ("bridge", SIDE)


def test_an_environment_is_added_below_the_charts_own(render: Render) -> None:
    """In Kubernetes `env` wins over `envFrom`."""
    given = [{"secretRef": {"name": "proxy"}, "prefix": "HTTP_"}]
    bridge = bridge_of(render(text_of({"extraEnvFrom": given})))
    assert bridge["envFrom"] == given
    assert bridge["env"] == bridge_of(render(""))["env"]


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({}, "agent-event-bridge:0.1.0"),
        ({"image": {"registry": "one"}}, "one/agent-event-bridge:0.1.0"),
        ({"global": {"imageRegistry": "two/mirror"}}, "two/mirror/agent-event-bridge:0.1.0"),
        (
            {"image": {"registry": "one"}, "global": {"imageRegistry": "two"}},
            "one/agent-event-bridge:0.1.0",
        ),
    ],
)
def test_images_come_from_the_registry(values: Any, image: str, render: Render) -> None:
    own = [pod for pod in pods(render(text_of(values))) if "agent-event-bridge" in pod.where]
    assert {container["image"] for pod in own for container in pod.containers} == {image}


def test_secrets_for_images_are_named_once(render: Render) -> None:
    values = {
        "imagePullSecrets": [{"name": "one"}, {"name": "two"}],
        "global": {"imagePullSecrets": [{"name": "two"}, {"name": "three"}]},
    }
    found = at(the(render(text_of(values)), DEPLOYMENT), f"{POD}.imagePullSecrets")
    assert [one["name"] for one in found] == ["one", "two", "three"]


def test_a_scaler_looks_at_what_it_is_told_to(render: Render) -> None:
    def aims(**values: Any) -> dict[str, Any]:
        objects = render(text_of({"autoscaling": {"enabled": True, **values}}))
        scaler = the(objects, "HorizontalPodAutoscaler/demo-agent-event-bridge")
        metrics = [next(iter(one.values())) for one in map(without_type, scaler["spec"]["metrics"])]
        return {aimed_at(one): next(iter(without_type(one["target"]).values())) for one in metrics}

    assert aims() == {"cpu": 70}
    assert aims(targetMemoryUtilizationPercentage=80) == {"cpu": 70, "memory": 80}
    memory_alone = {"targetCPUUtilizationPercentage": None, "targetMemoryUtilizationPercentage": 60}
    assert aims(**memory_alone) == {"memory": 60}
    assert aims(targetWaitingPolls=500) == {"cpu": 70, "bridge_waiting_polls": "500"}


def without_type(one: Object) -> Object:
    return {key: value for key, value in one.items() if key != "type"}


def aimed_at(metric: Object) -> str:
    return str(metric.get("name") or at(metric, "metric.name"))
