"""What the client's calls look like, what a batch is, and what is told at once."""

import inspect
import logging
import time
from typing import Any, get_type_hints

import jwt
import pytest

from bridge import errors
from bridge.client import AsyncEventClient, Batch, Event, EventClient, Published, Unreachable
from bridge.client.polling import Memory, ReaderQuery
from tests.support import Agents, BridgeProcess
from tests.support.agents import make_token
from tests.support.clients import KINDS, Blocking
from tests.support.natsservers import free_port

CLIENTS = (EventClient, AsyncEventClient)
CALLS = (
    *("publish", "publish_many", "wait", "subscribe", "on", "history", "subscriptions"),
    *("delete_subscription", "status", "health", "mint_token", "refresh_token"),
    *("revoke_tokens", "revoked_tokens", "restore_tokens"),
)


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("name", CALLS)
def test_help_shows_a_call_as_it_is(kind: type[Any], name: str) -> None:
    """Not as the flow that both clients run."""
    call = getattr(kind, name)
    assert (call.__name__, call.__qualname__) == (name, f"{kind.__name__}.{name}")
    assert inspect.unwrap(call) is call
    assert inspect.getdoc(call)
    gives = inspect.signature(call).return_annotation
    assert gives == get_type_hints(call)["return"]
    assert "Flow" not in str(gives)
    assert "bridge.client.flow" not in str(gives)


def test_the_signature_is_the_calls_own() -> None:
    signature = inspect.signature(EventClient.publish)
    assert list(signature.parameters)[:3] == ["self", "event_type", "data"]
    assert signature.return_annotation is Published


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("name", ["wait", "subscribe", "on"])
def test_the_options_that_readers_share_are_shown_by_name(kind: type[Any], name: str) -> None:
    shown = inspect.signature(getattr(kind, name)).parameters
    assert {"filter", "correlation_id", "topic", "group", "since", "deliver"} <= shown.keys()
    assert shown["topic"].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize("call", ["wait", "subscribe"])
def test_an_option_that_there_is_not_is_refused_before_anything_is_asked(call: str) -> None:
    client = EventClient(f"http://127.0.0.1:{free_port()}/api", make_token())
    with pytest.raises(TypeError, match="did you mean `filter`"):
        next(iter(getattr(client, call)("a", filtr="n:1")))


def test_a_batch_is_what_it_holds() -> None:
    empty = Batch([], False, "c", True)
    assert not empty
    assert (len(empty), list(empty)) == (0, [])
    event = Event("1", "a", "p", None, None, "t", {}, None, "normal", "", 1, "c")
    assert list(Batch([event], False, "c", False)) == [event]
    assert Batch([event], False, "c", False)


@pytest.fixture(params=KINDS)
def nowhere(request: pytest.FixtureRequest) -> Any:
    """A client of either kind, of a bridge that is not there."""
    with KINDS[request.param](f"http://127.0.0.1:{free_port()}/api", make_token()) as client:
        yield client


def test_a_bridge_that_was_never_there_is_told_of_at_once(nowhere: Blocking) -> None:
    """An agent with a wrong SIDECAR_URL was silent for 30 s."""
    started = time.monotonic()
    for call in (("publish", "a"), ("wait", "a"), ("history",)):
        with pytest.raises(Unreachable, match="start it with `bridge serve`"):
            nowhere.call(*call)
    assert time.monotonic() - started < 15


def test_a_listener_goes_on_and_says_so(
    nowhere: Blocking, caplog: pytest.LogCaptureFixture
) -> None:
    """It may well be started before its bridge."""
    with caplog.at_level(logging.WARNING, "bridge.client"):
        listener = nowhere.on("a", print)
        deadline = time.monotonic() + 30
        while "it is waited for" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)
        nowhere.stop(listener)
    assert caplog.text.count("it is waited for") == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("correlation_id", ["issue-1", 'a,b|"c"\\*', "42"])
