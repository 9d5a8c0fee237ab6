"""What the chart renders is what a cluster takes and runs well."""

from functools import partial

from tests.chart.agents import agent
from tests.chart.valuesets import ValueSet
from tests.support.helm import NAMESPACE
from tests.support.manifests import (
    Check,
    Object,
    at,
    faults,
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


def test_it_runs_well(objects: list[Object]) -> None:
    assert faults(CHECKS, objects) == {}


def test_its_own_objects_run_well(objects: list[Object]) -> None:
    assert faults(OWN_CHECKS, [one for one in objects if not of_nats(one)]) == {}


def of_nats(one: Object) -> bool:
    labels = at(one, "metadata.labels", {})
    return labels.get("app.kubernetes.io/component") in {"nats", "nats-box"}


def test_every_kubernetes_takes_it(objects: list[Object]) -> None:
    checks = {version: partial(schemas.valid, version) for version in schemas.versions()}
    problems = {version: list(check(objects)) for version, check in checks.items()}
    assert {version: told for version, told in problems.items() if told} == {}


def test_what_it_refers_to_is_there(values: ValueSet, objects: list[Object]) -> None:
    assert list(references.resolved(values.external, objects)) == []


def test_nothing_is_declared_in_vain(values: ValueSet, objects: list[Object]) -> None:
    """Declared as `# external: Kind/name` in the file under helm/ci."""
    made = [injected(policy, agent()) for policy in of_kind(objects, "MutatingAdmissionPolicy")]
    assert list(references.needed(values.external, [*objects, *made])) == []


def test_it_stays_in_its_namespace(objects: list[Object]) -> None:
    assert list(names.namespaced(NAMESPACE, objects)) == []
