"""The client's patterns, between agents that run at the same time on a real bridge."""

import contextlib
import itertools
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from bridge.client import Event, EventClient, Unreachable
from bridge.client.patterns import (
    BreakerOpen,
    EventCircuitBreaker,
    Phase,
    broadcast,
    fan_out,
    feedback_loop,
    phased_workflow,
    publish_with_logging,
    request_response,
    robust_wait,
    wait_for_any,
    wait_for_dependencies,
)
from bridge.errors import FilterInvalid
from tests.support import Agents, BridgeProcess, eventually
from tests.support.agents import make_token
from tests.support.clients import KINDS, Blocking, Either

Make = Callable[..., Either]
Run = Callable[..., "Future[Any]"]

TRICKY = 'a "quoted", b|c \\ !*'
"""A correlation ID of everything that a filter would take for something else."""

WORKER = """
import sys
from bridge.client import EventClient

with EventClient() as client:
    with client.subscribe("task_assigned", group="workers") as tasks:
        for event in tasks:
            if event.data["task"] == "stop":
                break
            client.publish(
                "agent_completed",
                {"task_id": event.data["task_id"], "result": event.data["task"] ** 2},
                correlation_id=event.correlation_id,
            )
            print(event.data["task_id"])
"""


@pytest.fixture
def make(bridge: BridgeProcess, agents: Agents) -> Iterator[Make]:
    """Makes clients of agents of the test's own project, and closes them."""
    with contextlib.ExitStack() as made:

        def client(name: str, kind: str = "blocking", **claims: Any) -> Either:
            token = make_token(name, project_id=agents.project, **claims)
            return made.enter_context(KINDS[kind](bridge.api, token))

        yield client


@pytest.fixture(params=KINDS)
def leader(request: pytest.FixtureRequest, make: Make) -> Either:
    """The agent that leads, with a client of either kind."""
    return make("leader", request.param)


@pytest.fixture
def run() -> Iterator[Run]:
    """Run an agent's part beside the test."""
    with ThreadPoolExecutor(8) as pool:
        yield pool.submit


def answering(client: Either, reply: str, **data: Any) -> Callable[[Event], None]:
    """Make a handler that replies to an event under its correlation ID."""

    def handle(event: Event) -> None:
        client.call("publish", reply, data, correlation_id=event.correlation_id)

    return handle


def test_a_request_is_answered(leader: Either, make: Make) -> None:
    other = make("reviewer")
    with other.on("review_requested", answering(other, "review_complete", approved=True)):
        reply = leader.pattern(
            request_response, "review_requested", "review_complete", {"files": ["a"]}, timeout=20
        )
    assert reply.data == {"approved": True}
    assert reply.publisher == "reviewer"


def test_a_reply_is_one_to_this_request(leader: Either, make: Make) -> None:
    """Not one to an earlier request of the same workflow, and not another workflow's."""
    reviewer = make("reviewer")
    reviewer.call("publish", "review_complete", {"n": 1}, correlation_id=TRICKY)

    def review(event: Event) -> None:
        for correlation_id, n in (("another", 2), (event.correlation_id, 3)):
            reviewer.call("publish", "review_complete", {"n": n}, correlation_id=correlation_id)

    with reviewer.on("review_requested", review):
        reply = leader.pattern(
            request_response,
            "review_requested",
            "review_complete",
            correlation_id=TRICKY,
            timeout=20,
        )
    assert reply.data == {"n": 3}


def test_a_request_that_nobody_answers_ends(leader: Either) -> None:
    assert leader.pattern(request_response, "ask", "answer", timeout=0.2) is None


def test_many_requests_at_once_get_each_its_own_reply(make: Make, run: Run) -> None:
    asker, other = make("asker"), make("other")

    def reply(event: Event) -> None:
        other.call("publish", "answer", dict(event.data), correlation_id=event.correlation_id)

    with other.on("ask", reply):
        replies = [
            run(asker.pattern, request_response, "ask", "answer", {"n": n}, timeout=20)
            for n in range(8)
        ]
        assert [each.result().data["n"] for each in replies] == list(range(8))


