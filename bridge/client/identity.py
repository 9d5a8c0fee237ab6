"""Where the bridge is and who the agent is: arguments first, then the environment.

Nothing of a token is verified here: the bridge does that. The client only reads who it is for, and
when it ends, to have it renewed.
"""

import base64
import binascii
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bridge.errors import TokenInvalid

DEFAULT_URL = "http://localhost:3001/api"
API = "/api"
LAST_SHARE = 0.2
LAST_SECONDS = 60.0
RETRY_SECONDS = 10.0
SHORTEST_RETRY_SECONDS = 1.0
_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class BridgeUrls:
    """The URLs of one bridge: of its API, and of its root for health and status."""

    api: str
    root: str


def bridge_urls(url: str | None) -> BridgeUrls:
    """Read the bridge's URL, else SIDECAR_URL, else the default. Raises ValueError.

    >>> bridge_urls("http://bridge:3001")
    BridgeUrls(api='http://bridge:3001/api', root='http://bridge:3001')
    """
    given = (url or os.environ.get("SIDECAR_URL") or DEFAULT_URL).strip().rstrip("/")
    parts = urlsplit(given)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"the bridge's URL is {given!r}; it should be like {DEFAULT_URL}")
    root = given.removesuffix(API)
    return BridgeUrls(root + API, root)


def from_environment(value: str | None, name: str) -> str | None:
    """Give a value, else the environment's, else None; an empty one counts as none."""
    return value or os.environ.get(name) or None


class Credentials:
    """The current token; `now` gives Unix time in seconds. Raises TokenInvalid.

    A token is due to be renewed in the last fifth of its life, or in its last minute if that is
    longer, but never before half of its life has gone.
    """

    def __init__(self, token: str | None, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._token: str | None = None
        self._due = self._expires = _NEVER
        self.claims: Mapping[str, Any] = {}
        if token is not None and token.strip():
            self.take(token)

    @property
    def token(self) -> str | None:
        """The token to send, None without one."""
        return self._token

    @property
    def seconds_until_due(self) -> float:
        """The seconds until the token should be renewed; infinite if it cannot be."""
        return self._due - self._now()

    @property
    def due(self) -> bool:
        """Whether to renew the token now. One that has expired cannot be renewed any more."""
        now = self._now()
        return self._due <= now < self._expires

    def take(self, token: str) -> None:
        """Use this token from now on. Raises TokenInvalid if it cannot be sent in a header."""
        token = token.strip()
        if not token.isascii() or not token.isprintable() or " " in token:
            raise TokenInvalid(
                "JWT_TOKEN is not a token: it has characters that no token has; set it to what "
                "`bridge token --agent NAME` prints, without the word Bearer"
            )
        self._token, self.claims = token, payload(token)
        expires, issued = self.claims.get("exp"), self.claims.get("iat")
        self._due = self._expires = _NEVER
        if isinstance(expires, int | float):
            began = issued if isinstance(issued, int | float) else self._now()
            life = max(0.0, expires - began)
            self._expires = expires
            self._due = expires - max(LAST_SHARE * life, min(LAST_SECONDS, life / 2))

    def postpone(self) -> None:
        """Try again later, with half of what is left of the token to spare."""
        left = self._expires - self._now()
        self._due = self._now() + max(SHORTEST_RETRY_SECONDS, min(RETRY_SECONDS, left / 2))

    def keep(self) -> None:
        """Keep this token to its end: the bridge does not renew it."""
        self._due = _NEVER


def payload(token: str) -> Mapping[str, Any]:
    """Read what a JWT (RFC 7519) says, unverified; empty if it is no such token.

    >>> payload("eyJhbGciOiJub25lIn0.eyJzdWIiOiJjb2Rlci0xIn0.")
    {'sub': 'coder-1'}
    """
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        said = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
