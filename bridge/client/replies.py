"""Failures as an agent meets them: the bridge's own errors by their code, and no answer at all."""

import json
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from bridge import errors
from bridge.client.flow import Answer

KNOWN: Mapping[str, type[errors.BridgeError]] = {
    known.code: known
    for known in (
        errors.TokenInvalid,
        errors.TokenExpired,
        errors.Forbidden,
        errors.RequestInvalid,
        errors.NotFound,
        errors.MethodNotAllowed,
        errors.EventInvalid,
        errors.FilterInvalid,
        errors.CursorInvalid,
        errors.EventTooLarge,
        errors.LeaseEnded,
    )
}
AWAY = (502, 503, 504)
"""Answers of a proxy, or of the bridge itself, that end by themselves (RFC 9110 section 15.6)."""


class Unreachable(Exception):
    """Nothing answered: no connection, one that broke, or none of the answer in time.

    Whether the bridge did what was asked is unknown, unless the connection was `refused`.
    `details` carries attributes as JSON values.
    """

    def __init__(self, message: str, *, refused: bool = False, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.refused = refused
        self.details = details


class UnexpectedAnswer(errors.BridgeError):
    """An answer that this client does not know: an error's new code, or not the bridge's at all.

    `status` is the HTTP status; `code` is the answer's own where it has one.
    """

    code = "UNEXPECTED"
    slug = "unexpected_answer"

    def __init__(self, message: str, *, status: int, **details: Any) -> None:
        super().__init__(message, **details)
        self.status = status


TRANSIENT = (Unreachable, errors.Unavailable, errors.RateLimited)


def read(answer: Answer) -> Any:
    """Give the JSON of a good answer, None if it has no body; raise what any other one tells of."""
    if answer.status == 204:
        return None
    try:
        content = json.loads(answer.content)
    except ValueError:
        raise _not_json(answer) from None
    if 200 <= answer.status < 300:
        return content
    raise _told(answer, content)


def shapeless(answer: object) -> UnexpectedAnswer:
    """Make the error for JSON that is not what the contract says."""
    return UnexpectedAnswer(
        f"the answer is JSON, but not what an event bridge answers: {str(answer)[:120]!r}; check "
        "SIDECAR_URL, which should end in /api",
        status=200,
    )


def _told(answer: Answer, content: Any) -> errors.BridgeError:
    body = content if isinstance(content, dict) else {}
    code, message, details = body.get("code"), body.get("message"), body.get("details")
    details = dict(details) if isinstance(details, dict) else {}
    message = message if isinstance(message, str) else _excerpt(answer)
    error = _by_code(answer, code, message, details)
    if request_id := body.get("request_id"):
        error.add_note(f"request_id: {request_id}")
    return error


def _by_code(
    answer: Answer, code: Any, message: str, details: dict[str, Any]
) -> errors.BridgeError:
    error: errors.BridgeError
    if code == errors.RateLimited.code or answer.status == 429:
        error = errors.RateLimited(message, retry_after=retry_after(answer))
    elif code == errors.Unavailable.code or (answer.status in AWAY and code not in KNOWN):
        error = errors.Unavailable(message, retry_after=retry_after(answer))
    elif isinstance(code, str) and code in KNOWN:
        error = KNOWN[code](message)
    elif isinstance(code, str):
        told = type("UnexpectedAnswer", (UnexpectedAnswer,), {"code": code})
        error = told(message, status=answer.status)
    else:
        error = UnexpectedAnswer(message, status=answer.status)
    error.details = details | error.details
    return error


def _not_json(answer: Answer) -> errors.BridgeError:
    message = _excerpt(answer)
    if answer.status in AWAY:
        return errors.Unavailable(message, retry_after=retry_after(answer))
    if answer.status == 429:
        return errors.RateLimited(message, retry_after=retry_after(answer))
    return UnexpectedAnswer(message, status=answer.status)


def _excerpt(answer: Answer) -> str:
    text = " ".join(answer.content[:500].decode(errors="replace").split())[:120]
    return (
        f"HTTP {answer.status} and not the bridge's JSON, as from a proxy or another server: "
        f"{text!r}; check SIDECAR_URL, which should end in /api"
    )


def retry_after(answer: Answer) -> float:
    """Read the header Retry-After, seconds or a date, as seconds from now (RFC 9110 10.2.3)."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - time.time())
