"""The `bridge` command and its subcommands.

What a command does is imported when it runs: `bridge --help` loads neither server nor client.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge import __version__
from bridge.cli.delivery_commands import deliveries
from bridge.cli.endings import Stopping, client_errors, local_errors, note
from bridge.cli.event_commands import events
from bridge.cli.options import TYPES, Commands, Filter, OneCorrelation, Shown, Token, Url, examples
from bridge.cli.output import SUBSCRIPTION, records
from bridge.cli.token_commands import tokens

if TYPE_CHECKING:
    from bridge.client import ReadOptions

app = Commands("An event bridge for AI agents: HTTP in front, NATS JetStream behind.")


def _version(wanted: bool) -> None:
    if wanted:
        with local_errors():
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
        str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65_535, help="Port to listen on, 0 for a free one.", show_default="3001"
        ),
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
    stopping = Stopping()
    with local_errors(), stopping.watched():
        from bridge.cli.serve import run  # noqa: PLC0415 - `bridge token` need not load the server

        run(stopping=stopping, host=host, port=port, data_dir=data_dir, nats_url=nats_url)


@app.command(
    epilog=examples(
        "export JWT_TOKEN=$(bridge token --agent coder-1 --type python-specialist --ttl 7d)",
        "bridge token --agent boss --permission publish_events --permission spawn_agents",
        "bridge token --agent viewer --read-only --permission 'wait:testing.*'",
    )
)
def token(
    agent: Annotated[str, typer.Option(help="The agent's ID, the token's subject.")],
    agent_type: Annotated[
        str | None, typer.Option("--type", help="The agent's type, such as python-specialist.")
    ] = None,
    project: Annotated[str, typer.Option(help="The project whose events it sees.")] = "default",
    ttl: Annotated[str, typer.Option(help="Life, such as 30m, 1h or 7d.")] = "1h",
    permission: Annotated[
        list[str] | None,
        typer.Option(
            help="publish_events, spawn_agents, publish:TOPIC.TYPE or wait:TOPIC.TYPE, with '*' at "
            "the end of a part or without a type; repeat for more.",
            show_default="publish and wait",
        ),
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Let it publish nothing.")] = False,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the made-up secret, as for serve.")
    ] = None,
) -> None:
    """Print a signed token for an agent, and on standard error what it allows."""
    from bridge.cli.signing import make, permissions_of  # noqa: PLC0415 - only what is needed

    with local_errors():
        permissions = permissions_of(permission, read_only=read_only)
        minted = make(agent, agent_type, project, ttl, permissions, data_dir)
        typer.echo(minted.token)
        note(f"made {minted.described()}")


app.add_typer(events, name="events")
app.add_typer(deliveries, name="deliveries")
app.add_typer(tokens, name="tokens")
subscriptions = Commands("See and delete durable subscriptions.")
app.add_typer(subscriptions, name="subscriptions")


@app.command(epilog=examples("bridge status", "bridge status --format json"))
def status(url: Url = None, token: Token = None, shown: Shown = None) -> None:
    """Sum up the project's events, subscriptions and agents."""
    from bridge.cli.status import run  # noqa: PLC0415 - the help needs no client

    run(url, token, shown)


@app.command(epilog=examples("bridge who", "bridge who --format json"))
def who(url: Url = None, token: Token = None, shown: Shown = None) -> None:
    """Say which agents are there, and what each waits for at this moment."""
    from bridge.cli import directory_commands  # noqa: PLC0415 - the help needs no client

    directory_commands.who(url, token, shown)


@app.command(epilog=examples("bridge catalog", "bridge catalog --format json"))
def catalog(url: Url = None, token: Token = None, shown: Shown = None) -> None:
    """List event types, their topics, and how many events of each are retained."""
    from bridge.cli import directory_commands  # noqa: PLC0415 - the help needs no client

    directory_commands.catalog(url, token, shown)


@app.command(
    epilog=examples(
        "bridge doctor",
        "bridge doctor --url http://bridge.internal:3001/api && start-the-agents",
    )
)
def doctor(url: Url = None, token: Token = None, shown: Shown = None) -> None:
    """Check the bridge and the token, and say how to mend what is wrong."""
    from bridge.cli.doctor import run  # noqa: PLC0415 - the help needs no client

    run(url, token, shown)


