"""What commands print: each kind of record, as a table, JSON, JSON lines or CSV."""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from bridge.events import EVENT_FIELDS

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
    """A column of a table, with widths in cells.

    Where the line is too short, what is `spare` goes first, then columns shrink to `least`; 0 is
    for one that must not. The last column takes what is left. `width` is that in a list which is
    written as it comes.
    """

    title: str
    cell: Callable[[Record], str]
    width: int = 0
    least: int = 0
    spare: bool = False


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


def local_time(text: str | None) -> str:
    """Write an RFC 3339 time in this machine's zone; only the clock's time where it is today's."""
    if not text:
        return ""
    moment = datetime.fromisoformat(text).astimezone()
    today = moment.date() == datetime.now().astimezone().date()
    return moment.strftime("%H:%M:%S" if today else "%m-%d %H:%M:%S")


TIME_WIDTH = 14
"""Cells of a local time."""


def column(name: str, title: str | None = None, **sizes: Any) -> Column:
    """Make the column of a field, with its text as it is."""
    return Column(title or name.replace("_", " "), lambda one: plain(one.get(name)), **sizes)


def local_time_of(name: str, title: str | None = None, **sizes: Any) -> Column:
    """Make the column of a field that is a time."""
    return Column(title or name.replace("_", " "), lambda one: local_time(one.get(name)), **sizes)


def _list(name: str) -> Column:
    return Column(name.replace("_", " "), lambda one: ", ".join(map(str, one.get(name) or ())))


def subscriber(subscription: Record) -> str:
    """Say whose a subscription is."""
    group = subscription.get("group")
    return f"group {group}" if group else plain(subscription.get("agent"))


EVENT = Shape(
    fields=EVENT_FIELDS,
    columns=(
        local_time_of("timestamp", "time", width=TIME_WIDTH),
        column("event_type", "type", width=24, least=18),
        column("topic", width=14, spare=True),
        column("publisher", width=16, least=10),
        column("correlation_id", "correlation", width=16, least=11),
        column("data", least=16),
    ),
)

RECEIPT = Shape(
    fields=(
        "event_id",
        "duplicate",
        "topic",
        "ttl_seconds",
        "timestamp",
        "cursor",
        "subscribers_notified",
        "subscriber_count",
        "warnings",
    ),
    columns=(
        column("event_id", "event"),
        Column(
            "", lambda one: "stored before; nothing is stored twice" if one["duplicate"] else ""
        ),
        column("topic"),
        local_time_of("timestamp", "time"),
        column("cursor"),
        column("subscriber_count", "subscribers"),
        _list("subscribers_notified"),
    ),
)

SUBSCRIPTION = Shape(
    fields=(
        "name",
        "agent",
        "agent_type",
        "group",
        "consumer",
        "types",
        "topics",
        "filter",
        "created",
        "pending",
        "ack_pending",
        "redelivered",
        "waiting",
        "last_delivery",
        "cursor",
        "dead",
    ),
    columns=(
        column("name"),
        Column("whose", subscriber),
        _list("types"),
        _list("topics"),
        column("filter"),
        column("pending"),
        column("ack_pending", "in hand"),
        column("dead", spare=True),
        column("waiting"),
        local_time_of("last_delivery"),
    ),
)
