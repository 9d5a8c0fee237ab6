"""`bridge status`: how the project's events and the bridge stand."""

from collections.abc import Iterator, Mapping
from typing import Any

from bridge.cli.endings import client_errors
from bridge.cli.options import written
from bridge.cli.output import (
    Column,
    Format,
    Record,
    Shape,
    chosen,
    local_time,
    plain,
    record,
    records,
)
from bridge.cli.session import session

_PAIR = Shape(
    fields=("name", "value"),
    columns=(
        Column("name", lambda one: plain(one["name"])),
        Column("value", lambda one: plain(one["value"])),
    ),
)


def run(url: str | None, token: str | None, shown: Format | None) -> None:
    """Print the status: as the bridge gives it in JSON, names and values else."""
    with client_errors(), session(url, token) as client:
        status = client.status()
        match chosen(shown):
            case Format.TABLE:
                from bridge.cli import tables  # noqa: PLC0415 - only a table needs Rich

                tables.pairs(_sentences(status))
            case Format.CSV as csv:
                with records(_PAIR, csv) as write:
                    for name, value in _flat(status):
                        write({"name": name, "value": value})
            case other:
                record(status, _PAIR, other)


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _sentences(status: Record) -> Iterator[tuple[str, str]]:
    events, queue, agents = status["events"], status["queue"], status["agents"]
    yield "bridge", f"{status['version']}, up {written(status['uptime_seconds'])}"
    yield "project", status["project"]
    yield "events", f"{events['retained']} retained; the stream keeps {queue['capacity']} at most"
    yield "oldest", local_time(events["oldest"])
    yield "newest", local_time(events["newest"])
    yield "topics", _counted(events["by_topic"])
    yield "types", _counted(events["by_type"])
    yield "subscriptions", str(status["subscriptions"])
    yield (
        "agents",
        f"{agents['total']}: {_counted(agents['by_type'])}" if agents["total"] else "none",
    )
    for route, told in status["latencies"].items():
        if route != "probe":
            yield (
                route,
                f"p50 {told['p50_ms']:.1f} ms, p99 {told['p99_ms']:.1f} ms of {told['count']}",
            )


def _counted(counts: Mapping[str, int]) -> str:
    most_first = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{name} {count}" for name, count in most_first)
