"""The sample application, and ways to spoil it at one place."""

import copy
import json
from pathlib import Path
from typing import Any, Final

from tests.support.manifests import Object, read, where

SAMPLE = Path(__file__).with_name("sample.yaml")
GONE: Final = object()
"""As a new value: what stood there is taken away."""

EXTERNAL = frozenset({"Secret/registry", "Secret/shop-tls", "Gateway/gateway"})
"""What the sample declares to be brought by the operator."""


def sample() -> list[Object]:
    """Give the objects of the sample, each as often as asked for anew."""
    # By way of JSON, so that what YAML's anchors share can be spoilt at one place.
    objects: list[Object] = json.loads(json.dumps(read(SAMPLE.read_text())))
    return objects


def spoilt(name: str, path: str, value: Any) -> list[Object]:
    """Give the sample with another value at a path of one object.

    In a path parts are separated by `/`, numbers are places in lists, and one past the end of a
    list appends to it.
    """
    objects = sample()
    thing: Any = next(one for one in objects if where(one) == name)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    for part in parents:
        thing = thing[part]
    if value is GONE:
        del thing[last]
    elif isinstance(last, int) and last == len(thing):
        thing.append(value)
    else:
        thing[last] = value
    return objects


def with_one_more(name: str, **changes: Any) -> list[Object]:
    """Give the sample with a copy of one object whose fields are changed."""
    objects = sample()
    one = copy.deepcopy(next(one for one in objects if where(one) == name))
    return [*objects, {**one, **changes}]
