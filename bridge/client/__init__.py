"""The client for agents: publish events, wait for them, hear them in the background.

`EventClient` blocks, `AsyncEventClient` is for asyncio; `bridge.client.patterns` has the ways in
which agents commonly work together. Seconds everywhere.
"""

from bridge.client.answers import (
    Asked,
    Batch,
    LeasedEvent,
    Page,
    Published,
    Settlement,
    SubscriptionInfo,
    Token,
)
from bridge.client.calls import PublishOptions
from bridge.client.clients import AsyncEventClient, EventClient
from bridge.client.listening import AsyncListener, AsyncWorkers, Listener, Workers
from bridge.client.polling import ReadOptions
from bridge.client.replies import UnexpectedAnswer, Unreachable
from bridge.client.streaming import StreamOptions
from bridge.client.subscribing import AsyncSubscriber, Subscriber
from bridge.events import Event, Gap

__all__ = [
    "Asked",
    "AsyncEventClient",
    "AsyncListener",
    "AsyncSubscriber",
    "AsyncWorkers",
    "Batch",
    "Event",
    "EventClient",
    "Gap",
    "LeasedEvent",
    "Listener",
    "Page",
    "PublishOptions",
    "Published",
    "ReadOptions",
    "Settlement",
    "StreamOptions",
    "Subscriber",
    "SubscriptionInfo",
    "Token",
    "UnexpectedAnswer",
    "Unreachable",
    "Workers",
]
