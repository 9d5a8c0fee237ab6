"""JSON text: read strictly, so that nothing is taken in other than as it was meant."""

import json
import re
from collections.abc import Callable
from typing import Any

import orjson

from bridge.errors import RequestInvalid

MAX_DEPTH = 100

_WHOLE_NUMBERS = range(-(1 << 63), 1 << 64)
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_TEXT_OR_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


Header = Callable[[bytes], str | None]
"""Gives a header of the request by its lower-case name."""


def decode(body: bytes, header: Header) -> Any:
    """Read JSON; an empty body is an empty object, a byte order mark is passed over.

    What the headers say counts only for explaining what is no JSON: curl calls its JSON a form.
    Raises RequestInvalid, also for what cannot be kept as it is: more than `MAX_DEPTH` levels, and
    whole numbers beyond 64 bits, which would come back rounded (RFC 8259 sections 8.1 and 9).
    """
    body = body.removeprefix(_BYTE_ORDER_MARK)
    if not body.strip():
        return {}
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _refuse_deep(body, header)
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _not_json(body, header) or _invalid(body, error) from error
    if _LONG_NUMBER.search(body):
        json.loads(body, parse_int=_whole_number)
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
    """Raise RequestInvalid for JSON text with too many levels, which no parser has to like."""
    level = 0
    for found in _TEXT_OR_BRACKET.finditer(body):
        if found[0] in b"[{":
            level += 1
        elif found[0] in b"]}":
            level -= 1
        if level > MAX_DEPTH:
            raise _not_json(body, header) or RequestInvalid(
                f"the body is nested deeper than {MAX_DEPTH} levels; flatten `data`, or put what "
                "is deep into it as a text of JSON",
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
