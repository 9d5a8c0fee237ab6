"""`--exec`: a command of the user's, run once for each event."""

import os
import subprocess
from typing import TYPE_CHECKING

import typer

from bridge.cli.failures import note
from bridge.cli.output import to_json

if TYPE_CHECKING:
    from bridge.client import Event, EventClient


class Hook:
    """Runs a shell command with the event on its standard input and in its environment.

    The command may talk to the same bridge as the same agent: SIDECAR_URL and JWT_TOKEN are set.
    """

    def __init__(self, command: str, client: "EventClient", *, ends_on_error: bool) -> None:
        self._command = command
        self._client = client
        self._ends_on_error = ends_on_error

    def __call__(self, event: "Event") -> None:
        """Run the command to its end. Raises typer.Exit with its status where that is wanted."""
        ended = subprocess.run(  # noqa: S602 - a shell command is what was asked for
            self._command,
            shell=True,
            check=False,
            input=to_json(event.as_json()).encode() + b"\n",
            env={**os.environ, **self._variables(event)},
        )
        # A process that a signal ended counts as it does in a shell.
        status = ended.returncode if ended.returncode >= 0 else 128 - ended.returncode
        if status == 0:
            return
        note(f"{self._command!r} ended with status {status} for event {event.event_id}")
        if self._ends_on_error:
            raise typer.Exit(status)

    def _variables(self, event: "Event") -> dict[str, str]:
        given = {
            "EVENT_ID": event.event_id,
            "EVENT_TYPE": event.event_type,
            "CORRELATION_ID": event.correlation_id or "",
            "SIDECAR_URL": self._client.url,
            "JWT_TOKEN": self._client.token or "",
        }
        # No variable can hold a NUL, which an event from elsewhere may bring.
        return {name: value.replace("\0", "") for name, value in given.items()}
