"""How events, receipts and subscriptions are shown."""

from datetime import datetime

from bridge.cli.output import Column, Record, Shape, plain


def local_time(text: str | None) -> str:
    """Write an RFC 3339 time in this machine's zone; only the clock's time where it is today's."""
    if not text:
        return ""
    moment = datetime.fromisoformat(text).astimezone()
    today = moment.date() == datetime.now().astimezone().date()
    return moment.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")


def _text(name: str, title: str | None = None, width: int = 0) -> Column:
    return Column(title or name.replace("_", " "), lambda record: plain(record.get(name)), width)


def _time(name: str, title: str | None = None, width: int = 0) -> Column:
    return Column(title or name.replace("_", " "), lambda one: local_time(one.get(name)), width)


def _list(name: str) -> Column:
    return Column(name.replace("_", " "), lambda one: ", ".join(map(str, one.get(name) or ())))


def _subscriber(subscription: Record) -> str:
    group = subscription.get("group")
    return f"group {group}" if group else plain(subscription.get("agent"))


EVENT = Shape(
    fields=(
        "event_id",
        "event_type",
        "publisher",
        "agent_id",
        "agent_type",
        "topic",
        "data",
        "correlation_id",
        "priority",
        "timestamp",
        "ttl_seconds",
        "cursor",
        "delivery_count",
    ),
    columns=(
        _time("timestamp", "time", 8),
        _text("event_type", "type", 24),
        _text("topic", width=14),
        _text("publisher", width=16),
        _text("correlation_id", "correlation", 16),
        _text("data"),
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
        _text("event_id", "event"),
        Column(
            "", lambda one: "stored before; nothing is stored twice" if one["duplicate"] else ""
        ),
        _text("topic"),
        _time("timestamp", "time"),
        _text("cursor"),
        _text("subscriber_count", "subscribers"),
        _list("subscribers_notified"),
    ),
)

SUBSCRIPTION = Shape(
    fields=(
        "name",
        "agent",
        "agent_type",
        "group",
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
    ),
    columns=(
        _text("name"),
        Column("whose", _subscriber),
        _list("types"),
        _list("topics"),
        _text("filter"),
        _text("pending"),
        _text("ack_pending", "unacknowledged"),
        _text("waiting"),
        _time("last_delivery"),
    ),
)
