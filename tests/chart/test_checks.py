"""The checks of manifests: they pass a good application and refuse it with one thing spoilt."""

from functools import partial
from typing import Any

import pytest
import yaml

from tests.chart.spoiling import EXTERNAL, GONE, sample, spoilt, with_one_more
from tests.support.manifests import (
    Check,
    called,
    faults,
    mounts,
    names,
    pods,
    ports,
    read,
    references,
    resources,
    schemas,
    selectors,
    workloads,
)

RESOLVED = partial(references.resolved, EXTERNAL)
NEEDED = partial(references.needed, EXTERNAL)
NAMESPACED = partial(names.namespaced, "agents")
VALID = partial(schemas.valid, "1.29")
POD = "spec/template/spec"
ONE = f"{POD}/containers/0"
LABELS = {"app.kubernetes.io/name": "other", "app.kubernetes.io/instance": "demo"}

EVERY: list[Check] = [
    names.well_formed, names.unique, names.environment, names.labels, NAMESPACED, names.nulls,
    ports.of_containers, ports.of_services, ports.of_probes, ports.of_policies,
    resources.of_containers, resources.of_volumes, resources.given,
    selectors.of_workloads, selectors.of_services, selectors.of_scalers, selectors.of_placement,
    mounts.of_pods, mounts.rotated, mounts.writable,
    RESOLVED, NEEDED, references.backends,
    workloads.images, workloads.tokens, workloads.service_links, workloads.replicas,
    workloads.disruption, VALID,
]  # fmt: skip

Case = tuple[Check, str, str, Any, str]

NAMES: list[Case] = [
    (names.well_formed, "Service/shop", "metadata/name", "1shop", "no DNS name"),
    (names.well_formed, "ConfigMap/shop", "metadata/name", "x" * 64, "63 characters"),
    (names.well_formed, "ConfigMap/shop", "metadata/name", "Shop", "no DNS name"),
    (names.well_formed, "ConfigMap/shop", "data", {"a b": ""}, "'a b'"),
    (names.well_formed, "Deployment/shop", f"{ONE}/name", "a.b", "'a.b'"),
    (names.well_formed, "Deployment/shop", f"{POD}/volumes/0/name", "A", "volume 'A'"),
    (names.unique, "Deployment/shop", f"{ONE}/env/3", {"name": "NAME"}, "NAME twice"),
    (names.unique, "Deployment/shop", f"{POD}/initContainers", [{"name": "shop"}], "containers"),
    (names.unique, "Deployment/shop", f"{POD}/volumes/0/name", "secret", "volumes"),
    (names.environment, "Deployment/shop", f"{ONE}/env/0/name", "1 POD", "1 POD"),
    (names.environment, "Deployment/shop", f"{ONE}/env/1/value", 1, "NAME is not text"),
    (names.environment, "Deployment/shop", f"{ONE}/env/0/name", "POT", "$(POD)"),
    (names.labels, "Service/shop", "metadata/labels", {}, "app.kubernetes.io/instance"),
    (names.labels, "Service/shop", "metadata/labels/a", "b c", "'b c'"),
    (names.labels, "Service/shop", "metadata/labels/a", True, "not text"),
    (names.labels, "Service/shop", "metadata/annotations", {"a": 1}, "not text"),
    (names.labels, "Deployment/shop", "spec/template/metadata/labels", {}, "(its pods)"),
    (NAMESPACED, "Service/shop", "metadata/namespace", "other", "'other'"),
    (names.nulls, "Deployment/shop", f"{ONE}/env/0/value", None, "containers[0].env[0].value"),
]  # fmt: skip

PORTS: list[Case] = [
    (ports.of_containers, "Deployment/shop", f"{ONE}/ports/0/containerPort", 99_999, "99999"),
    (ports.of_containers, "Deployment/shop", f"{ONE}/ports/0/containerPort", 0, "0 is no port"),
    (ports.of_containers, "Deployment/shop", f"{ONE}/ports/0/name", "admin", "called 'admin'"),
    (ports.of_containers, "Deployment/shop", f"{ONE}/ports/0/containerPort", 8081, "8081/TCP"),
    (ports.of_containers, "Deployment/shop", f"{ONE}/ports/0/name", "a-very-long-name", "no name"),
    (ports.of_services, "Service/shop", "spec/ports/0/port", 70_000, "70000"),
    (ports.of_services, "Service/shop", "spec/ports/0/name", "admin", "name each"),
    (ports.of_services, "Service/shop", "spec/ports/0/name", GONE, "name each"),
    (ports.of_services, "Service/shop", "spec/ports/0/targetPort", "https", "'https'"),
    (ports.of_services, "Service/shop", "spec/ports/1/targetPort", 8082, "8082"),
    (ports.of_services, "Service/shop", "spec/selector", LABELS | {
        "app.kubernetes.io/name": "shop-test"}, "Pod/shop-test"),
    (ports.of_services, "Service/shop", "spec/ports", [], "no port"),
    (ports.of_probes, "Deployment/shop", f"{ONE}/readinessProbe/httpGet/port", "web", "'web'"),
    (ports.of_probes, "Deployment/shop", f"{ONE}/lifecycle/preStop", {
        "httpGet": {"port": 1}}, "preStop"),
    (ports.of_policies, "NetworkPolicy/shop", "spec/ingress/0/ports/0/port", "web", "'web'"),
    (ports.of_policies, "NetworkPolicy/shop", "spec/egress/0/ports/0/port", 0, "0 is no port"),
]  # fmt: skip

