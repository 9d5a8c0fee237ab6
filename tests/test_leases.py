"""Leases: delivered is not done, and what becomes of an event whose worker does not finish."""

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support import Agent, Agents, BridgeProcess, NatsServer, eventually
from tests.test_delivery import numbers, open_wait, waiting

Start = Callable[..., BridgeProcess]
AgentsOn = Callable[[BridgeProcess], Agents]
Json = dict[str, Any]


def leased(agent: Agent, timeout: float = 5, lease: float = 30, **query: Any) -> list[Json]:
    """Wait for tasks, as leases of so many seconds."""
    return agent.events("task", timeout=timeout, ack="explicit", lease=round(lease * 1000), **query)


def settle(agent: Agent, verb: str, *ack_ids: str, **more: Any) -> httpx.Response:
    return agent.http.post(f"/deliveries/{verb}", json={"ack_ids": list(ack_ids), **more})


def done(agent: Agent, verb: str, *ack_ids: str, **more: Any) -> list[Any]:
    answer = settle(agent, verb, *ack_ids, **more)
    assert answer.status_code == 200, answer.text
    assert answer.json()["failed"] == []
    found: list[Any] = answer.json()["done"]
    return found


@pytest.fixture
def worker(agents: Agents) -> Agent:
    agent = agents("worker")
    agent.publish("task", {"n": 1}, correlation_id="job-1")
    return agent


def test_what_is_acknowledged_is_never_delivered_again(worker: Agent) -> None:
    [event] = leased(worker, lease=1)
    assert event["lease_expires_at"] > event["timestamp"]
    assert done(worker, "ack", event["ack_id"]) == [event["ack_id"]]
    assert leased(worker, timeout=4) == [], "also once the lease would have ended"


def test_what_is_not_acknowledged_goes_to_the_next_wait_when_its_lease_ends(
    agents: Agents, worker: Agent
) -> None:
    [first] = leased(worker, lease=1, group="g")
    other = agents("other", project_id=worker.project)
    [again] = leased(other, timeout=10, group="g")
    assert (again["event_id"], again["delivery_count"]) == (first["event_id"], 2)
    late = settle(worker, "ack", first["ack_id"])
    assert (late.status_code, late.json()["code"]) == (409, "ACK_001")
    assert "may be another's by now" in late.json()["message"]
    assert done(other, "ack", again["ack_id"])


def test_nobody_else_has_it_meanwhile(agents: Agents, worker: Agent) -> None:
    [event] = leased(worker, lease=30, group="g")
    other = agents("other", project_id=worker.project)
    assert leased(other, timeout=6, group="g") == [], "longer than an unanswered delivery is out"
    assert done(worker, "ack", event["ack_id"])


def test_a_lease_is_extended_for_as_long_as_the_work_takes(worker: Agent) -> None:
    [event] = leased(worker, lease=1)
    [extended] = done(worker, "extend", event["ack_id"], lease=30_000)
    assert extended["was"] == event["ack_id"]
    assert extended["lease_expires_at"] > event["lease_expires_at"]
    assert leased(worker, timeout=4) == []
    assert done(worker, "ack", extended["ack_id"])


def test_what_is_released_comes_again_at_once_or_after_its_delay(worker: Agent) -> None:
    [event] = leased(worker)
    done(worker, "release", event["ack_id"])
    [again] = leased(worker, timeout=3)
    assert again["delivery_count"] == 2
    done(worker, "release", again["ack_id"], delay=1000)
    assert leased(worker, timeout=0) == []
    assert leased(worker, timeout=10)[0]["delivery_count"] == 3


def test_the_answer_has_an_ack_id_for_all_and_the_next_wait_acknowledges_with_it(
    worker: Agent,
) -> None:
    for n in range(2, 6):
        worker.publish("task", {"n": n})
    batch = worker.wait("task", timeout=5, count=5, ack="explicit", lease=1000)
    assert numbers(batch["events"]) == [1, 2, 3, 4, 5]
    worker.publish("task", {"n": 6})
    after = worker.wait("task", timeout=5, ack="explicit", lease=1000, done=batch["ack_id"])
    assert numbers(after["events"]) == [6]
    assert "warnings" not in after
    done(worker, "ack", *(event["ack_id"] for event in after["events"]))
    assert leased(worker, timeout=4) == []


