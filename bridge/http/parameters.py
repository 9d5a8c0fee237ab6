"""The fields of query strings: each declared once, read and described from that."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from bridge import filters, subjects
from bridge.bus import HistoryQuery, WaitQuery
from bridge.bus.lean import ALL_FIELDS, Fields, read_fields
from bridge.errors import RequestInvalid
from bridge.events import MAX_CORRELATION_CHARACTERS
from bridge.filters.spelling import spell_value
from bridge.http.corrections import unknown_query
from bridge.subscription import DELIVER, Selection

LOOKS_LIKE_SECONDS = 0.3
"""A wait of at most so many seconds was probably meant to have a thousand times as many."""
MAX_NAMES = 64
DEFAULT_LEASE_MS = 30_000

_WHOLE = re.compile(r"-?[0-9]{1,9}\Z")
_ALL_TOPICS = "all"
"""Every topic, as in the catalogue; an event type may be called so."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A field of a query string; `read` gives its value from its text, or raises RequestInvalid.

    `schema` is JSON Schema. One that is `needed` must not be empty where it is given: another
    request is meant without it, and a variable that is not set must not do so.
    """

    name: str
    description: str
    read: Callable[[str], Any] = str
    default: Any = None
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    example: str | None = None
    needed: bool = False

    def described(self) -> dict[str, Any]:
        """Describe it for OpenAPI."""
        told = {"name": self.name, "in": "query", "description": self.description}
        example = {} if self.example is None else {"example": self.example}
        return {**told, "schema": dict(self.schema), **example}


def _whole(name: str, description: str, default: int | None, low: int, high: int) -> Parameter:
    unit = " milliseconds" if name in ("timeout", "lease") else ""

    def read(text: str) -> int:
        if not _WHOLE.match(text) or not low <= (value := int(text)) <= high:
            raise RequestInvalid(
                f"`{name}` is {text[:80]!r}; it must be a whole number from {low} to {high}{unit}",
                field=name,
            )
        return value

    schema: dict[str, Any] = {"type": "integer", "minimum": low, "maximum": high}
    shown = {} if default is None else {"default": default}
    return Parameter(name, description, read, default, schema | shown)


def _choice(name: str, description: str, *allowed: str, optional: bool = False) -> Parameter:
    def read(text: str) -> str:
        if text not in allowed:
            raise RequestInvalid(
                f"`{name}` is {text[:80]!r}; it must be {' or '.join(allowed)}", field=name
            )
        return text

    schema: dict[str, Any] = {"type": "string", "enum": list(allowed)}
    if optional:
        return Parameter(name, description, read, None, schema)
    return Parameter(name, description, read, allowed[0], schema | {"default": allowed[0]})


def _correlation(text: str) -> str:
    if len(text) > MAX_CORRELATION_CHARACTERS:
        raise RequestInvalid("`correlation_id` is at most 256 characters long")
    return text


def _named(name: str, description: str) -> Parameter:
    def read(text: str) -> str:
        if not subjects.NAME.match(text):
            raise RequestInvalid(
                f"`{name}` is {text[:80]!r}; it must be {subjects.NAME_RULE}", field=name
            )
        return text

    return Parameter(name, description, read, needed=True)


def _ack_ids(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (each.strip() for each in text.split(","))))


def _fields(text: str) -> Fields:
    return read_fields(filter(None, (name.strip() for name in text.split(","))))


def _topics(text: str) -> tuple[str, ...]:
    """Read names of topics; none at all are all of them."""
    return () if text.strip() == _ALL_TOPICS else _names(text, "topic") or ()


def _types(text: str) -> tuple[str, ...] | None:
    return _names(text, "event type")


def _names(text: str, what: str) -> tuple[str, ...] | None:
    """Read names separated by commas, sorted and without repeats; None for any."""
    names = {name.strip() for name in text.split(",") if name.strip()}
    if not names:
        raise RequestInvalid(f"name at least one {what}, or `*` for any")
    if "*" in names:
        return None
    if len(names) > MAX_NAMES:
        raise RequestInvalid(f"at most {MAX_NAMES} {what}s at once; use `*` and a filter")
    for name in sorted(names):
        if not subjects.NAME.match(name):
            raise RequestInvalid(
                f"{name[:80]!r} is no valid {what}: names are {subjects.NAME_RULE}; several are "
                "separated by commas"
            )
    return tuple(sorted(names))


_FILTER = Parameter(
    "filter",
    "`field:value` terms: `,` is AND, `|` is OR, `!` negates; `f:a*b` glob, `f:>n` numbers, `f:*` "
    "present. Names are looked for in `data` (dots descend) and in the envelope.",
    default="",
    example="issue_id:issue-*,coverage:>90",
)
_CORRELATION = Parameter(
    "correlation_id", "Only events with this correlation ID.", _correlation, needed=True
)
_TOPIC = Parameter("topic", "Topics, separated by commas.", _topics)
_MAX_BYTES = _whole(
    "max_bytes",
    "End the answer before its events grow past so many bytes; there is always at least one.",
    None,
    1,
    8_388_608,
)
_FIELDS = Parameter(
    "fields",
    "Only these fields of each event, separated by commas, and paths in its data, as in "
    "`data.status,publisher`; `event_id`, `event_type` and `cursor` always.",
    _fields,
    default=ALL_FIELDS,
)

WAIT = (
    _whole(
        "timeout",
        "Milliseconds, 0 to 300000: 30 s is 30000; 0 is whatever is there now.",
        30_000,
        0,
        300_000,
    ),
    _FILTER,
    _CORRELATION,
    _TOPIC,
    _whole("limit", "Most events in one answer: 100, or `count` if it is more.", None, 1, 1000),
    _whole("count", "Answer when so many are collected, or time is up.", 1, 1, 1000),
    Parameter(
        "since",
        "A position that the client holds: a cursor, an event ID, an RFC 3339 time, `earliest` or "
        "`now`. Makes no durable subscription and moves none.",
        needed=True,
    ),
    _choice(
        "deliver",
        "Where a durable subscription that does not exist yet begins: with everything retained, "
        "with what comes, or with the newest event of each type and correlation ID. Default: the "
        "bridge's BRIDGE_DEFAULT_DELIVER.",
        *DELIVER,
        optional=True,
    ),
    _named("group", "Share one subscription: each event goes to one of the group."),
    _named(
        "consumer",
        "A name of your choice that makes the subscription another one: for two waits of one "
        "agent that should each get everything.",
    ),
    _MAX_BYTES,
    _FIELDS,
    _choice(
        "ack",
        "`auto`: events are done when their answer was written. `explicit`: they are leased to "
        "you, and done when you acknowledge them.",
        "auto",
        "explicit",
    ),
    _whole(
        "lease",
        "With ack=explicit: milliseconds for which an event is yours alone. Default 30000.",
        None,
        1000,
        86_400_000,
    ),
    _whole(
        "max_deliveries",
        "With ack=explicit: so often an event is tried before it is a dead letter. Default: the "
        "bridge's BRIDGE_MAX_DELIVERIES.",
        None,
        1,
        1000,
    ),
    Parameter(
        "done",
        "ack_ids, separated by commas, that are acknowledged before the wait begins.",
        _ack_ids,
        default=(),
        needed=True,
    ),
)
HISTORY = (
    _TOPIC,
    Parameter("type", "Event types, separated by commas.", _types),
    _FILTER,
    _CORRELATION,
    Parameter("since", "Only events behind this position: as in a wait.", needed=True),
    Parameter("until", "Only events up to this position."),
    _choice("order", "Newest or oldest first.", "desc", "asc"),
    _whole("limit", "Most events in one answer.", 20, 1, 1000),
    _choice("latest", "Only the newest event of each type and correlation ID.", "false", "true"),
    _choice(
        "deliveries",
        "Each event with what became of it for every subscription that it is for.",
        "false",
        "true",
    ),
    _MAX_BYTES,
    _FIELDS,
)
EXPLAIN = (_FILTER, _CORRELATION, _TOPIC)
STREAM = (
    *EXPLAIN,
    Parameter(
        "since",
        "Where to begin: as in a wait. Default `now`; the header `Last-Event-ID` goes first.",
        needed=True,
    ),
    _FIELDS,
)

_ASKED = {"timeout", "filter", "limit", "count"}
ASK = (
    Parameter("reply", "Event types of the reply, separated by commas; `*` for any.", _types),
    *(each for each in WAIT if each.name in _ASKED),
)


def read_query(raw: bytes, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Read a query string: the value of each parameter, its default where it is not given.

    Raises RequestInvalid. An unknown field is an error: a misspelt `filter` would hand out other
    agents' events.
    """
    known = {parameter.name: parameter for parameter in parameters}
    texts: dict[str, str] = {}
    for name, text in _pairs(raw):
        if name not in known:
            raise RequestInvalid(unknown_query(name, text, known), field=name[:80])
        if name in texts:
            raise RequestInvalid(
                f"`{name}` is given twice; give it once, several values separated by commas",
                field=name,
            )
        if text:
            texts[name] = text
        elif known[name].needed:
            raise RequestInvalid(
                f"`{name}` is empty, as from a variable that is not set; leave it out or give it a "
                "value",
                field=name,
            )
    return {
        name: known[name].read(texts[name]) if name in texts else known[name].default
        for name in known
    }


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(raw.decode(), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError as error:
        raise RequestInvalid(
            "the query string is not UTF-8; percent-encode its values as in `filter=city:K%C3%B6ln`"
        ) from error


def wait_query(path_types: str | None, raw: bytes) -> WaitQuery:
    """Read a wait; `path_types` is the path's last part, None without one.

    Raises RequestInvalid or FilterInvalid.
    """
    given = read_query(raw, WAIT)
    topics = given["topic"]
    types = None if path_types is None else _types(path_types)
    explicit = given["ack"] == "explicit"
    query = WaitQuery(
        types=types,
        any_type=types is None and (path_types is not None or topics is not None),
        topics=topics or None,
        filter=_where(given),
        timeout=given["timeout"] / 1000,
        limit=_limit(given),
        count=given["count"],
        since=given["since"],
        deliver=given["deliver"],
        group=given["group"],
        consumer=given["consumer"],
        lease=(given["lease"] or DEFAULT_LEASE_MS) / 1000 if explicit else None,
        max_deliveries=given["max_deliveries"],
        done=given["done"],
        max_bytes=given["max_bytes"],
        fields=given["fields"],
    )
    _check(given, explicit=explicit)
    return query


def _check(given: Mapping[str, Any], *, explicit: bool) -> None:
    """Refuse what means nothing together."""
    if given["since"] is not None:
        durable = [name for name in ("group", "consumer") if given[name] is not None]
        durable += ["deliver"] if given["deliver"] not in (None, "all") else []
        for name in (*durable, *(("ack",) if explicit else ())):
            raise RequestInvalid(
                f"`since` reads from a position that you hold and makes no subscription, so "
                f"`{name}` means nothing beside it; leave one of the two out",
                field=name,
            )
    for name in ("lease", "max_deliveries"):
        if given[name] is not None and not explicit:
            raise RequestInvalid(
                f"`{name}` is for deliveries that you acknowledge: add ack=explicit, or leave "
                f"`{name}` out",
                field=name,
            )


def warnings_of(query: WaitQuery) -> list[str]:
    """Say what is odd about a wait without being wrong."""
    if not 0 < query.timeout <= LOOKS_LIKE_SECONDS:
        return []
    seconds = round(query.timeout * 1000)
    allowed = f"`timeout` is in milliseconds: this wait was allowed {query.timeout:g} s"
    return [f"{allowed}; {seconds} s is timeout={seconds * 1000}"]


def history_query(project: str, raw: bytes) -> HistoryQuery:
    """Read what of the history to show. Raises RequestInvalid or FilterInvalid."""
    given = read_query(raw, HISTORY)
    return HistoryQuery(
        selection=Selection(project, given["type"], given["topic"] or None, _where(given)),
        since=given["since"],
        until=given["until"],
        newest_first=given["order"] == "desc",
        limit=given["limit"],
        latest=given["latest"] == "true",
        deliveries=given["deliveries"] == "true",
        max_bytes=given["max_bytes"],
        fields=given["fields"],
    )


def stream_query(path_types: str | None, raw: bytes) -> WaitQuery:
    """Read what a stream is of; see `wait_query`."""
    return _of_events(path_types, read_query(raw, STREAM))


def explain_query(path_types: str | None, raw: bytes) -> WaitQuery:
    """Read what is to be explained; see `wait_query`."""
    return _of_events(path_types, read_query(raw, EXPLAIN))


def _of_events(path_types: str | None, given: Mapping[str, Any]) -> WaitQuery:
    types, topics = None if path_types is None else _types(path_types), given["topic"]
    return WaitQuery(
        types=types,
        any_type=types is None and (path_types is not None or topics is not None),
        topics=topics or None,
        filter=_where(given),
        since=given.get("since"),
        fields=given.get("fields", ALL_FIELDS),
    )


def ask_query(raw: bytes) -> WaitQuery | None:
    """Read what of replies a publish waits for; None if it waits for none.

    Raises RequestInvalid or FilterInvalid.
    """
    if not any(name == "reply" for name, _ in _pairs(raw)):
        return None
    given = read_query(raw, ASK)
    return WaitQuery(
        types=given["reply"],
        filter=filters.parse(given["filter"]),
        timeout=given["timeout"] / 1000,
        limit=_limit(given),
        count=given["count"],
    )


def _limit(given: Mapping[str, Any]) -> int:
    count: int = given["count"]
    limit = max(100, count) if given["limit"] is None else int(given["limit"])
    if count > limit:
        raise RequestInvalid(
            f"`count` is {count} and `limit` {limit}: an answer cannot hold that many; raise "
            "`limit` or leave it out",
            field="limit",
        )
    return limit


def _where(given: Mapping[str, Any]) -> filters.Filter:
    """Read the filter, with what a correlation ID has to say."""
    text, correlation = given["filter"], given["correlation_id"]
    if correlation is not None:
        term = f"correlation_id:{spell_value(correlation)}"
        text = ",".join(filter(None, (text.strip(), term)))
    return filters.parse(text)
