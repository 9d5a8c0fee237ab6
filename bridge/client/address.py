"""Where the bridge is and who the agent says it is: arguments first, then the environment."""

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_URL = "http://localhost:3001/api"
API = "/api"


@dataclass(frozen=True, slots=True)
class Address:
    """The URLs of one bridge: of its API, and of its root for health and status."""

    api: str
    root: str


def address(url: str | None) -> Address:
    """Read the bridge's URL, else SIDECAR_URL, else the default. Raises ValueError.

    >>> address("http://bridge:3001")
    Address(api='http://bridge:3001/api', root='http://bridge:3001')
    """
    given = (url or os.environ.get("SIDECAR_URL") or DEFAULT_URL).strip().rstrip("/")
    parts = urlsplit(given)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"the bridge's URL is {given!r}; it should be like {DEFAULT_URL}")
    root = given.removesuffix(API)
    return Address(root + API, root)


def from_environment(value: str | None, name: str) -> str | None:
    """Give a value, else the environment's, else None; an empty one counts as none."""
    return value or os.environ.get(name) or None