def test_done_in_vain_is_told_and_the_wait_goes_on(worker: Agent) -> None:
    batch = worker.wait("task", timeout=5, ack="explicit", done="nonsense")
    assert numbers(batch["events"]) == [1]
    assert "is not an ack_id" in batch["warnings"][0]


def test_what_is_delivered_too_often_becomes_one_dead_letter(worker: Agent) -> None:
    for _ in range(2):
        [event] = leased(worker, max_deliveries=2)
        done(worker, "release", event["ack_id"])
    assert leased(worker, timeout=1, max_deliveries=2) == []
    [failure] = worker.events("delivery_failed", timeout=5)
    assert (failure["topic"], failure["correlation_id"]) == ("error", "job-1")
    [subscription] = [each for each in worker.subscriptions() if each["types"] == ["task"]]
    assert failure["data"] == {
        "event_id": event["event_id"],
        "event_type": "task",
        "subscription": subscription["name"],
        "agent": "worker",
        "deliveries": 2,
        "reason": "not acknowledged in 2 deliveries",
    }
    assert leased(worker, timeout=3) == [], "it has left the subscription"


def test_what_is_rejected_is_a_dead_letter_that_can_be_redriven_to_it_alone(
    agents: Agents, worker: Agent
) -> None:
    other = agents("other", project_id=worker.project)
    assert numbers(other.events("task")) == [1]
    [event] = leased(worker)
    done(worker, "reject", event["ack_id"], reason="cannot be built")
    [failure] = worker.events("delivery_failed", timeout=5)
    assert failure["data"]["reason"] == "cannot be built"
    name = failure["data"]["subscription"]
    answer = worker.http.post(
        f"/subscriptions/{name}/redrive", json={"event_ids": [event["event_id"]]}
    )
    assert (answer.status_code, answer.json()["done"]) == (200, [event["event_id"]])
    [again] = leased(worker)
    assert (again["event_id"], again["data"]) == (event["event_id"], {"n": 1})
    done(worker, "ack", again["ack_id"])
    assert other.events("task", timeout=0.5) == []
    assert len(worker.history(type="task")["events"]) == 1


def test_an_ack_id_works_on_every_bridge_and_after_restarts(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn
) -> None:
    first, second = start_bridge(own_nats.url), start_bridge(own_nats.url)
    worker = agents_on(first)("worker", project_id="p")
    elsewhere = agents_on(second)("worker", project_id="p")
    for n in range(3):
        worker.publish("task", {"n": n})
    events = leased(worker, count=3)
    assert done(elsewhere, "ack", events[0]["ack_id"])

    later = worker.publish("task", {"n": 3})["event_id"]
    [last] = leased(elsewhere)

    def hears() -> bool:  # what bridges tell each other is heard in its order
        [delivery] = worker.http.get(f"/events/{later}").json()["deliveries"]
        return bool(delivery["leased_until"])

    eventually(hears, what="the first bridge to hear of it")
    assert settle(worker, "release", events[0]["ack_id"]).status_code == 409
    assert done(elsewhere, "ack", last["ack_id"])
    first.stop(signal.SIGKILL)
    assert done(elsewhere, "ack", events[1]["ack_id"])
    own_nats.stop()
    own_nats.start()
    eventually(second.ready, what="readiness")
    assert leased(elsewhere, timeout=1) == [], "the lease is in the consumer"
    assert done(elsewhere, "ack", events[2]["ack_id"])
    assert elsewhere.events("task", timeout=6) == []


@pytest.mark.parametrize("asked", ["who leased it", "another bridge", "a bridge that is new"])
def test_a_lease_outlives_a_server_that_has_forgotten_it(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn, asked: str
) -> None:
    """nats-server writes how a consumer stands later than it says so."""
    first, other = start_bridge(own_nats.url), start_bridge(own_nats.url)
    worker = agents_on(first)("worker", project_id="p")
    for n in range(20):
        worker.publish("task", {"n": n})
    for _ in range(19):  # the server writes how it stands only now and then
        [event] = leased(worker, group="g", limit=1)
        done(worker, "ack", event["ack_id"])
    [event] = leased(worker, lease=8, group="g")
    own_nats.stop(signal.SIGKILL)
    own_nats.start()
    eventually(first.ready, what="the first bridge")
    eventually(other.ready, what="the other bridge")
    bridge = {"who leased it": first, "another bridge": other}.get(asked)
    if bridge is None:
        first.kill()
        bridge = start_bridge(own_nats.url)
    second = agents_on(bridge)("second", project_id="p")
    assert leased(second, timeout=1.5, group="g") == []
    assert done(agents_on(other)("worker", project_id="p"), "ack", event["ack_id"])
    assert leased(second, timeout=10, group="g") == []


