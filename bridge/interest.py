"""Interest: which events a reader wants, and how that becomes a durable subscription's name."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from bridge import filters, subjects
from bridge.errors import FilterInvalid
from bridge.events import MAX_CORRELATION_CHARACTERS, Event

DIGEST_DIGITS = 16
"""Enough that no two of a project's subscriptions ever have the same."""

_READABLE = 48
"""How many characters of an agent, of the types or of a project a consumer's name shows."""


@dataclass(frozen=True)
class Interest:
    """A project's events of some types, on some topics, that pass a filter; None means any.

    `types` and `topics` are sorted and without repeats, `filter` is canonical text, so that two
    requests that mean the same are equal.
    """

    project: str
    types: tuple[str, ...] | None = None
    topics: tuple[str, ...] | None = None
    filter: str = ""

    @cached_property
    def pin(self) -> str | None:
        """The correlation ID that every wanted event carries, if the filter demands one."""
        return filters.pinned_correlation(self._parsed)

    @cached_property
    def passes(self) -> Callable[[Event], bool]:
        """The filter as a predicate; types, topics and the project are not looked at."""
        return filters.predicate(self._parsed)

    def accepts(self, event: Event) -> bool:
        """Tell whether a reader with this interest wants the event."""
        address = subjects.Address(event.project, event.topic, event.event_type, None)
        return self.covers(address) and self.passes(event)

    def covers(self, address: subjects.Address) -> bool:
        """Tell whether project, type and topic are wanted; the filter is not looked at."""
        return (
            address.project == self.project
            and (self.types is None or address.event_type in self.types)
            and (self.topics is None or address.topic in self.topics)
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

        One that reads as a JSON number or constant may equal another spelling (1 and 1.0); one
        that is too long is no event's.
        """
        pin = self.pin
        if pin is None or len(pin) > MAX_CORRELATION_CHARACTERS or _reads_as_json(pin):
            return None
        return pin

    @cached_property
    def _parsed(self) -> filters.Filter:
        return filters.parse(self.filter)


@dataclass(frozen=True)
class Subscription:
    """An agent's interest, or a group's, kept as one durable consumer."""

    interest: Interest
    agent: str
    agent_type: str | None = None
    group: str | None = None

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
        interest = self.interest
        parts = (
            interest.project,
            self.owner,
            repr(interest.types),
            repr(interest.topics),
            interest.filter,
        )
        digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
        readable = (
            interest.project,
            self.group or self.agent,
            "-".join(interest.types or ("all",)),
        )
        shown = (subjects.encode_token(part)[:_READABLE] for part in readable)
        return "--".join((*shown, digest[:DIGEST_DIGITS]))

    def metadata(self) -> dict[str, str]:
        """Write the subscription as consumer metadata, for operators and other replicas."""
        interest = self.interest
        written = {
            "project": interest.project,
            "agent": self.agent,
            "agent_type": self.agent_type,
            "group": self.group,
            "types": ",".join(interest.types) if interest.types else "*",
            "topics": ",".join(interest.topics) if interest.topics else "*",
            "filter": interest.filter,
        }
        return {key: value for key, value in written.items() if value}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self | None:
        """Read what `metadata` wrote; None if some other program made this consumer."""
        if not {"project", "agent", "types", "topics"} <= metadata.keys():
            return None
        interest = Interest(
            metadata["project"],
            _names(metadata["types"]),
            _names(metadata["topics"]),
            metadata.get("filter", ""),
        )
        try:
            filters.parse(interest.filter)
        except FilterInvalid:
            return None
        return cls(interest, metadata["agent"], metadata.get("agent_type"), metadata.get("group"))


def _names(text: str) -> tuple[str, ...] | None:
    return None if text == "*" else tuple(text.split(","))


def _reads_as_json(text: str) -> bool:
    return text in ("true", "false", "null") or filters.numeric.read_number(text) is not None
