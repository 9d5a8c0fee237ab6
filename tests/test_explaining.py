"""Hints and explanations: an agent that waits in vain learns why, on every bridge."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from bridge.client import EventClient
from tests.support import Agent, Agents, BridgeProcess, NatsServer

Json = dict[str, Any]


@pytest.fixture
def agent(agents: Agents) -> Agent:
    made = agents("qa-1", agent_type="test-engineer")
    for n in range(6):
        made.publish("tests_passing", {"status": "failed", "n": n, "run": {"os": "linux"}})
    made.publish("tests_passing", {"n": 6})
    return made


def hints(agent: Agent, types: str, **query: Any) -> list[Json]:
    batch = agent.wait(types, **query)
    assert batch["events"] == []
    found: list[Json] = batch["hints"]
    return found


def only(found: list[Json], about: str) -> str:
    assert [hint["about"] for hint in found] == [about], found
    return str(found[0]["message"])


@pytest.mark.parametrize("since", [{}, {"since": "earliest"}], ids=["durable", "since"])
class TestHints:
    def test_a_misspelt_type_is_told_with_the_nearest(self, agent: Agent, since: Json) -> None:
        [hint] = hints(agent, "test_passing", **since)
        assert (hint["did_you_mean"], hint["retained"]) == ("tests_passing", 7)
        assert "did you mean `tests_passing` (7 retained)?" in hint["message"]

    def test_a_type_that_nobody_has_published_is_in_the_catalogue(
        self, agent: Agent, since: Json
    ) -> None:
        said = only(hints(agent, "security_audit_complete", **since), "event_type")
        assert "the catalogue has it, on topic `security`" in said

    def test_a_type_like_no_other_is_told_with_those_there_are(
        self, agent: Agent, since: Json
    ) -> None:
        assert "retained are `tests_passing` (7)" in only(
            hints(agent, "xyz", **since), "event_type"
        )

    def test_a_value_that_never_came_is_told_with_those_that_did(
        self, agent: Agent, since: Json
    ) -> None:
        said = only(hints(agent, "tests_passing", filter="status:ok", **since), "filter")
        assert "`status:ok` passes none of the 7 events" in said
        assert '`status` was "failed" 6 times, missing once' in said

    def test_a_misspelt_field_is_told_with_the_nearest(self, agent: Agent, since: Json) -> None:
        where = "statuss:failed,n:>=0"
        said = only(hints(agent, "tests_passing", filter=where, **since), "filter")
        assert "none of them has a field `statuss`; did you mean `status`?" in said
        said = only(hints(agent, "tests_passing", filter="run.oss:linux", **since), "filter")
        assert "did you mean `run.os`?" in said

    def test_terms_that_never_hold_together_are_told(self, agent: Agent, since: Json) -> None:
        where = "status:failed,n:6"
        said = only(hints(agent, "tests_passing", filter=where, **since), "filter")
        assert "none passes all" in said
        assert "`n:6` 1" in said
        assert "`status:failed` 6" in said

    def test_a_topic_that_leaves_the_type_out_is_told(self, agent: Agent, since: Json) -> None:
        said = only(hints(agent, "tests_passing", topic="coordination", **since), "topic")
        assert "are on topic `testing` (7); this wait takes only `coordination`" in said

    def test_an_empty_project_is_told(self, agents: Agents, since: Json) -> None:
        said = only(hints(agents("lonely", project_id="nobody-else"), "task", **since), "project")
        assert "nothing at all is retained in the project `nobody-else`" in said


def test_a_subscription_that_was_given_everything_says_so(agent: Agent) -> None:
    events = agent.events("tests_passing", filter="n:<3", count=3, timeout=10)
    [hint] = hints(agent, "tests_passing", filter="n:<3")
    assert hint["about"] == "delivered"
    last = {name: events[-1][name] for name in ("event_id", "timestamp")}
    assert hint["last_delivered"] == last
    assert hint["retained"] == 3


def test_a_position_behind_everything_says_so(agent: Agent) -> None:
    [hint] = hints(agent, "tests_passing", since="now")
    assert (hint["about"], hint["retained"]) == ("position", 7)


def test_an_answer_with_events_has_no_hints(agent: Agent) -> None:
    assert "hints" not in agent.wait("tests_passing", timeout=10)


def test_other_projects_are_not_told_of(agent: Agent, agents: Agents) -> None:
    other = agents("spy", project_id="other")
    other.publish("hello")
    [hint] = hints(other, "tests_passing")
    assert hint["about"] == "event_type"
    assert "retained" not in hint
    assert "failed" not in str(hint)


def test_another_bridge_says_the_same(
    own_nats: NatsServer,
    start_bridge: Callable[..., BridgeProcess],
    agents_on: Callable[[BridgeProcess], Agents],
) -> None:
    first, second = (start_bridge(own_nats.url) for _ in range(2))
    agents_on(first)("a", project_id="p").publish("tests_passing")
    [hint] = hints(agents_on(second)("b", project_id="p"), "test_passing")
    assert hint["did_you_mean"] == "tests_passing"


def test_explain_counts_from_the_widest_to_the_whole(agent: Agent) -> None:
    answer = agent.http.get("/events/explain/tests_passing", params={"filter": "n:>=2,status:ok"})
    told = answer.json()
    counts = [told[name] for name in ("retained", "of_types", "on_topics", "matching")]
    assert counts == [7, 7, 7, 0]
    assert [hint["about"] for hint in told["hints"]] == ["filter"]
    assert len(told["samples"]) == 3
    told = agent.http.get("/events/explain/tests_passing", params={"filter": "n:>=2"}).json()
    assert (told["matching"], told["hints"]) == (5, [])
    assert [event["data"]["n"] for event in told["samples"]] == [6, 5, 4]
    assert agent.subscriptions() == []


def test_the_client_has_them(agent: Agent, bridge: BridgeProcess) -> None:
    with EventClient(bridge.api, agent.token) as client:
        batch = client.wait("test_passing", timeout=0)
        assert batch.hints[0]["did_you_mean"] == "tests_passing"
        assert client.explain("test_passing")["hints"] == list(batch.hints)


class TestLeanAnswers:
    def test_only_the_fields_that_were_asked_for(self, agent: Agent) -> None:
        query = {"fields": "n,data.run.os,publisher,nothing.here", "limit": 1}
        [event] = agent.events("tests_passing", timeout=10, **query)
        always = {"event_id", "event_type", "cursor"}
        assert event.keys() == always | {"data", "publisher"}
        assert event["data"] == {"n": 0, "run": {"os": "linux"}}
        page = agent.http.get("/events", params={"fields": "topic", "limit": 1}).json()
        assert page["events"][0].keys() == always | {"topic"}

    @pytest.mark.parametrize("since", [{}, {"since": "earliest"}], ids=["durable", "since"])
    def test_answers_keep_below_so_many_bytes_and_lose_nothing(
        self, agent: Agent, since: Json
    ) -> None:
        seen: list[int] = []
        position = dict(since)
        while len(seen) < 7:
            answer = agent.http.get(
                "/events/wait/tests_passing",
                params={"timeout": 1000, "max_bytes": 300, "fields": "n", **position},
            )
            batch = answer.json()
            assert len(json.dumps(batch["events"], separators=(",", ":"))) <= 302
            assert {event.get("delivery_count", 1) for event in batch["events"]} == {1}
            assert len(batch["events"]) == min(2, 7 - len(seen))
            seen += [event["data"]["n"] for event in batch["events"]]
            assert batch["more_available"] is (len(seen) < 7)
            if since:
                position["since"] = batch["next_cursor"]
        assert seen == list(range(7))

    def test_there_is_always_one(self, agent: Agent) -> None:
        assert len(agent.events("tests_passing", timeout=10, max_bytes=1)) == 1

    def test_a_delivery_is_marked_only_if_it_was_made(self, agent: Agent) -> None:
        agent.events("tests_passing", timeout=10, max_bytes=500)
        rest = agent.events("tests_passing", timeout=10)
        assert {event["delivery_count"] for event in rest} == {1}

    def test_history_keeps_below_as_well(self, agent: Agent) -> None:
        page = agent.http.get("/events", params={"max_bytes": 700}).json()
        assert 1 <= len(page["events"]) < 7
        assert page["more_available"] is True


class TestDirectory:
    def test_the_catalogue_counts_what_is_retained(self, agent: Agent) -> None:
        agent.publish("brand_new")
        told = agent.http.get("/catalog").json()
        types = {each["name"]: each for each in told["event_types"]}
        assert types["tests_passing"]["retained"] == 7
        assert types["tests_passing"]["topic"] == "testing"
        assert told["other_event_types"] == [{"name": "brand_new", "retained": 1}]
        assert {"name", "description", "topics"} == told["agent_types"][0].keys()

    def test_agents_are_told_with_what_they_wait_for_on_any_bridge(
        self,
        own_nats: NatsServer,
        start_bridge: Callable[..., BridgeProcess],
        agents_on: Callable[[BridgeProcess], Agents],
    ) -> None:
        first, second = (start_bridge(own_nats.url) for _ in range(2))
        waiter = agents_on(first)("waiter", project_id="p", agent_type="qa")
        asker = agents_on(second)("asker", project_id="p")
        stranger = agents_on(first)("stranger", project_id="other")
        stranger.publish("hello")
        waiter.events("task", filter="n:>1")
        asker.publish("task", {"n": 2})
        asker.publish("task", {"n": 3})

        async def told_while_it_waits() -> Json:
            waiting = asyncio.create_task(asyncio.to_thread(waiter.wait, "rare", timeout=20))
            while True:
                told: Json = (await asyncio.to_thread(asker.http.get, "/agents")).json()
                [one] = [each for each in told["agents"] if each["agent_id"] == "waiter"]
                if one["waiting"]:
                    asker.publish("rare")
                    await waiting
                    return told

        told = asyncio.run(told_while_it_waits())
        assert told["bridges"] == 2
        agents = {each["agent_id"]: each for each in told["agents"]}
        assert agents.keys() == {"waiter", "asker"}
        assert agents["waiter"]["agent_type"] == "qa"
        assert agents["waiter"]["pending"] == 2
        [wait] = agents["waiter"]["waiting"]
        assert (wait["types"], wait["filter"]) == (["rare"], "")
        assert wait["subscription"].startswith("p--waiter--rare--")
        assert agents["asker"]["last_seen"] is not None

    def test_two_waits_that_share_a_subscription_through_two_bridges_are_told(
        self,
        own_nats: NatsServer,
        start_bridge: Callable[..., BridgeProcess],
        agents_on: Callable[[BridgeProcess], Agents],
    ) -> None:
        first, second = (start_bridge(own_nats.url) for _ in range(2))
        one, same = (agents_on(each)("a", project_id="p") for each in (first, second))

        async def warned() -> Json:
            other = asyncio.create_task(asyncio.to_thread(one.wait, "task", timeout=20))
            await asyncio.sleep(0)
            while not (await asyncio.to_thread(same.http.get, "/agents")).json()["agents"][0][
                "waiting"
            ]:
                pass
            batch = await asyncio.to_thread(same.wait, "task", timeout=1)
            one.publish("task")
            await other
            return batch

        assert "shares this subscription" in asyncio.run(warned())["warnings"][0]

    def test_what_became_of_an_event_is_told_for_each_subscription(self, agents: Agents) -> None:
        publisher, quick, slow, worker = map(agents, ("p", "quick", "slow", "worker"))
        for each in (quick, slow):
            each.events("task")
        agents("deaf").events("other")
        leased: Json = {"ack": "explicit", "lease": 60_000}
        worker.wait("task", group="g", **leased)
        receipt = publisher.publish("task", event_id="e-1")
        assert receipt["event_id"] == "e-1"
        quick.events("task", timeout=10)
        ack_id = worker.wait("task", group="g", timeout=10, **leased)["ack_id"]
        told = publisher.http.get("/events/e-1").json()
        states = {each["group"] or each["agent"]: each["state"] for each in told["deliveries"]}
        assert states == {"quick": "acknowledged", "slow": "pending", "g": "delivered"}
        [held] = [each for each in told["deliveries"] if each["group"]]
        assert held["leased_until"] > told["timestamp"]
        worker.http.post("/deliveries/reject", json={"ack_ids": [ack_id]}).raise_for_status()
        told = publisher.http.get("/events/e-1").json()
        assert {each["state"] for each in told["deliveries"]} == {"acknowledged", "pending", "dead"}