RESOURCES: list[Case] = [
    (resources.of_containers, "Deployment/shop", f"{ONE}/resources/requests/cpu", "banana",
     "'banana'"),
    (resources.of_containers, "Deployment/shop", f"{ONE}/resources/requests/memory", "64MB",
     "no unit 'MB'"),
    (resources.of_containers, "Deployment/shop", f"{ONE}/resources/requests/memory", "1Gi",
     "requests more memory"),
    (resources.given, "Deployment/shop", f"{ONE}/resources/limits/memory", GONE,
     "no resources.limits.memory"),
    (resources.given, "Deployment/shop", f"{ONE}/resources/requests", GONE,
     "no resources.requests.cpu"),
    (resources.of_volumes, "Deployment/shop", f"{POD}/volumes/2/emptyDir/sizeLimit", "much",
     "'much'"),
]  # fmt: skip

SELECTORS: list[Case] = [
    (selectors.of_workloads, "Deployment/shop", "spec/selector/matchLabels/a", "b",
     "does not match its own"),
    (selectors.of_workloads, "Deployment/shop", "spec/selector", {}, "has no selector"),
    (selectors.of_services, "Service/shop", "spec/selector", LABELS, "selects no pod"),
    (selectors.of_services, "Service/shop", "spec/selector", GONE, "has no selector"),
    (selectors.of_services, "PodDisruptionBudget/shop", "spec/selector", {"matchExpressions": [
        {"key": "app.kubernetes.io/name", "operator": "NotIn", "values": ["shop", "shop-test"]},
     ]}, "selects no pod"),
    (selectors.of_services, "NetworkPolicy/shop", "spec/podSelector", {}, "every pod"),
    (selectors.of_scalers, "HorizontalPodAutoscaler/shop", "spec/scaleTargetRef/name", "shot",
     "Deployment/shot"),
    (selectors.of_scalers, "HorizontalPodAutoscaler/shop", "spec/scaleTargetRef/apiVersion", "v1",
     "another apiVersion"),
    (selectors.of_scalers, "HorizontalPodAutoscaler/shop", "spec/minReplicas", 9, "above"),
    (selectors.of_scalers, "Deployment/shop", f"{ONE}/resources/requests/cpu", GONE,
     "a request for cpu"),
    (selectors.of_placement, "Deployment/shop",
     f"{POD}/topologySpreadConstraints/0/labelSelector/matchLabels", LABELS, "does not select"),
    (selectors.of_placement, "Deployment/shop", f"{POD}/affinity", {"podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": {
            "matchLabels": LABELS}}]}}, "podAntiAffinity"),
]  # fmt: skip

MOUNTS: list[Case] = [
    (mounts.of_pods, "Deployment/shop", f"{ONE}/volumeMounts/0/name", "conf", "no volume"),
    (mounts.of_pods, "Deployment/shop", f"{ONE}/volumeMounts/0", GONE, "nothing mounts"),
    (mounts.of_pods, "Deployment/shop", f"{ONE}/volumeMounts/0/mountPath", "/tmp/", "/tmp twice"),
    (mounts.of_pods, "Deployment/shop", f"{ONE}/volumeMounts/0/mountPath", "tmp", "no absolute"),
    (mounts.rotated, "Deployment/shop", f"{ONE}/volumeMounts/1/subPath", "password", "rotated"),
    (mounts.writable, "Deployment/shop", f"{ONE}/securityContext/readOnlyRootFilesystem", False,
     "write to its image"),
]  # fmt: skip

REFERENCES: list[Case] = [
    (RESOLVED, "Deployment/shop", f"{ONE}/env/2/valueFrom/secretKeyRef/name", "shot",
     "Secret/shot"),
    (RESOLVED, "Deployment/shop", f"{ONE}/env/2/valueFrom/secretKeyRef/key", "word", "'word'"),
    (RESOLVED, "Deployment/shop", f"{POD}/volumes/0/configMap/items/0/key", "x", "'x'"),
    (RESOLVED, "Deployment/shop", f"{POD}/volumes/1", {"name": "secret", "projected": {
        "sources": [{"secret": {"name": "none"}}]}}, "Secret/none"),
    (RESOLVED, "Deployment/shop", f"{POD}/volumes/1", {"name": "secret",
        "persistentVolumeClaim": {"claimName": "disk"}}, "PersistentVolumeClaim/disk"),
    (RESOLVED, "Deployment/shop", f"{ONE}/envFrom", [{"configMapRef": {"name": "none"}}],
     "ConfigMap/none"),
    (RESOLVED, "Deployment/shop", f"{POD}/imagePullSecrets/0/name", "none", "Secret/none"),
    (RESOLVED, "Deployment/shop", f"{POD}/serviceAccountName", "none", "ServiceAccount/none"),
    (RESOLVED, "Ingress/shop", "spec/tls/0/secretName", "none", "Secret/none"),
    (RESOLVED, "HTTPRoute/shop", "spec/parentRefs/0/name", "none", "Gateway/none"),
    (NEEDED, "Ingress/shop", "spec/tls", GONE, "nothing names it"),
    (NEEDED, "Secret/shop", "metadata/name", "registry", "but rendered"),
    (references.backends, "Ingress/shop",
     "spec/rules/0/http/paths/0/backend/service/port/name", "web", "'web'"),
    (references.backends, "Ingress/shop",
     "spec/rules/0/http/paths/0/backend/service/name", "none", "Service/none"),
    (references.backends, "HTTPRoute/shop", "spec/rules/0/backendRefs/0/port", 3001, "3001"),
    (references.backends, "HTTPRoute/shop", "spec/rules", [], "Service/none"),
]  # fmt: skip

