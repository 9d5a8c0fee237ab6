"""A client of the bridge for one command: which bridge, which token, and how it fails."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bridge.cli.durations import written
from bridge.cli.failures import Misused, fail, note
from bridge.cli.statuses import Status
from bridge.errors import BridgeError

if TYPE_CHECKING:
    from bridge.client import EventClient
    from bridge.client.address import Address

RETRY_SECONDS = 5.0
AGENT = "cli"
OWN_TOKEN_SECONDS = 600
"""Life of a token that the command line signs for itself; the client renews it while it waits."""


def find(url: str | None) -> "Address":
    """Give the URLs of the bridge to ask. Raises Misused."""
    from bridge.client.address import address  # noqa: PLC0415 - the help needs no client

    try:
        return address(url)
    except ValueError as error:
        raise Misused(str(error)) from None


@contextmanager
def session(url: str | None, token: str | None) -> Iterator["EventClient"]:
    """Connect to the bridge; belongs inside `client_errors`.

    That nothing answers is told of at once; a connection that was there and is lost, or a bridge
    that cannot serve for the moment, after `RETRY_SECONDS`.
    """
    from bridge.client import EventClient, Unreachable  # noqa: PLC0415 - the help needs no client

    api = find(url).api
    signed = token or own_token(api)
    try:
        with EventClient(api, signed, retry_for=RETRY_SECONDS) as client:
            with suppress(BridgeError):  # a proxy may hide the bridge's own pages
                client.health()
            yield client
    except Unreachable as error:
        fail(Status.UNAVAILABLE, error.message)


def own_token(api: str) -> str:
    """Sign a token with the key of this machine's own bridge, which must be the one asked.

    Raises Misused where there is none to sign with: no key is made for it.
    """
    host = urlsplit(api).hostname or ""
    found = _sign() if _is_here(host) else None
    if found is None:
        raise Misused(
            "there is no token: set JWT_TOKEN or give --token; where the bridge runs, "
            "`bridge token --agent NAME` makes one"
        )
    return found


def _is_here(host: str) -> bool:
    from bridge.settings.values import is_loopback  # noqa: PLC0415 - needs pydantic

    return is_loopback(host)


def _sign() -> str | None:
    from bridge.cli.keys import authority  # noqa: PLC0415 - only for who has no token
    from bridge.settings import load_settings  # noqa: PLC0415 - the same
    from bridge.tokens.secret import FILE_NAME  # noqa: PLC0415 - the same

    settings = load_settings()
    if not settings.key_configured and not (settings.data_dir / FILE_NAME).exists():
        return None
    keys = authority(settings)
    if not keys.can_sign:
        return None
    agent = os.environ.get("AGENT_ID") or AGENT
    life = min(OWN_TOKEN_SECONDS, settings.token_max_ttl_seconds)
    minted = keys.mint(
        agent_id=agent,
        agent_type=os.environ.get("AGENT_TYPE") or None,
        permissions=["publish_events", "spawn_agents"],
        ttl_seconds=life,
    )
    note(
        f"no JWT_TOKEN is set: signed one for agent {agent!r} with this machine's key, good for "
        f"{written(life)}"
    )
    return minted.token
