"""The client for agents: publish events, wait for them, hear them in the background.

`EventClient` blocks, `AsyncEventClient` is for asyncio; `bridge.client.patterns` has the ways in
which agents commonly work together. Seconds everywhere.
"""

from bridge.client.answers import Batch, Event, Gap, Page, Published, Subscription, Token
from bridge.client.clients import AsyncEventClient, EventClient
from bridge.client.errors import UnexpectedAnswer, Unreachable
from bridge.client.listening import AsyncListener, Listener

__all__ = [
    "AsyncEventClient",
    "AsyncListener",
    "Batch",
    "Event",
    "EventClient",
    "Gap",
    "Listener",
    "Page",
    "Published",
    "Subscription",
    "Token",
    "UnexpectedAnswer",
    "Unreachable",
]
