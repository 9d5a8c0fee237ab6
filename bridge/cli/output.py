"""What commands print: records as a table, JSON, JSON lines or CSV."""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Record = Mapping[str, Any]
Write = Callable[[Record], None]


class Format(StrEnum):
    """How records are written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; `width` in cells, 0 for whatever is left of the line."""

    title: str
    cell: Callable[[Record], str]
    width: int = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """How one kind of record is shown: `fields` are CSV's columns, `columns` those of a table."""

    fields: tuple[str, ...]
    columns: tuple[Column, ...]


def chosen(wanted: Format | None) -> Format:
    """Give the format asked for, or the one for where the output goes."""
    return wanted or (Format.TABLE if sys.stdout.isatty() else Format.JSONL)


@contextmanager
def records(shape: Shape, wanted: Format | None, *, as_they_come: bool = False) -> Iterator[Write]:
    """Give the function that writes one record.

    Every format but a table writes each record at once; a table does too if told to write
    `as_they_come`, else it is drawn at the end, with columns as wide as their content. Raises
    BrokenPipeError.
    """
    match chosen(wanted):
        case Format.JSON:
            with _json_array() as write:
                yield write
        case Format.JSONL:
            yield lambda record: _line(to_json(record))
        case Format.CSV:
            yield _csv(shape)
        case Format.TABLE:
            from bridge.cli import tables  # noqa: PLC0415 - only a table needs Rich

            with tables.lines(shape) if as_they_come else tables.table(shape) as write:
                yield write


def record(content: Record, shape: Shape, wanted: Format | None) -> None:
    """Write a single record: in JSON an object of its own, in a table one line for each column."""
    match chosen(wanted):
        case Format.JSON:
            _line(to_json(content, indent=2))
        case Format.TABLE:
            from bridge.cli import tables  # noqa: PLC0415 - only a table needs Rich

            tables.pairs((column.title, column.cell(content)) for column in shape.columns)
        case other:
            with records(shape, other) as write:
                write(content)


def to_json(content: Any, *, indent: int | None = None) -> str:
    """Write JSON, in whatever letters stdout can take."""
    ascii_only = not sys.stdout.encoding.lower().startswith("utf")
    return json.dumps(content, ensure_ascii=ascii_only, indent=indent)


def plain(value: Any) -> str:
    """Write a value for a cell: text as it is, nothing for null, JSON for the rest."""
    if value is None:
        return ""
    return value if isinstance(value, str) else to_json(value)


def _line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@contextmanager
def _json_array() -> Iterator[Write]:
    """Write an array whose elements appear as they come; it is closed also when something fails."""
    opener = "[\n"

    def write(content: Record) -> None:
        nonlocal opener
        sys.stdout.write(opener)
        sys.stdout.write(to_json(content, indent=2))
        sys.stdout.flush()
        opener = ",\n"

    try:
        yield write
    except BaseException:
        if opener != "[\n":
            _line("\n]")
        raise
    _line("[]" if opener == "[\n" else "\n]")


def _csv(shape: Shape) -> Write:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(shape.fields)

    def write(content: Record) -> None:
        writer.writerow([plain(content.get(name)) for name in shape.fields])
        sys.stdout.flush()

    return write
