"""References: every Secret, ConfigMap, account and backend that is named is there.

What the operator has to bring is declared, as `Secret/name`, and then taken to be there with
whatever keys are asked for.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.manifests.objects import Object, Pod, at, of_kind, pods, where


@dataclass(frozen=True, slots=True)
class Reference:
    """One object named by another, and the key of it that is wanted."""

    by: str
    kind: str
    name: str
    key: str | None = None


def references(objects: Sequence[Object]) -> Iterator[Reference]:
    """Give everything that pods, Ingresses and routes name, but for what they can do without."""
    for pod in pods(objects):
        yield from _of_volumes(pod)
        for container in pod.containers:
            yield from _of_environment(pod, container)
        for secret in pod.spec.get("imagePullSecrets") or []:
            yield Reference(pod.where, "Secret", secret["name"])
        account = pod.spec.get("serviceAccountName", "default")
        if account != "default":  # which every namespace has
            yield Reference(pod.where, "ServiceAccount", account)
    for ingress in of_kind(objects, "Ingress"):
        for tls in at(ingress, "spec.tls", []):
            if "secretName" in tls:
                yield Reference(where(ingress), "Secret", tls["secretName"])
    for route in of_kind(objects, "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute"):
        for parent in at(route, "spec.parentRefs", []):
            yield Reference(where(route), parent.get("kind", "Gateway"), parent["name"])
    for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
        role = binding["roleRef"]
        yield Reference(where(binding), role["kind"], role["name"])
        for subject in binding.get("subjects") or []:
            yield Reference(where(binding), subject["kind"], subject["name"])


def resolved(external: Collection[str], objects: Sequence[Object]) -> Iterator[str]:
    """Everything named is in the render, with the keys that are wanted, or is declared."""
    there = {where(one): one for one in objects}
    for one in sorted(references(objects), key=str):
        wanted = f"{one.kind}/{one.name}"
        if wanted in external:
            continue
        if wanted not in there:
            yield f"{one.by}: names {wanted}, which is neither rendered nor declared"
        elif one.key is not None and one.key not in _keys(there[wanted]):
            yield f"{one.by}: wants the key {one.key!r}, which {wanted} has not"


def needed(external: Collection[str], objects: Sequence[Object]) -> Iterator[str]:
    """Nothing is declared that the render has, or that nobody names."""
    there = {where(one) for one in objects}
    named = {f"{one.kind}/{one.name}" for one in references(objects)}
    for one in external:
        if one in there:
            yield f"{one}: declared as brought by the operator, but rendered"
        elif one not in named:
            yield f"{one}: declared as brought by the operator, but nothing names it"


def backends(objects: Sequence[Object]) -> Iterator[str]:
    """Ingresses and routes lead to ports of Services that are there."""
    services = {one["metadata"]["name"]: one for one in of_kind(objects, "Service")}
    for said, name, port in _backends(objects):
        if name not in services:
            yield f"{said}: leads to Service/{name}, which is not there"
            continue
        ports = at(services[name], "spec.ports", [])
        if port not in {one["port"] for one in ports} | {one.get("name") for one in ports}:
            yield f"{said}: leads to port {port!r}, which Service/{name} has not"


def _backends(objects: Sequence[Object]) -> Iterator[tuple[str, str, Any]]:
    for one in of_kind(objects, "Ingress"):
        paths = [p for rule in at(one, "spec.rules", []) for p in at(rule, "http.paths", [])]
        found = [path["backend"]["service"] for path in paths]
        found += [at(one, "spec.defaultBackend.service")] if "defaultBackend" in one["spec"] else []
        if not found:
            yield where(one), "none", None
        for service in found:
            port = service.get("port") or {}
            yield where(one), service["name"], port.get("name", port.get("number"))
    for one in of_kind(objects, "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute"):
        found = [ref for rule in at(one, "spec.rules", []) for ref in rule.get("backendRefs") or []]
        if not found:
            yield where(one), "none", None
        for ref in found:
            yield where(one), ref["name"], ref.get("port")


def _of_environment(pod: Pod, container: Object) -> Iterator[Reference]:
    for one in container.get("env") or []:
        for source, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
            ref = at(one, f"valueFrom.{source}")
            if ref and not ref.get("optional"):
                yield Reference(pod.where, kind, ref["name"], ref["key"])
    for one in container.get("envFrom") or []:
        for source, kind in (("secretRef", "Secret"), ("configMapRef", "ConfigMap")):
            ref = one.get(source)
            if ref and not ref.get("optional"):
                yield Reference(pod.where, kind, ref["name"])


def _of_volumes(pod: Pod) -> Iterator[Reference]:
    for volume in pod.spec.get("volumes") or []:
        for source in (volume, *at(volume, "projected.sources", [])):
            for key, kind in (("secret", "Secret"), ("configMap", "ConfigMap")):
                ref = source.get(key)
                if ref and not ref.get("optional"):
                    name = ref.get("secretName") or ref["name"]
                    yield Reference(pod.where, kind, name)
                    for item in ref.get("items") or []:
                        yield Reference(pod.where, kind, name, item["key"])
        if claim := at(volume, "persistentVolumeClaim.claimName"):
            yield Reference(pod.where, "PersistentVolumeClaim", claim)


def _keys(one: Object) -> set[str]:
    parts = (one.get("data"), one.get("stringData"), one.get("binaryData"))
    return {key for part in parts for key in part or {}}
