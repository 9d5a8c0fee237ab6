"""The Event System Guide's coordination patterns, between agents that run at the same time."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import Any

import pytest

from tests.support import Agent, Agents, eventually

Json = dict[str, Any]
Run = Callable[..., "Future[Any]"]


@pytest.fixture
def run() -> Iterator[Run]:
    """Run an agent's part beside the test."""
    with ThreadPoolExecutor(12) as pool:
        yield pool.submit


def waiting(agent: Agent) -> int:
    """How many waits are open on the agent's subscriptions."""
    return sum(each["waiting"] for each in agent.subscriptions())


def test_feedback_loop_shows_each_round_its_own_review(agents: Agents, run: Run) -> None:
    """Not approved in round 1, approved in round 2; no review is seen in two rounds."""
    worker, reviewer = agents("worker"), agents("reviewer")
    correlation = "feedback-1"

    def work() -> list[Json]:
        reviews = []
        for number in (1, 2, 3):
            worker.publish("work_complete", {"round": number, "correlation_id": correlation})
            found = worker.events(
                "review_complete", timeout=30, filter=f"correlation_id:{correlation}"
            )
            reviews += [event["data"] for event in found]
            if found[0]["data"]["approved"]:
                break
        return reviews

    def review() -> list[int]:
        rounds = []
        for approved in (False, True):
            (event,) = reviewer.events("work_complete", timeout=30)
            rounds.append(event["data"]["round"])
            reviewer.publish(
                "review_complete",
                {
                    "round": event["data"]["round"],
                    "approved": approved,
                    "findings": [],
                    "correlation_id": event["data"]["correlation_id"],
                },
            )
        return rounds

    working, reviewing = run(work), run(review)
    assert reviewing.result() == [1, 2]
    assert [(each["round"], each["approved"]) for each in working.result()] == [
        (1, False),
        (2, True),
    ]


def test_phased_workflow_waits_for_the_next_agents(agents: Agents, run: Run) -> None:
    leader = agents("leader")
    correlation = "phased-1"
    phases = {
        "architecture": ["python-specialist", "go-specialist"],
        "implementation": ["test-engineer"],
        "testing": ["security-auditor"],
    }

    def follower(kind: str) -> str:
        agent = agents(f"{kind}-1", agent_type=kind)
        while True:
            for event in agent.events("phase_complete", timeout=30):
                if kind in event["data"]["next_agents"]:
                    agent.publish(
                        "agent_completed", {"agent_type": kind, "correlation_id": correlation}
                    )
                    return str(event["data"]["phase"])

    followers = {kind: run(follower, kind) for kinds in phases.values() for kind in kinds}
    for number, (phase, kinds) in enumerate(phases.items(), 1):
        leader.publish(
            "phase_complete",
            {
                "phase": phase,
                "phase_number": number,
                "next_agents": kinds,
                "correlation_id": correlation,
            },
        )
        for kind in kinds:
            (done,) = leader.events(
                "agent_completed",
                timeout=30,
                filter=f"agent_type:{kind},correlation_id:{correlation}",
            )
            assert done["publisher"] == f"{kind}-1"

    assert {kind: each.result() for kind, each in followers.items()} == {
        kind: phase for phase, kinds in phases.items() for kind in kinds
    }


def test_dependency_chain_waits_for_all_whatever_else_completes(agents: Agents, run: Run) -> None:
    waiter = agents("waiter")
    dependencies = {"chief-architect", "python-specialist", "database-architect"}

    def depend() -> list[str]:
        seen: list[str] = []
        while not dependencies <= set(seen):
            events = waiter.events("agent_completed", timeout=30)
            seen += [event["data"]["agent_type"] for event in events]
        return seen

    chain = run(depend)
    published = ["chief-architect", "an-outsider", "python-specialist", "database-architect"]
    for kind in published:
        agents(kind).publish("agent_completed", {"agent_type": kind, "status": "success"})

    assert chain.result() == published


