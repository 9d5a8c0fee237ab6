"""The mirror: the stream's content in memory, as the stream's limits leave it."""

import asyncio
from functools import partial
from typing import Any

from bridge.events import Event
from bridge.filters import parse
from bridge.jetstream.log.index import Entry
from bridge.jetstream.log.mirror import (
    MAX_EVICTIONS_KEPT,
    SPARE_EXPIRIES,
    TURN_BYTES,
    TURN_ENTRIES,
    Mirror,
)
from bridge.subjects import Address
from bridge.subscription import Selection

ALL = Selection("p")


def entry(
    sequence: int,
    *,
    project: str = "p",
    event_type: str = "done",
    correlation: str | None = None,
    ttl: float = 3600,
    alias: str | None = None,
    size: int = 0,
) -> Entry:
    event = Event(
        event_id=f"e-{sequence}",
        event_type=event_type,
        publisher="a",
        agent_id="a",
        agent_type=None,
        project=project,
        topic="testing",
        data={"n": sequence},
        correlation_id=correlation,
        priority="normal",
        timestamp="",
        ttl_seconds=3600,
        sequence=sequence,
        cursor="",
        correlation_ids=(correlation,) if correlation else (),
    )
    return Entry(
        sequence,
        Address(project, "testing", event_type, alias or correlation),
        partial(lambda event: event, event),
        stored_at=float(sequence),
        expires_at=sequence + ttl,
        alias=alias,
        size=size,
    )


def filled(count: int, **limits: float) -> Mirror:
    mirror = Mirror(1, max_messages=int(limits.get("max_messages", -1)), max_age=3600)
    for sequence in range(1, count + 1):
        mirror.add(entry(sequence, correlation=f"c-{sequence % 3}"))
    return mirror


def shown(mirror: Mirror, selection: Selection = ALL, after: int = 0, now: float = 0) -> list[int]:
    return [found.sequence for found in mirror.forwards(selection, after, now) if found]


def test_reading_goes_on_behind_a_position() -> None:
    mirror = filled(10)
    assert shown(mirror, after=7) == [8, 9, 10]
    assert [found.sequence for found in mirror.backwards(ALL, 0) if found][:3] == [10, 9, 8]
    assert shown(mirror, Selection("p", None, None, parse("correlation_id:c-1"))) == [1, 4, 7, 10]
    assert shown(mirror, Selection("p", ("done",), None, parse("n:>8"))) == [9, 10]
    assert shown(mirror, Selection("other")) == []


def test_the_oldest_go_when_there_are_too_many_and_their_loss_is_counted() -> None:
    mirror = filled(3000, max_messages=100)
    mirror.add(entry(3001, project="other"))
    assert len(mirror) == 100
    assert mirror.first_sequence == 2902
    assert shown(mirror)[0] == 2902
    assert mirror.lost("p", 2800) == 101
    assert mirror.lost("other", 0) == 0
    assert mirror.lost_since("p", 2900.0) == 2


def test_only_so_many_losses_are_remembered_of_all_projects_together() -> None:
    mirror = Mirror(1, max_messages=10)
    for sequence in range(1, MAX_EVICTIONS_KEPT + 21):
        mirror.add(entry(sequence, project=f"p-{sequence % 100}"))
    assert mirror.lost("p-1", 9) is None
    assert mirror.lost("p-1", 10) == MAX_EVICTIONS_KEPT // 100
    assert mirror.lost("p-1", 11) == MAX_EVICTIONS_KEPT // 100


def test_of_what_was_gone_before_it_was_filled_nothing_is_known() -> None:
    mirror = Mirror(1, loaded_from=50)
    mirror.add(entry(50))
    assert mirror.lost("p", 10) is None
    assert mirror.lost("p", 49) == 0


def test_an_expired_event_is_not_shown_and_is_no_loss() -> None:
    mirror = filled(3)
    mirror.add(entry(4, ttl=10))
    mirror.add(entry(5))
    assert shown(mirror, now=14.5) == [1, 2, 3, 5]
    mirror.expire(14.5)
    assert len(mirror) == 4
    assert mirror.lost("p", 0) == 0


def test_an_event_that_reached_the_streams_age_is_a_loss() -> None:
    mirror = filled(3)
    mirror.expire(3602.5)
    assert shown(mirror) == [3]
    assert mirror.lost("p", 0) == 2


def test_what_the_stream_dropped_is_dropped() -> None:
    mirror = filled(10)
    mirror.cut_before(8)
    assert shown(mirror) == [8, 9, 10]
    assert mirror.before(9.0) == 8
    assert mirror.before(100.0) == 10


