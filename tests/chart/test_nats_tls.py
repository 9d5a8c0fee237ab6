"""TLS to the bundled NATS: one switch for those who serve it and those who verify."""

from typing import Any

import pytest

from tests.chart.conftest import Render
from tests.chart.starting import Load, bridges
from tests.chart.valuesets import in_turn
from tests.support.helm import HELMS, HelmRefused, text_of
from tests.support.manifests import Object, Pod, at, pods

SECRET = "nats-tls"


def tls(**values: Any) -> str:
    return text_of({"nats": {"config": {"nats": {"tls": values}}}})


ON = tls(enabled=True, secretName=SECRET)


def taken(pod: Pod) -> set[str]:
    """Give the keys of the Secret that a pod is given; `*` is all of them."""
    volumes = pod.spec.get("volumes") or []
    sources = [one for volume in volumes for one in at(volume, "projected.sources", [])]
    found = [one["secret"] for one in (*volumes, *sources) if "secret" in one]
    named = [one for one in found if one.get("secretName", one.get("name")) == SECRET]
    return {item["key"] for one in named for item in one.get("items", [{"key": "*"}])}


def box(objects: list[Object]) -> Pod:
    (pod,) = [pod for pod in pods(objects) if pod.where.endswith("-box")]
    return pod


@pytest.mark.parametrize("helm", HELMS)
def test_bridges_verify_the_servers(helm: str, render: Render, load: Load) -> None:
    objects = render(ON, helm=helm)
    (pod,) = bridges(objects)
    settings = load(objects, pod)
    assert settings.nats_servers == ["tls://demo-nats.agents:4222"]
    assert settings.nats_tls_ca is not None
    assert settings.nats_tls_ca.is_file()


def test_only_the_servers_have_the_key(render: Render) -> None:
    objects = render(ON)
    (bridge,) = bridges(objects)
    assert taken(bridge) == taken(box(objects)) == {"ca.crt"}
    assert taken(box(render(""))) == set()


@pytest.mark.parametrize(
    ("values", "helm"),
    in_turn([tls(enabled=False, secretName=SECRET), tls(secretName=SECRET)], HELMS),
)
def test_without_it_nothing_is_served_nor_asked_for(
    values: str, helm: str, render: Render, load: Load
) -> None:
    objects = render(values, helm=helm)
    settings = load(objects, bridges(objects)[0])
    assert (settings.nats_servers, settings.nats_tls_ca) == (["nats://demo-nats.agents:4222"], None)
    assert taken(box(objects)) == set()


def test_what_to_bring_is_told(render: Render) -> None:
    with pytest.raises(
        HelmRefused, match=r"tls\.crt, tls\.key and ca\.crt.* demo-nats and demo-nats\.agents"
    ):
        render(tls(enabled=True))
