"""A filter as data: an AND of clauses, each an OR of terms, each one test of one field.

And which texts spell more than themselves: JSON's constants and numbers.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

MAX_CHARACTERS = 4096
MAX_TERMS = 64

Number = int | float
Operator = Literal[">", ">=", "<", "<="]

CONSTANTS: Mapping[str, bool | None] = {"true": True, "false": False, "null": None}
PYTHONS: Mapping[str, bool | None] = {"True": True, "False": False, "None": None}
"""The constants as Python's f-strings write them, which agents build filters with."""

_NUMBER = re.compile(r"[+-]?[0-9]+(?P<fraction>\.[0-9]+)?(?P<exponent>[eE][+-]?[0-9]+)?")
_LARGEST_DOUBLE = int(1.7976931348623157e308)
_BEYOND_DOUBLE = "1e999"
_PLAIN_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class Equals:
    """`f:v`: the value is this text, or the JSON number, true, false or null that it spells.

    The latter three may be spelt as in Python. `literal` (`f:"5"`) rules all but the text out; it
    is set only where there is something to rule out.
    """

    text: str
    literal: bool = False


@dataclass(frozen=True, slots=True)
class Glob:
    """`f:a*b`: the value is these parts in order, with any text between two of them.

    There are at least two parts, only the first and the last may be empty, and not all are.
    """

    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """`f:>n`: the value is a number, or a text that reads as one, on this side of `number`."""

    operator: Operator
    number: Number


@dataclass(frozen=True, slots=True)
class Present:
    """`f:*`: the field is there and not null."""


Test = Equals | Glob | Compare | Present


@dataclass(frozen=True, slots=True)
class Term:
    """One test of one field; `negated` turns it into its exact complement."""

    field: str
    test: Test
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Clause:
    """An OR of terms: at least one."""

    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """An AND of clauses; without any it matches every event."""

    clauses: tuple[Clause, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.clauses)


EVERYTHING = Filter()


def correlated(other: Filter, correlation_id: str) -> Filter:
    """Demand a correlation ID beside what a filter demands."""
    return Filter((*other.clauses, Clause((Term("correlation_id", Equals(correlation_id)),))))


def read_number(text: str) -> Number | None:
    """Give the number that a text spells, or None if it spells none.

    The grammar is JSON's (RFC 8259, section 6) and besides it takes a leading `+` and leading
    zeros. Without a fraction and an exponent the number is exact; with one it is a double, as
    JSON decoders make it, and infinite if it is too large for a double. `NaN`, `Infinity`, hex,
    underscores, digits other than ASCII and anything longer than a filter may be are not numbers.

    >>> read_number("-07.50"), read_number("12"), read_number("1_000")
    (-7.5, 12, None)
    """
    if len(text) > MAX_CHARACTERS:  # int() refuses to read much longer ones
        return None
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    return float(text) if match["fraction"] or match["exponent"] else int(text)


def number_text(number: Number, *, shortest: bool = False) -> str:
    """Write a number so that equal numbers have one text, which reads as the same number.

    Up to 16 characters are written plainly, unless `shortest` asks for the text than which the
    number has no shorter one.

    >>> number_text(90.0), number_text(5000), number_text(1e300), number_text(0.25)
    ('90', '5000', '1e300', '0.25')
    >>> number_text(5000, shortest=True)
    '5e3'
    """
    if isinstance(number, int):
        if abs(number) > _LARGEST_DOUBLE or float(number) != number:
            return str(number)
        number = float(number)
    if math.isinf(number):
        return _BEYOND_DOUBLE if number > 0 else f"-{_BEYOND_DOUBLE}"
    value = Decimal(repr(number)).normalize()
    sign, digits, exponent = value.as_tuple()
    # A whole double is written with all its digits: without an exponent they are read as exact.
    plain = str(int(number)) if number.is_integer() else f"{value:f}"
    if len(plain) <= _PLAIN_CHARACTERS and not shortest:
        return plain
    scientific = f"{'-' if sign else ''}{''.join(map(str, digits))}e{exponent}"
    return min(plain, scientific, key=len)


def reads_as_json(text: str) -> bool:
    """Tell whether a text spells a JSON constant or number, so that it may equal other spellings.

    >>> reads_as_json("1.0"), reads_as_json("null"), reads_as_json("job-1")
    (True, True, False)
    """
    return text in CONSTANTS or read_number(text) is not None
