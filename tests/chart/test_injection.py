"""The pod that the mutating policy makes of an agent's is one that runs, and restricted."""

from typing import Any

import pytest

from tests.chart.agents import agent
from tests.chart.conftest import Render
from tests.chart.starting import Load
from tests.chart.valuesets import SETS, ValueSet
from tests.support.helm import text_of
from tests.support.manifests import (
    Object,
    Pod,
    mounts,
    of_kind,
    references,
    restricted,
    schemas,
    selectors,
    where,
)
from tests.support.manifests.injection import injected

POLICY: Any = {"mutatingAdmissionPolicy": {"enabled": True}}
ON = ValueSet("switched on", text_of(POLICY))
INJECTING = [ON, *(one for one in SETS if "mutatingAdmissionPolicy:" in one.text)]
FIRST = {"name": "first", "image": "registry.example.org/first:1"}
AGENTS = {
    "bare": agent(),
    "with-volumes": agent(
        initContainers=[
            FIRST | {"securityContext": agent()["spec"]["containers"][0]["securityContext"]}
        ],
        volumes=[{"name": "work", "emptyDir": {}}],
    ),
}


@pytest.fixture(params=INJECTING, ids=str)
def values(request: pytest.FixtureRequest) -> ValueSet:
    found: ValueSet = request.param
    return found


@pytest.fixture
def rendered(values: ValueSet, render: Render) -> list[Object]:
    return render(values.text)


@pytest.fixture(params=AGENTS)
def pod(request: pytest.FixtureRequest, rendered: list[Object]) -> Object:
    """An agent's pod as the policy leaves it."""
    (policy,) = of_kind(rendered, "MutatingAdmissionPolicy")
    return injected(policy, AGENTS[request.param])


def test_the_policy_is_for_pods_in_its_namespace_that_ask_for_it(rendered: list[Object]) -> None:
    (policy,) = of_kind(rendered, "MutatingAdmissionPolicy")
    (binding,) = of_kind(rendered, "MutatingAdmissionPolicyBinding")
    constraints = policy["spec"]["matchConstraints"]
    assert binding["spec"]["policyName"] == policy["metadata"]["name"]
    assert selectors.selects(constraints["objectSelector"], agent()["metadata"]["labels"])
    assert not selectors.selects(constraints["objectSelector"], {})
    assert not selectors.selects(constraints["namespaceSelector"], {})
    (rule,) = constraints["resourceRules"]
    assert (rule["apiGroups"], rule["resources"]) == ([""], ["pods"])


def test_deployed_bridges_are_left_alone(rendered: list[Object]) -> None:
    (policy,) = of_kind(rendered, "MutatingAdmissionPolicy")
    wanted = policy["spec"]["matchConstraints"]["objectSelector"]
    assert selectors.selected(rendered, wanted) == []


def test_the_bridge_is_a_native_sidecar_before_everything_else(pod: Object) -> None:
    first, *_ = pod["spec"]["initContainers"]
    assert first["name"] == "bridge"
    assert first["restartPolicy"] == "Always"
    assert "startupProbe" in first, "the agent would start before its bridge is ready"
    assert "readinessProbe" not in first, "a bridge must not take its agent out of service"


@pytest.mark.parametrize("own", [[], [{"name": "own"}]])
def test_the_image_of_the_bridge_can_be_pulled(own: list[Object], render: Render) -> None:
    registries = [{"name": "one"}, {"name": "two"}]
    values = text_of(POLICY | {"imagePullSecrets": registries})
    (policy,) = of_kind(render(values), "MutatingAdmissionPolicy")
    pod = injected(policy, agent(**({"imagePullSecrets": own} if own else {})))
    assert pod["spec"]["imagePullSecrets"] == [*own, *registries]


def test_kubernetes_takes_the_pod(pod: Object) -> None:
    for version in schemas.versions():
        assert list(schemas.valid(version, [pod])) == []


def test_the_pod_is_restricted_and_whole(
    pod: Object, rendered: list[Object], values: ValueSet
) -> None:
    made = Pod(pod, pod["metadata"], pod["spec"])
    assert list(restricted.violations(made)) == []
    bridge = agent(
        containers=[one for one in made.containers if one["name"] == "bridge"],
        volumes=[one for one in pod["spec"]["volumes"] if one["name"] != "work"],
    )
    assert list(mounts.of_pods([bridge])) == []
    assert list(mounts.rotated([bridge])) == []
    there = {where(one) for one in rendered}
    for one in references.references([pod]):
        known = f"{one.kind}/{one.name}" in there or f": {one.name}\n" in values.text
        assert known, f"{one} is neither rendered nor named in the values"


def test_the_bridge_in_it_would_start(pod: Object, rendered: list[Object], load: Load) -> None:
    settings = load(rendered, Pod(pod, pod["metadata"], pod["spec"]))
    assert settings.nats_servers
    assert settings.key_configured
    assert settings.nats_name == "bridge/demo/pod-0"


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("[JSONPatch{op: 'add'}]", "teach this"),
        ("[] ++ []", "teach this"),
        ('[JSONPatch{op: "remove", path: "/spec"}]', "op 'remove'"),
        ('[JSONPatch{op: "add", path: "/spec/x", value: Object.spec.x{y: Object.spec.z{}}}]', "z"),
        (
            '[JSONPatch{op: "add", path: "/x", value: Object.spec{x: {"y": 1}}}]',
            "a plain map stands",
        ),
        (
            '[JSONPatch{op: "add", path: "/x", value: Object.metadata.labels{}}]',
            "plain map belongs",
        ),
        ("[] []", "after the end"),
        ("[object.spec]", "teach this"),
    ],
)
def test_what_cannot_be_judged_is_refused(expression: str, said: str) -> None:
    mutation: dict[str, Any] = {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}
    with pytest.raises(ValueError, match=said):
        injected({"spec": {"mutations": [mutation]}}, agent())


def test_a_patch_is_applied_in_order() -> None:
    expression = """
      (has(object.spec.volumes) ? [] : [JSONPatch{op: "add", path: "/spec/volumes", value: []}])
      + [JSONPatch{op: "add", path: "/spec/volumes/-", value: Object.spec.volumes{name: "b"}}]
      + [JSONPatch{op: "add", path: "/spec/volumes/0", value: {"name": "a", "n": -1, "t": true}}]
    """
    mutation = {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}
    made = injected({"spec": {"mutations": [mutation]}}, agent())
    assert made["spec"]["volumes"] == [{"name": "a", "n": -1, "t": True}, {"name": "b"}]
    assert "volumes" not in agent()["spec"]
