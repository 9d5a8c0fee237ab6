"""Decimals that a double cannot hold: told, because they are stored rounded (RFC 8259, section 6).

Found in the text, since what has been read says nothing of it, and without a look at each token:
a request may hold a million.
"""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import orjson

MAX_TOLD = 20
MAX_LOOKED_AT = 1000
MAX_BYTES = 524_288
"""Whoever sends more at once is told of its beginning, and keeps nobody waiting."""

_LONG = rb"[0-9][0-9.eE+-]{16,}|[0-9.]+[eE][+-]?[0-9]{3,}"
_SUSPICIOUS = re.compile(rb"[0-9](?:[0-9.]{15}|[eE][+-]?[0-9]{3})")
"""A double holds 15 digits; what has no more is passed over at once."""

_NEXT = re.compile(
    rb'(?:[^"0-9]++|"(?:[^"\\]++|\\.)*+"|(?!' + _LONG + rb")[0-9][0-9.eE+-]*+)*+(" + _LONG + rb")",
    re.DOTALL,
)
_FIELD = re.compile(rb'"((?:[^"\\]|\\.)*)"\s*:[^"]*\Z', re.DOTALL)
_FIELD_BYTES = 300
_SHOWN = 40


class Rounded(NamedTuple):
    """A number as it was written and as it is stored; `field` is empty where it is far away."""

    field: str
    written: str
    stored: str

    def __str__(self) -> str:
        where = f"`{self.field}`" if self.field else "the event"
        return (
            f"{where} has {self.written[:_SHOWN]}, which is more than a number of JSON holds, and "
            f"is stored as {self.stored}; send it as a text to keep every digit"
        )


def rounded(body: bytes) -> list[Rounded]:
    """Give the decimals of valid JSON text that are not stored as they were written."""
    return [*_rounded(body)] if _SUSPICIOUS.search(body, 0, MAX_BYTES) else []


def by_event(told: Sequence[Rounded], contents: Sequence[Any]) -> dict[int, list[str]]:
    """Say it of the events of an array that have such numbers, by their index."""
    found: dict[int, list[str]] = {}
    pending = list(told)
    for index, content in enumerate(contents):
        if not pending:
            break
        text = orjson.dumps(content)
        here = [each for each in pending if each.stored.encode() in text]
        pending = [each for each in pending if each not in here]
        found[index] = list(map(str, here))
    return found


def _rounded(body: bytes) -> Iterator[Rounded]:
    position = told = 0
    for _ in range(MAX_LOOKED_AT):
        found = _NEXT.match(body, position, MAX_BYTES)
        if found is None or told == MAX_TOLD or found.end() == MAX_BYTES:
            return
        position = found.end()
        text = found[1].decode()
        stored = orjson.dumps(float(text)).decode()
        if not text.isdigit() and Decimal(text) != Decimal(stored):
            told += 1
            start = found.start(1)
            sign = "-" if body[start - 1 : start] == b"-" else ""
            yield Rounded(_field(body, start), sign + text, sign + stored)


def _field(body: bytes, end: int) -> str:
    before = _FIELD.search(body, max(0, end - _FIELD_BYTES), end)
    return before[1].decode(errors="replace")[:_SHOWN] if before else ""
