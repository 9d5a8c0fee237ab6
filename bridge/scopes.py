"""Scopes: sets of events by topic and event type, each by its name or by how that begins.

Written `<topic>` or `<topic>.<event type>`, with `*` at the end of a part for whatever follows:
`testing`, `testing.tests_*`, `*.tests_passing`. The first dot ends the topic, and what is behind it
is the event type with all its dots; one in a topic's name is written `%2E`, as in NATS subjects.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import NamedTuple, Self
from urllib.parse import unquote

from bridge.subjects import MAX_PATTERNS, NAME

ANYTHING = "*"
FORM = (
    "`<topic>` or `<topic>.<event type>`, with `*` for whatever follows at the end of a part only, "
    "like `testing`, `testing.tests_*` or `*.tests_passing`; a dot in a topic's name is `%2E`"
)

Names = tuple[str, ...] | None
"""Names of topics or of event types; None is any."""


class NamePart(NamedTuple):
    """Names that are `text`, or with `more` all that begin with it."""

    text: str
    more: bool

    def takes(self, name: str) -> bool:
        """Tell whether a name is one of these."""
        return name.startswith(self.text) if self.more else name == self.text

    def covers(self, other: "NamePart") -> bool:
        """Tell whether all names of another part are among these."""
        return other.text.startswith(self.text) if self.more else other == self

    def __str__(self) -> str:
        return self.text + ANYTHING * self.more


_ANY = NamePart("", more=True)


class EventPattern(NamedTuple):
    """Events of some types on some topics."""

    topic: NamePart
    event_type: NamePart

    def takes(self, topic: str, event_type: str) -> bool:
        """Tell whether an event is one of these."""
        return self.topic.takes(topic) and self.event_type.takes(event_type)

    def covers(self, other: "EventPattern") -> bool:
        """Tell whether all events of another pattern are among these."""
        return self.topic.covers(other.topic) and self.event_type.covers(other.event_type)

    def __str__(self) -> str:
        return f"{str(self.topic).replace('.', '%2E')}.{self.event_type}"


@dataclass(frozen=True)
class Scope:
    """The events of some patterns; of none, no events.

    >>> tests = Scope.read(["testing.tests_*", "ci%2Ebuilds"])
    >>> str(tests), tests.takes("testing", "tests_passing"), tests.takes("ops", "tests_passing")
    ('ci%2Ebuilds.* testing.tests_*', True, False)
    """

    patterns: frozenset[EventPattern]

    @classmethod
    def read(cls, texts: Iterable[str]) -> Self:
        """Read what is written as the module says. Raises ValueError."""
        return cls(frozenset(map(_pattern, texts)))

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def __str__(self) -> str:
        return " ".join(self.written())

    def written(self) -> list[str]:
        """Write its patterns, sorted: of equal scopes the same."""
        return sorted(map(str, self.patterns))

    def topics(self) -> Names:
        """Give the topics of its events; None where they are not all named, or are too many."""
        parts = {pattern.topic for pattern in self.patterns}
        few = len(parts) <= MAX_PATTERNS and not any(part.more for part in parts)
        return tuple(sorted(part.text for part in parts)) if few else None

    def takes(self, topic: str, event_type: str) -> bool:
        """Tell whether an event is in it."""
        return any(pattern.takes(topic, event_type) for pattern in self.patterns)

    def includes(self, other: "Scope") -> bool:
        """Tell whether each pattern of another is covered by one of these."""
        return all(any(one.covers(each) for one in self.patterns) for each in other.patterns)

    def covers(self, types: Names, topics: Names) -> bool:
        """Tell whether all events of these types on these topics are in it."""
        return _covers(self, types, topics)

    def among(self, types: Names, topics: Names) -> tuple[Names, Names]:
        """Give the types and the topics of which events can be in it, together with the others."""
        return (
            None if types is None else tuple(each for each in types if self._has((each,), topics)),
            None if topics is None else tuple(each for each in topics if self._has(types, (each,))),
        )

    def _has(self, types: Names, topics: Names) -> bool:
        return any(
            _takes_one(pattern.event_type, types) and _takes_one(pattern.topic, topics)
            for pattern in self.patterns
        )


EVERYTHING = Scope(frozenset({EventPattern(_ANY, _ANY)}))
NOTHING = Scope(frozenset())


@lru_cache(1024)
def _covers(scope: Scope, types: Names, topics: Names) -> bool:
    asked = product(_parts(topics), _parts(types))
    return scope.includes(Scope(frozenset(EventPattern(*each) for each in asked)))


def _parts(names: Names) -> Sequence[NamePart]:
    return [_ANY] if names is None else [NamePart(name, more=False) for name in names]


def _takes_one(part: NamePart, names: Names) -> bool:
    return names is None or any(map(part.takes, names))


def _pattern(text: str) -> EventPattern:
    topic, dot, event_type = text.partition(".")
    return EventPattern(_part(topic), _part(event_type if dot else ANYTHING))


def _part(text: str) -> NamePart:
    more = text.endswith(ANYTHING)
    name = unquote(text.removesuffix(ANYTHING))
    if not (more and name == "") and not NAME.match(name):
        raise ValueError(f"write {FORM}")
    return NamePart(name, more)
