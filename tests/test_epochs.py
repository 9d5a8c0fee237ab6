"""Epochs: which positions are still good when a stream was restored; tests/test_own_nats_guide.py
and tests/test_operations_guide.py restore real ones.
"""

from typing import Any

from bridge.jetstream.log.mirror import Mirror
from bridge.jetstream.stream import MAX_EARLIER, earlier_epochs, note_epoch

A, B, C = 1_000_000_000, 2_000_000_000, 3_000_000_000


def stood(metadata: dict[str, str], *, made: int, last: int) -> dict[str, str]:
    """Give the metadata of a stream once a bridge has seen it, made at so many nanoseconds."""
    created = f"1970-01-01T00:00:{made // 1_000_000_000:02}.{made % 1_000_000_000:09}Z"
    info: dict[str, Any] = {"created": created, "state": {"last_seq": last}}
    return metadata | note_epoch(metadata, info)


def known(metadata: dict[str, str], epoch: int, made: int) -> int:
    """Give the last of sequences 0 to 30 that is good for positions of an epoch, -1 for none."""
    mirror = Mirror(made, earlier=earlier_epochs(metadata))
    return max((n for n in range(31) if mirror.has_known(epoch, n)), default=-1)


def test_a_stream_that_is_seen_again_is_the_same() -> None:
    first = stood({}, made=A, last=3)
    assert stood(first, made=A, last=9) == first
    assert (known(first, A, A), known(first, B, A)) == (30, -1)


def test_a_restored_stream_knows_positions_up_to_its_end() -> None:
    restored = stood(stood({}, made=A, last=3), made=B, last=10)
    assert (known(restored, A, B), known(restored, B, B)) == (10, 30)
    assert stood(restored, made=B, last=20) == restored
    again = stood(restored, made=C, last=20)
    assert [known(again, epoch, C) for epoch in (A, B, C)] == [10, 20, 30]


def test_an_older_backup_knows_nothing_of_what_came_after_it() -> None:
    backup = stood({}, made=A, last=3)
    assert known(stood(stood(backup, made=B, last=5), made=C, last=9), B, C) == 9
    assert known(stood(backup, made=C, last=5), B, C) == -1


def test_servers_that_disagree_about_when_a_stream_was_made_go_to_and_fro() -> None:
    metadata = stood({}, made=A, last=3)
    for made, last in ((B, 5), (A, 7), (B, 9)):
        metadata = stood(metadata, made=made, last=last)
    assert (known(metadata, A, B), known(metadata, B, B)) == (9, 30)


def test_restores_are_remembered_for_some_time() -> None:
    metadata: dict[str, str] = {}
    for n in range(1, 21):
        metadata = stood(metadata, made=n * A, last=n)
    assert list(earlier_epochs(metadata)) == [n * A for n in range(20 - MAX_EARLIER, 20)]
