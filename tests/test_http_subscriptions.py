"""Subscriptions over HTTP: who sees which, and what deleting one does."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.support import Agent, Agents, eventually
from tests.support.answers import assert_problem, common


def as_written(agent: Agent, name: str) -> httpx.URL:
    """Give a subscription's address with its name just as it was listed."""
    raw = f"/api/subscriptions/{name}".encode()
    return httpx.URL(agent.http.base_url, raw_path=raw)


@pytest.fixture
def spawner(agents: Agents) -> Agent:
    return agents("spawner", permissions=["publish_events", "spawn_agents"])


def names(agent: Agent) -> set[str]:
    return {found["name"] for found in agent.subscriptions()}


def test_none_is_an_empty_list(agent: Agent) -> None:
    answer = common(agent.http.get("/subscriptions"))
    assert (answer.status_code, answer.json()) == (200, {"subscriptions": []})


def test_one_says_whose_it_is_what_it_wants_and_how_far_it_is(agents: Agents) -> None:
    agent = agents("coder-1", agent_type="python-specialist")
    agent.wait("b,a", topic="two,one", filter=" n:>0 , !x:1")
    agent.publish_many({"event_type": "a", "topic": "one", "data": {"n": n}} for n in range(3))
    agent.wait("b,a", topic="two,one", filter="n:>0,!x:1", limit=1)

    def delivered() -> dict[str, Any] | None:
        (found,) = agent.subscriptions()
        return found if found["ack_pending"] == 0 else None

    found = eventually(delivered)
    assert found is not None
    assert (found["agent"], found["agent_type"], found["group"]) == (
        "coder-1",
        "python-specialist",
        None,
    )
    assert (found["types"], found["topics"]) == (["a", "b"], ["one", "two"])
    assert found["filter"] == "!x:1,n:>0" or found["filter"] == "n:>0,!x:1"
    assert found["pending"] == 1
    assert found["created"] < found["last_delivery"]
    assert found["name"].startswith(f"{agent.project}--coder-1--a-b--")
    assert found["waiting"] == 0


def test_any_type_and_topic_are_stars(agent: Agent) -> None:
    agent.wait("*")
    (found,) = agent.subscriptions()
    assert (found["types"], found["topics"], found["filter"]) == (["*"], ["*"], "")
    assert found["last_delivery"] is None


def test_the_same_wait_makes_no_second_one(agent: Agent) -> None:
    for text in ("a:1,b:2", "b:2 , a:1", "a:1,b:2,a:1"):
        agent.wait("x,y", filter=text)
        agent.wait("y,x,y", filter=text)
    assert len(names(agent)) == 1
    agent.wait("x,y", filter="a:1")
    agent.wait("x")
    assert len(names(agent)) == 3


class TestOwnership:
    def test_an_agent_sees_its_own(self, agents: Agents) -> None:
        one, other = agents("one"), agents("other")
        one.wait("a")
        other.wait("a")
        assert [found["agent"] for found in one.subscriptions()] == ["one"]
        assert names(one).isdisjoint(names(other))

    def test_who_may_spawn_sees_the_projects(self, agents: Agents, spawner: Agent) -> None:
        for name in ("one", "two"):
            agents(name).wait("a")
        agents("stranger", project_id=f"{agents.project}-other").wait("a")
        assert sorted(found["agent"] for found in spawner.subscriptions()) == ["one", "two"]

    def test_nobody_deletes_anothers(self, agents: Agents) -> None:
        one, other = agents("one"), agents("other")
        one.wait("a")
        (name,) = names(one)
        assert_problem(other.http.delete(f"/subscriptions/{name}"), "REQ_002", says=name)
        assert names(one) == {name}

    def test_who_may_spawn_deletes_any_of_the_project(self, agents: Agents, spawner: Agent) -> None:
        agent = agents("one")
        agent.wait("a")
        (name,) = names(agent)
        assert spawner.http.delete(f"/subscriptions/{name}").status_code == 204
        assert names(agent) == set()

    def test_another_projects_are_out_of_reach(self, agents: Agents, spawner: Agent) -> None:
        stranger = agents("spawner", project_id=f"{agents.project}-other")
        stranger.wait("a")
        (name,) = names(stranger)
        told = assert_problem(spawner.http.delete(f"/subscriptions/{name}"), "REQ_002")
        assert told["details"] == {"name": name}
        assert names(stranger) == {name}


class TestDeleting:
    def test_it_is_gone_and_answers_nothing(self, agent: Agent) -> None:
        agent.wait("a")
        (name,) = names(agent)
        answer = common(agent.http.delete(f"/subscriptions/{name}"))
        assert (answer.status_code, answer.content) == (204, b"")
        assert names(agent) == set()
        assert_problem(
            agent.http.delete(f"/subscriptions/{name}"), "REQ_002", says="/api/subscriptions"
        )
        assert agent.publish("a")["subscriber_count"] == 0

    @pytest.mark.parametrize("query", [{}, {"count": 2}])
    def test_a_wait_that_is_open_ends_and_says_so(
        self, agent: Agent, query: dict[str, int]
    ) -> None:
        """It would make the subscription again, and be given everything once more."""
        with ThreadPoolExecutor() as pool:
            asked = {"timeout": 60_000, **query}
            answer = pool.submit(agent.http.get, "/events/wait/a", params=asked)
            eventually(lambda: [s for s in agent.subscriptions() if s["waiting"]], what="the pull")
            (name,) = names(agent)
            assert agent.http.delete(f"/subscriptions/{name}").status_code == 204
            told = assert_problem(answer.result(), "REQ_002", says="deleted while you waited")
        assert told["details"] == {"name": name}
        assert names(agent) == set()

    def test_the_next_wait_begins_anew(self, agent: Agent) -> None:
        agent.publish("a")
        assert len(agent.events("a")) == 1
        assert agent.events("a") == []
        (name,) = names(agent)
        agent.http.delete(f"/subscriptions/{name}")
        (event,) = agent.events("a")
        assert event["delivery_count"] == 1

    @pytest.mark.parametrize("name", ["dot.agent", "a/b", "50%", "a b", "ÄÖ", "%2E"])
    @pytest.mark.parametrize("encoded", [True, False])
    def test_names_with_percent_signs_may_be_sent_either_way(
        self, agents: Agents, name: str, encoded: bool
    ) -> None:
        """A name is shown percent-encoded; a client may or may not encode its `%` once more."""
        agent = agents(name)
        agent.wait("a")
        (listed,) = names(agent)
        address = as_written(agent, quote(listed, safe="") if encoded else listed)
        assert agent.http.delete(address).status_code == 204
        assert names(agent) == set()

    @pytest.mark.parametrize("name", ["nothing", "*", "%3E", "a%00", "%C3%A9", "%FF", "x" * 9000])
    def test_what_is_not_there_is_told(self, agent: Agent, name: str) -> None:
        assert_problem(
            agent.http.delete(as_written(agent, name)), "REQ_002", says="no subscription"
        )
