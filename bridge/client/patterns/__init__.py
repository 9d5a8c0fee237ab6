"""The coordination patterns of the Event System Guide, each a function of a client.

Every function takes an `EventClient` or an `AsyncEventClient` as its first argument, from one
logic: with the async client, await what it gives; functions that are passed in may then be
coroutine functions. Patterns that link events put the correlation ID beside `data`, and wait with
the filter `correlation_id:"…"`, so that several may run at once without seeing each other's events.
A reply cannot be missed by coming before its waiter asks: a subscription begins with everything
that is retained.
"""

from bridge.client.patterns.breaker import BreakerOpen, EventCircuitBreaker
from bridge.client.patterns.messages import (
    broadcast,
    publish_with_logging,
    request_response,
    robust_wait,
    wait_for_any,
)
from bridge.client.patterns.tasks import (
    Dependencies,
    FanOut,
    fan_out,
    wait_for_dependencies,
)
from bridge.client.patterns.workflows import (
    Feedback,
    Phase,
    Workflow,
    feedback_loop,
    phased_workflow,
)

__all__ = [
    "BreakerOpen",
    "Dependencies",
    "EventCircuitBreaker",
    "FanOut",
    "Feedback",
    "Phase",
    "Workflow",
    "broadcast",
    "fan_out",
    "feedback_loop",
    "phased_workflow",
    "publish_with_logging",
    "request_response",
    "robust_wait",
    "wait_for_any",
    "wait_for_dependencies",
]
