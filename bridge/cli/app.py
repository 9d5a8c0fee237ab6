"""The `bridge` command and its subcommands."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from bridge import __version__
from bridge.errors import BridgeError, StartError

REFUSED = 1

app = typer.Typer(
    help="An event bridge for AI agents: HTTP in front, NATS JetStream behind.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Tell of what is wrong in one line, without a traceback."""
    try:
        yield
    except StartError as error:
        typer.echo(f"bridge: {error}", err=True)
        raise typer.Exit(REFUSED) from error
    except BridgeError as error:
        typer.echo(f"bridge: {error.message}", err=True)
        raise typer.Exit(REFUSED) from error


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on, 0 for a free one. [default: 3001]")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the embedded NATS and of the made-up secret.")
    ] = None,
    nats_url: Annotated[
        str | None, typer.Option(help="NATS servers, separated by commas; default: an own one.")
    ] = None,
) -> None:
    """Serve the HTTP API, with an embedded nats-server unless one is named.

    Every other setting comes from BRIDGE_ environment variables, `.env` or `config/bridge.yaml`.
    """
    from bridge.cli.serve import run  # noqa: PLC0415 - `bridge token` need not load the server

    with _one_line_errors():
        run(host=host, port=port, data_dir=data_dir, nats_url=nats_url)


@app.command()
def token(
    agent: Annotated[str, typer.Option(help="The agent's ID, the token's subject.")],
    agent_type: Annotated[
        str | None, typer.Option("--type", help="The agent's type, such as python-specialist.")
    ] = None,
    project: Annotated[str, typer.Option(help="The project whose events it sees.")] = "default",
    ttl: Annotated[str, typer.Option(help="Life, such as 30m, 1h or 7d.")] = "1h",
    permission: Annotated[
        list[str] | None,
        typer.Option(help="publish_events or spawn_agents; repeat for both. [default: publish]"),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the made-up secret, as for serve.")
    ] = None,
) -> None:
    """Print a signed token for an agent."""
    from bridge.cli.token import make  # noqa: PLC0415 - only what the command needs

    with _one_line_errors():
        typer.echo(make(agent, agent_type, project, ttl, permission, data_dir))
