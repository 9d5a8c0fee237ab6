"""Plain looks at a bridge's own pages, without a token and without the client's patience."""

import json
import time
import urllib.error
import urllib.request
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any, NamedTuple

SECONDS = 5.0


class Answer(NamedTuple):
    """What a page said; `body` is empty where it was no JSON object.

    `ahead` is by how many seconds the other clock is ahead of ours, None if it did not say.
    """

    status: int
    body: dict[str, Any]
    ahead: float | None


def look(url: str) -> Answer:
    """Get a page. Raises OSError where nothing answers HTTP within `SECONDS`."""
    before = time.time()
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:  # noqa: S310 - http or https
            status, content, date = answer.status, answer.read(), answer.headers["Date"]
    except urllib.error.HTTPError as error:
        with error:
            status, content, date = error.code, error.read(), error.headers["Date"]
    except HTTPException as error:
        raise OSError(f"what answers does not speak HTTP ({type(error).__name__})") from error
    return Answer(status, _object(content), _ahead(date, (before + time.time()) / 2))


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _ahead(date: str | None, now: float) -> float | None:
    """Compare clocks; a Date header (RFC 9110 section 6.6.1) tells whole seconds only."""
    if date is None:
        return None
    try:
        told = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
    return told + 0.5 - now
