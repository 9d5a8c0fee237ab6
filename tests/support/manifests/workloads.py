"""Workloads: images that stay the same, tokens nobody needs, scaling that does not fight."""

import re
from collections.abc import Iterator, Sequence

from tests.support.manifests.objects import Object, Pod, at, of_kind, pods, where
from tests.support.manifests.selectors import selected

_IMAGE = re.compile(
    r"(?P<name>[a-z0-9]+([._-]+[a-z0-9]+)*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*)"
    r"(:(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_GRACE_SECONDS = 30
"""terminationGracePeriodSeconds where a pod does not say."""


def images(objects: Sequence[Object]) -> Iterator[str]:
    """Every image is named with a tag or digest that stays what it is."""
    for pod in pods(objects):
        for container in pod.containers:
            said = f"{pod.where}: container {container['name']!r}"
            image = container.get("image", "")
            found = _IMAGE.fullmatch(image)
            if found is None:
                yield f"{said}: {image!r} is no name of an image"
            elif not found["tag"] and not found["digest"]:
                yield f"{said}: {image!r} has neither tag nor digest"
            elif found["tag"] == "latest" and not found["digest"]:
                yield f"{said}: {image!r} is whatever was pushed last"


def tokens(objects: Sequence[Object]) -> Iterator[str]:
    """No pod is given a token of the API server, nor does its account say that it is."""
    for pod in pods(objects):
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.where}: automountServiceAccountToken is not false"
    for account in of_kind(objects, "ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{where(account)}: automountServiceAccountToken is not false"


def service_links(objects: Sequence[Object]) -> Iterator[str]:
    """No pod gets variables for the Services around it, which could pass for its settings."""
    for pod in pods(objects):
        if pod.spec.get("enableServiceLinks") is not False:
            yield f"{pod.where}: enableServiceLinks is not false"


def replicas(objects: Sequence[Object]) -> Iterator[str]:
    """Where something scales a workload, the workload does not say how many."""
    for scaler in of_kind(objects, "HorizontalPodAutoscaler"):
        target = at(scaler, "spec.scaleTargetRef", {})
        name = f"{target.get('kind', 'Deployment')}/{target.get('name')}"
        for one in objects:
            if where(one) == name and "replicas" in one["spec"]:
                yield f"{name}: says `replicas` although {where(scaler)} scales it"


def disruption(objects: Sequence[Object]) -> Iterator[str]:
    """A disruption budget lets a node be drained: it leaves a replica that may go."""
    for budget in of_kind(objects, "PodDisruptionBudget"):
        count = sum(_count(objects, pod) for pod in selected(objects, budget["spec"]["selector"]))
        if count < 2:
            yield f"{where(budget)}: stands before {count} replica, so no node can be drained"
        if at(budget, "spec.minAvailable", 0) in {count, "100%"}:
            yield f"{where(budget)}: all {count} replicas must stay, so no node can be drained"
        if at(budget, "spec.maxUnavailable", 1) in {0, "0%"}:
            yield f"{where(budget)}: no replica may go, so no node can be drained"


def grace(pod: Pod, container: str, *, stopping_seconds: float) -> Iterator[str]:
    """A container is given the time that it needs after SIGTERM, and that its preStop takes."""
    found = next(one for one in pod.containers if one["name"] == container)
    needed = at(found, "lifecycle.preStop.sleep.seconds", 0) + stopping_seconds
    given = pod.spec.get("terminationGracePeriodSeconds", _GRACE_SECONDS)
    if given < needed:
        yield f"{pod.where}: is killed after {given} s and needs {needed:g} s to stop"


def _count(objects: Sequence[Object], pod: Pod) -> int:
    """Give how many pods there are at least."""
    for scaler in of_kind(objects, "HorizontalPodAutoscaler"):
        target = at(scaler, "spec.scaleTargetRef", {})
        if f"{target.get('kind')}/{target.get('name')}" == pod.where:
            return int(at(scaler, "spec.minReplicas", 1))
    return int(pod.owner["spec"].get("replicas", 1))