def test_an_alias_is_shown_to_its_correlation_alone() -> None:
    mirror = filled(0)
    mirror.add(entry(1, correlation="top"))
    mirror.add(entry(2, correlation="top", alias="inside"))
    assert shown(mirror) == [1]
    assert shown(mirror, Selection("p", ("done",))) == [1]
    assert shown(mirror, Selection("p", None, None, parse("correlation_id:top"))) == [1]
    assert mirror.by_id("p", "e-1") is mirror.by_sequence(1)
    mirror.cut_before(3)
    assert mirror.lost("p", 0) == 1


def test_a_watch_resolves_for_what_may_match_alone() -> None:
    async def run() -> None:
        mirror = filled(1)
        pinned = mirror.watch(Selection("p", None, None, parse("correlation_id:c-9")))
        typed = mirror.watch(Selection("p", ("started",)))
        anything = mirror.watch(ALL)
        mirror.add(entry(2, correlation="c-1"))
        assert (pinned.done(), typed.done(), anything.done()) == (False, False, True)
        mirror.add(entry(3, event_type="started", correlation="c-9"))
        assert pinned.done()
        assert typed.done()

    asyncio.run(run())


def test_what_is_looked_through_leaves_others_their_turn() -> None:
    """After so many, or after so many bytes: reading them is what takes time."""
    mirror = filled(3 * TURN_ENTRIES)
    found = [each is None for each in mirror.forwards(ALL, 0, 0)]
    assert [found.count(True), found.count(False)] == [3, 3 * TURN_ENTRIES]
    nothing = Selection("p", ("done",), filter=parse("n:nothing"))
    assert list(mirror.backwards(nothing, 0)) == [None] * 3
    large = Mirror(1)
    for sequence in range(1, 11):
        large.add(entry(sequence, size=TURN_BYTES))
    assert list(large.forwards(nothing, 0, 0)) == [None] * 10


def test_it_may_change_while_somebody_goes_through_it() -> None:
    mirror = filled(3000, max_messages=3000)
    found = mirror.forwards(ALL, 0, 0)
    first = [next(found) for _ in range(10)]
    for sequence in range(3001, 5001):
        mirror.add(entry(sequence))
    seen = [each.sequence for each in (*first, *found) if each]
    assert seen == [*range(1, 11), *range(2001, 3001)]


def test_both_bounds_hold_either_way() -> None:
    mirror = filled(10)
    assert [each.sequence for each in mirror.forwards(ALL, 3, 0, 6) if each] == [4, 5, 6]
    assert [each.sequence for each in mirror.backwards(ALL, 0, 3, 6) if each] == [6, 5, 4]


def test_expiry_looks_at_nothing_that_does_not_expire() -> None:
    """It comes each second, and there may be ten thousand."""
    mirror = filled(100)
    looked_at = []

    class Looking(dict[int, Entry]):
        def get(self, sequence: int, default: object = None) -> Any:
            looked_at.append(sequence)
            return super().get(sequence, default)

        def items(self) -> Any:
            raise AssertionError("each of them is looked at")

    mirror.add(entry(101, ttl=1))
    mirror._entries = Looking(mirror._entries)
    mirror.expire(now=90)
    assert looked_at == []
    mirror.expire(now=102)
    assert looked_at == [101]
    assert len(mirror) == 100


def test_of_events_that_are_gone_few_expiries_are_kept() -> None:
    mirror = filled(20_000, max_messages=10)
    mirror.expire(now=0)
    assert len(mirror._expiries) <= 2 * 10 + SPARE_EXPIRIES
    mirror.expire(now=19_995 + 3600)
    assert shown(mirror) == [19_996, 19_997, 19_998, 19_999, 20_000]


def test_what_all_have_expired_is_not_found_any_more() -> None:
    """Also in the middle of others that last: their index would grow for as long."""
    mirror = filled(1)
    for sequence in range(2, 100):
        mirror.add(entry(sequence, event_type=f"short-{sequence}", ttl=5, correlation="x"))
    mirror.expire(now=200)
    assert len(mirror) == 1
    assert not mirror.has_type("p", "short-50")
    assert len(mirror._index) == 3


def test_a_limit_of_bytes_is_kept_to_between_two_looks_at_the_stream() -> None:
    """With a little room, so that nothing is forgotten that the server keeps."""
    mirror = Mirror(1, max_bytes=1000)
    for sequence in range(1, 31):
        mirror.add(entry(sequence, size=100))
    assert shown(mirror) == list(range(21, 31))
    assert mirror.bytes == 1000
    assert mirror.lost("p", 0) == 20
    mirror.expire(now=25 + 3600)
    assert mirror.bytes == 500
