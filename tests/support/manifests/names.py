"""Names and labels: what the API server takes, and no object twice.

The rules are in Kubernetes' documentation, "Object Names and IDs" and "Labels and Selectors"; the
limit of 63 for every name is stricter than the API's 253, because names end up in host names and
label values.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from tests.support.manifests.objects import Object, at, of_kind, pods, where

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SERVICE = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_ENVIRONMENT = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")

LONGEST = 63
_OTHER_LIMITS = {
    "CronJob": 52,  # its Jobs add eleven characters
    "MutatingAdmissionPolicy": 253,  # these name nothing further
    "MutatingAdmissionPolicyBinding": 253,
}

_EXPECTED_LABELS = ("name", "instance", "managed-by")


def well_formed(objects: Sequence[Object]) -> Iterator[str]:
    """Names of objects, and of what is named within them, are what the API server takes."""
    for one in objects:
        name = str(at(one, "metadata.name", ""))
        form = _SERVICE if one["kind"] == "Service" else _SUBDOMAIN
        limit = _OTHER_LIMITS.get(one["kind"], LONGEST)
        if not form.fullmatch(name) or len(name) > limit:
            yield f"{where(one)}: the name is no DNS name of at most {limit} characters"
    for one in of_kind(objects, "ConfigMap", "Secret"):
        for key in [*(one.get("data") or {}), *(one.get("stringData") or {})]:
            if not _DATA_KEY.fullmatch(key):
                yield f"{where(one)}: the key {key!r} has characters that no key may have"
    for pod in pods(objects):
        for what, named in (("container", pod.containers), ("volume", pod.spec.get("volumes"))):
            for thing in named or []:
                if not _LABEL.fullmatch(thing["name"]) or len(thing["name"]) > LONGEST:
                    yield f"{pod.where}: {what} {thing['name']!r} has a name that is no DNS label"


def unique(objects: Sequence[Object]) -> Iterator[str]:
    """No object, container, volume or variable is there twice."""
    groups = [(one["apiVersion"].rpartition("/")[0], one["kind"]) for one in objects]
    keys = [
        (group, kind, at(one, "metadata.namespace", ""), at(one, "metadata.name"))
        for (group, kind), one in zip(groups, objects, strict=True)
    ]
    for key in _repeated(keys):
        yield f"{key[1]}/{key[3]}: rendered twice"
    for pod in pods(objects):
        for name in _repeated(one["name"] for one in pod.containers):
            yield f"{pod.where}: two containers are called {name!r}"
        for name in _repeated(one["name"] for one in pod.spec.get("volumes") or []):
            yield f"{pod.where}: two volumes are called {name!r}"
        for container in pod.containers:
            for name in _repeated(one["name"] for one in container.get("env") or []):
                yield f"{pod.where}: container {container['name']!r} sets {name} twice"


def environment(objects: Sequence[Object]) -> Iterator[str]:
    """Variables have names, values that are text, and refer only to variables set before."""
    for pod in pods(objects):
        for container in pod.containers:
            known: set[str] = set()
            for one in container.get("env") or []:
                said = f"{pod.where}: container {container['name']!r}: {one['name']}"
                if not _ENVIRONMENT.fullmatch(one["name"]):
                    yield f"{said} is no name of a variable"
                if not isinstance(one.get("value", ""), str):
                    yield f"{said} is not text"
                for used in re.findall(r"(?<!\$)\$\((\w+)\)", str(one.get("value", ""))):
                    if used not in known:
                        yield f"{said} uses $({used}), which is not set before it"
                known.add(one["name"])


def labels(objects: Sequence[Object]) -> Iterator[str]:
    """Labels have values that the API server takes, and say whose every object is."""
    for one in objects:
        found = at(one, "metadata.labels", {})
        yield from _values(where(one), found)
        for name in _EXPECTED_LABELS:
            if f"app.kubernetes.io/{name}" not in found:
                yield f"{where(one)}: has no label app.kubernetes.io/{name}"
        yield from _annotations(one)
    for pod in pods(objects):
        yield from _values(f"{pod.where} (its pods)", pod.labels)
        for name in ("name", "instance"):
            if f"app.kubernetes.io/{name}" not in pod.labels:
                yield f"{pod.where} (its pods): have no label app.kubernetes.io/{name}"


def namespaced(namespace: str, objects: Sequence[Object]) -> Iterator[str]:
    """No object names another namespace than the release's."""
    for one in objects:
        found = at(one, "metadata.namespace", namespace)
        if found != namespace:
            yield f"{where(one)}: is in the namespace {found!r} and not in {namespace!r}"


def nulls(objects: Sequence[Object]) -> Iterator[str]:
    """Nothing is null: a template that leaves an empty key has lost what stood under it."""
    for one in objects:
        for path in _nulls(one, ""):
            yield f"{where(one)}: {path} has no value"


def _values(said: str, found: dict[str, Any]) -> Iterator[str]:
    for key, value in found.items():
        if not isinstance(value, str):
            yield f"{said}: label {key} is {value!r} and not text"
        elif not _VALUE.fullmatch(value) or len(value) > LONGEST:
            yield f"{said}: label {key} has the value {value!r}, which no label may have"


def _annotations(one: Object) -> Iterator[str]:
    for key, value in at(one, "metadata.annotations", {}).items():
        if not isinstance(value, str):
            yield f"{where(one)}: annotation {key} is {value!r} and not text"


def _repeated(things: Any) -> list[Any]:
    return [thing for thing, count in Counter(things).items() if count > 1]


def _nulls(thing: Any, path: str) -> Iterator[str]:
    if thing is None:
        yield path
    elif isinstance(thing, dict):
        for key, value in thing.items():
            yield from _nulls(value, f"{path}.{key}".lstrip("."))
    elif isinstance(thing, list):
        for number, value in enumerate(thing):
            yield from _nulls(value, f"{path}[{number}]")