WORKLOADS: list[Case] = [
    (workloads.images, "Deployment/shop", f"{ONE}/image", "", "no name of an image"),
    (workloads.images, "Deployment/shop", f"{ONE}/image", "shop:", "no name of an image"),
    (workloads.images, "Deployment/shop", f"{ONE}/image", "host:5000/shop", "neither tag"),
    (workloads.images, "Deployment/shop", f"{ONE}/image", "shop:latest", "pushed last"),
    (workloads.tokens, "Deployment/shop", f"{POD}/automountServiceAccountToken", GONE, "is not"),
    (workloads.tokens, "ServiceAccount/shop", "automountServiceAccountToken", True, "is not"),
    (workloads.service_links, "Pod/shop-test", "spec/enableServiceLinks", GONE, "is not false"),
    (workloads.replicas, "Deployment/shop", "spec/replicas", 2, "scales it"),
    (workloads.disruption, "HorizontalPodAutoscaler/shop", "spec/minReplicas", 1, "1 replica"),
    (workloads.disruption, "PodDisruptionBudget/shop", "spec/maxUnavailable", 0, "may go"),
    (workloads.disruption, "PodDisruptionBudget/shop", "spec/minAvailable", 2, "must stay"),
    (VALID, "Deployment/shop", f"{POD}/hostNetwrok", True, "hostNetwrok"),
    (VALID, "Service/shop", "spec/ports/0/port", "http", "$.spec.ports[0].port"),
    (VALID, "Service/shop", "apiVersion", "v2", "Couldn't find schema"),
]  # fmt: skip

CASES = NAMES + PORTS + RESOURCES + SELECTORS + MOUNTS + REFERENCES + WORKLOADS


def test_a_good_application_passes() -> None:
    assert faults(EVERY, sample()) == {}


@pytest.mark.parametrize(
    ("check", "name", "path", "value", "said"),
    CASES,
    ids=[f"{called(case[0])}-{case[1]}-{case[4]}" for case in CASES],
)
def test_a_spoilt_application_is_refused(
    check: Check, name: str, path: str, value: Any, said: str
) -> None:
    problems = list(check(spoilt(name, path, value)))
    assert any(said in problem for problem in problems), problems


def test_every_check_is_proven() -> None:
    assert {called(check) for check in EVERY} == {called(case[0]) for case in CASES}


def test_an_object_rendered_twice_is_refused() -> None:
    twice = with_one_more("Service/shop")
    assert list(names.unique(twice)) == ["Service/shop: rendered twice"]


def test_a_workload_that_catches_the_pods_of_another_is_refused() -> None:
    metadata = {"name": "rival", "labels": LABELS}
    objects = with_one_more("Deployment/shop", metadata=metadata)
    assert list(selectors.of_workloads(objects)) == [
        "Deployment/shop: its selector matches the pods of Deployment/rival too",
        "Deployment/rival: its selector matches the pods of Deployment/shop too",
    ]


def test_too_little_grace_is_refused() -> None:
    pod = next(pods(sample()))
    assert list(workloads.grace(pod, "shop", stopping_seconds=25)) == []
    assert list(workloads.grace(pod, "shop", stopping_seconds=25.5)) == [
        "Deployment/shop: is killed after 30 s and needs 30.5 s to stop"
    ]


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(yaml.YAMLError, match="line 2: `a` comes twice"):
        read("a: 1\na: 2\n")


def test_kinds_are_held_to_the_versions_that_know_them() -> None:
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": "shop"},
        "spec": {"typo": True},
    }
    assert list(schemas.valid("1.35", [policy])) == []
    assert "typo" in "".join(schemas.valid("1.36", [policy]))
    assert schemas.versions()[0] == "1.29"
    assert schemas.versions()[-1] >= "1.37"


@pytest.mark.parametrize(
    ("text", "number"),
    [("500m", 0.5), ("1Ki", 1024), ("1.5Gi", 1.5 * 2**30), ("2", 2), ("1e3", 1000), ("12E", 12e18)],
)
def test_quantities_are_read(text: str, number: float) -> None:
    assert resources.quantity(text) == number
