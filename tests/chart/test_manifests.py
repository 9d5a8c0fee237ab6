"""What the chart renders is what a cluster takes and runs well."""

import pytest

from tests.chart.agents import agent
from tests.chart.valuesets import ValueSet
from tests.support.helm import NAMESPACE
from tests.support.manifests import (
    Check,
    Object,
    at,
    mounts,
    names,
    of_kind,
    ports,
    references,
    resources,
    restricted,
    schemas,
    selectors,
    workloads,
)
from tests.support.manifests.injection import injected

CHECKS: list[Check] = [
    names.well_formed, names.unique, names.environment, names.labels, names.nulls,
    ports.of_containers, ports.of_services, ports.of_probes, ports.of_policies,
    resources.of_containers, resources.of_volumes,
    selectors.of_workloads, selectors.of_services, selectors.of_scalers, selectors.of_placement,
    mounts.of_pods, mounts.rotated, mounts.writable,
    references.backends, restricted.restricted,
    workloads.images, workloads.tokens, workloads.replicas, workloads.disruption,
]  # fmt: skip

OWN_CHECKS: list[Check] = [resources.given, workloads.service_links]
"""What the chart answers for in its own objects, and leaves to NATS's chart in those."""


@pytest.mark.parametrize(
    "check", CHECKS, ids=lambda check: f"{check.__module__.rpartition('.')[2]}.{check.__name__}"
)
def test_it_runs_well(check: Check, objects: list[Object]) -> None:
    problems = list(check(objects))
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("check", OWN_CHECKS, ids=lambda check: check.__name__)
def test_its_own_objects_run_well(check: Check, objects: list[Object]) -> None:
    problems = list(check([one for one in objects if not of_nats(one)]))
    assert not problems, "\n".join(problems)


def of_nats(one: Object) -> bool:
    labels = at(one, "metadata.labels", {})
    return labels.get("app.kubernetes.io/component") in {"nats", "nats-box"}


@pytest.mark.parametrize("version", schemas.versions())
def test_kubernetes_takes_it(version: str, objects: list[Object]) -> None:
    problems = list(schemas.valid(version, objects))
    assert not problems, "\n".join(problems)


def test_what_it_refers_to_is_there(values: ValueSet, objects: list[Object]) -> None:
    assert list(references.resolved(values.external, objects)) == []


def test_nothing_is_declared_in_vain(values: ValueSet, objects: list[Object]) -> None:
    """Declared as `# external: Kind/name` in the file under helm/ci."""
    made = [injected(policy, agent()) for policy in of_kind(objects, "MutatingAdmissionPolicy")]
    assert list(references.needed(values.external, [*objects, *made])) == []


def test_it_stays_in_its_namespace(objects: list[Object]) -> None:
    assert list(names.namespaced(NAMESPACE, objects)) == []
