"""Every failure that an agent can be told of, with its code; nothing here knows HTTP.

The codes are the contract's. An error's message says what is wrong and how to mend it, because
many agents are programs written by a language model, which read it and correct themselves.
"""

from typing import Any, ClassVar


class BridgeError(Exception):
    """The bridge cannot do what was asked.

    `code` and `slug` name the kind of failure, `details` carries its attributes as plain JSON
    values (a column, a limit, an event ID), the message is for whoever has to mend it.
    """

    code: ClassVar[str] = "REQ_001"
    slug: ClassVar[str] = "bad_request"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class TokenInvalid(BridgeError):
    """There is no token, or it is not one that this bridge accepts."""

    code = "AUTH_001"
    slug = "unauthorized"


class TokenExpired(BridgeError):
    """The token was good and has expired."""

    code = "AUTH_002"
    slug = "token_expired"


class Forbidden(BridgeError):
    """The token is good and does not allow this: a permission, a publisher or a project."""

    code = "AUTH_003"
    slug = "forbidden"


class RequestInvalid(BridgeError):
    """Something about the request other than its event, filter or cursor is wrong."""

    code = "REQ_001"
    slug = "bad_request"


class NotFound(BridgeError):
    """There is nothing under this path or name."""

    code = "REQ_002"
    slug = "not_found"


class MethodNotAllowed(BridgeError):
    """The path exists and takes other methods."""

    code = "REQ_003"
    slug = "method_not_allowed"


class NotAcceptable(BridgeError):
    """The answer that was asked for is not given here."""

    code = "REQ_004"
    slug = "not_acceptable"


class RequestTimeout(BridgeError):
    """The client did not send its request in time."""

    code = "REQ_005"
    slug = "request_timeout"


class EventInvalid(BridgeError):
    """The event to publish breaks a rule."""

    code = "EVT_002"
    slug = "invalid_event"


class FilterInvalid(BridgeError):
    """The filter does not parse.

    `column` counts characters from 1, `expected` says what belongs there.
    """

    code = "EVT_003"
    slug = "invalid_filter"


class CursorInvalid(BridgeError):
    """The position is not a cursor, an event ID, a time, `earliest` or `now`."""

    code = "EVT_004"
    slug = "invalid_cursor"


class LeaseEnded(BridgeError):
    """The lease that an `ack_id` stands for has ended, or never was this agent's."""

    code = "ACK_001"
    slug = "lease_ended"


class EventTooLarge(BridgeError):
    """The body is larger than the bridge accepts."""

    code = "EVT_005"
    slug = "event_too_large"


class RateLimited(BridgeError):
    """The agent asks faster than it may; `retry_after` is in seconds."""

    code = "RATE_001"
    slug = "rate_limited"

    def __init__(self, message: str, *, retry_after: float, **details: Any) -> None:
        super().__init__(message, retry_after=retry_after, **details)
        self.retry_after = retry_after


class Unavailable(BridgeError):
    """JetStream cannot be reached or is full; `retry_after` is in seconds.

    A publish that ends so was not confirmed: it may be stored or not, and is safe to repeat with
    the same event ID.
    """

    code = "EVT_001"
    slug = "unavailable"

    def __init__(self, message: str, *, retry_after: float = 2.0, **details: Any) -> None:
        super().__init__(message, retry_after=retry_after, **details)
        self.retry_after = retry_after


class Failed(BridgeError):
    """The bridge failed, and it is safe to repeat what was asked."""

    code = "INT_001"
    slug = "internal_error"


class StartError(Exception):
    """The bridge cannot start. One line, for the operator: what is wrong and how to mend it."""
