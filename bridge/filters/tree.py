"""A filter as data: an AND of clauses, each an OR of terms, each one test of one field."""

from dataclasses import dataclass
from typing import Literal

MAX_CHARACTERS = 4096
MAX_TERMS = 64

Number = int | float
Operator = Literal[">", ">=", "<", "<="]


@dataclass(frozen=True, slots=True)
class Equals:
    """`f:v`: the value is this text, or the JSON number, true, false or null that it spells.

    The latter three may be spelt as in Python.
    """

    text: str


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