def test_who_may_not_read_a_subscription_may_not_settle_its_leases(
    agents: Agents, worker: Agent
) -> None:
    [event] = leased(worker)
    for stranger in (
        agents("other", project_id=worker.project),
        agents("worker", project_id="elsewhere"),
    ):
        answer = settle(stranger, "ack", event["ack_id"])
        assert (answer.status_code, answer.json()["code"]) == (403, "AUTH_003")
    assert done(worker, "ack", event["ack_id"])


def test_an_ack_id_is_used_once_and_repeating_that_is_no_error(worker: Agent) -> None:
    [event] = leased(worker, lease=30)
    for _ in range(2):
        assert done(worker, "release", event["ack_id"]) == [event["ack_id"]]
    late = settle(worker, "ack", event["ack_id"])
    assert (late.status_code, late.json()["code"]) == (409, "ACK_001")
    [again] = leased(worker)
    for _ in range(2):
        assert done(worker, "ack", again["ack_id"]) == [again["ack_id"]]
    assert settle(worker, "extend", again["ack_id"]).status_code == 409


def test_some_may_fail_and_the_others_are_done(worker: Agent) -> None:
    [event] = leased(worker)
    answer = settle(worker, "ack", event["ack_id"], "nonsense")
    assert answer.status_code == 200
    assert answer.json()["done"] == [event["ack_id"]]
    [failed] = answer.json()["failed"]
    assert (failed["ack_id"], failed["code"]) == ("nonsense", "REQ_001")


@pytest.mark.parametrize(
    ("verb", "body", "told"),
    [
        ("ack", {"ack_ids": ["nonsense"]}, "is not an ack_id"),
        ("ack", {}, "`ack_ids` is missing"),
        ("ack", {"ack_id": "x", "ack_ids": ["x"]}, "did you mean `ack_ids`?"),
        ("extend", {"ack_ids": ["x"], "lease": 5}, "a whole number from 1000 to 86400000"),
        ("release", {"ack_ids": "x"}, "must be a list of texts"),
    ],
)
def test_a_body_that_is_wrong_says_how_to_mend_it(
    agents: Agents, verb: str, body: Json, told: str
) -> None:
    answer = agents().http.post(f"/deliveries/{verb}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "REQ_001")
    assert told in answer.json()["message"]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"ack": "explicit", "since": "earliest"}, "`ack` means nothing beside it"),
        ({"consumer": "a", "since": "earliest"}, "`consumer` means nothing beside it"),
        ({"lease": 5000}, "add ack=explicit"),
        ({"max_deliveries": 5}, "add ack=explicit"),
        ({"ack": "explicit", "lease": 5}, "a whole number from 1000 to 86400000 milliseconds"),
    ],
)
def test_options_that_mean_nothing_together_are_refused(
    agents: Agents, query: Json, told: str
) -> None:
    answer = agents().http.get("/events/wait/task", params=query)
    assert (answer.status_code, answer.json()["code"]) == (400, "REQ_001")
    assert told in answer.json()["message"]


def test_two_named_subscriptions_of_one_agent_each_get_everything(worker: Agent) -> None:
    assert numbers(worker.events("task", consumer="planner")) == [1]
    assert numbers(worker.events("task", consumer="tester")) == [1]
    assert numbers(worker.events("task")) == [1]
    assert worker.events("task", consumer="planner") == []


def test_a_subscription_may_begin_with_the_present_state(agents: Agents) -> None:
    agent = agents()
    for n in range(3):
        agent.publish("state", {"n": n}, correlation_id="a")
    agent.publish("state", {"n": 9}, correlation_id="b")
    assert numbers(agent.events("state", deliver="last")) == [2, 9]
    agent.publish("state", {"n": 3}, correlation_id="a")
    assert numbers(agent.events("state", deliver="last", timeout=5)) == [3]


