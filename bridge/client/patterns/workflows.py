"""Patterns of several rounds: work until it is approved, phase after phase."""

import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.client.calls import Calls
from bridge.client.flow import Call, Flow
from bridge.client.patterns.pattern import correlated, pattern
from bridge.events import Event

log = logging.getLogger("bridge.client.patterns")


@dataclass(frozen=True, slots=True)
class Feedback:
    """How a feedback loop ended: the last round's result, and the review of each round.

    Not `approved` with fewer reviews than rounds means that the last one's review did not come.
    """

    correlation_id: str
    approved: bool
    rounds: int
    result: Any
    reviews: list[Event]


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase: what to do, and the agent types that must complete before the next one.

    `work` is called with the results of the phases so far, by their names.
    """

    name: str
    work: Callable[[dict[str, Any]], Any]
    next_agents: Sequence[str] = ()


@dataclass(slots=True)
class Workflow:
    """How far a workflow came: results of the phases done, and whom it waited for in vain."""

    correlation_id: str
    results: dict[str, Any] = field(default_factory=dict)
    completions: list[Event] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every phase was done and every agent completed."""
        return not self.missing


@pattern
def feedback_loop(  # noqa: PLR0913 - settings by name
    calls: Calls,
    work: Callable[[Event | None], Any],
    *,
    work_type: str = "work_complete",
    review_type: str = "review_complete",
    topic: str = "implementation",
    max_rounds: int = 3,
    timeout: float = 60.0,
    correlation_id: str | None = None,
) -> Flow[Feedback]:
    """Work, have it reviewed, and work again until a review approves, `max_rounds` times at most.

    Event System Guide, "Feedback Loop Pattern". `work` is called with the review of the round
    before (None in the first) and gives what is published as `result`, with the `round`. A review
    is an event of `review_type` under the same correlation ID with `approved` in its data; one that
    names another `round` is passed over. Each round waits `timeout` seconds.

    >>> from bridge.client import EventClient
    >>> from bridge.client.patterns import feedback_loop
    >>> def review(event):
    ...     verdict = {"approved": "tests" in event.data["result"], "findings": ["no tests"]}
    ...     client.publish("review_complete", verdict, correlation_id=event.correlation_id)
    >>> def work(review):
    ...     return ["api.py"] if review is None else ["api.py", "tests"]
    >>> with EventClient() as client, client.on("work_complete", review):
    ...     end = feedback_loop(client, work, timeout=10)
    >>> end.approved, end.rounds, end.result
    (True, 2, ['api.py', 'tests'])
    """
    correlation = correlation_id or str(uuid.uuid4())
    reviews: list[Event] = []
    result: Any = None
    number = 0
    for number in range(1, max_rounds + 1):
        result = yield Call(work, reviews[-1] if reviews else None)
        data = {"round": number, "result": result}
        yield from calls.publish(work_type, data, topic=topic, correlation_id=correlation)
        review = yield from _review(calls, review_type, correlation, number, timeout)
        if review is None:
            log.warning("no review of round %d within %g s", number, timeout)
            return Feedback(correlation, False, number, result, reviews)
        reviews.append(review)
        if review.data.get("approved") is True:
            return Feedback(correlation, True, number, result, reviews)
    return Feedback(correlation, False, number, result, reviews)


def _review(
    calls: Calls, review_type: str, correlation: str, number: int, timeout: float
) -> Flow[Event | None]:
    deadline = calls.deadline(timeout)
    while True:
        batch = yield from calls.wait(
            review_type, filter=correlated(correlation), timeout=max(0.0, deadline.left), limit=1
        )
        if not batch.events:
            return None
        if batch.events[0].data.get("round", number) == number:
            return batch.events[0]


@pattern
def phased_workflow(
    calls: Calls,
    phases: Iterable[Phase],
    *,
    phase_type: str = "phase_complete",
    done_type: str = "agent_completed",
    topic: str = "coordination",
    timeout: float = 120.0,
    correlation_id: str | None = None,
) -> Flow[Workflow]:
    """Do phase after phase; behind each, wait until its `next_agents` have completed.

    Event System Guide, "Phased Workflow Pattern". After a phase's own work `phase_type` is
    published with `phase`, `phase_number`, `result` and `next_agents`; each of those agent types
    then has `timeout` seconds to publish `done_type` under the same correlation ID, with its
    `agent_type` in the data or in its token. If one does not, the workflow ends there and names
    those that are `missing`.

    >>> from bridge.client import EventClient
    >>> from bridge.client.patterns import Phase, phased_workflow
    >>> def follow(event):
    ...     for kind in event.data["next_agents"]:
    ...         done = {"agent_type": kind, "status": "success"}
    ...         client.publish("agent_completed", done, correlation_id=event.correlation_id)
    >>> phases = [
    ...     Phase("architecture", lambda done: "microservices", ["python-specialist"]),
    ...     Phase("implementation", lambda done: f"{done['architecture']} written", ["qa"]),
    ... ]
    >>> with EventClient() as client, client.on("phase_complete", follow):
    ...     end = phased_workflow(client, phases, timeout=10)
    >>> end.complete, end.results["implementation"]
    (True, 'microservices written')
    """
    workflow = Workflow(correlation_id or str(uuid.uuid4()))
    for number, phase in enumerate(phases, 1):
        result = yield Call(phase.work, dict(workflow.results))
        data = {
            "phase": phase.name,
            "phase_number": number,
            "result": result,
            "next_agents": list(phase.next_agents),
        }
        yield from calls.publish(
            phase_type, data, topic=topic, correlation_id=workflow.correlation_id
        )
        workflow.results[phase.name] = result
        for kind in phase.next_agents:
            terms = correlated(workflow.correlation_id, ("agent_type", kind))
            batch = yield from calls.wait(done_type, filter=terms, timeout=timeout, limit=1)
            workflow.completions += batch.events
            if not batch.events:
                log.warning("phase %s: %s has not completed", phase.name, kind)
                workflow.missing.append(kind)
        if workflow.missing:
            break
    return workflow
