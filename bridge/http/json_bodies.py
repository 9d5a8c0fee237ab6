"""JSON in bodies: read strictly, so that nothing is taken in other than as it was meant.

A large array of millions of values takes its parser seconds, in which nothing else happens. Where
the objects in it begin and end is found without making any value, in turns, and what is wrong
about it as a whole shows before any of it is parsed.
"""

import asyncio
import gc
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import orjson

from bridge.errors import EventTooLarge, RequestInvalid

MAX_DEPTH = 100
DEEPEST_WRITTEN = 254
"""As deep as orjson writes; it reads deeper."""

TURN_BYTES = 65_536
"""As much as is read of an array before other requests get their turn."""

_WHOLE_NUMBERS = range(-(1 << 63), 1 << 64)
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_TEXT_OR_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

COLLECTED_BYTES = 65_536
"""The collector has no time to look through what is in less, and turning it off takes some."""


Header = Callable[[bytes], str | None]
"""Gives a header of the request by its lower-case name."""

TURN_TOKENS = 10_000
"""Texts and brackets that are looked at before others get their turn: a few milliseconds."""

NO_ARRAY = (
    "POST /api/events takes a JSON array of events; for a single one use "
    "POST /api/events/{event_type}"
)

_BRACKET = re.compile(rb'"[^"]*"?|[\[\]{}]')
_OPEN, _CLOSE, _QUOTE = b"[{", b"]}", b'"'[0]
_WHITE = b" \t\n\r"
"""What is white space in JSON (RFC 8259, section 2); Python's own has more."""

_SHOWN = 40

Span = tuple[int, int]


def decode(body: bytes, header: Header) -> Any:
    """Read JSON; an empty body is an empty object, a byte order mark is passed over.

    What the headers say counts only for explaining what is no JSON: curl calls its JSON a form.
    Raises RequestInvalid, also for what cannot be kept as it is: more than `MAX_DEPTH` levels, and
    whole numbers beyond 64 bits, which would come back rounded (RFC 8259 sections 8.1 and 9).
    """
    body = body.removeprefix(_BYTE_ORDER_MARK)
    if not body.strip():
        return {}
    if len(body) < COLLECTED_BYTES:
        return _read(body, header)
    with _uncollected():
        return _read(body, header)


async def decode_objects(body: bytes, header: Header, limit: int) -> AsyncIterator[Any]:
    """Read a JSON array of objects one by one, each at most `limit` bytes long.

    Other requests get their turn in between, for its values may be millions. Raises as `decode`
    does, and EventTooLarge.
    """
    body = body.removeprefix(_BYTE_ORDER_MARK)
    found = _objects(body, limit)
    index = done = 0
    while True:
        try:
            span = next(found)
        except StopIteration:
            return
        except RequestInvalid as error:
            raise _not_json(body, header) or error from error
        if span is not None:
            yield _part(body[slice(*span)], index, header)
            index += 1
            done += span[1] - span[0]
        if span is None or done > TURN_BYTES:
            done = 0
            await asyncio.sleep(0)


def _part(text: bytes, index: int, header: Header) -> Any:
    try:
        return decode(text, header)
    except RequestInvalid as error:
        raise RequestInvalid(
            f"event {index} of the array: {error.message}", **error.details, index=index
        ) from error


def _read(body: bytes, header: Header) -> Any:
    try:
        content = orjson.loads(body)
        if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
            orjson.dumps(_nest(content, DEEPEST_WRITTEN - MAX_DEPTH))
    except orjson.JSONDecodeError as error:
        _refuse_deep(body, header)
        raise _not_json(body, header) or _invalid(body, error) from error
    except orjson.JSONEncodeError as error:
        raise _deep() from error
    if _LONG_NUMBER.search(body):
        json.loads(body, parse_int=_whole_number)
    return content


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector from looking through values while they are made, many times."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _nest(content: Any, levels: int) -> Any:
    for _ in range(levels):
        content = [content]
    return content


def _not_json(body: bytes, header: Header) -> RequestInvalid | None:
    """Tell of a body that is something else as a whole: compressed, a form, not UTF-8."""
    encoding = (header(b"content-encoding") or "identity").strip()
    if encoding.lower() != "identity":
        return RequestInvalid(
            f"the bridge takes no Content-Encoding, and the body has {encoding[:40]!r}; send the "
            "JSON uncompressed and leave the header out",
            field="Content-Encoding",
        )
    kind = (header(b"content-type") or "").partition(";")[0].strip().lower()
    if kind in _FORMS and body.lstrip()[:1] not in (b"{", b"["):
        return RequestInvalid(
            f"the body is a form ({kind}); send JSON, as with curl's "
            "-H 'Content-Type: application/json' -d '{\"data\": {\"coverage\": 91}}'",
            field="Content-Type",
        )
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return RequestInvalid(
            f"the body is not valid UTF-8, as JSON must be: byte {error.start + 1} of it is "
            f"0x{body[error.start]:02x}; encode the text as UTF-8, or what is no text as base64",
            byte=error.start + 1,
        )
    return None