def test_what_ended_a_wait_is_told(agents: Agents) -> None:
    agent = agents()
    assert agent.wait("state")["ended_by"] == "timeout"
    agent.publish("state")
    assert agent.wait("state")["ended_by"] == "events"
    assert agent.wait("state", since="earliest")["ended_by"] == "events"


def test_a_worker_that_goes_while_it_waits_leaves_its_event_to_others(
    worker: Agent, agents: Agents
) -> None:
    [event] = leased(worker)
    done(worker, "ack", event["ack_id"])
    gone = open_wait(agents.url, worker, "task?timeout=60000&ack=explicit&lease=60000&count=2")
    worker.publish("task", {"n": 2})
    eventually(lambda: [s["ack_pending"] for s in worker.subscriptions()] == [1], what="it")
    gone.close()
    [again] = leased(worker, timeout=20)
    assert again["data"] == {"n": 2}


def test_another_open_wait_on_the_subscription_is_told_of(agents: Agents) -> None:
    agent = agents()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(agent.wait, "task", timeout=30)
        eventually(lambda: waiting(agent) == 1, what="the wait")
        [warning] = agent.wait("task")["warnings"]
        assert "shares this subscription" in warning
        assert "warnings" not in agent.wait("task", consumer="mine")
        agent.publish("task")
        assert "warnings" not in first.result()


class TestAsk:
    def test_it_publishes_and_answers_with_the_replies(self, agents: Agents) -> None:
        asker, replier = agents("asker"), agents("replier")
        with ThreadPoolExecutor() as pool:
            asking_ = pool.submit(
                asker.http.post,
                "/events/review_wanted",
                json={"data": {"file": "a.py"}},
                params={"reply": "review_done", "timeout": 20_000},
            )
            [event] = replier.events("review_wanted", timeout=20)
            assert event["correlation_id"], "it is made up where the asker gives none"
            replier.publish("review_done", correlation_id="another")
            replier.publish("review_done", {"ok": True}, correlation_id=event["correlation_id"])
            answer = asking_.result()
        assert answer.status_code == 200, answer.text
        asked = answer.json()
        assert (asked["event_id"], asked["published"]) == (event["event_id"], True)
        assert [each["data"] for each in asked["reply"]["events"]] == [{"ok": True}]
        assert asked["reply"]["timeout"] is False

    def test_repeated_it_stores_nothing_and_waits_again(self, agents: Agents) -> None:
        asker = agents("asker")
        body = {"event_id": "e-1", "correlation_id": "c-1"}
        query: Json = {"reply": "done", "timeout": 0}
        first = asker.http.post("/events/wanted", params=query, json=body).json()
        assert (first["duplicate"], first["reply"]["timeout"]) == (False, True)
        asker.publish("done", correlation_id="c-1")
        again = asker.http.post("/events/wanted", params=query, json=body).json()
        assert (again["duplicate"], len(again["reply"]["events"])) == (True, 1)
        assert len(asker.history(type="wanted")["events"]) == 1

    def test_what_came_before_the_question_is_no_reply(self, agents: Agents) -> None:
        asker = agents("asker")
        asker.publish("done", correlation_id="c-1")
        answer = asker.http.post(
            "/events/wanted", params={"reply": "done", "timeout": 0}, json={"correlation_id": "c-1"}
        )
        assert answer.json()["reply"]["events"] == []

    def test_a_wrong_option_is_told_before_anything_is_published(self, agents: Agents) -> None:
        asker = agents("asker")
        answer = asker.http.post("/events/wanted", params={"reply": "done", "timout": 1}, json={})
        assert (answer.status_code, answer.json()["code"]) == (400, "REQ_001")
        assert "did you mean `timeout`?" in answer.json()["message"]
        assert asker.history()["events"] == []


def test_the_present_state_is_the_newest_of_each_type_and_correlation_id(agents: Agents) -> None:
    agent = agents()
    for n in range(3):
        agent.publish("state", {"n": n}, correlation_id="a")
    agent.publish("state", {"n": 9}, correlation_id="b")
    agent.publish("other", {"n": 5}, correlation_id="a")
    assert numbers(agent.history(latest="true", order="asc")["events"]) == [2, 9, 5]
    assert numbers(agent.history(latest="true", limit=2)["events"]) == [5, 9]