def test_a_broadcast_reaches_agents_of_every_type(leader: Either, make: Make) -> None:
    leader.pattern(broadcast, "freeze", {"until": "Monday"})
    for kind in ("test-engineer", "devops-engineer", "somebody-else"):
        (event,) = make(kind, agent_type=kind).call("wait", timeout=10).events
        assert event.data == {"until": "Monday", "broadcast": True}


def test_any_of_several_types_ends_the_wait(leader: Either, make: Make, run: Run) -> None:
    types = ["implementation_complete", "error_encountered"]
    waiting = run(leader.pattern, wait_for_any, types, filter="severity:high", timeout=20)
    make("other").call("publish", "error_encountered", {"severity": "low"})
    make("other").call("publish", "error_encountered", {"severity": "high"})
    assert [event.data for event in waiting.result()] == [{"severity": "high"}]
    assert leader.pattern(wait_for_any, types, timeout=0.1) != []
    assert leader.pattern(wait_for_any, types, timeout=0.1) == []


def test_tasks_are_fanned_out_to_processes_and_gathered(
    make: Make, bridge: BridgeProcess, agents: Agents
) -> None:
    """Three workers share the tasks; each task is done once."""
    names = [f"worker-{n}" for n in range(3)]
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", WORKER],
            env={
                **os.environ,
                "SIDECAR_URL": bridge.api,
                "JWT_TOKEN": make_token(name, project_id=agents.project),
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    try:
        leader = make("leader")
        found = leader.pattern(fan_out, range(12), timeout=30)
        assert found.missing == []
        results = {event.data["task_id"]: event.data["result"] for event in found.results}
        assert results == {number: (number - 1) ** 2 for number in range(1, 13)}
        assert {event.publisher for event in found.results} <= set(names)
        leader.call("publish_many", [{"event_type": "task_assigned", "data": {"task": "stop"}}] * 3)
        done = [int(line) for each in workers for line in each.communicate(timeout=20)[0].split()]
        assert sorted(done) == list(range(1, 13))
        assert [each.returncode for each in workers] == [0, 0, 0]
    finally:
        for each in workers:
            each.kill()
            each.communicate()


def test_a_fan_out_says_which_tasks_are_missing(leader: Either, make: Make) -> None:
    """A second result for a task, or one of another workflow, stands for no other task."""
    tasks = [{"agent_type": kind} for kind in ("python", "go", "rust")]
    other = make("other")
    for kind, correlation in (("go", "f-1"), ("go", "f-1"), ("rust", "f-2")):
        other.call("publish", "agent_completed", {"agent_type": kind}, correlation_id=correlation)
    found = leader.pattern(fan_out, tasks, correlation_id="f-1", timeout=0.5)
    assert [event.data["agent_type"] for event in found.results] == ["go"]
    assert found.missing == [tasks[0], tasks[2]]
    for number in (2, 2, 7):
        other.call("publish", "done", {"task_id": number}, correlation_id="f-3")
    other.call("publish", "done", {"ok": True}, correlation_id="f-3")
    found = leader.pattern(fan_out, "abc", done_type="done", correlation_id="f-3", timeout=0.5)
    assert (len(found.results), found.missing) == (2, ["c"])


def test_work_goes_round_until_it_is_approved(leader: Either, make: Make) -> None:
    reviewer = make("reviewer")
    verdicts = itertools.chain([False, True], itertools.repeat(True))
    given: list[Any] = []

    def review(event: Event) -> None:
        data = {"round": event.data["round"], "approved": next(verdicts), "findings": ["x"]}
        stale = {"round": event.data["round"] - 1, "approved": True}
        for each in (stale, data):
            reviewer.call("publish", "review_complete", each, correlation_id=event.correlation_id)

    def work(review: Event | None) -> dict[str, Any]:
        given.append(review and review.data["findings"])
        return {"files": len(given)}

    with reviewer.on("work_complete", review):
        end = leader.pattern(feedback_loop, work, timeout=20)
    assert (end.approved, end.rounds, end.result) == (True, 2, {"files": 2})
    assert [each.data["approved"] for each in end.reviews] == [False, True]
    assert given == [None, ["x"]]


def test_work_that_is_never_approved_ends(leader: Either, make: Make) -> None:
    reviewer = make("reviewer")
    handler = answering(reviewer, "review_complete", approved=False)
    with reviewer.on("work_complete", handler):
        end = leader.pattern(feedback_loop, lambda _: 1, max_rounds=2, timeout=20)
    assert (end.approved, end.rounds, len(end.reviews)) == (False, 2, 2)


def test_work_that_nobody_reviews_ends(leader: Either, caplog: pytest.LogCaptureFixture) -> None:
    end = leader.pattern(feedback_loop, lambda _: 1, timeout=0.2)
    assert (end.approved, end.rounds, end.reviews) == (False, 1, [])
    assert "no review of round 1" in caplog.text


def test_what_the_work_raises_is_raised(leader: Either) -> None:
    def work(_: Event | None) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        leader.pattern(feedback_loop, work)


def test_phases_wait_for_their_agents(leader: Either, make: Make) -> None:
    """Each completes on its own; one says its type in the data, the other in its token."""
    done: list[str] = []

    def agent(kind: str) -> Any:
        client = make(f"{kind}-1", agent_type=kind)

        def follow(event: Event) -> None:
            if kind in event.data["next_agents"]:
                done.append(f"{event.data['phase_number']} {kind}")
                data = {"agent_type": kind} if kind == "go" else {}
                client.call("publish", "agent_completed", data, correlation_id=event.correlation_id)

        return client.on("phase_complete", follow)

    def implement(results: dict[str, Any]) -> str:
        assert sorted(done) == ["1 go", "1 python"]
        return str(results["design"]) + " implemented"

    phases = [
        Phase("design", lambda _: "services", ["python", "go"]),
        Phase("implementation", implement, ["go"]),
        Phase("end", len),
    ]
    with agent("python"), agent("go"):
        end = leader.pattern(phased_workflow, phases, timeout=20)
    assert end.complete
    assert end.results == {
        "design": "services",
        "implementation": "services implemented",
        "end": 2,
    }
    assert sorted(done) == ["1 go", "1 python", "2 go"]
    assert [event.correlation_id for event in end.completions] == [end.correlation_id] * 3


def test_a_phase_whose_agents_do_not_complete_is_the_last(leader: Either, make: Make) -> None:
    make("go-1", agent_type="go").call("publish", "agent_completed", correlation_id="w-1")
    phases = [Phase("one", lambda _: 1, ["go", "rust"]), Phase("two", lambda _: 2)]
    end = leader.pattern(phased_workflow, phases, correlation_id="w-1", timeout=0.3)
    assert (end.complete, end.missing, end.results) == (False, ["rust"], {"one": 1})
    assert [event.publisher for event in end.completions] == ["go-1"]


def test_async_functions_are_awaited(make: Make) -> None:
    async def work(_: Any) -> str:
        return "done"

    leader = make("leader", "async")
    end = leader.pattern(phased_workflow, [Phase("one", work)])
    assert end.results == {"one": "done"}
    assert leader.pattern(feedback_loop, work, timeout=0).result == "done"


def test_dependencies_may_have_completed_before(leader: Either, make: Make, run: Run) -> None:
    early = make("early", agent_type="chief-architect")
    early.call("publish", "agent_completed", correlation_id="d-1")
    early.call("publish", "agent_completed", {"agent_type": "qa"}, correlation_id="d-0")
    needed = ["chief-architect", "database-architect", "qa"]
    waiting = run(leader.pattern, wait_for_dependencies, needed, correlation_id="d-1", timeout=20)
    for kind in ("qa", "stranger", "qa", "database-architect"):
        make("late").call("publish", "agent_completed", {"agent_type": kind}, correlation_id="d-1")
    found = waiting.result()
    assert found.satisfied
    assert {kind: event.publisher for kind, event in found.completed.items()} == {
        "chief-architect": "early",
        "qa": "late",
        "database-architect": "late",
    }
    again = leader.pattern(wait_for_dependencies, [*needed, "ghost"], timeout=0.2)
    assert (again.missing, again.satisfied) == (["ghost"], False)
    assert leader.call("subscriptions") == [], "it takes events from nobody"


def test_a_robust_wait_tries_again(
    leader: Either, make: Make, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    assert leader.pattern(robust_wait, "work", timeout=0.1, max_attempts=2) == []
    assert [record.getMessage() for record in caplog.records if "attempt" in record.msg] == [
        "attempt 1 of 2 timed out",
        "attempt 2 of 2 timed out",
    ]
    caplog.clear()
    waiting = run(leader.pattern, robust_wait, "work", timeout=0.2, max_attempts=100)
    eventually(lambda: "attempt 1 of" in caplog.text, what="an attempt in vain")
    make("other").call("publish", "work", {"n": 1})
    assert [event.data["n"] for event in waiting.result()] == [1]


def test_a_robust_wait_survives_a_bridge_that_is_not_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Blocking("http://127.0.0.1:1/api") as nowhere:
        assert nowhere.pattern(robust_wait, "work", timeout=0, max_attempts=2) == []
    assert caplog.text.count("failed: no bridge at") == 2


def test_publishing_is_logged_and_so_is_its_failure(
    leader: Either, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bridge.client.patterns")
    stored = leader.pattern(publish_with_logging, "tests_passing", {"coverage": 92})
    with pytest.raises(Exception, match="event_type"):
        leader.pattern(publish_with_logging, "not a type", topic="testing")
    told = [each.getMessage() for each in caplog.records if each.name == "bridge.client.patterns"]
    assert told[:2] == [
        "publishing tests_passing to its usual topic",
        f"published tests_passing to testing as {stored.event_id}",
    ]
    assert told[2] == "publishing not a type to testing"
    assert told[3].startswith("not published: not a type: ")


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_breaker_opens_and_closes_again(make: Make) -> None:
    """Around a wait on a bridge that is away, and then there."""
    clock = Clock()
    breaker = EventCircuitBreaker(failure_threshold=2, timeout=60, clock=clock)
    good = make("agent").client
    with EventClient("http://127.0.0.1:1/api", "none") as bad:
        for state in ("closed", "open"):
            with pytest.raises(Unreachable):
                breaker.call(bad.wait, "work", timeout=0)
            assert breaker.state == state
        with pytest.raises(BreakerOpen) as raised:
            breaker.call(good.wait, "work", timeout=0)
        assert raised.value.retry_after == 60
        clock.now += 60
        assert str(breaker.state) == "half_open"
        with pytest.raises(Unreachable):
            breaker.call(bad.wait, "work", timeout=0)
        assert str(breaker.state) == "open"
    clock.now += 60
    assert breaker.call(good.wait, "work", timeout=0).events == []
    assert str(breaker.state) == "closed"


def test_a_half_open_breaker_lets_one_call_through(run: Run) -> None:
    clock, begun, end = Clock(), threading.Event(), threading.Event()
    breaker = EventCircuitBreaker(failure_threshold=1, timeout=1, clock=clock)

    def fail() -> None:
        raise httpx.ReadError("lost")

    def slow() -> str:
        begun.set()
        assert end.wait(20)
        return "back"

    with pytest.raises(httpx.ReadError):
        breaker.call(fail)
    clock.now += 1
    trial = run(breaker.call, slow)
    assert begun.wait(20)
    with pytest.raises(BreakerOpen):
        breaker.call(slow)
    end.set()
    assert trial.result() == "back"
    assert breaker.state == "closed"


def test_a_breaker_is_for_async_calls_too(make: Make) -> None:
    breaker = EventCircuitBreaker(failure_threshold=1)
    client = make("agent", "async")

    async def with_breaker(inner: Any, *args: Any, **options: Any) -> Any:
        return await breaker.call_async(inner.wait, *args, **options)

    client.call("publish", "work")
    assert len(client.pattern(with_breaker, "work", timeout=10).events) == 1
    with pytest.raises(FilterInvalid):
        client.pattern(with_breaker, "work", filter="a=b")
    assert breaker.state == "open"
