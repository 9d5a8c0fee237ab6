"""The agents of the demo: who they are, and what each of them does.

They know nothing of each other but the events that they wait for.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Unpack

from bridge.client import Event, EventClient
from bridge.client.patterns import (
    Phase,
    broadcast,
    feedback_loop,
    phased_workflow,
    request_response,
)
from bridge.client.polling import ReadOptions

PATIENCE_SECONDS = 60.0
COMPONENTS = {"api": "python-specialist", "worker": "go-specialist"}
FAILING = "api"
"""The component whose first version does not pass the tests."""
END = "release_announced"
TESTERS = "testers"
DOOMED, SUCCESSOR = "tester", "tester-2"
"""The tester that is killed in the middle of its work, and the one that then starts."""
SHORTEST_LEASE_SECONDS = 2.0


class StoryBroken(Exception):
    """An event that an agent waited for did not come in time."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What an agent works with: the bridge, the workflow's correlation ID, and its pace."""

    client: EventClient
    workflow: str
    speed: float

    def work(self, seconds: float) -> None:
        """Take as long as real work would, at the demo's speed."""
        time.sleep(seconds / self.speed)

    def publish(self, event_type: str, data: Mapping[str, Any]) -> None:
        """Publish as part of the workflow."""
        self.client.publish(event_type, data, correlation_id=self.workflow)

    def complete(self, agent_type: str) -> None:
        """Tell that this agent's part is done, and stay until the release is announced."""
        self.publish("agent_completed", {"agent_type": agent_type, "status": "success"})
        self.wait(END)

    def wait(
        self, *types: str, where: str = "", count: int = 1, **options: Unpack[ReadOptions]
    ) -> list[Event]:
        """Wait for so many events and no more. Raises StoryBroken if they do not come."""
        options["filter"] = where or None
        batch = self.client.wait(
            *types, count=count, limit=count, timeout=PATIENCE_SECONDS, **options
        )
        if batch.timeout:
            raise StoryBroken(f"waited {PATIENCE_SECONDS:g} s in vain for {', '.join(types)}")
        return batch.events

    def take_version(self) -> Event:
        """Take the next version that is to be tested; it is this tester's until its lease ends."""
        where = f"correlation_id:{self.workflow}.*"
        lease = max(SHORTEST_LEASE_SECONDS, 3 / self.speed)
        return self.wait("implementation_complete", where=where, group=TESTERS, lease=lease)[0]

    def of_workflow(self, *terms: str) -> str:
        """Write a filter for this workflow's events."""
        return ",".join((*terms, f"correlation_id:{self.workflow}"))


def architect(scene: Scene) -> None:
    """Lead the workflow phase by phase, and announce its end to all."""

    def design(_: dict[str, Any]) -> str:
        scene.work(0.6)
        plan = {"design": "microservices", "rationale": "scales", "components": list(COMPONENTS)}
        scene.publish("architecture_defined", plan)
        return "microservices"

    ended = phased_workflow(
        scene.client,
        [
            Phase("implementation", design, list(COMPONENTS.values())),
            Phase("verification", lambda _: "built", ["test-engineer", "security-auditor"]),
            Phase("deployment", lambda _: "safe to ship", ["devops-engineer"]),
        ],
        timeout=PATIENCE_SECONDS,
        correlation_id=scene.workflow,
    )
    if not ended.complete:
        raise StoryBroken(f"these agents did not complete: {', '.join(ended.missing)}")
    broadcast(scene.client, END, {"version": "1.0.0"})


def coder(component: str, scene: Scene) -> None:
    """Write one component, again and again until its tests pass."""
    scene.wait("architecture_defined", where=scene.of_workflow())

    def write(review: Event | None) -> dict[str, Any]:
        scene.work(0.7 if component == FAILING else 1.0)
        fixed = [] if review is None else review.data["findings"]
        return {"component": component, "files_changed": 3, "fixed": fixed}

    ended = feedback_loop(
        scene.client,
        write,
        work_type="implementation_complete",
        timeout=PATIENCE_SECONDS,
        correlation_id=f"{scene.workflow}.{component}",
    )
    if not ended.approved:
        raise StoryBroken(f"{component} was not approved in {ended.rounds} rounds")
    scene.complete(COMPONENTS[component])


def doomed_tester(scene: Scene) -> None:
    """Take a version to test, and never come to an end: the demo kills it meanwhile."""
    scene.take_version()
    time.sleep(PATIENCE_SECONDS)
    raise StoryBroken("nobody has killed it")


def tester(scene: Scene) -> None:
    """Test every version of every component, whoever had it before; one first version fails."""
    open_ones = set(COMPONENTS)
    while open_ones:
        built = scene.take_version()
        component, number = built.data["result"]["component"], built.data["round"]
        scene.work(0.5)
        passed = component != FAILING or number > 1
        if passed:
            open_ones.discard(component)
            told = {"component": component, "coverage": 94.5, "duration_ms": 500}
            scene.publish("tests_passing", told)
        else:
            failing = {"component": component, "failures": ["login rejects valid users"]}
            scene.publish("tests_failing", {**failing, "errors": []})
        findings = [] if passed else ["login rejects valid users"]
        verdict = {"approved": passed, "round": number, "findings": findings}
        scene.client.publish("review_complete", verdict, correlation_id=built.correlation_id)
        scene.client.ack(built)
    scene.complete("test-engineer")


def auditor(scene: Scene) -> None:
    """Audit what is tested, and answer whoever asks for leave to deploy."""
    scene.wait("tests_passing", where=scene.of_workflow(), count=len(COMPONENTS))
    scene.publish("security_audit_started", {"scope": list(COMPONENTS)})
    scene.work(0.7)
    scene.publish("security_audit_complete", {"issues": [], "severity": "none"})
    scene.publish("agent_completed", {"agent_type": "security-auditor", "status": "success"})
    [asked] = scene.wait("review_requested", where="reviewer:security-auditor")
    scene.work(0.2)
    leave = {"approved": True, "findings": []}
    scene.client.publish("review_complete", leave, correlation_id=asked.correlation_id)
    scene.wait(END)


def deployer(scene: Scene) -> None:
    """Deploy once the phase has come and the auditor agrees."""
    scene.wait("phase_complete", where=scene.of_workflow("phase:deployment"))
    question = {"reviewer": "security-auditor", "target": "release 1.0.0"}
    leave = request_response(
        scene.client, "review_requested", "review_complete", question, timeout=PATIENCE_SECONDS
    )
    if leave is None or not leave.data["approved"]:
        raise StoryBroken("the auditor did not agree to the deployment")
    scene.publish("deployment_started", {"environment": "production", "version": "1.0.0"})
    scene.work(0.8)
    place = {"environment": "production", "url": "https://shop.example.com"}
    scene.publish("deployment_complete", place)
    scene.complete("devops-engineer")


@dataclass(frozen=True, slots=True)
class Role:
    """An agent's type, and what it does."""

    agent_type: str
    act: Callable[[Scene], None]


ROLES: Mapping[str, Role] = {
    "architect": Role("chief-architect", architect),
    "coder-api": Role("python-specialist", partial(coder, "api")),
    "coder-worker": Role("go-specialist", partial(coder, "worker")),
    DOOMED: Role("test-engineer", doomed_tester),
    SUCCESSOR: Role("test-engineer", tester),
    "security": Role("security-auditor", auditor),
    "devops": Role("devops-engineer", deployer),
}
