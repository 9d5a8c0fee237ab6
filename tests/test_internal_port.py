"""The second port: probes and metrics alone, and metrics there alone."""

import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.support import BridgeProcess, asking, eventually
from tests.support.answers import assert_problem, common
from tests.support.natsservers import free_port
from tests.test_lifecycle import refusal

Start = Callable[..., BridgeProcess]
PROBES = ("/livez", "/readyz", "/health")
OTHERS = (
    "/",
    "/api/events",
    "/api/events/wait/a",
    "/status",
    "/docs",
    "/openapi.json",
    "/ui/",
    "/mcp",
)


@pytest.fixture(params=["127.0.0.1", "::1"])
def inside(request: pytest.FixtureRequest, nats_url: str, start_bridge: Start) -> tuple[str, str]:
    """A bridge's public and internal URL, with either family of addresses."""
    port, host = free_port(), request.param
    bridge = start_bridge(nats_url, host=host, internal_port=str(port))
    shown = f"[{host}]" if ":" in host else host
    return bridge.url, f"http://{shown}:{port}"


def test_each_port_answers_what_it_is_for(inside: tuple[str, str]) -> None:
    public, internal = inside
    for probe in PROBES:
        for port in inside:
            assert common(httpx.get(port + probe)).status_code == 200, port + probe
            assert httpx.head(port + probe).status_code == 200, port + probe
    assert "bridge_ready 1.0" in httpx.get(f"{internal}/metrics").text
    assert_problem(httpx.get(f"{public}/metrics"), "REQ_002", says="BRIDGE_INTERNAL_PORT")
    assert httpx.get(f"{public}/docs").status_code == 200
    for path in OTHERS:
        said = "/livez, /readyz, /health, /metrics alone; the API is at BRIDGE_PORT"
        assert_problem(httpx.get(internal + path), "REQ_002", says=said)
    assert_problem(httpx.post(f"{internal}/api/events/a", json={"data": {}}), "REQ_002")


def test_no_header_opens_the_other_port(inside: tuple[str, str]) -> None:
    public, internal = inside
    host = httpx.URL(internal).netloc.decode()
    headers = {"Host": host, "X-Forwarded-Host": host, "X-Forwarded-Port": host.rpartition(":")[2]}
    assert_problem(httpx.get(f"{public}/metrics", headers=headers), "REQ_002")


def test_it_says_that_the_bridge_drains(nats_url: str, start_bridge: Start) -> None:
    port = free_port()
    bridge = start_bridge(nats_url, internal_port=str(port), drain_seconds="600")
    internal = f"http://127.0.0.1:{port}"
    assert asking.answers(f"{internal}/readyz")
    bridge.send(signal.SIGTERM)
    eventually(lambda: asking.get(f"{internal}/readyz").status_code == 503, what="the drain")
    assert asking.answers(f"{internal}/livez")


def test_where_it_is_taken_is_told(nats_url: str, bridge: BridgeProcess, tmp_path: Path) -> None:
    taken = str(httpx.URL(bridge.url).port)
    told = refusal(tmp_path, nats_url=nats_url, internal_port=taken)
    assert f"127.0.0.1:{taken}" in told
    assert "BRIDGE_INTERNAL_PORT" in told
