"""Filter → predicate: closures that are built once and then run on each message."""

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from bridge.events import EVENT_FIELDS, OF_DELIVERY, Event
from bridge.filters.tree import (
    CONSTANTS,
    PYTHONS,
    Clause,
    Compare,
    Equals,
    Filter,
    Glob,
    Number,
    Present,
    Term,
    read_number,
    reads_as_json,
)

Predicate = Callable[[Event], bool]
_Check = Callable[[Any], bool]
Finder = Callable[[Event], Iterable[Any]]

_CORRELATION = "correlation_id"
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
# CPython refuses to write integers of more than 4,300 digits (about 14,284 bits).
_MAX_INTEGER_BITS = 14_000


def predicate(filter: Filter) -> Predicate:  # noqa: A002  # the contract's word for it
    """Compile a filter; the predicate never raises, whatever JSON an event carries."""
    clauses = tuple(_clause(clause) for clause in filter.clauses)
    if len(clauses) == 1:
        return clauses[0]
    return lambda event: all(clause(event) for clause in clauses)


def pinned_correlation(filter: Filter) -> str | None:  # noqa: A002
    """Give the correlation ID without which an event cannot match, if the filter demands one.

    It does where a clause is nothing but `correlation_id:<text>`. Of several the least is given,
    so that filters with one canonical text have one pin. The empty text is no correlation ID, and
    `null` asks for events without one.
    """
    pin = _pin(filter)
    return None if pin is None else pin.text


def indexable_correlation(filter: Filter) -> str | None:  # noqa: A002
    """Give the pinned correlation ID, if an event that has it has it in this spelling.

    One that reads as a JSON number or constant may equal another (1 and 1.0).
    """
    pin = _pin(filter)
    return pin.text if pin is not None and (pin.literal or not reads_as_json(pin.text)) else None


def _pin(filter: Filter) -> Equals | None:  # noqa: A002
    alone = (set(clause.terms) for clause in filter.clauses)
    pins = (_pin_of(*terms) for terms in alone if len(terms) == 1)
    return min(
        (pin for pin in pins if pin is not None),
        key=lambda pin: (pin.text, pin.literal),
        default=None,
    )


def _pin_of(term: Term) -> Equals | None:
    test = term.test
    if term.field != _CORRELATION or term.negated or not isinstance(test, Equals):
        return None
    return test if test.text and test != Equals("null") else None


def _clause(clause: Clause) -> Predicate:
    terms = tuple(_term(term) for term in clause.terms)
    if len(terms) == 1:
        return terms[0]
    return lambda event: any(term(event) for term in terms)


def _term(term: Term) -> Predicate:
    find, check, negated = finder(term.field), _check(term), term.negated

    def matches(event: Event) -> bool:
        for value in find(event):
            if check(value):
                return not negated
        return negated

    return matches


# --- Where a name is looked for ---------------------------------------------------------------


def _correlations(event: Event) -> list[str] | None:
    """All correlation IDs of an event, as an array: any of them may match."""
    ids = list(event.correlation_ids)
    if event.correlation_id is not None and event.correlation_id not in ids:
        ids.append(event.correlation_id)
    return ids or None


_ENVELOPE: Mapping[str, Callable[[Event], Any]] = {
    **{name: operator.attrgetter(name) for name in EVENT_FIELDS if name not in OF_DELIVERY},
    _CORRELATION: _correlations,
}


def finder(name: str) -> Finder:
    """Make what gives every value that a name stands for, in the data and in the envelope."""
    in_data = _path(name)
    from_envelope = _ENVELOPE.get(name)
    if from_envelope is not None:
        return lambda event: (*in_data(event.data), from_envelope(event))
    if name.startswith("data."):
        below = _path(name.removeprefix("data."))
        return lambda event: (*in_data(event.data), *below(event.data))
    return lambda event: in_data(event.data)


def _path(path: str) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
    if "." not in path:
        return lambda data: (data[path],) if path in data else ()
    first, *rest = path.split(".")

    def find(data: Mapping[str, Any]) -> Sequence[Any]:
        nodes = [data[first]] if first in data else []
        for segment in rest:
            if not nodes:
                break
            nodes = _below(nodes, segment)
        return [data[path], *nodes] if path in data else nodes

    return find


def _below(nodes: Iterable[Any], segment: str) -> list[Any]:
    """Descend one segment: into objects by key, into arrays by index or into each object.

    A segment of digits only indexes an array. Were it also looked for in the array's objects,
    one value could be reached in exponentially many ways.
    """
    index = int(segment) if segment.isascii() and segment.isdigit() else None
    found = []
    for node in nodes:
        if isinstance(node, dict):
            if segment in node:
                found.append(node[segment])
        elif isinstance(node, list):
            if index is None:
                objects = (leaf for leaf in _leaves(node) if isinstance(leaf, dict))
                found += [each[segment] for each in objects if segment in each]
            elif index < len(node):
                found.append(node[index])
    return found


def _leaves(array: list[Any]) -> Iterator[Any]:
    """Give what is not an array in nested arrays, without recursion: JSON may nest deeply."""
    waiting = [array]
    while waiting:
        for item in waiting.pop():
            if isinstance(item, list):
                waiting.append(item)
            else:
                yield item


# --- What a value must be ---------------------------------------------------------------------


def _check(term: Term) -> _Check:
    match term.test:
        case Equals(text, literal=True):
            return _of_any(lambda value: bool(value == text))
        case Equals(text):
            # Whoever's correlation ID is None has none by mistake, and shall not get all events
            # that are without.
            python = PYTHONS if term.field != _CORRELATION else {}
            return _of_any(_equals(text, {**CONSTANTS, **python}))
        case Glob(parts):
            return _of_any(_glob(parts))
        case Compare(symbol, number):
            return _of_any(_compare(symbol, number))
        case Present():
            return lambda value: value is not None


def _of_any(check: _Check) -> _Check:
    def of_any(value: Any) -> bool:
        if isinstance(value, list):
            return any(map(check, _leaves(value)))
        return check(value)

    return of_any


def _equals(text: str, constants: Mapping[str, bool | None]) -> _Check:
    if text in constants:
        constant = constants[text]
        return lambda value: value is constant or bool(value == text)
    number = read_number(text)
    if number is None:
        return lambda value: bool(value == text)
    # By type, not by isinstance: True is an int to Python and no number to JSON.
    return lambda value: bool(value == (number if type(value) in (int, float) else text))


def _glob(parts: tuple[str, ...]) -> _Check:
    head, *middle, tail = parts
    least = len(head) + len(tail)

    def check(value: Any) -> bool:
        text = value if isinstance(value, str) else _json_text(value)
        if text is None or len(text) < least:
            return False
        if not (text.startswith(head) and text.endswith(tail)):
            return False
        position, end = len(head), len(text) - len(tail)
        for part in middle:
            position = text.find(part, position, end)
            if position < 0:
                return False
            position += len(part)
        return True

    return check


def _json_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() <= _MAX_INTEGER_BITS:
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    return None


def _compare(symbol: str, number: Number) -> _Check:
    holds = _COMPARISONS[symbol]

    def check(value: Any) -> bool:
        if isinstance(value, str):
            value = read_number(value)
        return type(value) in (int, float) and holds(value, number)

    return check
