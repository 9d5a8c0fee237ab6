"""`bridge token`: a signed token from the command line."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from bridge.cli.durations import seconds
from bridge.cli.failures import Misused
from bridge.cli.keys import authority
from bridge.errors import RequestInvalid
from bridge.settings import load_settings

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
        lasting = seconds(ttl)
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
            near = difflib.get_close_matches(name, PERMISSIONS, n=1, cutoff=0.3)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(PERMISSIONS)}"
            raise Misused(f"--permission: there is no permission {name!r}; {hint}")
