"""Subjects, cursors and selections: pure functions, read back as they were written."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.cursors import MAX_SEQUENCE, Cursor, looks_like_cursor, read_cursor, write_cursor
from bridge.errors import CursorInvalid
from bridge.events import EVENT_FIELDS, Event
from bridge.filters import parse
from bridge.subjects import (
    MAX_PATTERNS,
    Address,
    decode_token,
    encode_token,
    event_subject,
    parse_subject,
    patterns,
)
from bridge.subscription import Selection, Subscription

TEXT = st.text(min_size=1, max_size=300)
NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}", fullmatch=True)
PLAIN_TOKEN = re.compile(r"[A-Za-z0-9_%-]+")


@given(TEXT)
def test_a_token_reads_back_and_is_never_a_wildcard(text: str) -> None:
    token = encode_token(text)
    assert decode_token(token) == text
    assert PLAIN_TOKEN.fullmatch(token)
    assert token != "_"


@given(TEXT, TEXT)
def test_different_texts_are_different_tokens(one: str, other: str) -> None:
    assert (encode_token(one) == encode_token(other)) is (one == other)


@given(TEXT, NAME, NAME, st.none() | TEXT)
def test_an_address_reads_back(
    project: str, topic: str, event_type: str, correlation: str | None
) -> None:
    address = Address(project, topic, event_type, correlation)
    subject = event_subject(address)
    assert parse_subject(subject) == address
    assert len(subject.split(".")) == 5


@pytest.mark.parametrize(
    ("subject", "address"),
    [
        ("events.p", Address("p", "coordination", "message", None)),
        ("events.p.testing", Address("p", "testing", "message", None)),
        ("events.p.testing.done", Address("p", "testing", "done", None)),
        ("events.p.testing.done._", Address("p", "testing", "done", None)),
        ("events.p.testing.done.x.y.z", Address("p", "testing", "done", "x")),
    ],
)
def test_a_foreign_subject_says_what_it_can(subject: str, address: Address) -> None:
    assert parse_subject(subject) == address


def _matches(pattern: str, subject: str) -> bool:
    """Match as NATS does: `*` is one token, `>` one or more at the end."""
    wanted, given_tokens = pattern.split("."), subject.split(".")
    for index, token in enumerate(wanted):
        if token == ">":
            return len(given_tokens) > index
        if index >= len(given_tokens) or token not in ("*", given_tokens[index]):
            return False
    return len(wanted) == len(given_tokens)


@given(
    st.none() | st.lists(NAME, min_size=1, max_size=3),
    st.none() | st.lists(NAME, min_size=1, max_size=3),
    st.none() | TEXT,
    NAME,
    NAME,
    st.none() | TEXT,
)
def test_patterns_select_what_was_asked_for(
    types: list[str] | None,
    topics: list[str] | None,
    pin: str | None,
    event_type: str,
    topic: str,
    correlation: str | None,
) -> None:
    event_type = types[0] if types else event_type
    topic = topics[0] if topics else topic
    found = patterns("p", types, topics, pin)
    wanted = event_subject(Address("p", topic, event_type, pin or correlation))
    other = event_subject(Address("q", topic, event_type, pin or correlation))
    assert any(_matches(pattern, wanted) for pattern in found)
    assert not any(_matches(pattern, other) for pattern in found)


def test_one_type_is_one_pattern_which_costs_the_server_least() -> None:
    assert patterns("p", ["done"], None, None) == ["events.p.*.done.>"]
    assert patterns("p", ["done"], None, "c-1") == ["events.p.*.done.c-1"]
    assert patterns("p", None, None, None) == ["events.p.>"]


def test_too_many_combinations_leave_the_topics_to_the_reader() -> None:
    types, topics = [f"t{n}" for n in range(20)], [f"o{n}" for n in range(20)]
    found = patterns("p", types, topics, None)
    assert len(found) == 20 <= MAX_PATTERNS
    assert all(pattern.startswith("events.p.*.") for pattern in found)


EPOCHS = st.integers(0, (1 << 64) - 1)
SEQUENCES = st.integers(0, MAX_SEQUENCE)


@given(EPOCHS, SEQUENCES)
def test_a_cursor_reads_back(epoch: int, sequence: int) -> None:
    text = write_cursor(epoch, sequence)
    assert read_cursor(text) == Cursor(epoch, sequence)
    assert looks_like_cursor(text)


@given(EPOCHS, SEQUENCES, SEQUENCES)
def test_cursors_of_one_stream_sort_as_text(epoch: int, one: int, other: int) -> None:
    texts = write_cursor(epoch, one), write_cursor(epoch, other)
    assert (texts[0] < texts[1]) is (one < other)


@given(st.text(max_size=60))
def test_any_other_text_is_refused_as_a_cursor(text: str) -> None:
    if not looks_like_cursor(text):
        with pytest.raises(CursorInvalid):
            read_cursor(text)


@given(TEXT, NAME, st.none() | NAME, st.none() | st.lists(NAME, min_size=1, unique=True))
def test_a_subscription_reads_back_from_its_metadata(
    agent: str, project: str, group: str | None, types: list[str] | None
) -> None:
    selection = Selection(project, tuple(sorted(types)) if types else None, None, parse("a:1"))
    subscription = Subscription(selection, agent, "python-specialist", group)
    assert Subscription.from_metadata(subscription.metadata()) == subscription
    assert re.fullmatch(r"[A-Za-z0-9_%-]{1,255}", subscription.name)


def test_a_name_tells_subscriptions_apart() -> None:
    selections = [
        Selection("p", ("done",)),
        Selection("p", ("done",), ("testing",)),
        Selection("p", ("done",), None, parse("a:1")),
        Selection("q", ("done",)),
    ]
    names = {Subscription(selection, agent).name for selection in selections for agent in "ab"}
    grouped = Subscription(selections[0], "a", group="b").name
    assert len(names | {grouped}) == 9
    assert Subscription(selections[0], "x", group="b").name == grouped
    assert grouped.startswith("p--b--done--")


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"project": "p", "agent": "a", "types": "*"},
        {"project": "p", "agent": "a", "types": "*", "topics": "*", "filter": "a=="},
    ],
)
def test_a_consumer_of_some_other_program_is_no_subscription(metadata: dict[str, str]) -> None:
    assert Subscription.from_metadata(metadata) is None


@pytest.mark.parametrize("pin", ["7", "7.0", "true", "null"])
def test_a_pin_that_reads_as_json_is_left_to_the_predicate(pin: str) -> None:
    assert Selection("p", ("done",), None, parse(f"correlation_id:{pin}")).patterns() == [
        "events.p.*.done.>"
    ]


def test_an_event_is_written_with_all_its_public_fields_in_their_order() -> None:
    """They are written out for speed, and listed once beside that."""
    event = Event(**{name: name for name in EVENT_FIELDS})  # type: ignore[arg-type]
    assert event.as_json() == {name: name for name in EVENT_FIELDS}
    assert tuple(event.as_json()) == EVENT_FIELDS