def test_request_and_response(agents: Agents, run: Run) -> None:
    asker, answerer = agents("asker"), agents("answerer")

    def answer() -> None:
        (request,) = answerer.events("review_requested", timeout=30)
        answerer.publish(
            "review_complete",
            {"approved": True, "correlation_id": request["data"]["correlation_id"]},
        )

    answering = run(answer)
    eventually(lambda: waiting(answerer), what="the answerer's wait")
    asker.publish("review_requested", {"files": ["api.py"], "correlation_id": "request-1"})
    (response,) = asker.events("review_complete", timeout=30, filter="correlation_id:request-1")

    assert response["data"]["approved"] is True
    answering.result()


def test_a_reply_published_before_the_first_wait_is_not_lost(agents: Agents) -> None:
    """A quick answerer must not depend on how soon the asker comes to wait."""
    asker, answerer = agents("asker"), agents("answerer")
    asker.publish("review_requested", {"correlation_id": "early"})
    answerer.publish("review_complete", {"approved": True, "correlation_id": "other"})
    answerer.publish("review_complete", {"approved": False, "correlation_id": "early"})

    batch = asker.wait("review_complete", timeout=5, filter="correlation_id:early")

    assert [event["data"]["approved"] for event in batch["events"]] == [False]
    assert batch["timeout"] is False
    assert asker.events("review_complete", filter="correlation_id:early") == []


def test_many_askers_at_once_each_get_their_own_response(agents: Agents, run: Run) -> None:
    answerer = agents("answerer")

    def ask(number: int) -> str:
        asker = agents(f"asker-{number}")
        asker.publish("question", {"correlation_id": f"question-{number}"})
        (event,) = asker.events("reply", timeout=30, filter=f"correlation_id:question-{number}")
        return str(event["data"]["to"])

    asking = [run(ask, number) for number in range(10)]
    answered = 0
    while answered < 10:
        for event in answerer.events("question", timeout=30):
            correlation = event["data"]["correlation_id"]
            answerer.publish("reply", {"to": event["publisher"], "correlation_id": correlation})
            answered += 1

    assert [each.result() for each in asking] == [f"asker-{number}" for number in range(10)]


def test_a_broadcast_reaches_every_agent_once(agents: Agents, run: Run) -> None:
    """Those that wait already and one that comes later; the publisher is told who was waiting."""
    hearers = [agents(f"hearer-{number}") for number in range(6)]
    waits = [run(each.events, "architecture_defined", timeout=30) for each in hearers]
    for each in hearers:
        eventually(lambda each=each: waiting(each), what=f"the wait of {each.name}")  # type: ignore[misc]

    receipt = agents("chief").publish(
        "architecture_defined", {"decision": "Use microservices", "broadcast": True}
    )

    assert receipt["subscribers_notified"] == sorted(each.name for each in hearers)
    assert receipt["subscriber_count"] == 6
    for future in waits:
        assert [event["event_id"] for event in future.result()] == [receipt["event_id"]]
    late = agents("late").events("architecture_defined")
    assert [event["event_id"] for event in late] == [receipt["event_id"]]
    assert [each.events("architecture_defined") for each in hearers] == [[]] * 6


def _complete_task(worker: Agent) -> int:
    (task,) = worker.events("task_assigned", timeout=30, group="workers", limit=1)
    data = task["data"]
    worker.publish(
        "agent_completed", {"task": data["task"], "correlation_id": data["correlation_id"]}
    )
    return int(data["task"])


def test_fan_out_collects_every_completion_in_one_answer(agents: Agents, run: Run) -> None:
    """Each task goes to one worker of the group; `count` replaces the guide's polling loop."""
    leader = agents("leader")
    working = [run(_complete_task, agents(f"worker-{number}")) for number in range(5)]
    for task in range(5):
        leader.publish("task_assigned", {"task": task, "correlation_id": "fan-1"})

    batch = leader.wait("agent_completed", timeout=30, filter="correlation_id:fan-1", count=5)

    assert batch["timeout"] is False
    assert sorted(event["data"]["task"] for event in batch["events"]) == list(range(5))
    assert sorted(each.result() for each in working) == list(range(5))
    assert leader.events("agent_completed", filter="correlation_id:fan-1") == []


