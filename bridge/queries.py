"""Queries and answers: what the use cases take and give, as value types."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bridge.events import Event
from bridge.interest import Interest
from bridge.jetstream import Held
from bridge.positions import Gap


class Receipt(NamedTuple):
    """What became of a published event; `subscribers` are those with a matching subscription."""

    event: Event
    cursor: str
    duplicate: bool
    subscribers: Sequence[str]
    warnings: Sequence[str]


@dataclass(frozen=True, slots=True)
class WaitQuery:
    """What a wait asks for; `timeout` in seconds, None for whatever was not asked.

    `types` None with `any_type` false means the topics that the agent's type subscribes to.
    """

    types: tuple[str, ...] | None = None
    any_type: bool = False
    topics: tuple[str, ...] | None = None
    filter: str = ""
    timeout: float = 30.0
    limit: int = 100
    count: int = 1
    since: str | None = None
    only_new: bool = False
    group: str | None = None


@dataclass(slots=True)
class Batch:
    """The answer to a wait.

    The events of a durable subscription are held until `accept` (the answer was written) or
    `give_back` (the client has gone) is called, exactly one of them.
    """

    events: list[Event]
    next_cursor: str
    more_available: bool
    timed_out: bool
    gap: Gap | None = None
    held: Held | None = None
    on_accept: Callable[[], None] | None = None

    async def accept(self) -> None:
        """Acknowledge the events."""
        if self.held is not None:
            await self.held.accept()
        if self.on_accept is not None:
            self.on_accept()

    async def give_back(self) -> None:
        """Make the events available to the next wait at once."""
        if self.held is not None:
            await self.held.give_back()


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """What of the retained events to show."""

    interest: Interest
    since: str | None = None
    until: str | None = None
    newest_first: bool = True
    limit: int = 20


@dataclass(frozen=True, slots=True)
class Page:
    """Some retained events; `next_cursor` is where the next page begins."""

    events: list[Event]
    more_available: bool
    next_cursor: str
