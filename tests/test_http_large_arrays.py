"""Large arrays are read in turns: as they would be at once, and without keeping others waiting."""

import asyncio
import gc
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.errors import BridgeError, EventTooLarge, RequestInvalid
from bridge.http import json_bodies
from bridge.http.json_bodies import MAX_DEPTH, decode, decode_objects
from tests.support import Agent
from tests.support.answers import assert_problem

MEGABYTE = 1_048_576
SIZE = 8 * MEGABYTE
LIMIT = MEGABYTE // 2

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(alphabet='ab"\\[]{},é\n'),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('a"\\]'), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.text('a"\\]'), VALUES, max_size=3), max_size=5)


def no_header(_: bytes) -> None:
    return None


def read(body: bytes, limit: int = LIMIT) -> tuple[list[Any], int]:
    """Read an array, and count the turns that others had meanwhile."""

    async def reading() -> tuple[list[Any], int]:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        waiting = asyncio.create_task(others())
        found = [each async for each in decode_objects(body, no_header, limit)]
        waiting.cancel()
        return found, turns

    return asyncio.run(reading())


@given(OBJECTS, st.sampled_from([0, orjson.OPT_INDENT_2]))
def test_it_is_read_as_at_once(objects: list[Any], option: int) -> None:
    body = orjson.dumps(objects, option=option)
    assert read(body)[0] == objects == decode(body, no_header)


@given(OBJECTS, st.integers(0, 200), st.binary(max_size=2))
@example([], 2, b"\x0b")
def test_what_is_no_json_is_refused_as_at_once(
    objects: list[Any], place: int, noise: bytes
) -> None:
    body = orjson.dumps(objects)
    body = body[:place] + noise + body[place + 1 :]
    try:
        whole = decode(body, no_header)
    except RequestInvalid:
        with pytest.raises(RequestInvalid):
            read(body)
        return
    if isinstance(whole, list) and all(isinstance(each, dict) for each in whole):
        assert read(body)[0] == whole


@pytest.mark.parametrize(
    "inside", [b"{},", b'"a",', b"[[]],", b"12345678901234567,", b'"\\"\\\\",']
)
@pytest.mark.parametrize("size", [70_000, LIMIT])
def test_millions_of_values_leave_others_their_turns(inside: bytes, size: int) -> None:
    """An event of the largest size is read at once; that is what others wait for at most."""
    event = b'{"data": [' + inside * ((size - 20) // len(inside)) + b"0]}"
    events = SIZE // size
    found, turns = read(b"[" + b",".join([event] * events) + b"]")
    assert len(found) == events
    assert turns >= events // 2


@pytest.mark.parametrize(
    "body",
    [b"[" + b"[" * SIZE, b'[{"a": [' + b"{}," * (SIZE // 3) + b"{}]}]", b'[{"a": "' + b"x" * SIZE],
    ids=["open", "values", "text"],
)
def test_one_that_is_too_large_is_refused_before_it_is_read(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_bodies, "decode", None)
    with pytest.raises(EventTooLarge) as told:
        read(body)
    assert told.value.details == {"limit_bytes": LIMIT, "index": 0}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[1]",
        b'["a"]',
        b"[{} {}]",
        b"[{},]",
        b"[,{}]",
        b"[{}",
        b"[{}]]",
        b"[{}\\\\,{}]",
    ],
)
def test_what_is_no_array_of_objects_is_told(body: bytes) -> None:
    with pytest.raises(RequestInvalid):
        read(body)


def test_nothing_is_collected_while_values_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would look through all that was made so far, again and again."""
    body = b'{"data": [' + b"[]," * 150_000 + b"0]}"
    before = gc.get_stats()[0]["collections"]
    content = decode(body, no_header)
    assert gc.get_stats()[0]["collections"] - before <= 2
    assert len(content["data"]) == 150_001
    assert gc.isenabled()


@pytest.mark.parametrize(("levels", "taken"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False)])
def test_depth_is_counted_beside_many_brackets(levels: int, taken: bool) -> None:
    deep = b"[" * (levels - 2) + b"0" + b"]" * (levels - 2)
    body = b'{"data": [' + b"{}," * 1000 + deep + b"]}"
    if taken:
        assert decode(body, no_header)
    else:
        with pytest.raises(BridgeError, match="deeper than 100 levels"):
            decode(body, no_header)


def test_a_body_of_millions_of_events_is_refused_and_stores_nothing(agent: Agent) -> None:
    event = b'{"event_type":"a"},'
    body = b"[" + event * (SIZE // len(event) - 1) + event[:-1] + b"]"
    told = assert_problem(
        agent.http.post("/events", content=body), "REQ_001", says="more than 1000"
    )
    assert told["details"] == {"limit": 1000}
    assert agent.history()["events"] == []


def test_a_wrong_one_among_many_is_named_and_nothing_is_stored(agent: Agent) -> None:
    good = b'{"event_type": "a", "data": {"text": "' + b"x" * 100_000 + b'"}}'
    for wrong in (b'{"event_type": "a", "data": 3}', b'{"event_type": "a", "data": nothing}'):
        body = b"[" + b",".join([good] * 7 + [wrong] + [good] * 2) + b"]"
        answer = agent.http.post("/events", content=body)
        assert answer.status_code == 400
        assert answer.json()["details"]["index"] == 7
    assert agent.history()["events"] == []
    ids = agent.http.post("/events", content=b"[" + b",".join([good] * 10) + b"]").json()
    assert len({each["event_id"] for each in ids}) == 10
