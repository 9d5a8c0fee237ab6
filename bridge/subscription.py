"""Selection: which events a reader wants, and how that becomes a durable subscription's name."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Self, get_args

from bridge import filters, subjects
from bridge.errors import FilterInvalid
from bridge.events import MAX_CORRELATION_CHARACTERS, Event
from bridge.scopes import Scope

DIGEST_DIGITS = 16
"""Enough that no two of a project's subscriptions ever have the same."""

Deliver = Literal["all", "new", "last"]
"""Where a durable subscription begins: with all that is retained, with what comes, or with the
newest event of each type and correlation ID, and then what comes."""

DELIVER: tuple[str, ...] = get_args(Deliver)

_READABLE = 48
"""How many characters of an agent, of the types or of a project a consumer's name shows."""


@dataclass(frozen=True)
class Selection:
    """A project's events of some types, on some topics, that pass a filter; None means any.

    `types` and `topics` are sorted and without repeats, and `filter_text` is the filter in its
    canonical form, so that two requests that mean the same are equal. `within` is what its reader
    may see, where that is less than the rest selects.
    """

    project: str
    types: tuple[str, ...] | None = None
    topics: tuple[str, ...] | None = None
    filter: filters.Filter = field(default=filters.EVERYTHING, compare=False)
    within: Scope | None = None
    filter_text: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "filter_text", filters.canonical(self.filter))

    @cached_property
    def pin(self) -> str | None:
        """The correlation ID that every wanted event carries, if the filter demands one."""
        return filters.pinned_correlation(self.filter)

    @cached_property
    def passes(self) -> Callable[[Event], bool]:
        """The filter as a predicate; types, topics and the project are not looked at."""
        return filters.predicate(self.filter)

    def accepts(self, event: Event) -> bool:
        """Tell whether a reader with this selection wants the event."""
        address = subjects.Address(event.project, event.topic, event.event_type, None)
        return self.covers(address) and self.passes(event)

    def covers(self, address: subjects.Address) -> bool:
        """Tell whether project, type and topic are wanted; the filter is not looked at."""
        return (
            address.project == self.project
            and (self.types is None or address.event_type in self.types)
            and (self.topics is None or address.topic in self.topics)
            and (self.within is None or self.within.takes(address.topic, address.event_type))
        )

    def is_for(self, alias: str | None) -> bool:
        """Tell whether a copy is meant for this reader: the alias of an event is, only if pinned.

        Whoever is pinned to the event's second correlation ID is served by the alias alone;
        everybody else by the event itself.
        """
        return alias is None or alias == self.indexed_pin

    def patterns(self) -> list[str]:
        """Give the subjects to ask the server for; `accepts` has the last word on the rest."""
        return subjects.patterns(self.project, self.types, self.topics, self.indexed_pin)

    @cached_property
    def indexed_pin(self) -> str | None:
        """The pinned correlation ID, if subjects and indexes find every event that has it.

        One that is too long is no event's.
        """
        pin = filters.indexable_correlation(self.filter)
        return pin if pin is not None and len(pin) <= MAX_CORRELATION_CHARACTERS else None


@dataclass(frozen=True)
class Subscription:
    """An agent's selection, or a group's, kept as one durable consumer."""

    selection: Selection
    agent: str
    agent_type: str | None = None
    group: str | None = None
    consumer: str | None = None
    """A name of the agent's choice, which makes this another subscription than one without."""

    @property
    def owner(self) -> str:
        """Whom an event goes to: the agent, or the group as `group:<name>`."""
        return self.agent if self.group is None else f"group:{self.group}"

    @cached_property
    def name(self) -> str:
        """The consumer's name, the same on every replica and after every restart.

        It begins with project, owner and types for whoever reads a list of consumers, and ends in
        a digest of the whole, which makes it one subscription's own.
        """
        selection = self.selection
        parts = (
            selection.project,
            self.owner,
            repr(selection.types),
            repr(selection.topics),
            selection.filter_text,
            *(() if self.consumer is None else (self.consumer,)),
            *(() if selection.within is None else (f"within {selection.within}",)),
        )
        digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
        readable = (
            selection.project,
            self.group or self.agent,
            "-".join(selection.types or ("all",)),
        )
        shown = (subjects.encode_token(part)[:_READABLE] for part in readable)
        return "--".join((*shown, digest[:DIGEST_DIGITS]))

    def metadata(self) -> dict[str, str]:
        """Write the subscription as consumer metadata, for operators and other replicas."""
        selection = self.selection
        written = {
            "project": selection.project,
            "agent": self.agent,
            "agent_type": self.agent_type,
            "group": self.group,
            "consumer": self.consumer,
            "types": ",".join(selection.types) if selection.types else "*",
            "topics": ",".join(selection.topics) if selection.topics else "*",
            "filter": selection.filter_text,
            "within": None if selection.within is None else str(selection.within),
        }
        return {key: value for key, value in written.items() if value}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self | None:
        """Read what `metadata` wrote; None if some other program made this consumer."""
        if not {"project", "agent", "types", "topics"} <= metadata.keys():
            return None
        try:
            wanted = filters.parse(metadata.get("filter", ""))
            within = Scope.read(metadata["within"].split()) if "within" in metadata else None
        except (FilterInvalid, ValueError):
            return None
        types, topics = _names(metadata["types"]), _names(metadata["topics"])
        selection = Selection(metadata["project"], types, topics, wanted, within)
        chosen = (metadata.get(name) for name in ("agent_type", "group", "consumer"))
        return cls(selection, metadata["agent"], *chosen)


def _names(text: str) -> tuple[str, ...] | None:
    return None if text == "*" else tuple(text.split(","))
