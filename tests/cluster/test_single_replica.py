"""A stream on one server of a cluster: while that server is away nothing can be stored."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.cluster.fleet import STREAM
from tests.support import Agents, BridgeProcess, eventually
from tests.support.cluster import NatsCluster
from tests.test_delivery import waiting

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[NatsCluster]:
    made = NatsCluster(tmp_path / "nats")
    try:
        yield made.start()
    finally:
        made.stop()


def test_bridges_outlive_the_proper_end_of_its_server(
    cluster: NatsCluster,
    start_bridge: Callable[..., BridgeProcess],
    agents_on: Callable[[BridgeProcess], Agents],
) -> None:
    """Having said good-bye, the server is known to be away, which JetStream answers as an error."""
    bridge = start_bridge(cluster.url, stream_replicas="1")
    agents = agents_on(bridge)
    publisher, reader = agents("publisher"), agents("reader")
    publisher.publish("work", {"n": 1})
    with ThreadPoolExecutor() as pool:
        assert len(reader.events("work")) == 1
        answer = pool.submit(reader.wait, "work", timeout=280)
        eventually(lambda: waiting(reader) == 1, what="the pull")
        home = cluster[cluster.stream_leader(STREAM)]
        home.stop()
        eventually(lambda: not bridge.ready(), within=60, what="unreadiness")
        other = start_bridge(cluster.url, ready=False, stream_replicas="1")
        eventually(lambda: "offline" in other.log, within=60, what="the reason")
        home.start()
        eventually(lambda: bridge.ready() and other.ready(), within=90, what="readiness")
        publisher.publish("work", {"n": 2})
        assert [event["data"] for event in answer.result()["events"]] == [{"n": 2}]
    assert httpx.get(f"{bridge.url}/readyz").status_code == 200
