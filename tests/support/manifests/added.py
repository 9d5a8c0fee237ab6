"""Kinds that others add to Kubernetes: HTTPRoute, ServiceMonitor, PrometheusRule.

What their schemas let pass, though it does nothing, is known here beside them.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jsonschema

from tests.support.manifests.objects import Object, at, of_kind, where
from tests.support.manifests.selectors import selects


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of one kind: the name of its schema's file, and what its spec may hold."""

    api_version: str
    schema: str
    required: frozenset[str]
    known: frozenset[str]


ADDED = {
    "HTTPRoute": Kind(
        "gateway.networking.k8s.io/v1",
        "httproute_v1.json",
        required=frozenset({"parentRefs", "rules"}),  # the API requires neither; a route needs both
        known=frozenset({"hostnames", "parentRefs", "rules"}),
    ),
    "ServiceMonitor": Kind(
        "monitoring.coreos.com/v1",
        "servicemonitor_v1.json",
        required=frozenset({"endpoints", "selector"}),
        known=frozenset({"endpoints", "jobLabel", "namespaceSelector", "selector", "targetLabels"}),
    ),
    "PrometheusRule": Kind(
        "monitoring.coreos.com/v1",
        "prometheusrule_v1.json",
        required=frozenset({"groups"}),
        known=frozenset({"groups"}),
    ),
}


def well_formed(objects: Sequence[Object]) -> Iterator[str]:
    """Every object of an added kind has its API version, what it needs, and nothing unknown."""
    for one in objects:
        if (kind := ADDED.get(one["kind"])) is None:
            continue
        if one["apiVersion"] != kind.api_version:
            yield f"{where(one)}: apiVersion is {one['apiVersion']}, not {kind.api_version}"
        spec = one.get("spec") or {}
        for name in sorted(set(spec) - kind.known):
            yield f"{where(one)}: there is no spec.{name}"
        for name in sorted(name for name in kind.required if not spec.get(name)):
            yield f"{where(one)}: has no spec.{name}"


def scraped(objects: Sequence[Object]) -> Iterator[str]:
    """A ServiceMonitor selects a Service that is there, and names ports that it has."""
    for one in of_kind(objects, "ServiceMonitor"):
        selector = at(one, "spec.selector", {})
        services = [
            service
            for service in of_kind(objects, "Service")
            if selector and selects(selector, at(service, "metadata.labels", {}))
        ]
        if not services:
            yield f"{where(one)}: selects no Service"
        for service in services:
            names = {port.get("name") for port in at(service, "spec.ports", [])}
            for endpoint in at(one, "spec.endpoints", []):
                if endpoint.get("port") not in names:
                    yield f"{where(one)}: {where(service)} has no port {endpoint.get('port')!r}"


def valid(folder: Path, objects: Sequence[Object]) -> Iterator[str]:
    """Every object of an added kind is what the schema in the folder says, and no more than that.

    The published schemas allow unknown fields beside `spec`; a cluster drops them.
    """
    for one in objects:
        if (kind := ADDED.get(one["kind"])) is None:
            continue
        schema = json.loads((folder / kind.schema).read_text())
        strict = jsonschema.Draft202012Validator({**schema, "additionalProperties": False})
        for error in strict.iter_errors(one):
            yield f"{where(one)}: {error.json_path}: {error.message}"
