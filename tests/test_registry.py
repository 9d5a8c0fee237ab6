"""The registry: it finds whom an event goes to as if it asked every subscription's predicate."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import filters
from bridge.errors import Unavailable
from bridge.events import Event, NewEvent
from bridge.jetstream.message import envelope, read_event
from bridge.jetstream.subscriptions import registry as registry_module
from bridge.jetstream.subscriptions.consumers import ConsumerState
from bridge.jetstream.subscriptions.delivery_marks import KnownMarks
from bridge.jetstream.subscriptions.registry import MANY_WAITING, Registry
from bridge.subjects import Address, event_subject
from bridge.subscription import Selection, Subscription

TYPES = ("asked", "answered", "other")
IDS = ("job-1", "job-2", "1", "1.0", "true", "null", "None", "x" * 257)
FILTERS = [
    *(f"correlation_id:{each}" for each in IDS),
    *(f'correlation_id:"{each}"' for each in IDS),
    *("correlation_id:job-1,n:1", "n:1", "correlation_id:job-1|n:1", "!correlation_id:job-1", ""),
    *("correlation_id:job-*", "correlation_id:>0", "correlation_id:*", "data.correlation_id:job-1"),
    *("correlation_id:job-1,correlation_id:job-2", 'correlation_id:1,correlation_id:"1"'),
]
ids = st.sampled_from([*IDS, 1, 1.0, 10**16, 1e16, True, False, None, "", 0.5])
values = st.recursive(
    ids, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ids.map(str), inner)
)


def event_with(beside: str | None, data: dict[str, Any]) -> Event:
    """Make an event as it is read back from the stream."""
    new = NewEvent("asked", correlation_id=beside, data=data)
    event = Event(
        event_id="e",
        event_type="asked",
        publisher="p",
        agent_id="a",
        agent_type=None,
        project="p",
        topic="t",
        data=data,
        correlation_id=beside,
        priority="normal",
        timestamp="",
        ttl_seconds=1,
        sequence=0,
        cursor="",
        correlation_ids=new.correlation_ids,
    )
    subject = event_subject(Address("p", "t", "asked", None))
    return read_event(subject, envelope(event), {}, sequence=1, stored_at=0, epoch=0)


def registry_of(subscriptions: Sequence[Subscription]) -> Registry:
    registry = Registry(cast("Any", None), cast("Any", None), "EVENTS")
    for each in subscriptions:
        registry.add(each)
    return registry


def subscriptions_of(project: str = "p") -> list[Subscription]:
    return [
        Subscription(
            Selection(project, types, topics, filters.parse(text)),
            f"{project}/{types}/{topics}/{text}",
        )
        for types in (("asked",), ("answered", "asked"), ("other",), None)
        for topics in (("t",), ("u",), None)
        for text in FILTERS
    ]


ALL = [*subscriptions_of(), *subscriptions_of("q")]
REGISTRY = registry_of(ALL)


@settings(max_examples=150, deadline=None)
@given(
    st.none() | st.sampled_from(IDS[:-1]),
    st.just({}) | st.fixed_dictionaries({"correlation_id": values}),
)
def test_owners_are_those_whose_predicate_says_so(beside: str | None, data: dict[str, Any]) -> None:
    event = event_with(beside, data)
    everyone = sorted(each.owner for each in ALL if each.selection.accepts(event))
    assert REGISTRY.owners(event) == everyone


def test_subscriptions_to_other_correlation_ids_are_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With thousands of them, each publish would stop the bridge for milliseconds."""
    many = [
        Subscription(
            Selection("p", ("asked",), None, filters.parse(f"correlation_id:job-{n}")), f"agent-{n}"
        )
        for n in range(1000)
    ]
    registry = registry_of(many)
    looked_at = []
    accepts = Selection.accepts

    def counted(self: Selection, event: Event) -> bool:
        looked_at.append(self)
        return accepts(self, event)

    monkeypatch.setattr(Selection, "accepts", counted)
    event = event_with("job-7", {"correlation_id": ["job-8", "job-9"]})
    assert registry.owners(event) == ["agent-7", "agent-8", "agent-9"]
    assert len(looked_at) == 3


def test_what_was_forgotten_is_not_found() -> None:
    registry = registry_of(subscriptions_of())
    for each in subscriptions_of():
        registry.discard(each.name)
    assert registry.owners(event_with("job-1", {})) == []
    assert len(registry) == 0


class Asked:
    """Stands for `Consumers`: keeps what is asked, and how much of it at once."""

    def __init__(self, *existing: Subscription, unanswered: int = 0) -> None:
        self.existing = {each.name: state_of(each) for each in existing}
        self.unanswered = unanswered
        self.names: list[str] = []
        self.lists = self.most = self._now = 0

    async def info(self, name: str, _: float) -> ConsumerState | None:
        self.names.append(name)
        self._now += 1
        self.most = max(self.most, self._now)
        await asyncio.sleep(0)
        self._now -= 1
        if self.unanswered:
            self.unanswered -= 1
            raise Unavailable("no leader")
        return self.existing.get(name)

    async def list(self) -> tuple[list[ConsumerState], set[str]]:
        self.lists += 1
        await asyncio.sleep(0)
        return list(self.existing.values()), set()


def state_of(subscription: Subscription) -> ConsumerState:
    return ConsumerState(subscription, subscription.name, "", 0, 0, 0, 0, 0, None, (0, 0))


def made(count: int) -> list[Subscription]:
    return [Subscription(Selection("p", (f"type-{n}",)), "agent") for n in range(count)]


async def told_of(asked: Asked, names: Iterable[str]) -> None:
    """Tell a registry of consumers that were made, and wait until it knows which of them exist."""
    registry = Registry(cast("Any", asked), KnownMarks(), "EVENTS")
    for name in names:
        await registry._created(cast("Any", SimpleNamespace(data=json.dumps({"consumer": name}))))
    async with asyncio.timeout(10):
        while registry._waiting or len(registry) != len(asked.existing):
            await asyncio.gather(*registry._tasks)
            await asyncio.sleep(0)


def test_consumers_that_are_made_are_looked_up_one_after_the_other() -> None:
    subscriptions = made(50)
    names = [each.name for each in subscriptions]
    asked = Asked(*subscriptions)
    asyncio.run(told_of(asked, [*names, *names, "gone"]))
    assert (asked.most, asked.lists) == (1, 0)
    assert sorted(asked.names) == sorted([*names, "gone"]), "each once"


def test_very_many_are_taken_from_the_list() -> None:
    subscriptions = made(MANY_WAITING)
    names = [each.name for each in subscriptions]
    asked = Asked(*subscriptions)
    asyncio.run(told_of(asked, [*names, *(f"gone-{n}" for n in range(9))]))
    assert (asked.most, asked.lists, len(asked.names)) == (1, 1, 9)


def test_one_of_which_nobody_can_tell_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """And keeps the others waiting no longer than that takes."""
    monkeypatch.setattr(registry_module, "LOOK_UP_PAUSES", (0.0, 0.01))
    first, second = made(2)
    asked = Asked(first, second, unanswered=1)
    asyncio.run(told_of(asked, [first.name, second.name]))
    assert asked.names == [first.name, second.name, first.name]
