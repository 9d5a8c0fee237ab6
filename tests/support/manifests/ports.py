"""Ports: numbers and names, and that whoever names a port finds it in the pods."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from tests.support.manifests.objects import Container, Object, Pod, at, of_kind, pods, where
from tests.support.manifests.selectors import selected

_NAME = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")
"""RFC 6335, section 5.1: at most 15 characters and a letter among them."""


def of_containers(objects: Sequence[Object]) -> Iterator[str]:
    """Ports of containers are ports, and a pod has each number and each name once."""
    for pod in pods(objects):
        found = [port for one in pod.containers for port in one.get("ports") or []]
        for port in found:
            yield from _number(pod.where, port.get("containerPort"))
            yield from _name(pod.where, port.get("name"))
        names = Counter(port["name"] for port in found if "name" in port)
        yield from (f"{pod.where}: two ports are called {n!r}" for n, c in names.items() if c > 1)
        pairs = [(port.get("containerPort"), port.get("protocol", "TCP")) for port in found]
        for (number, protocol), count in Counter(pairs).items():
            if count > 1:
                yield f"{pod.where}: port {number}/{protocol} is there twice"


def of_services(objects: Sequence[Object]) -> Iterator[str]:
    """Ports of Services are ports, told apart by name, and every pod behind them has them."""
    for service in of_kind(objects, "Service"):
        ports = at(service, "spec.ports", [])
        if not ports:
            yield f"{where(service)}: has no port"
        names = [port.get("name") for port in ports]
        if len(names) > 1 and len({name for name in names if name}) < len(names):
            yield f"{where(service)}: several ports need a name each, different ones"
        for port in ports:
            yield from _number(where(service), port.get("port"))
            yield from _name(where(service), port.get("name"))
            target = port.get("targetPort", port.get("port"))
            for pod in selected(objects, {"matchLabels": at(service, "spec.selector", {})}):
                yield from _found(where(service), target, pod)


def of_probes(objects: Sequence[Object]) -> Iterator[str]:
    """Probes and hooks ask at a port of their own container."""
    for pod in pods(objects):
        for container in pod.containers:
            for what, action in _actions(container):
                port = action.get("port")
                own = container.get("ports") or []
                if port not in {one.get("name") for one in own} | {
                    one.get("containerPort") for one in own
                }:
                    yield (
                        f"{pod.where}: {what} of container {container['name']!r} asks at port "
                        f"{port!r}, which the container has not"
                    )


def of_policies(objects: Sequence[Object]) -> Iterator[str]:
    """Ports of NetworkPolicies are ports, and the pods they let others to have them."""
    for policy in of_kind(objects, "NetworkPolicy"):
        for rule in at(policy, "spec.egress", []):
            for port in rule.get("ports") or []:
                if not isinstance(port.get("port", 1), str):
                    yield from _number(where(policy), port.get("port", 1))
        for rule in at(policy, "spec.ingress", []):
            for port in rule.get("ports") or []:
                for pod in selected(objects, at(policy, "spec.podSelector", {})):
                    yield from _found(where(policy), port.get("port"), pod)


def _actions(container: Container) -> Iterator[tuple[str, Object]]:
    for what in ("startupProbe", "livenessProbe", "readinessProbe"):
        for how in ("httpGet", "tcpSocket", "grpc"):
            if action := at(container, f"{what}.{how}"):
                yield what, action
    for what in ("postStart", "preStop"):
        for how in ("httpGet", "tcpSocket"):
            if action := at(container, f"lifecycle.{what}.{how}"):
                yield what, action


def _found(said: str, port: Any, pod: Pod) -> Iterator[str]:
    if port not in {*pod.named_ports, *pod.port_numbers}:
        yield f"{said}: port {port!r} is not in {pod.where}, which it selects"


def _number(said: str, number: Any) -> Iterator[str]:
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= 65_535:
        yield f"{said}: {number!r} is no port; ports are 1 to 65535"


def _name(said: str, name: Any) -> Iterator[str]:
    if name is not None and not _NAME.fullmatch(str(name)):
        yield f"{said}: {name!r} is no name of a port"
