"""Filters: what holds for every text, every filter and every JSON value."""

from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bridge.errors import FilterInvalid
from bridge.events import Event
from bridge.filters import MAX_CHARACTERS, Filter, canonical, parse, pinned_correlation, predicate
from bridge.filters.spelling import spell_field, spell_value
from bridge.filters.tree import (
    PYTHONS,
    Clause,
    Compare,
    Equals,
    Glob,
    Present,
    Term,
    Test,
    number_text,
    read_number,
    reads_as_json,
)

FAST = settings(max_examples=150, deadline=None)

# Few names and values, so that filters and events often have something in common.
NAMES = ("f", "a.b", "a", "b", "0", "topic", "data.f", "correlation_id", "not x", "a:b=c", " ")
SPECIAL = ',|!*\\><:="() a1-\nB'
words = st.sampled_from(
    [
        "",
        "a",
        "b",
        "ab",
        "1",
        "1.0",
        "true",
        "null",
        "True",
        "None",
        "-5",
        "'a'",
        "1;b:2",
        "x AND b:2",
        "(",
        " ",
        "*",
        '"',
        "é",
    ]
)
texts = words | st.text(SPECIAL, max_size=6) | st.text(max_size=4)
numbers = (
    st.integers(-3, 3)
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from([2**53 + 1, 2.0**53, 10**30, 1e22])
)
scalars = st.none() | st.booleans() | numbers | texts | st.just(float("nan"))
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | texts, inner, max_size=3)
    ),
    max_leaves=6,
)
data = st.dictionaries(st.sampled_from(NAMES), values, max_size=4)


@st.composite
def events(draw: st.DrawFn) -> Event:
    ids = draw(st.lists(words, max_size=2))
    return Event(
        event_id="e1",
        event_type="t",
        publisher=draw(words),
        agent_id=None,
        agent_type="a",
        project="p",
        topic=draw(words),
        data=draw(data),
        correlation_id=ids[0] if ids else None,
        priority="normal",
        timestamp="2025-01-01T00:00:00.000000Z",
        ttl_seconds=1,
        sequence=1,
        cursor="c",
        correlation_ids=tuple(ids),
    )


@st.composite
def globs(draw: st.DrawFn) -> Glob:
    some = texts.filter(bool)
    parts = (draw(texts), *draw(st.lists(some, max_size=2)), draw(texts))
    assume(any(parts))
    return Glob(parts)


operators = st.sampled_from([">", ">=", "<", "<="])
tests: st.SearchStrategy[Test] = (
    st.builds(Equals, texts)
    | st.builds(Equals, st.sampled_from(["1", "-5", "1.0", "true", "None"]), st.just(True))
    | globs()
    | st.builds(Compare, operators, numbers)
    | st.just(Present())
)
terms = st.builds(Term, st.sampled_from(NAMES) | texts, tests, st.booleans())
clauses = st.builds(lambda some: Clause(tuple(some)), st.lists(terms, min_size=1, max_size=3))
filters = st.builds(lambda some: Filter(tuple(some)), st.lists(clauses, max_size=3))

# Text that is nearly a filter, so that the refusals and their hints are reached.
snippets = st.sampled_from(
    [
        *("a:1", "b:x*", "c:>9", "status", "=", "==", "!=", ">", "<", ":", ",", "|", "!", "*"),
        *("[", "]", "in(", ")", ";", "'x'"),
        *(" AND ", " or ", "not ", "&&", " is ", "(", ")", '"', "\\", "'", " ", "{", "}", "é"),
    ]
)
scribbles = st.text(SPECIAL, max_size=30) | st.lists(snippets, max_size=9).map("".join) | st.text()


def parsed(text: str) -> Filter | None:
    try:
        return parse(text)
    except FilterInvalid as refusal:
        check(refusal, text)
        return None


def check(refusal: FilterInvalid, text: str) -> None:
    details = refusal.details
    assert 1 <= details["column"] <= len(text) + 1
    assert details["filter"] == text
    assert details["expected"] in refusal.message
    if "hint" in details:
        assert parse(details["hint"]).clauses


