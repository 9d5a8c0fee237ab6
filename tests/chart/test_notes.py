"""What `helm install` prints in the end is so."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.conftest import Render
from tests.chart.valuesets import ValueSet
from tests.support.helm import notes, text_of
from tests.support.manifests import of_kind, where

HOST = "bridge.example.org"
INGRESS: dict[str, Any] = {"enabled": True, "hosts": [HOST]}
ROUTE: dict[str, Any] = {"enabled": True, "hostnames": [HOST], "parentRefs": [{"name": "public"}]}


def test_the_test_that_is_named_is_there(chart: Path, values: ValueSet, render: Render) -> None:
    named = re.findall(r"helm -n agents test (\S+)", notes(chart, values.text))
    made = [name for one in render(values.text) if (name := where(one)).startswith("Pod/")]
    assert [f"Pod/{name}-agent-event-bridge-test" for name in named] == made


def test_a_shell_with_nats_is_where_it_is_said_to_be(
    chart: Path, values: ValueSet, render: Render
) -> None:
    boxes = re.findall(r"exec -it deploy/(\S+) -- nats", notes(chart, values.text))
    made = [name for one in render(values.text) if (name := where(one)).endswith("-box")]
    assert [f"Deployment/{name}" for name in boxes] == made


def test_without_such_a_shell_a_login_is_asked_for(chart: Path) -> None:
    said = notes(chart, text_of({"nats": {"natsBox": {"enabled": False}}}))
    assert "at nats://demo-nats.agents:4222, logged in" in said
    assert "-box" not in said


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({"ingress": INGRESS}, f"http://{HOST}/api"),
        ({"ingress": INGRESS | {"hosts": [{"host": HOST}]}}, f"http://{HOST}/api"),
        ({"ingress": INGRESS | {"tls": [{"secretName": "tls"}]}}, f"https://{HOST}/api"),
        ({"httpRoute": ROUTE}, f"https://{HOST}/api"),
    ],
)
def test_addresses_are_those_that_are_published(
    values: dict[str, Any], url: str, chart: Path
) -> None:
    assert f"SIDECAR_URL={url}\n" in notes(chart, text_of(values))


OUTSIDE: dict[str, dict[str, Any]] = {
    "The controller of the Ingress": {"ingress": INGRESS},
    "The Gateway": {"httpRoute": ROUTE},
    "What the Service of type LoadBalancer lets in": {"service": {"type": "LoadBalancer"}},
}
CLOSED: dict[str, Any] = {"enabled": True}
MONITORING = {"ports": [{"port": "internal"}]}


@pytest.mark.parametrize("said", OUTSIDE)
def test_who_is_shut_out_is_told_and_how_to_let_them_in(
    said: str, chart: Path, render: Render
) -> None:
    values = OUTSIDE[said] | {"networkPolicy": CLOSED | {"extraIngress": [MONITORING]}}
    told = notes(chart, text_of(values))
    assert f"WARNING: networkPolicy lets in pods of the namespace agents alone. {said} " in told
    advice = yaml.safe_load(told.partition("such as\n\n")[2].partition("\n\n")[0])
    values["networkPolicy"] |= advice["networkPolicy"]
    assert "WARNING" not in notes(chart, text_of(values))
    policy = of_kind(render(text_of(values)), "NetworkPolicy")[0]
    assert advice["networkPolicy"]["from"][1] in policy["spec"]["ingress"][0]["from"]


@pytest.mark.parametrize(
    "values",
    [
        {"networkPolicy": CLOSED},
        {"ingress": INGRESS},
        {"ingress": INGRESS, "networkPolicy": CLOSED | {"extraIngress": [{"from": [{}]}]}},
        {
            "ingress": INGRESS,
            "networkPolicy": CLOSED | {"extraIngress": [{"ports": [{"port": "http"}]}]},
        },
        {
            "ingress": INGRESS,
            "networkPolicy": CLOSED | {"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]},
        },
    ],
)
def test_nobody_is_warned_of_what_is_open(values: dict[str, Any], chart: Path) -> None:
    assert "WARNING" not in notes(chart, text_of(values))