def _invalid(body: bytes, error: orjson.JSONDecodeError) -> RequestInvalid:
    """Say where a body stops being JSON, and what is often the reason."""
    hint = ""
    if body[:1] in b"'{" and b"'" in body[:200] and b'"' not in body[:200]:
        hint = "; JSON takes double quotes, not single ones"
    elif b"NaN" in body or b"Infinity" in body:
        hint = "; JSON has no NaN and no Infinity: use null or a string"
    where = f"line {error.lineno}, column {error.colno}"
    return RequestInvalid(
        f"the body is not valid JSON: {error.msg} at {where}{hint}",
        line=error.lineno,
        column=error.colno,
    )


def _refuse_deep(body: bytes, header: Header) -> None:
    """Raise RequestInvalid where text that is no JSON soon has too many levels."""
    level = 0
    for found in islice(_TEXT_OR_BRACKET.finditer(body), TURN_TOKENS):
        if found[0] in b"[{":
            level += 1
        elif found[0] in b"]}":
            level -= 1
        if level > MAX_DEPTH:
            raise _not_json(body, header) or _deep()


def _deep() -> RequestInvalid:
    return RequestInvalid(
        f"the body is nested deeper than {MAX_DEPTH} levels; flatten `data`, or put what is deep "
        "into it as a text of JSON",
        limit=MAX_DEPTH,
    )


def _whole_number(text: str) -> int:
    if len(text) > 20 or int(text) not in _WHOLE_NUMBERS:
        raise RequestInvalid(
            f"the whole number {text[:40]} is beyond 64 bits and would be rounded; send it as a "
            f'text: "{text[:40]}"',
            lowest=_WHOLE_NUMBERS[0],
            highest=_WHOLE_NUMBERS[-1],
        )
    return int(text)


def _objects(body: bytes, limit: int) -> Iterator[Span | None]:
    """Give where the objects of an array begin and end; None when it is others' turn.

    Raises RequestInvalid for what is no array of objects as far as can be seen from outside of
    them, and EventTooLarge for one of more than `limit` bytes.
    """
    plain = body
    for escape in (b"\\\\", b'\\"'):  # in this order, so that what is left ends its text
        plain = plain.replace(escape, b"__")
        yield None
    if plain.lstrip(_WHITE)[:1] != b"[":
        raise RequestInvalid(NO_ARRAY)
    yield from _spans(plain, limit)


def _spans(plain: bytes, limit: int) -> Iterator[Span | None]:
    """Go through an array whose texts have no escaped quotes any more."""
    depth = count = start = after = 0
    for number, found in enumerate(_BRACKET.finditer(plain), 1):
        at = found.start()
        what = plain[at]
        if number % TURN_TOKENS == 0:
            yield None
        if what in _OPEN:
            if depth == 1:
                _expect(plain[after:at], b"," if count else b"", after, count)
                start = at
            after = after or at + 1
            depth += 1
        elif what in _CLOSE:
            depth -= 1
            if depth == 1:
                yield start, at + 1
                after, count = at + 1, count + 1
            elif depth == 0:
                _expect(plain[after:at], b"", after, count)
                _expect(plain[at:], b"]", at, count)
                return
        elif depth < 2:
            _expect(plain[after : at + 1], b"", after, count)
        if depth > 1 and found.end() - start > limit:
            raise EventTooLarge(
                f"event {count} of the array is larger than {limit} bytes",
                limit_bytes=limit,
                index=count,
            )
    raise RequestInvalid("the body is not valid JSON: its array does not end")


def _expect(between: bytes, wanted: bytes, start: int, count: int) -> None:
    """Refuse an array with anything else than objects in it, or between them."""
    if between.strip(_WHITE) != wanted:
        shown = between[:_SHOWN].decode(errors="replace").strip()
        raise RequestInvalid(
            f"the body is no JSON array of objects: after {count} of them, at byte {start + 1}, "
            f"comes {shown!r}",
            byte=start + 1,
        )