@FAST
@given(scribbles, events())
def test_any_text_is_a_filter_or_refused_with_a_hint_that_reads(text: str, event: Event) -> None:
    found = parsed(text)
    if found is not None:
        written = canonical(found)
        assert len(written) <= max(len(text) + 64 * 16, MAX_CHARACTERS)
        assert canonical(parse(written)) == written
        assert predicate(parse(written))(event) == predicate(found)(event)


@FAST
@given(filters, events())
def test_canonical_text_keeps_the_meaning(whole: Filter, event: Event) -> None:
    written = canonical(whole)
    again = parse(written)
    assert canonical(again) == written
    assert predicate(again)(event) == predicate(whole)(event)
    assert pinned_correlation(again) == pinned_correlation(whole)


@FAST
@given(filters, st.randoms(use_true_random=False))
def test_order_and_repeats_do_not_show(whole: Filter, random: Any) -> None:
    shuffled = []
    for clause in [*whole.clauses, *whole.clauses[:1]]:
        some = [*clause.terms, clause.terms[0]]
        random.shuffle(some)
        shuffled.append(Clause(tuple(some)))
    random.shuffle(shuffled)
    assert canonical(Filter(tuple(shuffled))) == canonical(whole)


@FAST
@given(terms, events())
def test_a_negated_term_is_the_exact_complement(term: Term, event: Event) -> None:
    plain = Filter((Clause((Term(term.field, term.test),)),))
    negated = Filter((Clause((Term(term.field, term.test, negated=True),)),))
    assert predicate(plain)(event) is not predicate(negated)(event)


@FAST
@given(filters, events())
def test_and_is_all_and_or_is_any(whole: Filter, event: Event) -> None:
    def alone(term: Term) -> bool:
        return predicate(Filter((Clause((term,)),)))(event)

    expected = all(any(alone(term) for term in clause.terms) for clause in whole.clauses)
    assert predicate(whole)(event) == expected


@FAST
@given(texts | st.text(max_size=50), texts, events())
def test_any_text_can_be_asked_for_literally(value: str, name: str, event: Event) -> None:
    text = f"{spell_field(name)}:{spell_value(value)}"
    event = Event(**{**_fields(event), "data": {name: value}})
    assert parse(text) == Filter((Clause((Term(name, Equals(value)),)),))
    assert predicate(parse(text))(event)


@FAST
@given(texts, events())
def test_quotes_and_escapes_mean_the_same(value: str, event: Event) -> None:
    quoted = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    escaped = "".join(each if each.isalnum() else f"\\{each}" for each in value) or '""'
    assume("\\" in escaped or not (reads_as_json(value) or value in PYTHONS))
    assert parse(f"f:{quoted}") == parse(f"f:{escaped}")
    assert canonical(parse(f"f:{quoted}")) == canonical(parse(f"f:{escaped}"))
    assert len(canonical(parse(f"f:{escaped}"))) <= len(f"f:{quoted}")


@FAST
@given(numbers)
def test_a_number_has_one_text_that_reads_as_itself(number: float) -> None:
    for shortest in (False, True):
        text = number_text(number, shortest=shortest)
        assert read_number(text) == number
        assert len(number_text(number, shortest=True)) <= len(text)
    if isinstance(number, int) and abs(number) < 2**53:
        assert number_text(float(number)) == number_text(number)


@FAST
@given(st.lists(words.filter(bool), min_size=1, max_size=3), words, events())
def test_a_pin_is_carried_by_whatever_matches(ids: list[str], other: str, event: Event) -> None:
    """At least of events whose data have no correlation ID of their own."""
    clause = [Clause((Term("correlation_id", Equals(each)),)) for each in ids]
    whole = Filter((*clause, Clause((Term("f", Equals(other), negated=True),))))
    pin = pinned_correlation(parse(canonical(whole)))
    assert pin == min((each for each in ids if each != "null"), default=None)
    plain = {key: value for key, value in event.data.items() if key != "correlation_id"}
    event = Event(**{**_fields(event), "data": plain})
    if pin is not None and predicate(whole)(event):
        assert pin in event.correlation_ids


def _fields(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in Event.__slots__}
