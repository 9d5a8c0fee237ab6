"""`bridge hook`: what came for an agent since its last turn, for the hooks of coding agents.

A hook's standard output goes into the model's context. At the end of a turn status 2 sends the
model back to work, with standard error as the reason; every other status but 0 is an error that
stops nobody.
"""

import json
import sys
from typing import TextIO

import typer

from bridge.cli.endings import Status, client_errors
from bridge.cli.session import session
from bridge.client import Event, ReadOptions

LEASE_SECONDS = 30.0
SEND_BACK = 2


def run(
    types: tuple[str, ...],
    options: ReadOptions,
    *,
    at_end: bool,
    url: str | None,
    token: str | None,
) -> None:
    """Print what came, and acknowledge it once it is printed."""
    try:
        printed = _print_new(types, options, sys.stderr if at_end else sys.stdout, url, token)
    except typer.Exit as ended:
        # Wrong usage has the status that would send the model back to work.
        raise typer.Exit(
            Status.FAILED if ended.exit_code == SEND_BACK else ended.exit_code
        ) from None
    if printed and at_end:
        raise typer.Exit(SEND_BACK)


def _print_new(
    types: tuple[str, ...], options: ReadOptions, out: TextIO, url: str | None, token: str | None
) -> bool:
    with client_errors(options.get("filter")), session(url, token) as client:
        leased: ReadOptions = {**options, "lease": LEASE_SECONDS}
        batch = client.wait(*types, timeout=0, **leased)
        if not batch:
            return False
        out.write(told(batch.events, more=batch.more_available))
        out.flush()
        client.ack(batch)
        return True


def told(events: list[Event], *, more: bool) -> str:
    """Write events for a model: who said what about which piece of work."""
    count = "1 event" if len(events) == 1 else f"{len(events)} events"
    lines = [f"{count} from other agents came for you:"]
    for event in events:
        about = f" about {event.correlation_id}" if event.correlation_id else ""
        again = ", again" if event.delivery_count > 1 else ""
        data = json.dumps(event.data, ensure_ascii=False)
        lines.append(f"- {event.event_type} from {event.publisher}{about}{again}: {data}")
    if more:
        lines.append("More is waiting: it comes next time.")
    return "\n".join([*lines, ""])
