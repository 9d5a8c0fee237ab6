"""What `helm install` prints in the end is so."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.chart.conftest import Render
from tests.chart.valuesets import ValueSet
from tests.support.helm import notes, text_of
from tests.support.manifests import where

HOST = "bridge.example.org"
INGRESS: dict[str, Any] = {"enabled": True, "hosts": [HOST]}
ROUTE: dict[str, Any] = {"enabled": True, "hostnames": [HOST], "parentRefs": [{"name": "public"}]}


def test_the_test_that_is_named_is_there(chart: Path, values: ValueSet, render: Render) -> None:
    """It is named because the NATS chart has one too, which fails with this one's users."""
    named = re.findall(r"helm -n agents test demo --filter name=(\S+)", notes(chart, values.text))
    made = [name for one in render(values.text) if (name := where(one)).startswith("Pod/")]
    assert [f"Pod/{name}" for name in named] == made


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
        ({"ingress": INGRESS | {"tls": [{"secretName": "tls"}]}}, f"https://{HOST}/api"),
        ({"httpRoute": ROUTE}, f"https://{HOST}/api"),
    ],
)
def test_addresses_are_those_that_are_published(
    values: dict[str, Any], url: str, chart: Path
) -> None:
    assert f"SIDECAR_URL={url}\n" in notes(chart, text_of(values))
