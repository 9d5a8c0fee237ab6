"""What the catalogue knows, as value types, and the questions a publish or a wait asks it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

UNKNOWN_AGENT_TOPICS = ("coordination", "error")
"""What an agent hears whose type the catalogue does not list (the contract, Wait)."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A group of events; the texts are for people, nothing is decided by them."""

    purpose: str
    publishers: tuple[str, ...]
    subscribers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EventType:
    """A standard event type: its default topic, and the data fields documented for it.

    `also_on` holds the other topics on which it is no surprise.
    """

    topic: str
    description: str
    data_fields: tuple[str, ...]
    also_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentType:
    """The topics that agents of one type hear; None means every topic, custom ones included."""

    subscribes_to: tuple[str, ...] | None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Catalog:
    """Every topic, event type and agent type by name. Whatever is not listed may be used too."""

    topics: Mapping[str, Topic]
    event_types: Mapping[str, EventType]
    agent_types: Mapping[str, AgentType]

    def topic_of(self, event_type: str) -> str | None:
        """Give the default topic of a standard event type, None for any other."""
        kind = self.event_types.get(event_type)
        return None if kind is None else kind.topic

    def topics_of(self, agent_type: str | None) -> tuple[str, ...] | None:
        """Give the topics that agents of this type hear; None means every topic."""
        kind = None if agent_type is None else self.agent_types.get(agent_type)
        return UNKNOWN_AGENT_TOPICS if kind is None else kind.subscribes_to

    def warnings(self, event_type: str, topic: str, data: Mapping[str, Any]) -> Sequence[str]:
        """Say what is unusual about an event: its topic, documented data fields left out.

        Only standard types are judged. None of it is an error: the Event System Guide documents
        these fields and does not require them.
        """
        kind = self.event_types.get(event_type)
        if kind is None:
            return ()
        found = []
        if topic != kind.topic and topic not in kind.also_on:
            found.append(f"`{event_type}` usually goes to topic `{kind.topic}`, not `{topic}`")
        missing = [name for name in kind.data_fields if name not in data]
        if missing:
            names = ", ".join(f"`{name}`" for name in missing)
            found.append(f"`{event_type}` usually carries {names} in `data`")
        return found or ()
