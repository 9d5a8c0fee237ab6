"""Resources: quantities that can be read, and requests that fit under their limits."""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from tests.support.manifests.objects import Object, at, of_kind, pods, where

_QUANTITY = re.compile(r"([+-]?[0-9]+(?:\.[0-9]*)?|[+-]?\.[0-9]+)([A-Za-z]*|[eE][+-]?[0-9]+)")
_POWERS = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12),
    "P": Decimal(10**15), "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
    "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip


def quantity(value: Any) -> Decimal:
    """Read a quantity such as 500m or 1Gi. Raises ValueError for what is none.

    >>> quantity("500m"), quantity("1Ki"), quantity(2), quantity("1e3")
    (Decimal('0.500'), Decimal('1024'), Decimal('2'), Decimal('1E+3'))
    """
    found = _QUANTITY.fullmatch(str(value))
    if found is None or isinstance(value, bool):
        raise ValueError(f"{value!r} is no quantity")
    number, unit = found.groups()
    if unit in _POWERS:
        return Decimal(number) * _POWERS[unit]
    if unit[1:].lstrip("+-").isdigit():
        return Decimal(number + unit)
    raise ValueError(f"{value!r} is no quantity: there is no unit {unit!r}")


def of_containers(objects: Sequence[Object]) -> Iterator[str]:
    """What containers need and may have are quantities, the first no more than the second."""
    for pod in pods(objects):
        for container in pod.containers:
            said = f"{pod.where}: container {container['name']!r}"
            resources = container.get("resources") or {}
            for kind in ("requests", "limits"):
                for name, value in (resources.get(kind) or {}).items():
                    yield from _readable(f"{said}: {kind} {name}", value)
            yield from _fits(said, resources)


def given(objects: Sequence[Object]) -> Iterator[str]:
    """Every container says what it needs, and how much memory it may take."""
    for pod in pods(objects):
        for container in pod.containers:
            said = f"{pod.where}: container {container['name']!r}"
            for path in ("requests.cpu", "requests.memory", "limits.memory"):
                if at(container, f"resources.{path}") is None:
                    yield f"{said}: has no resources.{path}"


def of_volumes(objects: Sequence[Object]) -> Iterator[str]:
    """Volumes have sizes that are quantities."""
    for pod in pods(objects):
        for volume in pod.spec.get("volumes") or []:
            if (size := at(volume, "emptyDir.sizeLimit")) is not None:
                yield from _readable(f"{pod.where}: volume {volume['name']!r}", size)
    claims = [(where(one), one) for one in of_kind(objects, "PersistentVolumeClaim")]
    for one in of_kind(objects, "StatefulSet"):
        claims += [(where(one), claim) for claim in at(one, "spec.volumeClaimTemplates", [])]
    for said, claim in claims:
        size = at(claim, "spec.resources.requests.storage")
        yield from _readable(f"{said}: storage", size)


def _readable(said: str, value: Any) -> Iterator[str]:
    try:
        if quantity(value) < 0:
            yield f"{said}: {value!r} is less than nothing"
    except ValueError as error:
        yield f"{said}: {error}"


def _fits(said: str, resources: Object) -> Iterator[str]:
    limits = resources.get("limits") or {}
    for name, value in (resources.get("requests") or {}).items():
        try:
            if name in limits and quantity(value) > quantity(limits[name]):
                yield f"{said}: requests more {name} ({value}) than its limit ({limits[name]})"
        except ValueError:
            continue  # told of by `_readable`
