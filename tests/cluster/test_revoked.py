"""Revoked tokens on a cluster: every server has the list, and the loss of one costs nothing."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.fleet import RECOVERY_SECONDS, Fleet
from tests.support import Agent, Agents, eventually

BUCKET = "KV_revoked-EVENTS"

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def agents(fleet: Fleet) -> Iterator[Agents]:
    fleet.heal()
    made = Agents(fleet.urls[0])
    yield made
    made.close()
    fleet.heal()


def revoke(boss: Agent, jti: str) -> None:
    def revoked() -> bool:
        return boss.http.post("/tokens/revoked", json={"jti": jti}).status_code == 201

    eventually(revoked, within=RECOVERY_SECONDS, what="the revocation")


def all_void(readers: list[Agent]) -> None:
    eventually(lambda: all(map(_void, readers)), within=RECOVERY_SECONDS, what="void tokens")


def _void(reader: Agent) -> bool:
    return reader.http.post("/tokens/refresh").status_code == 401


def test_the_loss_of_a_server_makes_nothing_good_again(fleet: Fleet, agents: Agents) -> None:
    def on_each(**claims: Any) -> list[Agent]:
        return [agents("reader", url=url, **claims) for url in fleet.urls]

    first, second, kept = on_each(jti="first"), on_each(jti="second"), on_each(jti="kept")
    bosses = [agents("boss", url=url, permissions=["spawn_agents"]) for url in fleet.urls]
    revoke(bosses[0], "first")
    all_void(first)
    bucket = fleet.cluster.api(f"STREAM.INFO.{BUCKET}")
    assert bucket["config"]["num_replicas"] == 3
    leader = fleet.cluster.stream_leader(BUCKET)
    fleet.cluster[leader].kill()
    assert all(map(_void, first))
    revoke(bosses[1], "second")
    assert fleet.cluster.stream_leader(BUCKET) != leader
    all_void(second)
    fleet.bridges[2].kill()
    fleet.bridges[2].revive()
    assert all(map(_void, first + second))
    assert not any(map(_void, kept))
