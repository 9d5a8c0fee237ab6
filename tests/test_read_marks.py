"""How far the tail takes the stream for read: nothing up to there may still be to come."""

from typing import Any

import pytest

from bridge.jetstream.log.read_marks import ReadMarks
from bridge.jetstream.log.tail import Tail
from bridge.jetstream.stream import _state

CURRENT = {"current": True, "active": 1}
LAGGING = {"current": True, "active": 1, "lag": 3}
RETURNING = {"current": False, "active": 1}
GONE = {"current": False, "offline": True, "active": 60_000_000_000}


def told(*replicas: dict[str, Any]) -> Any:
    """Give what STREAM.INFO answers of a stream in a cluster."""
    return {
        "created": "2026-01-01T00:00:00Z",
        "config": {"num_replicas": 1 + len(replicas)},
        "state": {"messages": 0, "first_seq": 10, "last_seq": 9},
        "cluster": {"leader": "n1", "replicas": list(replicas)},
    }


@pytest.mark.parametrize(
    ("replicas", "certain"),
    [
        ((CURRENT, CURRENT), True),
        ((CURRENT, GONE), True),
        ((CURRENT, LAGGING), False),
        ((RETURNING, CURRENT), False),
    ],
)
def test_its_end_is_where_all_servers_are_that_may_be_asked(
    replicas: tuple[dict[str, Any], ...], certain: bool
) -> None:
    """A consumer on a server that is behind says that there is nothing more, and then there is."""
    marks = ReadMarks(lags=(0.0, 0.0))
    tail = Tail(None, None, None, "EVENTS", None)  # type: ignore[arg-type]
    tail.marks = marks
    tail._note_end(_state(told(*replicas), 0.0))
    marks.note_nothing_behind(9)
    assert (marks.read == 9) is certain
    tail._note_end(_state(told(CURRENT, CURRENT), 0.0))
    marks.note_nothing_behind(9)
    assert marks.read == 9


class TestHowFarAStreamWasRead:
    def test_as_far_as_messages_have_arrived(self) -> None:
        marks = ReadMarks()
        marks.begin_behind(4)
        assert marks.read == 4
        marks.arrived = 7
        assert marks.read == 7

    def test_to_an_end_behind_which_nothing_was_found_for_longer_than_servers_lag(self) -> None:
        now = 100.0
        marks = ReadMarks(lags=(0.2, 2.0), clock=lambda: now)
        marks.arrived = 7
        marks.note_end(9, clustered=False, behind=False)
        marks.note_nothing_behind(9)
        assert marks.read == 7, "its consumer may not know of 8 and 9 yet"
        now += 0.2
        marks.note_nothing_behind(9)
        assert marks.read == 9, "they have expired or were deleted"

    def test_in_a_cluster_that_takes_longer(self) -> None:
        now = 100.0
        marks = ReadMarks(lags=(0.2, 2.0), clock=lambda: now)
        marks.note_end(9, clustered=True, behind=False)
        now += 0.2
        marks.note_nothing_behind(9)
        assert marks.read == 0
        now += 1.8
        marks.note_nothing_behind(9)
        assert marks.read == 9

    def test_a_look_that_began_before_the_end_moved_tells_nothing(self) -> None:
        now = 100.0
        marks = ReadMarks(clock=lambda: now)
        marks.note_end(9, clustered=False, behind=False)
        now += 5
        marks.note_end(12, clustered=False, behind=False)
        marks.note_nothing_behind(9)
        assert marks.read == 0

    def test_seeing_the_same_end_again_does_not_begin_the_lag_anew(self) -> None:
        now = 100.0
        marks = ReadMarks(lags=(0.2, 2.0), clock=lambda: now)
        marks.note_end(9, clustered=False, behind=False)
        now += 0.2
        marks.note_end(9, clustered=False, behind=False)
        marks.note_nothing_behind(9)
        assert marks.read == 9

    def test_caught_up_is_what_a_connection_found(self) -> None:
        marks = ReadMarks()
        marks.note_found(3)
        stands = [marks.caught_up]
        marks.arrived = 3
        stands.append(marks.caught_up)
        marks.note_end(9, clustered=False, behind=False)
        stands.append(marks.caught_up)
        assert stands == [False, True, True]

    def test_another_stream_is_read_from_its_beginning(self) -> None:
        marks = ReadMarks()
        marks.arrived = 7
        marks.note_stored(8)
        marks.begin_behind(0)
        assert (marks.read, marks.stored_here) == (0, 0)
