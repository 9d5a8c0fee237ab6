"""Selectors: what they are to select is there, and nothing else is caught."""

from collections.abc import Iterator, Mapping, Sequence

from tests.support.manifests.objects import Object, Pod, at, of_kind, pods, where

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")
_SPREADING = "topologySpreadConstraints"


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector matches labels; an empty one matches everything."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    return all(_holds(one, labels) for one in selector.get("matchExpressions") or [])


def selected(objects: Sequence[Object], selector: Object) -> list[Pod]:
    """Give the pods that a label selector matches."""
    return [pod for pod in pods(objects) if selects(selector, pod.labels)]


def of_workloads(objects: Sequence[Object]) -> Iterator[str]:
    """A workload selects its own pods, and the pods of no other object."""
    for one in of_kind(objects, *_WORKLOADS):
        selector = at(one, "spec.selector", {})
        if not selector:
            yield f"{where(one)}: has no selector"
            continue
        found = selected(objects, selector)
        if not any(pod.owner is one for pod in found):
            yield f"{where(one)}: its selector does not match its own pods"
        for pod in found:
            if pod.owner is not one:
                yield f"{where(one)}: its selector matches the pods of {pod.where} too"


def of_services(objects: Sequence[Object]) -> Iterator[str]:
    """Services, disruption budgets and network policies select pods that are there."""
    for one in of_kind(objects, "Service"):
        if labels := at(one, "spec.selector"):
            yield from _something(objects, one, {"matchLabels": labels})
        elif at(one, "spec.type") != "ExternalName":
            yield f"{where(one)}: has no selector"
    for one in of_kind(objects, "PodDisruptionBudget"):
        yield from _something(objects, one, at(one, "spec.selector", {}))
    for one in of_kind(objects, "NetworkPolicy"):
        yield from _something(objects, one, at(one, "spec.podSelector", {}))


def of_scalers(objects: Sequence[Object]) -> Iterator[str]:
    """What is to be scaled is there, and can be measured."""
    for one in of_kind(objects, "HorizontalPodAutoscaler"):
        target = at(one, "spec.scaleTargetRef", {})
        kind, name = target.get("kind", "Deployment"), target.get("name")
        found = [pod for pod in pods(objects) if pod.where == f"{kind}/{name}"]
        if not found:
            yield f"{where(one)}: scales {kind}/{name}, which is not there"
        elif target.get("apiVersion", "apps/v1") != found[0].owner["apiVersion"]:
            yield f"{where(one)}: scales {kind}/{name} under another apiVersion than it has"
        else:
            yield from _measured(one, found[0])
        lowest, highest = at(one, "spec.minReplicas", 1), at(one, "spec.maxReplicas")
        if isinstance(highest, int) and lowest > highest:
            yield f"{where(one)}: minReplicas {lowest} is above maxReplicas {highest}"


def of_placement(objects: Sequence[Object]) -> Iterator[str]:
    """Spreading and affinity look at the pod's own kind; anything else would do nothing."""
    for pod in pods(objects):
        terms = [(_SPREADING, one) for one in pod.spec.get(_SPREADING) or []]
        for kind in ("podAntiAffinity", "podAffinity"):
            rules = at(pod.spec, f"affinity.{kind}", {})
            chosen = rules.get("preferredDuringSchedulingIgnoredDuringExecution") or []
            terms += [(kind, one["podAffinityTerm"]) for one in chosen]
            needed = rules.get("requiredDuringSchedulingIgnoredDuringExecution") or []
            terms += [(kind, one) for one in needed]
        for kind, term in terms:
            selector = term.get("labelSelector")
            if not selector or not selects(selector, pod.labels):
                yield f"{pod.where}: {kind} does not select the pods that it stands in"


def _holds(expression: Object, labels: Mapping[str, str]) -> bool:
    key, given = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in given
        case "NotIn":
            return labels.get(key) not in given
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case other:
            raise ValueError(f"{other!r} is no operator of a label selector")


def _something(objects: Sequence[Object], one: Object, selector: Object) -> Iterator[str]:
    if not selector:
        yield f"{where(one)}: selects every pod of the namespace"
    elif not selected(objects, selector):
        yield f"{where(one)}: selects no pod"


def _measured(scaler: Object, pod: Pod) -> Iterator[str]:
    """A share of a resource is measured against the request of every container."""
    for metric in at(scaler, "spec.metrics", []):
        resource = at(metric, "resource", {})
        if at(resource, "target.type") != "Utilization":
            continue
        for container in pod.spec.get("containers") or []:
            if at(container, f"resources.requests.{resource['name']}") is None:
                yield (
                    f"{where(scaler)}: needs a request for {resource['name']} of container "
                    f"{container['name']!r} in {pod.where}"
                )
