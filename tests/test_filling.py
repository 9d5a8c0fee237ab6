"""Answers in bytes: whatever the sizes, going on from page to page gives everything once."""

import asyncio
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bridge.bus.history import Filling
from bridge.jetstream.log.mirror import Mirror
from bridge.subscription import Selection
from tests.test_mirror import entry

SIZES = st.lists(st.integers(0, 50), max_size=20)
NOW = 0.0


def page(mirror: Mirror, after: int, last: int, limit: int, room: int, *, back: bool) -> Filling:
    filling = Filling(limit, room)
    everything = Selection("p")
    forwards = mirror.forwards(everything, after, NOW, last)
    backwards = mirror.backwards(everything, NOW, after, last)
    asyncio.run(filling.take(backwards if back else forwards))
    return filling


@given(SIZES, st.integers(1, 5), st.integers(1, 60), st.booleans())
def test_pages_have_everything_once(sizes: list[int], limit: int, room: int, back: bool) -> None:
    mirror = Mirror(1)
    for sequence, size in enumerate(sizes, 1):
        mirror.add(entry(sequence, size=size))
    found: list[int] = []
    after, last = 0, len(sizes)
    while True:
        filling = page(mirror, after, last, limit, room, back=back)
        sequences = [event.sequence for event in filling.events]
        assert len(sequences) <= limit
        assert len(sequences) <= 1 or sum(sizes[n - 1] for n in sequences) <= room
        found += sequences
        if not filling.full:
            break
        assert sequences
        after, last = (after, sequences[-1] - 1) if back else (sequences[-1], last)
    assert sorted(found) == list(range(1, len(sizes) + 1))
    assert all((one > other) == back for one, other in pairwise(found))