def test_only_what_has_a_correlation_id(
    bridge: BridgeProcess, agents: Agents, kind: str, correlation_id: str
) -> None:
    token = make_token("agent-1", project_id=agents.project)
    with KINDS[kind](bridge.api, token) as client:
        client.call("publish", "a", {"n": 1}, correlation_id="other")
        client.call("publish", "a", {"n": 2}, correlation_id=correlation_id)
        batch = client.call("wait", "a", correlation_id=correlation_id, timeout=5)
        assert [event.data["n"] for event in batch] == [2]
        event = next(client.subscribe("a", filter="n:>0", correlation_id=correlation_id))
        assert event.data["n"] == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_for_another_agent(bridge: BridgeProcess, agents: Agents, kind: str) -> None:
    mine = ["publish_events", "spawn_agents"]
    token = make_token("boss", project_id=agents.project, permissions=mine)
    with KINDS[kind](bridge.api, token) as boss:
        minted = boss.call("mint_token", "coder-1", agent_type="qa", ttl_seconds=60)
        with pytest.raises(errors.Forbidden):
            boss.call("mint_token", "coder-1", permissions=["everything"])
    claims = jwt.decode(minted.token, options={"verify_signature": False})
    assert (claims["sub"], claims["agent_type"]) == ("coder-1", "qa")
    assert claims["permissions"] == ["publish_events"]
    with KINDS[kind](bridge.api, minted.token) as coder:
        assert coder.call("publish", "hello").event_id


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_revoked_and_good_again(
    bridge: BridgeProcess, agents: Agents, kind: str
) -> None:
    mine = ["publish_events", "spawn_agents"]
    token = make_token("boss", project_id=agents.project, permissions=mine)
    with KINDS[kind](bridge.api, token) as boss:
        minted = boss.call("mint_token", "coder-1")
        assert boss.call("revoke_tokens", minted.jti)["revoked_by"] == "boss"
        before = "2026-01-31T12:00:00Z"
        revoked = boss.call("revoke_tokens", agent_id="coder-2", issued_before=before)
        assert revoked["issued_before"] == "2026-01-31T12:00:00.000000Z"
        assert [each.get("jti") for each in boss.call("revoked_tokens")] == [None, minted.jti]
        with KINDS[kind](bridge.api, minted.token) as coder:
            with pytest.raises(errors.TokenInvalid, match="this token was revoked"):
                coder.call("publish", "hello")
            boss.call("restore_tokens", minted.jti)
            assert coder.call("publish", "hello").event_id
        boss.call("restore_tokens", agent_id="coder-2")
        with pytest.raises(errors.NotFound, match="no such revocation"):
            boss.call("restore_tokens", agent_id="coder-2")
        assert boss.call("revoked_tokens") == []


@pytest.mark.parametrize("many", [False, True])
def test_an_agent_id_that_is_not_the_tokens_is_told_by_its_name(
    bridge: BridgeProcess, agents: Agents, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    monkeypatch.setenv("AGENT_ID", "somebody")
    with (
        EventClient(bridge.api, make_token("agent-1", project_id=agents.project)) as client,
        pytest.raises(errors.Forbidden, match="It is 'somebody' by AGENT_ID"),
    ):
        client.publish_many([{"event_type": "a"}]) if many else client.publish("a")


def test_an_event_that_was_given_is_not_given_again_whatever_its_count() -> None:
    memory, query = Memory(2), ReaderQuery.of(("a",), {})

    def fresh(cursor: str) -> bool:
        event = Event("1", "a", "p", None, None, "t", {}, None, "normal", "", 1, cursor)
        return memory.fresh(query, event)

    assert [fresh("c1"), fresh("c1"), fresh("c2"), fresh("c3"), fresh("c1")] == [
        *(True, False),
        *(True, True),
        True,  # only so many are remembered
    ]
    memory.forget()
    assert fresh("c3")


@pytest.mark.parametrize("kind", KINDS)
def test_a_subscription_that_is_deleted_gives_everything_again(
    bridge: BridgeProcess, agents: Agents, kind: str
) -> None:
    token = make_token("agent-1", project_id=agents.project)
    with KINDS[kind](bridge.api, token) as client:
        client.call("publish", "a")
        assert len(client.call("wait", "a", timeout=5)) == 1
        [found] = client.call("subscriptions")
        client.call("delete_subscription", found.name)
        assert len(client.call("wait", "a", timeout=5)) == 1
