"""Patterns of many agents: hand out tasks and gather, wait for all that is needed."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.client.calls import Calls
from bridge.client.flow import Flow
from bridge.client.patterns.pattern import correlated, pattern
from bridge.events import Event


@dataclass(frozen=True, slots=True)
class FanOut:
    """What came of tasks: a result event for each that was done, and the tasks still missing."""

    correlation_id: str
    results: list[Event]
    missing: list[Any]


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Who has completed, each with the event that says so, and who is still missing."""

    completed: dict[str, Event]
    missing: list[str]

    @property
    def satisfied(self) -> bool:
        """Whether nobody is missing."""
        return not self.missing


@pattern
def fan_out(
    calls: Calls,
    tasks: Iterable[Any],
    *,
    task_type: str = "task_assigned",
    done_type: str = "agent_completed",
    topic: str = "coordination",
    timeout: float = 300.0,
    correlation_id: str | None = None,
) -> Flow[FanOut]:
    """Publish one event for each task, and wait until all are done or `timeout` seconds are over.

    Event System Guide, "Fan-Out Pattern". A task, any JSON value, is published as
    `{"task": …, "task_id": n}`, all under one correlation ID. A result is an event of `done_type`
    with that correlation ID. It says which task it is for with the same `task_id`, or else with its
    `agent_type` where tasks have one; a result that says neither counts for the oldest task that is
    open. A second result for a task does not count for another.

    >>> from bridge.client import EventClient
    >>> from bridge.client.patterns import fan_out
    >>> def work(event):
    ...     done = {"task_id": event.data["task_id"], "status": "success"}
    ...     client.publish("agent_completed", done, correlation_id=event.correlation_id)
    >>> with EventClient() as client, client.on("task_assigned", work):
    ...     gathered = fan_out(client, [{"work": "API"}, {"work": "CLI"}], timeout=10)
    >>> [event.data["task_id"] for event in gathered.results], gathered.missing
    ([1, 2], [])
    """
    correlation = correlation_id or str(uuid.uuid4())
    missing = dict(enumerate(tasks, 1))
    yield from calls.publish_many(
        {
            "event_type": task_type,
            "topic": topic,
            "correlation_id": correlation,
            "data": {"task": task, "task_id": number},
        }
        for number, task in missing.items()
    )
    deadline = calls.deadline(timeout)
    results: list[Event] = []
    while missing:
        batch = yield from calls.wait(
            done_type,
            filter=correlated(correlation),
            timeout=max(0.0, deadline.left),
            count=len(missing),
        )
        for event in batch.events:
            number = _task_of(event, missing)
            if number is not None:
                del missing[number]
                results.append(event)
        if batch.timeout:
            break
    return FanOut(correlation, results, list(missing.values()))


def _task_of(event: Event, missing: Mapping[int, Any]) -> int | None:
    """Say which of the tasks that are open a result is for, None if it is for none of them."""
    if "task_id" in event.data:
        told = event.data["task_id"]
        return next((number for number in missing if str(number) == str(told)), None)
    kind = event.data.get("agent_type")
    typed = {
        number: task["agent_type"]
        for number, task in missing.items()
        if isinstance(task, Mapping) and "agent_type" in task
    }
    if kind is not None and typed:
        return next((number for number, needed in typed.items() if needed == kind), None)
    return next(iter(missing), None)


@pattern
def wait_for_dependencies(
    calls: Calls,
    dependencies: Sequence[str],
    *,
    event_type: str = "agent_completed",
    correlation_id: str | None = None,
    since: str = "earliest",
    timeout: float | None = 300.0,
) -> Flow[Dependencies]:
    """Wait until every agent type named has completed, or `timeout` seconds are over.

    Event System Guide, "Dependency Chain Pattern". An agent type has completed when an event of
    `event_type` says it in its data as `agent_type`, or was published by an agent of that type and
    says nothing else. Whatever is retained counts, also what came before this call: give the
    workflow's `correlation_id`, or a time or cursor as `since`, to leave out earlier workflows. No
    subscription of the caller's moves.

    >>> from bridge.client import EventClient
    >>> from bridge.client.patterns import wait_for_dependencies
    >>> with EventClient() as client:
    ...     for kind in ("chief-architect", "database-architect"):
    ...         _ = client.publish("agent_completed", {"agent_type": kind, "status": "success"})
    ...     found = wait_for_dependencies(client, ["chief-architect", "qa"], timeout=0.1)
    >>> list(found.completed), found.missing, found.satisfied
    (['chief-architect'], ['qa'], False)
    """
    terms = None if correlation_id is None else correlated(correlation_id)
    missing = dict.fromkeys(dependencies)
    completed: dict[str, Event] = {}
    deadline = calls.deadline(timeout)
    while missing:
        left = None if timeout is None else max(0.0, deadline.left)
        batch = yield from calls.wait(event_type, filter=terms, since=since, timeout=left)
        since = batch.next_cursor
        for event in batch.events:
            kind = event.data.get("agent_type", event.agent_type)
            if kind in missing:
                del missing[kind]
                completed[kind] = event
        if batch.timeout:
            break
    return Dependencies(completed, list(missing))
