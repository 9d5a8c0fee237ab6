"""`bridge subscriptions`: who waits for what, and forgetting it."""

import dataclasses
from typing import Annotated

import typer

from bridge.cli.options import Shown, Token, Url, examples

subscriptions = typer.Typer(
    help="See and delete durable subscriptions.", no_args_is_help=True, rich_markup_mode="rich"
)


@subscriptions.command(
    "list", epilog=examples("bridge subscriptions list", "bridge subscriptions list --format json")
)
def list_(url: Url = None, token: Token = None, shown: Shown = None) -> None:
    """List your durable subscriptions; the project's, with permission spawn_agents."""
    from bridge.cli.failures import client_errors  # noqa: PLC0415 - only what the command needs
    from bridge.cli.output import records  # noqa: PLC0415 - the same
    from bridge.cli.session import session  # noqa: PLC0415 - the same
    from bridge.cli.shapes import SUBSCRIPTION  # noqa: PLC0415 - the same

    with client_errors(), session(url, token) as client, records(SUBSCRIPTION, shown) as write:
        for found in client.subscriptions():
            write(dataclasses.asdict(found))


@subscriptions.command(epilog=examples("bridge subscriptions delete NAME  (as `list` shows it)"))
def delete(
    name: Annotated[str, typer.Argument(help="The subscription's name, from `list`.")],
    url: Url = None,
    token: Token = None,
) -> None:
    """Delete a subscription: the next wait like it begins with all that is retained."""
    from bridge.cli.failures import client_errors, note  # noqa: PLC0415 - only what the command needs
    from bridge.cli.session import session  # noqa: PLC0415 - the same

    with client_errors(), session(url, token) as client:
        client.delete_subscription(name)
        note(f"deleted {name}")
