"""What an Ingress or a Gateway lets the world reach, and for how long."""

from typing import Any

import httpx
import pytest

from tests.chart.conftest import Render
from tests.support import Agent, BridgeProcess
from tests.support.helm import text_of
from tests.support.manifests import Object, at, of_kind

NGINX = "nginx.ingress.kubernetes.io"
READ_TIMEOUT, BUFFERING = f"{NGINX}/proxy-read-timeout", f"{NGINX}/proxy-buffering"
HOST = "bridge.example.org"
ALL = ["/api", "/mcp", "/ui"]


def rules(objects: list[Object]) -> dict[str, list[tuple[str, str]]]:
    """Give the paths of an Ingress and their types, by host."""
    (made,) = of_kind(objects, "Ingress")
    return {
        rule["host"]: [(path["path"], path["pathType"]) for path in rule["http"]["paths"]]
        for rule in made["spec"]["rules"]
    }


@pytest.mark.parametrize(("values", "expected"), [({}, ALL), ({"paths": ["/api"]}, ["/api"])])
def test_what_agents_and_people_use_is_published(
    values: dict[str, Any], expected: list[str], render: Render
) -> None:
    ingress = values | {"enabled": True, "hosts": [HOST]}
    route = values | {"enabled": True, "parentRefs": [{"name": "public"}]}
    objects = render(text_of({"ingress": ingress, "httpRoute": route}))
    assert rules(objects) == {HOST: [(path, "Prefix") for path in expected]}
    (made,) = of_kind(objects, "HTTPRoute")
    (rule,) = made["spec"]["rules"]
    found = [match["path"] for match in rule["matches"]]
    assert found == [{"type": "PathPrefix", "value": path} for path in expected]


def test_hosts_can_have_paths_of_their_own(render: Render) -> None:
    own = [{"path": "/docs", "pathType": "Exact"}, {"path": "/api"}, "/ui"]
    hosts = [HOST, {"host": "a.example.org"}, {"host": "b.example.org", "paths": own}]
    assert rules(render(text_of({"ingress": {"enabled": True, "hosts": hosts}}))) == {
        HOST: [(path, "Prefix") for path in ALL],
        "a.example.org": [(path, "Prefix") for path in ALL],
        "b.example.org": [("/docs", "Exact"), ("/api", "Prefix"), ("/ui", "Prefix")],
    }


def test_what_is_published_is_there(bridge: BridgeProcess, agent: Agent) -> None:
    for path in ("/api/agents", "/mcp", "/ui"):
        assert path.startswith(tuple(ALL))
        assert httpx.get(bridge.url + path).status_code != 404, path
    with agent.http.stream("GET", "/events/stream") as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.headers["x-accel-buffering"] == "no"


@pytest.mark.parametrize(
    ("given", "expected"), [({}, {}), ({READ_TIMEOUT: "60"}, {READ_TIMEOUT: "60"})]
)
def test_neither_wait_nor_stream_is_cut(
    given: dict[str, str], expected: dict[str, str], render: Render
) -> None:
    ingress = {"enabled": True, "hosts": [HOST], "annotations": given}
    (made,) = of_kind(render(text_of({"ingress": ingress})), "Ingress")
    asked = {READ_TIMEOUT: "330", BUFFERING: "off"}
    assert at(made, "metadata.annotations") == asked | expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"request": "0s"}),
        ({"timeouts": None}, None),
        ({"timeouts": {"request": "400s"}}, {"request": "400s"}),
    ],
)
def test_a_route_has_no_timeout(given: dict[str, Any], expected: Any, render: Render) -> None:
    route = given | {"enabled": True, "parentRefs": [{"name": "public"}]}
    (made,) = of_kind(render(text_of({"httpRoute": route})), "HTTPRoute")
    assert made["spec"]["rules"][0].get("timeouts") == expected
