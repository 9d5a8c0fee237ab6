"""Names: overrides, long releases, releases side by side, and the bundled NATS's host."""

from typing import Any

import pytest

from tests.chart.conftest import Render
from tests.chart.starting import Load, bridges
from tests.chart.valuesets import SETS, ValueSet, in_turn
from tests.support.helm import HELMS, text_of
from tests.support.manifests import (
    Object,
    at,
    mounts,
    names,
    of_kind,
    ports,
    references,
    selectors,
    where,
)

CHART_NAME = "agent-event-bridge"
LONG = "a-release-whose-name-is-as-long-as-helm-lets-it-be-53"
OVERRIDES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "fullnameOverride": {"fullnameOverride": "events"},
    "nameOverride": {"nameOverride": "events"},
    "long fullnameOverride": {"fullnameOverride": "e" * 63},
    "long nameOverride": {"nameOverride": "e" * 63},
    "its own labels": {
        "commonLabels": {"app.kubernetes.io/component": "x", "app.kubernetes.io/part-of": "y"}
    },
}


def named_well(objects: list[Object], external: frozenset[str] = frozenset()) -> list[str]:
    checks = [
        names.well_formed, names.unique, names.labels, ports.of_services, mounts.of_pods,
        selectors.of_workloads, selectors.of_services, selectors.of_scalers, references.backends,
    ]  # fmt: skip
    problems = [problem for check in checks for problem in check(objects)]
    return problems + list(references.resolved(external, objects))


def test_the_long_name_is_as_long_as_it_can_be() -> None:
    assert len(LONG) == 53


@pytest.mark.parametrize("values", SETS, ids=str)
def test_a_long_release_name_fits(values: ValueSet, render: Render) -> None:
    problems = named_well(render(values.text, name=LONG), values.external)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("override", "release"),
    [
        *in_turn(OVERRIDES, ("demo", LONG, CHART_NAME)),
        ("nothing", LONG), ("nothing", CHART_NAME),
        ("nameOverride", LONG), ("long nameOverride", "demo"),
    ],
)  # fmt: skip
def test_overrides_hold_together(override: str, release: str, render: Render) -> None:
    values = OVERRIDES[override] | {"networkPolicy": {"enabled": True}}
    problems = named_well(render(text_of(values), name=release))
    assert not problems, "\n".join(problems)


def test_overrides_are_what_names_are_made_of(render: Render) -> None:
    def service(release: str, **values: str) -> str:
        objects = render(
            text_of(values | {"nats": NO_NATS, "externalNats": {"urls": "nats://a"}}), name=release
        )
        one, internal = of_kind(objects, "Service")
        assert internal["metadata"]["name"] == f"{one['metadata']['name']}-internal"
        return str(one["metadata"]["name"])

    assert service("demo") == "demo-agent-event-bridge"
    assert service(CHART_NAME) == CHART_NAME
    assert service("demo", fullnameOverride="events") == "events"
    assert service("demo", nameOverride="events") == "demo-events"


NO_NATS: Any = {"enabled": False}


def test_the_namespace_is_the_releases(render: Render) -> None:
    objects = render("", namespace="elsewhere")
    own = [one for one in objects if at(one, "metadata.labels", {}).get("helm.sh/chart")]
    assert own
    assert {at(one, "metadata.namespace") for one in own} == {"elsewhere"}


@pytest.mark.parametrize(("values", "other"), in_turn(SETS, ("other", "demo-2", "dem")), ids=str)
def test_two_releases_live_side_by_side(values: ValueSet, other: str, render: Render) -> None:
    one, two = render(values.text), render(values.text, name=other)
    clashing = {where(thing) for thing in one} & {where(thing) for thing in two}
    named_by_the_set = {
        name for name in clashing if f"name: {name.partition('/')[2]}\n" in values.text
    }
    assert clashing == named_by_the_set
    problems = [*selectors.of_workloads([*one, *two]), *caught(one, two), *caught(two, one)]
    assert not problems, "\n".join(problems)


def test_long_names_stay_apart(render: Render) -> None:
    one, two = render("", name=LONG), render("", name=LONG[:-1] + "4")
    assert {where(thing) for thing in one} & {where(thing) for thing in two} == set()


def caught(own: list[Object], others: list[Object]) -> list[str]:
    """Give what selects pods of another release."""
    found = []
    for path, kinds in (
        ("spec.selector", ("Service",)),
        ("spec.selector.matchLabels", ("PodDisruptionBudget",)),
        ("spec.podSelector.matchLabels", ("NetworkPolicy",)),
    ):
        for one in of_kind(own, *kinds):
            pods = selectors.selected(others, {"matchLabels": at(one, path, {})})
            found += [f"{where(one)} selects {pod.where} of another release" for pod in pods]
    return found


HOSTS: list[tuple[str, dict[str, Any], str]] = [
    ("demo", {}, "nats://demo-nats.agents:4222"),
    ("nats", {}, "nats://nats.agents:4222"),
    ("my-nats-2", {}, "nats://my-nats-2.agents:4222"),
    ("demo", {"nameOverride": "bus"}, "nats://demo-bus.agents:4222"),
    ("bus-1", {"nameOverride": "bus"}, "nats://bus-1.agents:4222"),
    ("demo", {"fullnameOverride": "stream"}, "nats://stream.agents:4222"),
    ("demo", {"fullnameOverride": "s" * 70}, f"nats://{'s' * 63}.agents:4222"),
    (LONG, {"nameOverride": "a-long-name"}, f"nats://{(LONG + '-a-long-name')[:63]}.agents:4222"),
    ("demo", {"config": {"nats": {"port": 4333}}}, "nats://demo-nats.agents:4333"),
]


@pytest.mark.parametrize(
    ("release", "nats", "host", "helm"), [(*case, helm) for case, helm in in_turn(HOSTS, HELMS)]
)
def test_the_bundled_nats_is_found_under_its_name(
    helm: str, release: str, nats: dict[str, Any], host: str, render: Render, load: Load
) -> None:
    objects = render(text_of({"nats": nats}), name=release, helm=helm)
    assert load(objects, bridges(objects)[0]).nats_servers == [host]
    name, port = host.removeprefix("nats://").split(".agents:")
    services = {one["metadata"]["name"]: one for one in of_kind(objects, "Service")}
    assert services[name]["spec"]["ports"][0]["port"] == int(port), "as the stand-in names it"
