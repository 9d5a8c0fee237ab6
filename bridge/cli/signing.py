"""Tokens signed on this machine: with the configured key, or with the secret of the first start."""

from collections.abc import Iterable
from pathlib import Path

from bridge.cli.endings import Misused
from bridge.cli.options import whole_seconds
from bridge.errors import RequestInvalid
from bridge.settings import Settings, load_settings
from bridge.suggest import did_you_mean
from bridge.tokens import TokenAuthority, load_or_create_secret


def authority(settings: Settings) -> TokenAuthority:
    """Make the token authority that the settings describe. Raises StartError."""
    secret = None if settings.key_configured else load_or_create_secret(settings.data_dir)
    return TokenAuthority(settings.key_config(own_secret=secret))


PERMISSIONS = ("publish_events", "spawn_agents")
_OPTIONS = {
    "agent_id": "--agent",
    "agent_type": "--type",
    "project_id": "--project",
    "ttl_seconds": "--ttl",
}
"""Which option a field of a token is given with."""


def make(
    agent: str,
    agent_type: str | None,
    project: str,
    ttl: str,
    permissions: list[str] | None,
    data_dir: Path | None,
) -> str:
    """Sign a token. Raises StartError, Misused, or RequestInvalid where no key can sign."""
    _check(permissions or ())
    try:
        lasting = whole_seconds(ttl)
    except RequestInvalid as error:
        raise Misused(f"--ttl: {error.message}") from None
    settings = load_settings(data_dir=data_dir)
    try:
        minted = authority(settings).mint(
            agent_id=agent,
            agent_type=agent_type,
            project=project,
            permissions=permissions,
            ttl_seconds=lasting,
        )
    except RequestInvalid as error:
        option = _OPTIONS.get(error.details.get("field", ""))
        if option is None:
            raise
        raise Misused(f"{option}: {error.message}") from None
    return minted.token


def _check(permissions: Iterable[str]) -> None:
    for name in permissions:
        if name not in PERMISSIONS:
            hint = did_you_mean(name, PERMISSIONS, close=0.3)
            raise Misused(f"--permission: there is no permission {name!r}; {hint}")
