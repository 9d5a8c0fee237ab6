"""Explaining: why nothing came, from what is retained, in sentences that an agent can act on."""

import asyncio
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bridge import filters
from bridge.bus.ports import EventLog
from bridge.bus.rights import limit_of, retained_types, spelled
from bridge.catalog import Catalog
from bridge.events import EVENT_FIELDS, Event
from bridge.filters import EVERYTHING, Filter
from bridge.scopes import Scope
from bridge.subscription import Selection
from bridge.suggest import nearest, slips
from bridge.tokens import Principal

LOOKED_AT = 200
"""Of so many events, the newest, a wait that got none is told what its filter found."""

EXPLAINED = 5_000
SAMPLES = 3
MOST_NAMED = 5
CLOSE_TYPE = 0.75
MAX_VALUE_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Hint:
    """One reason why nothing came: what it is about, and a sentence; `more` says what with."""

    about: str
    message: str
    more: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Give the hint as agents see it."""
        return {"about": self.about, "message": self.message, **self.more}


@dataclass(frozen=True, slots=True)
class Findings:
    """What is retained of what a selection asks for, from its widest part to the whole.

    `of_types` are the newest events of its types, `on_topics` those that are on its topics too, and
    `passing` those that pass its filter as well. `by_type` counts everything that is retained. All
    of it is within `limit`, what the asker may read, which is None without a limit.
    """

    selection: Selection
    limit: Scope | None
    by_type: Mapping[str, int]
    of_types: Sequence[Event]
    on_topics: Sequence[Event]
    passing: Sequence[Event]
    looked_at_all: bool


class Explaining:
    """Tells why a selection gets no events."""

    def __init__(self, log: EventLog, catalog: Catalog) -> None:
        self._log = log
        self._catalog = catalog

    async def find(
        self, principal: Principal, selection: Selection, most: int = LOOKED_AT
    ) -> Findings:
        """Look at what is retained. Raises Unavailable before it was read."""
        log, limit = self._log, limit_of(principal)
        widest = replace(selection, topics=None, filter=EVERYTHING, within=limit)
        events: list[Event] = []
        more = False
        for stored in log.mirror.backwards(widest, log.now()):
            if stored is None:
                await asyncio.sleep(0)
            elif len(events) == most:
                more = True
                break
            else:
                events.append(stored.event)
        topics = selection.topics
        on_topics = [event for event in events if topics is None or event.topic in topics]
        passing = [event for event in on_topics if selection.passes(event)]
        by_type = await retained_types(log, principal)
        return Findings(selection, limit, by_type, events, on_topics, passing, not more)

    async def explain(self, principal: Principal, selection: Selection) -> dict[str, Any]:
        """Say what is retained for a selection, with counts, samples and hints."""
        await self._log.catch_up()
        found = await self.find(principal, selection, EXPLAINED)
        return {
            "retained": sum(found.by_type.values()),
            "of_types": len(found.of_types),
            "on_topics": len(found.on_topics),
            "matching": len(found.passing),
            "looked_at_all": found.looked_at_all,
            "samples": [event.as_json() for event in (found.passing or found.of_types)[:SAMPLES]],
            "hints": [hint.as_json() for hint in self.hints(found)],
        }

    def hints(self, found: Findings) -> list[Hint]:
        """Say what keeps events from this selection: nothing, where some match."""
        limit = [] if found.limit is None else [_limited(found.limit)]
        return [*self._hints(found), *limit]

    def _hints(self, found: Findings) -> list[Hint]:
        selection = found.selection
        if not found.by_type:
            return [] if found.limit is not None else [_nothing(selection.project)]
        hints = [
            self._no_such_type(name, found.by_type)
            for name in selection.types or ()
            if name not in found.by_type
        ]
        if found.passing or not found.of_types:
            return hints
        if not found.on_topics:
            return [*hints, _wrong_topic(found)]
        return [*hints, *_no_pass(found)]

    def _no_such_type(self, name: str, by_type: Mapping[str, int]) -> Hint:
        near = next((slip for slip in slips(name) if slip in by_type), None)
        near = near or nearest(name, by_type, close=CLOSE_TYPE)
        said = f"no event of the type `{name}` is retained"
        if near is not None:
            more = {"did_you_mean": near, "retained": by_type[near]}
            said = f"{said}; did you mean `{near}` ({by_type[near]} retained)?"
            return Hint("event_type", said, more)
        if (topic := self._catalog.topic_of(name)) is not None:
            return Hint(
                "event_type",
                f"{said} yet: the catalogue has it, on topic `{topic}`, and nobody has published "
                "it, or it has expired",
            )
        listed = nearest(name, self._catalog.event_types, close=CLOSE_TYPE)
        if listed is not None:
            said = f"{said}, nor is it in the catalogue; did you mean `{listed}`?"
            return Hint("event_type", said, {"did_you_mean": listed, "retained": 0})
        most = Counter(by_type).most_common(MOST_NAMED)
        named = ", ".join(f"`{each}` ({count})" for each, count in most)
        return Hint("event_type", f"{said}, nor is it in the catalogue; retained are {named}")


def _nothing(project: str) -> Hint:
    return Hint(
        "project",
        f"nothing at all is retained in the project `{project}`, which is what your token says; "
        "publishers with a token of another project are not heard here",
    )


def _limited(limit: Scope) -> Hint:
    return Hint(
        "permissions",
        f"your token may read {spelled(limit)} alone; other events are neither given nor told of",
        {"allowed": limit.written()},
    )


def given_before(passing: Sequence[Event], last: Event | None, *, at_least: bool) -> Hint:
    """Say that a subscription was given everything that matches, and what it was given last."""
    more: dict[str, Any] = {"retained": len(passing)}
    count = _that_match(passing, at_least=at_least)
    said = f"{count} retained, and this subscription was given all of that before"
    if last is not None:
        more["last_delivered"] = {"event_id": last.event_id, "timestamp": last.timestamp}
        said += f", the last `{last.event_type}` of {last.timestamp}"
    return Hint(
        "delivered",
        f"{said}. `since=earliest` reads them again; one that is leased comes again when its lease "
        "ends",
        more,
    )


def before_position(passing: Sequence[Event], *, at_least: bool) -> Hint:
    """Say that what matches lies before the position that was read from."""
    count = _that_match(passing, at_least=at_least)
    return Hint(
        "position",
        f"{count} retained, before the position that `since` gives; `since=earliest` begins with "
        "all that is retained",
        {"retained": len(passing)},
    )


def _that_match(passing: Sequence[Event], *, at_least: bool) -> str:
    verbs = "matches is" if len(passing) == 1 else "match are"
    return f"{'at least ' if at_least else ''}{_events(len(passing))} that {verbs}"


def _events(count: int) -> str:
    return "1 event" if count == 1 else f"{count} events"


def _wrong_topic(found: Findings) -> Hint:
    topics = Counter(event.topic for event in found.of_types)
    named = ", ".join(f"`{each}` ({count})" for each, count in topics.most_common(MOST_NAMED))
    wanted = ", ".join(f"`{each}`" for each in found.selection.topics or ())
    what = " or ".join(f"`{each}`" for each in found.selection.types or ())
    return Hint(
        "topic",
        f"events {f'of {what} ' if what else ''}are on topic {named}; this wait takes only "
        f"{wanted}. Leave `topic` out, or name the types in the path to hear them on any topic",
        {"topics": dict(topics.most_common(MOST_NAMED))},
    )


def _no_pass(found: Findings) -> Iterator[Hint]:
    """Say of each part of the filter what it found."""
    events = found.on_topics
    parts = [Filter((clause,)) for clause in found.selection.filter.clauses]
    passed = [sum(map(filters.predicate(part), events)) for part in parts]
    newest = "" if found.looked_at_all else "newest "
    of_all = f"of the {newest}{_events(len(events))}"
    for part, count in zip(parts, passed, strict=True):
        if count == 0:
            told = [_seen(term.field, events) for term in part.clauses[0].terms]
            text = filters.canonical(part)
            said = f"`{text}` passes none {of_all}: {'; '.join(told)}"
            yield Hint("filter", said, {"term": text})
    if all(passed):
        shares = ", ".join(
            f"`{filters.canonical(part)}` {count}"
            for part, count in zip(parts, passed, strict=True)
        )
        yield Hint("filter", f"each term passes some {of_all}, but none passes all: {shares}")


def _seen(name: str, events: Sequence[Event]) -> str:
    """Say which values a field had, or which field was meant that none of the events has."""
    find = filters.finder(name)
    values: Counter[str] = Counter()
    missing = 0
    for event in events:
        found = [value for value in find(event) if value is not None]
        missing += not found
        values.update(_shown(value) for value in found)
    if not values:
        near = nearest(name, _fields(events))
        meant = f"; did you mean `{near}`?" if near else ""
        return f"none of them has a field `{name}`{meant or _having(_fields(events))}"
    told = [f"{value} {_times(count)}" for value, count in values.most_common(MOST_NAMED)]
    told += ["other values"] if len(values) > MOST_NAMED else []
    told += [f"missing {_times(missing)}"] if missing else []
    return f"`{name}` was {', '.join(told)}"


def _having(names: Collection[str]) -> str:
    in_data = [name for name in names if name not in EVENT_FIELDS]
    named = ", ".join(f"`{name}`" for name in in_data[:MOST_NAMED])
    return f"; their data has {named}" if named else "; their data is empty"


def _fields(events: Sequence[Event]) -> Collection[str]:
    """Give the names that a filter may use: the data's, two levels deep, and the envelope's."""
    found: dict[str, None] = {}
    for event in events:
        for name, value in event.data.items():
            found[name] = None
            if isinstance(value, dict):
                found.update(dict.fromkeys(f"{name}.{inner}" for inner in value))
    return list(found | dict.fromkeys(EVENT_FIELDS))


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if len(text) > MAX_VALUE_CHARACTERS:
        text = f"{text[:MAX_VALUE_CHARACTERS]}…"
    return text


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