@app.command(
    epilog=examples(
        "bridge hook",
        "bridge hook review_requested,task_assigned --group coders --at-end",
        note="For the hooks of coding agents: what it prints goes into the model's context, and is "
        "acknowledged once it is printed. With --at-end it prints to standard error and ends with "
        "status 2 if anything came, which sends the model back to work. No other failure does.",
    )
)
def hook(  # noqa: PLR0913 - a command's options are its arguments
    event_types: Annotated[list[str] | None, TYPES] = None,
    *,
    filter_text: Filter = None,
    correlation_id: OneCorrelation = None,
    group: Annotated[
        str | None, typer.Option(help="Share with all who name this group: each event to one.")
    ] = None,
    max_bytes: Annotated[
        int, typer.Option(min=1, help="Print no more than about so many bytes at once.")
    ] = 8000,
    at_end: Annotated[
        bool, typer.Option("--at-end", help="For the hook at the end of a turn.")
    ] = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Print what came for this agent since it was asked last, and wait for nothing."""
    from bridge.cli import hook as hooks  # noqa: PLC0415 - the help needs no client

    options: ReadOptions = {
        "filter": filter_text,
        "correlation_id": correlation_id,
        "group": group,
        "max_bytes": max_bytes,
    }
    hooks.run(tuple(event_types or ()), options, at_end=at_end, url=url, token=token)


@app.command(
    epilog=examples(
        "claude mcp add events -- bridge mcp",
        note="For a program that speaks the Model Context Protocol and starts it: SIDECAR_URL and "
        "JWT_TOKEN in its environment say which bridge and who.",
    )
)
def mcp(
    wait: Annotated[
        str, typer.Option(help="How long a tool waits at most, below what the client allows.")
    ] = "50s",
    url: Url = None,
    token: Token = None,
) -> None:
    """Serve the bridge's calls as tools for a model, over standard input and output."""
    from bridge.cli import mcp_server  # noqa: PLC0415 - the help needs no client

    mcp_server.run(url, token, wait)


@app.command(epilog=examples("bridge ui", "bridge ui --project shop --manage", "bridge ui --print"))
def ui(
    *,
    project: Annotated[str, typer.Option(help="The project to look at.")] = "default",
    manage: Annotated[
        bool,
        typer.Option(
            "--manage", help="See all subscriptions and redrive dead letters: spawn_agents."
        ),
    ] = False,
    show: Annotated[
        bool, typer.Option("--print", help="Print the address instead of opening it.")
    ] = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Open the web view in the browser, with a token that may only look and is good for an hour."""
    from bridge.cli import web_view  # noqa: PLC0415 - the help needs no client

    web_view.run(url, token, project=project, manage=manage, show=show)


@app.command(epilog=examples("bridge demo", "bridge demo --speed 4", "bridge demo --ui"))
def demo(
    speed: Annotated[
        float, typer.Option(min=0.1, max=100, help="How much faster than usual the agents work.")
    ] = 1.0,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the folder with the events and logs.")
    ] = False,
    view: Annotated[
        bool,
        typer.Option("--ui", help="Open the web view on it, and leave its bridge open at the end."),
    ] = False,
) -> None:
    """Watch agents build and ship something, on a bridge of their own; one dies at its work."""
    from bridge.cli.demo.run import run  # noqa: PLC0415 - only what the command needs

    run(speed=speed, keep=keep, view=view)


@subscriptions.command(
    "list", epilog=examples("bridge subscriptions list", "bridge subscriptions list --format json")
)
def list_(url: Url = None, token: Token = None, shown: Shown = None) -> None:
    """List your durable subscriptions; the project's, with permission spawn_agents."""
    from bridge.cli.session import session  # noqa: PLC0415 - the help needs no client

    with (
        client_errors(),
        session(url, token, needs=("spawn_agents",)) as client,
        records(SUBSCRIPTION, shown) as write,
    ):
        for found in client.subscriptions():
            write(dataclasses.asdict(found))


@subscriptions.command(epilog=examples("bridge subscriptions delete NAME  (as `list` shows it)"))
def delete(
    name: Annotated[str, typer.Argument(help="The subscription's name, from `list`.")],
    url: Url = None,
    token: Token = None,
) -> None:
    """Delete a subscription: the next wait like it begins with all that is retained."""
    from bridge.cli.session import session  # noqa: PLC0415 - the help needs no client

    with client_errors(), session(url, token, needs=("spawn_agents",)) as client:
        client.delete_subscription(name)
        note(f"deleted {name}")


@subscriptions.command(
    epilog=examples("bridge subscriptions redrive NAME EVENT_ID  (as `delivery_failed` has them)")
)
def redrive(
    name: Annotated[str, typer.Argument(help="The subscription's name, from `list`.")],
    event_ids: Annotated[
        list[str], typer.Argument(metavar="EVENT_ID", help="Events that became dead letters.")
    ],
    url: Url = None,
    token: Token = None,
) -> None:
    """Deliver dead letters once more, to this subscription alone."""
    from bridge.cli.session import session  # noqa: PLC0415 - the help needs no client

    with client_errors(), session(url, token, needs=("spawn_agents",)) as client:
        settled = client.redrive(name, *event_ids)
        note(f"redriven: {', '.join(settled.done)}")
        for failed in settled.failed:
            note(failed["message"])
