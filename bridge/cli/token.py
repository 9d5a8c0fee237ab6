"""`bridge token`: a signed token from the command line."""

import difflib
from pathlib import Path

from bridge.cli.durations import seconds
from bridge.cli.keys import authority
from bridge.errors import RequestInvalid
from bridge.settings import load_settings

PERMISSIONS = ("publish_events", "spawn_agents")


def make(
    agent: str,
    agent_type: str | None,
    project: str,
    ttl: str,
    permissions: list[str] | None,
    data_dir: Path | None,
) -> str:
    """Sign a token. Raises StartError or RequestInvalid."""
    for name in permissions or ():
        if name not in PERMISSIONS:
            near = difflib.get_close_matches(name, PERMISSIONS, n=1, cutoff=0.3)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(PERMISSIONS)}"
            raise RequestInvalid(f"there is no permission {name!r}; {hint}")
    settings = load_settings(data_dir=data_dir)
    minted = authority(settings).mint(
        agent_id=agent,
        agent_type=agent_type,
        project=project,
        permissions=permissions,
        ttl_seconds=seconds(ttl),
    )
    return minted.token
