"""The schemas of Kubernetes itself, of every version that is supported."""

import json
from collections.abc import Iterator, Sequence
from functools import cache

import kubernetes_validate  # type: ignore[import-untyped]
from kubernetes_validate.utils import all_versions  # type: ignore[import-untyped]

from tests.support.manifests.added import ADDED
from tests.support.manifests.objects import Object, where

OLDEST = (1, 29)
_SINCE = {"MutatingAdmissionPolicy": (1, 36), "MutatingAdmissionPolicyBinding": (1, 36)}
"""Kinds that became v1 after OLDEST."""


def versions() -> list[str]:
    """Give every minor version from OLDEST to the newest whose schemas are installed."""
    found = {_minor(version) for version in all_versions()}
    return [f"{major}.{minor}" for major, minor in sorted(found) if (major, minor) >= OLDEST]


def valid(version: str, objects: Sequence[Object]) -> Iterator[str]:
    """Every object of Kubernetes' own is what this version takes, with no unknown field."""
    for one in objects:
        known = _minor(version) >= _SINCE.get(one["kind"], OLDEST)
        if known and one["kind"] not in ADDED:
            for problem in _problems(json.dumps(one, sort_keys=True), version):
                yield f"{where(one)}: {problem}"


@cache
def _problems(text: str, version: str) -> tuple[str, ...]:
    """Validate an object given as text, so that renders which share it pay once."""
    try:
        kubernetes_validate.validate(json.loads(text), version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return (f"{error.json_path}: {error.message}",)
    except kubernetes_validate.SchemaNotFoundError as error:
        return (error.message,)
    return ()


def _minor(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)
