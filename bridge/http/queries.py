"""Query strings: what a wait or a look at the history asks for, validated once."""

import re
from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl

from bridge import filters, subjects
from bridge.errors import RequestInvalid
from bridge.events import MAX_CORRELATION_CHARACTERS
from bridge.http.misnamed import unknown_query
from bridge.interest import Interest
from bridge.queries import HistoryQuery, WaitQuery

MAX_TIMEOUT_MS = 300_000
DEFAULT_TIMEOUT_MS = 30_000
LOOKS_LIKE_SECONDS = 0.3
"""A wait of at most so many seconds was probably meant to have a thousand times as many."""
MAX_LIMIT = 1000
MAX_NAMES = 64

WAIT_FIELDS = ("timeout", "filter", "topic", "limit", "count", "since", "deliver", "group")
HISTORY_FIELDS = (
    "topic",
    "type",
    "filter",
    "correlation_id",
    "since",
    "until",
    "order",
    "limit",
)
_WHOLE = re.compile(r"-?[0-9]{1,9}\Z")
_ALL_TOPICS = "all"
"""Every topic, as in the catalogue; an event type may be called so."""

_NEVER_EMPTY = frozenset({"group", "since", "correlation_id"})
"""What another request is meant by if it is left out: a variable that is not set must not do so."""


def parse_query(raw: bytes, known: Collection[str]) -> dict[str, str]:
    """Read a query string, each field at most once. Raises RequestInvalid.

    An unknown field is an error: a misspelt `filter` would hand out other agents' events.
    """
    fields: dict[str, str] = {}
    for name, value in _pairs(raw):
        if name not in known:
            raise RequestInvalid(unknown_query(name, value, known), field=name[:80])
        if name in fields:
            raise RequestInvalid(
                f"`{name}` is given twice; give it once, several values separated by commas",
                field=name,
            )
        if value:
            fields[name] = value
        elif name in _NEVER_EMPTY:
            raise RequestInvalid(
                f"`{name}` is empty, as from a variable that is not set; leave it out or give it a "
                "value",
                field=name,
            )
    return fields


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
    fields = parse_query(raw, WAIT_FIELDS)
    count = _number(fields, "count", 1, 1, MAX_LIMIT)
    limit = _number(fields, "limit", max(100, count), 1, MAX_LIMIT)
    if count > limit:
        raise RequestInvalid(
            f"`count` is {count} and `limit` {limit}: an answer cannot hold that many; raise "
            "`limit` or leave it out",
            field="limit",
        )
    types = None if path_types is None else _names(path_types, "event type")
    query = WaitQuery(
        types=types,
        any_type=types is None and (path_types is not None or "topic" in fields),
        topics=_topics(fields),
        filter=_filter(fields.get("filter", "")),
        timeout=_number(fields, "timeout", DEFAULT_TIMEOUT_MS, 0, MAX_TIMEOUT_MS) / 1000,
        limit=limit,
        count=count,
        since=fields.get("since"),
        only_new=_choice(fields, "deliver", ("all", "new")) == "new",
        group=_group(fields),
    )
    if query.since is not None and (query.group is not None or query.only_new):
        field = "group" if query.group is not None else "deliver"
        raise RequestInvalid(
            f"`since` reads from a position that you hold and makes no subscription, so `{field}` "
            "means nothing beside it; leave one of the two out",
            field=field,
        )
    return query


def warnings_of(query: WaitQuery) -> list[str]:
    """Say what is odd about a wait without being wrong."""
    if not 0 < query.timeout <= LOOKS_LIKE_SECONDS:
        return []
    seconds = round(query.timeout * 1000)
    allowed = f"`timeout` is in milliseconds: this wait was allowed {query.timeout:g} s"
    return [f"{allowed}; {seconds} s is timeout={seconds * 1000}"]


def history_query(project: str, raw: bytes) -> HistoryQuery:
    """Read what of the history to show. Raises RequestInvalid or FilterInvalid."""
    fields = parse_query(raw, HISTORY_FIELDS)
    terms = fields.get("filter", "")
    correlation = fields.get("correlation_id")
    if correlation is not None:
        if len(correlation) > MAX_CORRELATION_CHARACTERS:
            raise RequestInvalid("`correlation_id` is at most 256 characters long")
        quoted = correlation.replace("\\", "\\\\").replace('"', '\\"')
        terms = ",".join(filter(None, (terms.strip(), f'correlation_id:"{quoted}"')))
    types = _names(fields["type"], "event type") if "type" in fields else None
    return HistoryQuery(
        interest=Interest(project, types, _topics(fields), _filter(terms)),
        since=fields.get("since"),
        until=fields.get("until"),
        newest_first=_choice(fields, "order", ("desc", "asc")) == "desc",
        limit=_number(fields, "limit", 20, 1, MAX_LIMIT),
    )


def _filter(text: str) -> str:
    return filters.canonical(filters.parse(text)) if text else ""


def _topics(fields: Mapping[str, str]) -> tuple[str, ...] | None:
    if fields.get("topic", _ALL_TOPICS).strip() == _ALL_TOPICS:
        return None
    return _names(fields["topic"], "topic")


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
                f"{name[:80]!r} is no valid {what}: names are 1 to 64 letters, digits, `_` or `-`, "
                "beginning with a letter or digit; several are separated by commas"
            )
    return tuple(sorted(names))


def _group(fields: Mapping[str, str]) -> str | None:
    group = fields.get("group")
    if group is not None and not subjects.NAME.match(group):
        raise RequestInvalid(
            f"`group` is {group[:80]!r}; it must be 1 to 64 letters, digits, `_` or `-`",
            field="group",
        )
    return group


def _choice(fields: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = fields.get(name, allowed[0])
    if value not in allowed:
        raise RequestInvalid(
            f"`{name}` is {value[:80]!r}; it must be {' or '.join(allowed)}", field=name
        )
    return value


def _number(fields: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = fields.get(name)
    if text is None:
        return default
    unit = " milliseconds" if name == "timeout" else ""
    if not _WHOLE.match(text) or not low <= (value := int(text)) <= high:
        raise RequestInvalid(
            f"`{name}` is {text[:80]!r}; it must be a whole number from {low} to {high}{unit}",
            field=name,
        )
    return value
