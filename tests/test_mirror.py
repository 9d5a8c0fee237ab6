"""The mirror: the stream's content in memory, as the stream's limits leave it."""

import asyncio
from functools import partial

from bridge.events import Event
from bridge.interest import Interest
from bridge.jetstream.mirror import MAX_EVICTIONS_KEPT, Entry, Mirror
from bridge.subjects import Address

ALL = Interest("p")


def entry(
    sequence: int,
    *,
    project: str = "p",
    event_type: str = "done",
    correlation: str | None = None,
    ttl: float = 3600,
    alias: str | None = None,
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
    )


def filled(count: int, **limits: float) -> Mirror:
    mirror = Mirror(1, max_messages=int(limits.get("max_messages", -1)), max_age=3600)
    for sequence in range(1, count + 1):
        mirror.add(entry(sequence, correlation=f"c-{sequence % 3}"))
    return mirror


def shown(mirror: Mirror, interest: Interest = ALL, after: int = 0, now: float = 0) -> list[int]:
    return [found.sequence for found in mirror.forwards(interest, after, now)]


def test_reading_goes_on_behind_a_position() -> None:
    mirror = filled(10)
    assert shown(mirror, after=7) == [8, 9, 10]
    assert [found.sequence for found in mirror.backwards(ALL, 0)][:3] == [10, 9, 8]
    assert shown(mirror, Interest("p", None, None, "correlation_id:c-1")) == [1, 4, 7, 10]
    assert shown(mirror, Interest("p", ("done",), None, "n:>8")) == [9, 10]
    assert shown(mirror, Interest("other")) == []


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
    assert shown(mirror, Interest("p", ("done",))) == [1]
    assert shown(mirror, Interest("p", None, None, "correlation_id:top")) == [1]
    assert mirror.by_id("p", "e-1") is mirror.by_sequence(1)
    mirror.cut_before(3)
    assert mirror.lost("p", 0) == 1


def test_a_watch_resolves_for_what_may_match_alone() -> None:
    async def run() -> None:
        mirror = filled(1)
        pinned = mirror.watch(Interest("p", None, None, "correlation_id:c-9"))
        typed = mirror.watch(Interest("p", ("started",)))
        anything = mirror.watch(ALL)
        mirror.add(entry(2, correlation="c-1"))
        assert (pinned.done(), typed.done(), anything.done()) == (False, False, True)
        mirror.add(entry(3, event_type="started", correlation="c-9"))
        assert pinned.done()
        assert typed.done()

    asyncio.run(run())
