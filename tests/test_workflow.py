"""The Event System Guide's complete workflow, each agent a process of its own."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import Agents, BridgeProcess, eventually
from tests.support.agents import make_token

SCRIPTS = Path(__file__).parent / "support" / "workflow"
ROLES = ("python-specialist", "test-engineer", "security-auditor", "devops-engineer")
EVENTS = (
    "architecture_defined",
    "agent_completed",
    "implementation_complete",
    "tests_passing",
    "security_audit_complete",
    "deployment_started",
    "deployment_complete",
)
HEARD = {
    "coordinator": {
        "agent_completed",
        "tests_passing",
        "security_audit_complete",
        "deployment_complete",
    },
    "python-specialist": {"architecture_defined", "deployment_complete"},
    "test-engineer": {"implementation_complete", "deployment_complete"},
    "security-auditor": {"implementation_complete", "deployment_complete"},
    "devops-engineer": {"deployment_started", "deployment_complete"},
}
_SEEN = re.compile(r"^Seen: (\S+) (\S+) (\d+)$", re.MULTILINE)


class Workflow:
    """The processes of one workflow, in a project of its own."""

    def __init__(self, api: str, project: str) -> None:
        self._api = api
        self._project = project
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.outputs: dict[str, str] = {}

    def start(self, name: str, *args: str) -> None:
        script = ["coordinator.py"] if name == "coordinator" else ["agent.py", name, *args]
        token = make_token(name, agent_type=name, project_id=self._project)
        self.processes[name] = subprocess.Popen(
            [sys.executable, str(SCRIPTS / script[0]), *script[1:]],
            env={**os.environ, "SIDECAR_URL": self._api, "JWT_TOKEN": token},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self) -> dict[str, int]:
        """Wait for every process and give the exit statuses."""
        for name, process in self.processes.items():
            self.outputs[name] = process.communicate(timeout=60)[0]
        return {name: process.returncode for name, process in self.processes.items()}

    def seen(self, name: str) -> list[tuple[str, str, str]]:
        """What a process says it was given: event ID, type and delivery count."""
        return _SEEN.findall(self.outputs[name])

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture
def workflow(bridge: BridgeProcess, agents: Agents) -> Iterator[Workflow]:
    made = Workflow(bridge.api, agents.project)
    yield made
    made.end()


@pytest.mark.parametrize(
    "order",
    [(*ROLES, "coordinator"), ("coordinator", *reversed(ROLES))],
    ids=["agents first", "coordinator first"],
)
def test_the_guides_workflow_completes(
    workflow: Workflow, agents: Agents, order: tuple[str, ...]
) -> None:
    """Whoever starts first, nothing is missed and nothing comes twice."""
    for name in order:
        workflow.start(name)

    assert workflow.finish() == dict.fromkeys(order, 0), workflow.outputs

    coordinator = workflow.outputs["coordinator"]
    assert coordinator.splitlines()[-1] == "Workflow complete!", coordinator
    assert "Tests passing: 94.5% coverage" in coordinator
    stored = agents("onlooker").history(order="asc")["events"]
    assert Counter(event["event_type"] for event in stored) == Counter(EVENTS)
    assert len({event["correlation_id"] for event in stored}) == 1
    ids = {event["event_type"]: event["event_id"] for event in stored}
    for name, heard in HEARD.items():
        expected = sorted((ids[kind], kind, "1") for kind in heard)
        assert sorted(workflow.seen(name)) == expected, workflow.outputs[name]


def test_nothing_is_left_over_when_the_workflow_is_done(workflow: Workflow, agents: Agents) -> None:
    for name in (*ROLES, "coordinator"):
        workflow.start(name)
    assert set(workflow.finish().values()) == {0}, workflow.outputs

    onlooker = agents("onlooker", permissions=["publish_events", "spawn_agents"])

    def open_ends(subscriptions: list[dict[str, Any]]) -> int:
        return sum(each["pending"] + each["ack_pending"] for each in subscriptions)

    eventually(lambda: open_ends(onlooker.subscriptions()) == 0, what="the last acknowledgement")
    subscriptions = onlooker.subscriptions()
    assert {each["agent"] for each in subscriptions} == {*ROLES, "coordinator"}
    assert sum(each["redelivered"] for each in subscriptions) == 0


def test_two_workflows_at_once_do_not_mix(bridge: BridgeProcess, agents: Agents) -> None:
    """Two coordinators share four agents: the correlation ID keeps their replies apart."""
    flows = [Workflow(bridge.api, agents.project) for _ in range(2)]
    try:
        for role in ROLES:
            flows[0].start(role, "2")
        for flow in flows:
            flow.start("coordinator")
        for flow in flows:
            assert set(flow.finish().values()) == {0}, flow.outputs
        for flow in flows:
            assert flow.outputs["coordinator"].endswith("Workflow complete!\n"), flow.outputs
            assert len(flow.seen("coordinator")) == 4
    finally:
        for flow in flows:
            flow.end()
    stored = agents("onlooker").history(limit=100)["events"]
    by_workflow = Counter((event["correlation_id"], event["event_type"]) for event in stored)
    assert len({correlation for correlation, _ in by_workflow}) == 2
    assert set(by_workflow.values()) == {1}
    assert len(by_workflow) == 2 * len(EVENTS)
