"""Kubernetes objects as read from a render, and the pods that they make."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

Object = dict[str, Any]
Container = dict[str, Any]
Check = Callable[[Sequence[Object]], Iterator[str]]

_TEMPLATES = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
"""Where each kind holds the pod that it makes."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod, or what makes pods; `owner` is the object it stands in."""

    owner: Object
    metadata: Object
    spec: Object

    @property
    def where(self) -> str:
        return where(self.owner)

    @property
    def labels(self) -> dict[str, str]:
        return self.metadata.get("labels") or {}

    @property
    def containers(self) -> list[Container]:
        """Every container, those that run before the others first."""
        return [*(self.spec.get("initContainers") or []), *(self.spec.get("containers") or [])]

    @property
    def named_ports(self) -> dict[str, int]:
        """The ports that Services and probes may name."""
        ports = [port for one in self.containers for port in one.get("ports") or []]
        return {port["name"]: port["containerPort"] for port in ports if "name" in port}

    @property
    def port_numbers(self) -> set[int]:
        ports = [port for one in self.containers for port in one.get("ports") or []]
        return {port["containerPort"] for port in ports}


class _Loader(yaml.CSafeLoader):
    """YAML that refuses a key given twice, as the API server does."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    made: dict[Hashable, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in made:
            line = key_node.start_mark.line + 1
            raise yaml.constructor.ConstructorError(None, None, f"line {line}: `{key}` comes twice")
        made[key] = loader.construct_object(value_node, deep=True)
    return made


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read(text: str) -> list[Object]:
    """Read the documents of a render, without the empty ones. Raises yaml.YAMLError."""
    loaded = yaml.load_all(text, Loader=_Loader)  # a safe loader
    return [document for document in loaded if document is not None]


def where(thing: Object) -> str:
    """Name an object for people: `Kind/name`."""
    return f"{thing.get('kind')}/{(thing.get('metadata') or {}).get('name')}"


def called(check: Check) -> str:
    """Name a check for people: `module.function`."""
    function = getattr(check, "func", check)
    return f"{function.__module__.rpartition('.')[2]}.{function.__name__}"


def faults(checks: Iterable[Check], objects: Sequence[Object]) -> dict[str, list[str]]:
    """Give what each check finds, under its name, without those that find nothing."""
    found = {called(check): list(check(objects)) for check in checks}
    return {name: problems for name, problems in found.items() if problems}


def at(thing: Any, path: str, default: Any = None) -> Any:
    """Give what stands at a dotted path, the default where a part of it is not there."""
    for part in path.split("."):
        if not isinstance(thing, dict) or thing.get(part) is None:
            return default
        thing = thing[part]
    return thing


def of_kind(objects: Sequence[Object], *kinds: str) -> list[Object]:
    """Give the objects of these kinds."""
    return [one for one in objects if one.get("kind") in kinds]


def pods(objects: Sequence[Object]) -> Iterator[Pod]:
    """Give every pod that the objects are or make."""
    for one in objects:
        if one.get("kind") in _TEMPLATES:
            template = one
            for part in _TEMPLATES[one["kind"]]:
                template = template[part]
            yield Pod(one, template.get("metadata") or {}, template["spec"])
