"""The one table from errors to responses, and the body that every error has."""

import math
import time
from collections.abc import Mapping
from typing import Any

from bridge import errors
from bridge.events import rfc3339

STATUS: Mapping[type[errors.BridgeError], int] = {
    errors.TokenInvalid: 401,
    errors.TokenExpired: 401,
    errors.Forbidden: 403,
    errors.EventInvalid: 400,
    errors.FilterInvalid: 400,
    errors.CursorInvalid: 400,
    errors.RequestInvalid: 400,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.NotAcceptable: 406,
    errors.RequestTimeout: 408,
    errors.LeaseEnded: 409,
    errors.EventTooLarge: 413,
    errors.RateLimited: 429,
    errors.Unavailable: 503,
    errors.Failed: 500,
}

INTERNAL = {
    "error": "internal_error",
    "message": "The bridge failed on this request. It is safe to repeat; if it happens again, give "
    "whoever runs the bridge the request_id.",
    "code": "INT_001",
    "details": {},
}


Told = tuple[int, dict[str, Any], list[tuple[bytes, bytes]]]


def tell(error: errors.BridgeError | None, request_id: str) -> Told:
    """Give status, body and headers that tell of an error; None is a failure of the bridge."""
    told = INTERNAL
    if error is not None:
        told = {
            "error": error.slug,
            "message": _message(error),
            "code": error.code,
            "details": error.details,
        }
    body = {**told, "timestamp": rfc3339(time.time()), "request_id": request_id}
    return (500, body, []) if error is None else (_status(error), body, _headers(error))


def _message(error: errors.BridgeError) -> str:
    """Give an error's message; one about a permission says here where tokens come from."""
    permission = error.details.get("missing") or error.details.get("needed")
    if permission is None or not isinstance(error, errors.Forbidden):
        return error.message
    options = "".join(f" --permission {name}" for name in sorted({"publish_events", permission}))
    return (
        f"{error.message}; `bridge token --agent NAME{options}` makes a token that has it, and an "
        "agent with `spawn_agents` gets one for another from POST /api/tokens"
    )


def _status(error: errors.BridgeError) -> int:
    """Find an error's status by what it is, or else by what it is a kind of."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def _headers(error: errors.BridgeError) -> list[tuple[bytes, bytes]]:
    """Give the headers that RFC 9110 asks for on 401, 405, 429 and 503."""
    if isinstance(error, errors.TokenInvalid | errors.TokenExpired):
        return [(b"www-authenticate", b'Bearer realm="event bridge"')]
    if isinstance(error, errors.MethodNotAllowed):
        return [(b"allow", ", ".join(error.details.get("allowed", ())).encode())]
    if not isinstance(error, errors.RateLimited | errors.Unavailable):
        return []
    seconds = b"%d" % max(1, math.ceil(error.retry_after))
    headers = [(b"retry-after", seconds)]
    if isinstance(error, errors.RateLimited):
        headers += [
            (b"x-ratelimit-limit", b"%d" % error.details["limit"]),
            (b"x-ratelimit-remaining", b"0"),
            (b"x-ratelimit-reset", seconds),
        ]
    return headers
