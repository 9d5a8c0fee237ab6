"""Decimals that are stored rounded: found in the text of a body, and told with what was stored."""

import time
from decimal import Decimal

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.http.rounding import MAX_TOLD, rounded
from tests.support import Agent

DIGITS = "12345678901234567.89"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f'{{"price": {DIGITS}}}', [("price", DIGITS, "1.2345678901234568e+16")]),
        (f'{{"a": {{"b" :-{DIGITS}}}}}', [("b", f"-{DIGITS}", "-1.2345678901234568e+16")]),
        (f'{{"a": [1, 2.5, {DIGITS}]}}', [("a", DIGITS, "1.2345678901234568e+16")]),
        (f"[{DIGITS}]", [("", DIGITS, "1.2345678901234568e+16")]),
        ('{"tiny": 1e-400}', [("tiny", "1e-400", "0.0")]),
        ('{"a": 0.1000000000000000055511151231257827}', [("a", None, "0.1")]),
        (f'{{"a": "{DIGITS}", "b:{DIGITS}": "\\"{DIGITS}"}}', []),
        ('{"a": 0.30000000000000004, "b": 1.7976931348623157e308, "c": 5e-324}', []),
        ('{"a": 1.50000000000000000000, "b": 100000000000000000000000e-3}', []),
        ('{"a": 18446744073709551615, "b": -9223372036854775808}', []),
        ('{"id": "2026-01-31T12:00:00.000000Z", "b": "192.168.100.100"}', []),
    ],
)
def test_what_is_rounded_is_found(text: str, found: list[tuple[str, str | None, str]]) -> None:
    told = rounded(text.encode())
    assert [(each.field, each.stored) for each in told] == [(f, stored) for f, _, stored in found]
    for each, (_, written, _) in zip(told, found, strict=True):
        assert written in (None, each.written)


numbers = st.from_regex(
    r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?", fullmatch=True
)


@settings(max_examples=200, deadline=None)
@given(st.lists(numbers | st.text(max_size=5).map(lambda text: orjson.dumps(text).decode())))
def test_exactly_the_inexact_decimals_are_told(tokens: list[str]) -> None:
    """Whole numbers are kept or refused, and none is more than double and 20 are not told."""
    told = [each.written for each in rounded(f"[{', '.join(tokens)}]".encode())]
    inexact = [
        token
        for token in tokens
        if token[0] != '"'
        and not token.removeprefix("-").isdigit()
        and Decimal(token) != Decimal(repr(float(token)))
    ]
    assert told == inexact[:MAX_TOLD]


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b",".join([b"{}"] * 2_800_000) + b",1.00000000000000001]",
        b"[" + b",".join([b"12345678901234567.5"] * 400_000) + b"]",
        b'["' + b'","'.join([b"a"] * 2_000_000) + b'",1.00000000000000001]',
        b"[" + b"1.5," * 2_000_000 + b"1.00000000000000001]",
        b"[" + b"1.00000000000000000," * 400_000 + b"1]",
    ],
    ids=["objects", "rounded", "texts", "short", "exact"],
)
def test_nothing_keeps_the_bridge_for_long(body: bytes) -> None:
    began = time.process_time()
    rounded(body)
    assert time.process_time() - began < 1


def test_a_publish_says_what_was_rounded(agent: Agent) -> None:
    body = f'{{"data": {{"n": 1, "price": {DIGITS}}}}}'
    (said,) = agent.http.post("/events/checkpoint", content=body).json()["warnings"]
    assert f"`price` has {DIGITS}" in said
    assert "is stored as 1.2345678901234568e+16" in said
    assert "send it as a text" in said


def test_an_array_says_it_of_the_event_that_has_it(agent: Agent) -> None:
    events = ['{"event_type": "a", "data": {"price": 1.5}}'] * 3
    events[1] = f'{{"event_type": "a", "data": {{"price": {DIGITS}}}}}'
    receipts = agent.http.post("/events", content=f"[{','.join(events)}]").json()
    assert ["warnings" in receipt for receipt in receipts] == [False, True, False]