def test_fan_out_as_the_guide_polls_it_counts_nothing_twice(agents: Agents, run: Run) -> None:
    leader = agents("leader")
    working = [run(_complete_task, agents(f"worker-{number}")) for number in range(4)]
    for task in range(4):
        leader.publish("task_assigned", {"task": task, "correlation_id": "fan-2"})

    completed: list[int] = []
    while len(completed) < 4:
        events = leader.events("agent_completed", timeout=30, filter="correlation_id:fan-2")
        completed += [event["data"]["task"] for event in events]

    assert sorted(completed) == list(range(4))
    wait_for(working)


def test_count_answers_at_the_deadline_with_what_there_is(agents: Agents) -> None:
    leader = agents("leader")
    leader.publish("agent_completed", {"correlation_id": "fan-3"})

    batch = leader.wait("agent_completed", timeout=0.3, filter="correlation_id:fan-3", count=2)

    assert batch["timeout"] is True
    assert len(batch["events"]) == 1
    assert leader.events("agent_completed", filter="correlation_id:fan-3") == []


def test_waiting_for_any_of_several_types_in_one_call(agents: Agents, run: Run) -> None:
    waiter, other = agents("waiter"), agents("other")
    wait = run(waiter.events, "implementation_complete,error_encountered", timeout=30)
    eventually(lambda: waiting(waiter), what="the wait")
    other.publish("tests_passing")
    other.publish("error_encountered", {"error": "disk full"})

    assert [event["data"]["error"] for event in wait.result()] == ["disk full"]
    other.publish("implementation_complete")
    found = waiter.events("error_encountered,implementation_complete", timeout=5)
    assert [event["event_type"] for event in found] == ["implementation_complete"]


def test_waiting_for_any_of_several_types_with_a_call_for_each(agents: Agents, run: Run) -> None:
    """As the guide does it; the call that came back empty-handed has lost nothing."""
    waiter, other = agents("waiter"), agents("other")
    types = ("implementation_complete", "error_encountered")
    waits = {kind: run(waiter.events, kind, timeout=2) for kind in types}
    other.publish("error_encountered", {"error": "disk full"})

    assert len(waits["error_encountered"].result()) == 1
    assert waits["implementation_complete"].result() == []
    other.publish("implementation_complete")
    assert len(waiter.events("implementation_complete", timeout=5)) == 1


def test_a_continuous_subscription_sees_everything_once_and_in_order(
    agents: Agents, run: Run
) -> None:
    """Events come one at a time, in bursts, and between two polls."""
    subscriber, publisher = agents("subscriber"), agents("publisher")
    total = 300
    enough = threading.Event()

    def subscribe() -> list[int]:
        seen: list[int] = []
        while len(seen) < total:
            for event in subscriber.events("implementation_complete", timeout=10):
                assert event["delivery_count"] == 1
                seen.append(event["data"]["n"])
            if len(seen) >= 10:
                enough.set()
        return seen

    subscription = run(subscribe)
    for number in range(50):
        publisher.publish("implementation_complete", {"n": number})
    assert enough.wait(20)
    publisher.publish_many(
        {"event_type": "implementation_complete", "data": {"n": number}}
        for number in range(50, total)
    )

    assert subscription.result() == list(range(total))
    assert subscriber.events("implementation_complete") == []


def test_a_background_subscription_is_apart_from_the_main_work(agents: Agents, run: Run) -> None:
    """One agent waits for errors in a thread while its main thread waits for something else."""
    agent, other = agents("agent"), agents("other")
    errors = run(agent.events, "error_encountered", timeout=30)
    eventually(lambda: waiting(agent), what="the background wait")
    other.publish("tests_passing", {"coverage": 91})

    assert [event["data"]["coverage"] for event in agent.events("tests_passing", timeout=10)] == [
        91
    ]
    assert not errors.done()
    other.publish("error_encountered", {"error": "boom"})
    assert [event["data"]["error"] for event in errors.result()] == ["boom"]
