"""`bridge mcp`: the bridge's tools for a model, over standard input and output."""

from bridge.cli.endings import Misused, client_errors
from bridge.cli.options import seconds
from bridge.cli.session import find, own_token
from bridge.client import AsyncEventClient
from bridge.errors import RequestInvalid


def run(url: str | None, token: str | None, wait: str) -> None:
    """Serve until standard input ends. Raises nothing: what is wrong is said."""
    with client_errors():
        try:
            from bridge.mcp import stdio  # noqa: PLC0415 - an extra of its own
        except ModuleNotFoundError as error:
            raise Misused(
                f"the package {error.name!r} is missing; install with: "
                "pip install 'agent-event-bridge[mcp]'"
            ) from error
        try:
            lasting = seconds(wait)
        except RequestInvalid as error:
            raise Misused(f"--wait: {error.message}") from None
        api = find(url).api
        signed = token or own_token(api, ("publish_events",)).token
        stdio.run(AsyncEventClient(api, signed), lasting)
