"""A client of the bridge for one command: which bridge, which token, and how it fails."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bridge.cli.endings import Misused, Status, fail, note
from bridge.cli.options import written
from bridge.errors import BridgeError

if TYPE_CHECKING:
    from bridge.client import EventClient
    from bridge.client.identity import BridgeUrls
    from bridge.tokens import MintedToken

RETRY_SECONDS = 5.0
AGENT = "cli"
SERVICE = "agent-event-bridge"
"""What `/health` of a bridge names as its service."""

OWN_TOKEN_SECONDS = 600
"""Life of a token that the command line signs for itself; the client renews it while it waits."""


def find(url: str | None) -> "BridgeUrls":
    """Give the URLs of the bridge to ask: the one named, else this machine's own. Raises Misused.

    A bridge with a NATS of its own says in its data folder where it listens; another is looked for
    at the port of the settings, which come from `.env` too.
    """
    from bridge.client.identity import bridge_urls  # noqa: PLC0415 - the help needs no client

    try:
        return bridge_urls(url or os.environ.get("SIDECAR_URL") or _own_url())
    except ValueError as error:
        raise Misused(str(error)) from None


def _own_url() -> str:
    from bridge.datafolder import DataFolder, holder  # noqa: PLC0415 - only where no URL is given
    from bridge.settings import load_settings  # noqa: PLC0415 - the same

    settings = load_settings()
    return holder(DataFolder(settings.data_dir)) or f"http://localhost:{settings.port}"


@contextmanager
def session(
    url: str | None, token: str | None, *, needs: tuple[str, ...] = (), project: str = "default"
) -> Iterator["EventClient"]:
    """Connect to the bridge; belongs inside `client_errors`.

    `needs` are the permissions of a token that the command has to sign for itself, in `project`.
    That nothing answers is told of at once; a connection that was there and is lost, or a bridge
    that cannot serve for the moment, after `RETRY_SECONDS`.
    """
    from bridge.client import EventClient, Unreachable  # noqa: PLC0415 - the help needs no client

    api = find(url).api
    signed = token or own_token(api, needs, project=project).token
    try:
        with EventClient(api, signed, retry_for=RETRY_SECONDS) as client:
            _check(client, trusted=token is not None)
            yield client
    except Unreachable as error:
        fail(Status.UNAVAILABLE, error.message)


def _check(client: "EventClient", *, trusted: bool) -> None:
    """Send no token to what is not a bridge: whoever has it may act as the agent.

    A proxy may hide the bridge's own pages. That is taken on trust where somebody has named both
    the URL and the token.
    """
    try:
        service = client.health().get("service")
    except BridgeError as error:
        if trusted:
            return
        service = error.message
    if service != SERVICE:
        told = f" (/health says {service!r})" if service else ""
        raise Misused(f"what answers at {client.url} is no event bridge{told}; no token was sent")


def own_token(
    api: str,
    permissions: tuple[str, ...] = (),
    *,
    project: str = "default",
    life: int = OWN_TOKEN_SECONDS,
) -> "MintedToken":
    """Sign a token with the key of this machine's own bridge, which must be the one asked.

    Raises Misused where there is none to sign with: no key is made for it.
    """
    host = urlsplit(api).hostname or ""
    found = _sign(permissions, project, life) if _is_here(host) else None
    if found is None:
        raise Misused(
            "there is no token: set JWT_TOKEN or give --token; where the bridge runs, "
            "`bridge token --agent NAME` makes one"
        )
    return found


def _is_here(host: str) -> bool:
    from bridge.settings.values import is_loopback  # noqa: PLC0415 - needs pydantic

    return is_loopback(host)


def _sign(permissions: tuple[str, ...], project: str, longest: int) -> "MintedToken | None":
    from bridge.cli.signing import authority  # noqa: PLC0415 - only for who has no token
    from bridge.settings import load_settings  # noqa: PLC0415 - the same
    from bridge.tokens.keys import FILE_NAME  # noqa: PLC0415 - the same

    settings = load_settings()
    if not settings.key_configured and not (settings.data_dir / FILE_NAME).exists():
        return None
    keys = authority(settings)
    if not keys.can_sign:
        return None
    agent = os.environ.get("AGENT_ID") or AGENT
    life = min(longest, settings.token_max_ttl_seconds)
    minted = keys.mint(
        agent_id=agent,
        agent_type=os.environ.get("AGENT_TYPE") or None,
        project=project,
        permissions=permissions,
        ttl_seconds=life,
    )
    note(
        f"no JWT_TOKEN is set: signed one for agent {agent!r} with this machine's key, good for "
        f"{written(life)}; jti {minted.jti}"
    )
    return minted
