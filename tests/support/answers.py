"""Answers as the contract wants them, and connections on which anything can be said."""

import socket
from datetime import datetime, timedelta
from http.client import parse_headers
from typing import Any, Self

import httpx

ERRORS = {
    "AUTH_001": (401, "unauthorized"),
    "AUTH_002": (401, "token_expired"),
    "AUTH_003": (403, "forbidden"),
    "EVT_001": (503, "unavailable"),
    "EVT_002": (400, "invalid_event"),
    "EVT_003": (400, "invalid_filter"),
    "EVT_004": (400, "invalid_cursor"),
    "EVT_005": (413, "event_too_large"),
    "RATE_001": (429, "rate_limited"),
    "REQ_001": (400, "bad_request"),
    "REQ_002": (404, "not_found"),
    "REQ_003": (405, "method_not_allowed"),
    "REQ_004": (406, "not_acceptable"),
    "REQ_005": (408, "request_timeout"),
}


def common(answer: httpx.Response) -> httpx.Response:
    """Expect the headers that every answer has."""
    assert answer.headers.get_list("cache-control") == ["no-store"], answer.request.url
    assert len(answer.headers.get_list("x-request-id")) == 1
    assert answer.headers["x-request-id"]
    return answer


def assert_problem(answer: httpx.Response, code: str, *, says: str = "") -> dict[str, Any]:
    """Expect an error of this code in the contract's form; give its body."""
    status, slug = ERRORS[code]
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    told: dict[str, Any] = answer.json()
    assert list(told) == ["error", "message", "code", "details", "timestamp", "request_id"]
    assert (told["code"], told["error"]) == (code, slug), told
    assert told["request_id"] == common_id(answer)
    assert datetime.fromisoformat(told["timestamp"]).utcoffset() == timedelta(0)
    assert isinstance(told["details"], dict)
    assert says in told["message"], told["message"]
    assert len(told["message"]) > 20
    assert "Traceback" not in answer.text
    return told


def common_id(answer: httpx.Response) -> str:
    """Expect the common headers and give the request's ID."""
    return str(common(answer).headers["x-request-id"])


class RawConnection:
    """One connection to a bridge, for requests that HTTP libraries will not send."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=10)
        self._file = self._socket.makefile("rb")

    @property
    def port(self) -> int:
        """The port at this end."""
        port: int = self._socket.getsockname()[1]
        return port

    def send(self, request: bytes) -> None:
        self._socket.sendall(request)

    def answer(self) -> httpx.Response:
        """Read one answer with a declared length."""
        status = int(self._file.readline().split()[1])
        headers = parse_headers(self._file)
        content = self._file.read(int(headers["content-length"]))
        return httpx.Response(
            status,
            headers=headers.items(),
            content=content,
            request=httpx.Request("RAW", "http://bridge/"),
        )

    def ended(self) -> bool:
        """Wait for more and tell whether the bridge has closed the connection instead."""
        return self._file.read(1) == b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()
