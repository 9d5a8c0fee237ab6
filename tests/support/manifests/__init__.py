"""Checks of lists of Kubernetes objects, written against the Kubernetes API and no chart.

The schemas of the API let much pass that no cluster runs well: port 99999, selectors that match
nothing, mounts of volumes that are not there. Each check takes all objects of one render and
yields a sentence for everything that is wrong, beginning with the object's kind and name.
"""

from tests.support.manifests.objects import (
    Check,
    Container,
    Object,
    Pod,
    at,
    called,
    faults,
    of_kind,
    pods,
    read,
    where,
)

__all__ = [
    "Check",
    "Container",
    "Object",
    "Pod",
    "at",
    "called",
    "faults",
    "of_kind",
    "pods",
    "read",
    "where",
]
