"""`bridge tokens`: what leaked is revoked, seen and restored from a shell."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import Agent, Agents, BridgeProcess
from tests.support.agents import make_token
from tests.support.commands import Shell

USAGE, REFUSED = 2, 3


@pytest.fixture
def shell(tmp_path: Path, bridge: BridgeProcess, agents: Agents) -> Shell:
    """The shell of whoever may revoke tokens of the project."""
    token = agents("boss", permissions=["spawn_agents"]).token
    return Shell(tmp_path, {"SIDECAR_URL": bridge.api, "JWT_TOKEN": token})


def is_void(agent: Agent) -> bool:
    return agent.http.get("/events?limit=1").status_code == 401


def test_a_token_is_revoked_by_itself_and_by_its_jti(shell: Shell, agents: Agents) -> None:
    leaked, other = agents("coder", jti="leaked"), agents("coder", jti="other")
    [made] = shell.records("tokens", "revoke", leaked.token)
    assert (made["jti"], made["revoked_by"]) == ("leaked", "boss")
    assert made["expires_at"] > made["revoked_at"], "it goes when the token would have"
    assert (is_void(leaked), is_void(other)) == (True, False)
    [second] = shell.records("tokens", "revoke", "other")
    assert "expires_at" not in second
    assert is_void(other)
    assert shell.records("tokens", "revoked") == [second, made]
    table = shell.run("tokens", "revoked", "--format", "table").stdout
    assert "leaked" in table
    assert "boss" in table
    restored = shell.run("tokens", "restore", leaked.token)
    assert restored.stderr == "bridge: good again: token leaked\n"
    assert (is_void(leaked), is_void(other)) == (False, True)


def test_all_tokens_of_an_agent_are_revoked(shell: Shell, agents: Agents) -> None:
    old = agents("coder", iat=int(time.time()) - 100)
    early = ("--issued-before", "2026-01-31T12:00:00Z")
    shell.run("tokens", "revoke", "--agent", "coder", *early)
    assert not is_void(old)
    shell.run("tokens", "revoke", "--agent", "coder")
    assert is_void(old)
    shell.run("tokens", "restore", "--agent", "coder")
    assert not is_void(old)
    told = shell.refused("tokens", "restore", "--agent", "coder", status=REFUSED)
    assert "no such revocation" in told


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "name a TOKEN, or an agent with --agent"),
        (("a", "--agent", "b"), "name a TOKEN, or an agent with --agent"),
        ((make_token("coder"),), "this token has no jti; revoke all of its agent: --agent coder"),
        ((make_token("coder", jti="a", project_id="shop"),), "this token is of project 'shop'"),
    ],
)
def test_what_cannot_be_meant_is_told(shell: Shell, args: tuple[str, ...], says: str) -> None:
    for verb in ("revoke", "restore"):
        assert says in shell.refused("tokens", verb, *args, status=USAGE)
    assert shell.records("tokens", "revoked") == []


def test_it_takes_the_permission(shell: Shell, agents: Agents) -> None:
    plain = agents("plain", permissions=["publish_events"]).token
    for args in (("revoke", "x"), ("revoked",), ("restore", "x")):
        told = shell.refused("tokens", *args, status=REFUSED, JWT_TOKEN=plain)
        assert "AUTH_003" in told
        assert "spawn_agents" in told


def test_where_a_bridge_runs_no_token_is_needed(
    tmp_path: Path, start_bridge: Callable[..., BridgeProcess]
) -> None:
    """Whichever project the token is of that leaked."""
    data = {"data_dir": str(tmp_path / "data"), "jwt_secret": ""}
    running = start_bridge(**data)
    environment = {"SIDECAR_URL": running.api, "BRIDGE_DATA_DIR": data["data_dir"]}
    shell = Shell(tmp_path, environment)
    leaked = shell.run("token", "--agent", "coder", "--project", "shop").stdout.strip()
    shell.run("events", "publish", "hello", JWT_TOKEN=leaked)
    shell.run("tokens", "revoke", leaked)
    told = shell.refused("events", "publish", "hello", status=REFUSED, JWT_TOKEN=leaked)
    assert "by 'cli'" in told
    assert len(shell.records("tokens", "revoked", "--project", "shop")) == 1
    assert shell.records("tokens", "revoked") == []
