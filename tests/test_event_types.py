"""Event types: a new one that is a slip away from a known one, and bridges that take no others."""

from collections.abc import Callable

import pytest

from bridge.suggest import slips
from tests.support import Agent, Agents, BridgeProcess
from tests.support.answers import assert_problem

Start = Callable[..., BridgeProcess]
AgentsOn = Callable[[BridgeProcess], Agents]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("test_passing", "tests_passing"),
        ("tests_pasing", "tests_passing"),
        ("tests_passsing", "tests_passing"),
        ("tests_passimg", "tests_passing"),
        ("tests_pasisng", "tests_passing"),
        ("testsPassing", "tests_passing"),
        ("Tests-Passing", "tests_passing"),
        ("tests.passing", "tests_passing"),
        ("build.finishd", "build.finished"),
    ],
)
def test_a_slip_leads_back(written: str, meant: str) -> None:
    assert meant in slips(written)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("step_1", "step_2"),
        ("step_12", "step_21"),
        ("step_1", "step_12"),
        ("worker_a", "worker_b"),
        ("a", "b"),
        ("go_up", "go_in"),
        ("tests_passing", "tests_failing"),
        ("x" * 128, "x" * 127),
    ],
)
def test_names_that_differ_on_purpose_are_no_slips(one: str, other: str) -> None:
    assert other not in slips(one)
    assert one not in slips(other)


def warnings(receipt: dict[str, object]) -> str:
    return str(receipt.get("warnings", ""))


def test_a_slip_is_stored_and_asked_about_once(agents: Agents) -> None:
    agent = agents()
    assert "did you mean `tests_passing`?" in warnings(agent.publish("test_passing"))
    assert "did you mean" not in warnings(agent.publish("test_passing"))
    assert "did you mean" not in warnings(agent.publish("tests_passing"))
    assert len(agent.events("test_passing")) == 2
    other = agents(project_id=f"{agents.project}-other")
    assert "did you mean" in warnings(other.publish("test_passing"))


def test_types_of_the_projects_own_are_known_on_every_bridge(
    nats_url: str, agents: Agents, start_bridge: Start
) -> None:
    first, second = agents(), agents(url=start_bridge(nats_url).url)
    assert "warnings" not in first.publish("deploy.finished")
    assert len(second.history()["events"]) == 1
    slip = {"event_type": "deploy.finishde"}
    receipts = second.publish_many([slip, slip, {"event_type": "deploy.finished"}])
    asked = ["did you mean `deploy.finished`?" in warnings(receipt) for receipt in receipts]
    assert asked == [True, True, False]
    stranger = agents(project_id=f"{agents.project}-other")
    assert "warnings" not in stranger.publish("deploy.finishde")


def test_a_bridge_may_take_no_type_but_the_catalogues(
    nats_url: str, start_bridge: Start, agents_on: AgentsOn
) -> None:
    agent = agents_on(start_bridge(nats_url, unknown_types="refuse"))()
    agent.publish("tests_passing")
    answer = agent.http.post("/events/test_passing", json={})
    told = assert_problem(answer, "EVT_002", says="did you mean `tests_passing`?")
    assert told["details"]["field"] == "event_type"
    many = [{"event_type": "tests_passing"}, {"event_type": "custom"}]
    told = assert_problem(agent.http.post("/events", json=many), "EVT_002", says="event 1 ")
    assert "BRIDGE_UNKNOWN_TYPES" in told["message"]
    assert len(agent.history()["events"]) == 1
    assert agent.events("custom") == []


def test_very_many_new_types_keep_nobody_waiting(agent: Agent) -> None:
    """Of each are a thousand names one slip away."""
    answer = agent.http.post(
        "/events", json=[{"event_type": f"{'x' * 50}{n}"} for n in range(1000)]
    )
    assert answer.status_code == 202
    assert answer.elapsed.total_seconds() < 5
