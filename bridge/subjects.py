"""Subjects: the NATS address of an event, and the patterns that select events by it.

`events.<project>.<topic>.<event_type>.<correlation>`, where `_` stands for no correlation ID. An
event with two different correlation IDs (one beside `data`, one inside) is stored under the first,
and once more as an alias under the second: finding an ID takes one pattern, which costs the server
the same whatever the stream holds, while several would make it look through every subject.

Tokens are percent-encoded as in RFC 3986 section 2.1, but for `A-Z a-z 0-9 _ -` alone: NATS gives
`.`, `*`, `>` and white space a meaning, and a token must survive terminals and shells as well.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple
from urllib.parse import unquote

from bridge.errors import EventInvalid

PREFIX = "events"
ALL = f"{PREFIX}.>"
NO_CORRELATION = "_"
DEFAULT_TOPIC = "coordination"
UNTYPED = "message"
"""The event type of a foreign message whose subject is too short to name one."""

_DEFAULTS = ("", DEFAULT_TOPIC, UNTYPED, NO_CORRELATION)

UNCORRELATED = (
    f"{PREFIX}.*.*.*",
    f"{PREFIX}.{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}.{{{{wildcard(3)}}}}.{NO_CORRELATION}",
)
"""A subject transform (NATS ADR-30) for foreign messages that leave the correlation token out."""

MAX_PATTERNS = 64
"""More patterns than this on one consumer cost the server more than they spare the bridge."""

NAME_PATTERN = "[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}"
NAME = re.compile(rf"{NAME_PATTERN}\Z")
"""What topics and event types may be called."""

NAME_RULE = (
    "1 to 128 letters, digits, `_`, `-`, `.` or `:`, beginning with a letter or digit, such as "
    "`tests_passing` or `build.finished`"
)

MAX_SUBJECT = 3500
"""The longest subject: with reply and sizes it has to fit into nats-server's line of 4,096 bytes
(its option `max_control_line`), or the server ends the connection."""

_SPECIAL = re.compile(rb"[^A-Za-z0-9_-]")
_PLAIN = re.compile(r"[A-Za-z0-9_-]+\Z")


class Address(NamedTuple):
    """What a subject says about its event."""

    project: str
    topic: str
    event_type: str
    correlation: str | None


def encode_token(text: str) -> str:
    """Write any non-empty text as one subject token, reversibly and never as a wildcard.

    >>> encode_token("build 7.1")
    'build%207%2E1'
    """
    if _PLAIN.match(text):
        return text if text != NO_CORRELATION else "%5F"
    raw = text.encode("utf-8", "replace")
    return _SPECIAL.sub(lambda found: b"%%%02X" % found[0][0], raw).decode("ascii")


def decode_token(token: str) -> str:
    """Read a token that `encode_token` wrote; other text comes back as it is."""
    try:
        return unquote(token, errors="strict") if "%" in token else token
    except UnicodeDecodeError:
        return token


def event_subject(address: Address) -> str:
    """Give the subject that an event is stored under.

    Raises EventInvalid if NATS would not take it.
    """
    correlation = encode_token(address.correlation) if address.correlation else NO_CORRELATION
    project, topic, event_type = map(encode_token, address[:3])
    subject = f"{PREFIX}.{project}.{topic}.{event_type}.{correlation}"
    if len(subject) > MAX_SUBJECT:
        raise EventInvalid(
            "topic, event type and correlation ID together are too long for a NATS subject, where "
            "each character but letters, digits, `_` and `-` counts threefold or more; shorten "
            "the correlation ID",
            field="correlation_id",
        )
    return subject


@lru_cache(8192)
def parse_subject(subject: str) -> Address:
    """Read a subject under `events.`, a foreign one too: what it does not say gets a default."""
    tokens = subject.split(".")[1:5]
    project, topic, event_type, correlation = (*tokens, *_DEFAULTS[len(tokens) :])
    return Address(
        decode_token(project),
        decode_token(topic),
        decode_token(event_type),
        None if correlation == NO_CORRELATION else decode_token(correlation),
    )


def patterns(
    project: str,
    types: Sequence[str] | None,
    topics: Sequence[str] | None,
    correlation: str | None,
) -> list[str]:
    """Give the subject patterns that together select a project's events by type, topic and ID.

    None stands for any; a foreign subject that leaves its topic or type out is found by any alone,
    and one that names nothing but a project by no pattern. No pattern is a subset of another (the
    server refuses that). Where the combinations would be too many the topics are left to the
    reader, so what matches a pattern may still have to be looked at.
    """
    if topics is not None and types is not None and len(types) * len(topics) > MAX_PATTERNS:
        topics = None
    base = f"{PREFIX}.{encode_token(project)}"
    if types is None and correlation is None:
        return [f"{base}.>"] if topics is None else [f"{base}.{encode_token(t)}.>" for t in topics]
    heads = [
        f"{base}.{topic}.{event_type}"
        for topic, event_type in product(_tokens(topics), _tokens(types))
    ]
    tail = ">" if correlation is None else encode_token(correlation)
    return [f"{head}.{tail}" for head in heads]


def _tokens(names: Sequence[str] | None) -> list[str]:
    return ["*"] if names is None else [encode_token(name) for name in names]
