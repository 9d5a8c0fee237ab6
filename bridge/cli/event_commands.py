"""`bridge events`: publish, wait for and look at events."""

from enum import StrEnum
from typing import Annotated

import typer

from bridge.cli.options import (
    TYPE,
    TYPES,
    Commands,
    Data,
    Filter,
    OneCorrelation,
    OneTopic,
    Shown,
    Token,
    Topic,
    Url,
    event_types_like,
    examples,
)

events = Commands("Publish events, wait for them, look at them.")


class Priority(StrEnum):
    """An event's priority."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class Deliver(StrEnum):
    """Where a subscription begins that does not exist yet."""

    ALL = "all"
    NEW = "new"
    LAST = "last"


class Order(StrEnum):
    """Which events come first."""

    ASC = "asc"
    DESC = "desc"


@events.command(
    epilog=examples(
        "bridge events publish tests_passing --data '{\"coverage\": 92}'",
        "bridge events publish deploy_wanted --topic release --correlation-id issue-7 --ttl 1h",
        "jq '{failures: .failed}' report.json | bridge events publish tests_failing --data -",
    )
)
def publish(  # noqa: PLR0913 - a command's options are its arguments
    event_type: Annotated[str, TYPE],
    *,
    data: Data = None,
    topic: OneTopic = None,
    correlation_id: Annotated[
        str | None, typer.Option(help="What ties this event to others.")
    ] = None,
    ttl: Annotated[
        str | None, typer.Option(help="Life, such as 90s, 30m or 24h.", show_default="24h")
    ] = None,
    priority: Annotated[Priority | None, typer.Option(help="Carried, never reorders.")] = None,
    event_id: Annotated[
        str | None, typer.Option(help="An ID of your own: a repeat is then not stored twice.")
    ] = None,
    url: Url = None,
    token: Token = None,
    shown: Shown = None,
) -> None:
    """Publish an event; returns once it is stored."""
    from bridge.cli import event_io  # noqa: PLC0415 - the help needs no client

    event_io.publish(
        event_type,
        data,
        ttl,
        topic=topic,
        correlation_id=correlation_id,
        priority=priority,
        event_id=event_id,
        url=url,
        token=token,
        shown=shown,
    )


@events.command(
    epilog=examples(
        'bridge events ask review_wanted --data \'{"file": "a.py"}\' --reply review_done',
        note="Exit status: 0 when a reply came, 124 when time was up.",
    )
)
def ask(  # noqa: PLR0913 - a command's options are its arguments
    event_type: Annotated[str, TYPE],
    *,
    reply: Annotated[
        list[str],
        typer.Option(
            metavar="TYPE",
            help="The type of the reply; may be repeated.",
            autocompletion=event_types_like,
        ),
    ],
    data: Data = None,
    topic: OneTopic = None,
    correlation_id: Annotated[
        str | None,
        typer.Option(help="What ties the reply to this event.", show_default="made up"),
    ] = None,
    timeout: Annotated[str, typer.Option(help="Such as 500ms, 90s or 5m.")] = "30s",
    url: Url = None,
    token: Token = None,
    shown: Shown = None,
) -> None:
    """Publish an event, wait for the reply to it, and print that."""
    from bridge.cli import event_io  # noqa: PLC0415 - the help needs no client

    event_io.ask(
        event_type,
        data,
        timeout,
        reply=reply,
        topic=topic,
        correlation_id=correlation_id,
        url=url,
        token=token,
        shown=shown,
    )


@events.command(
    epilog=examples(
        "bridge events wait tests_passing --fail-on tests_failing --timeout 2h && make deploy",
        "bridge events wait review_complete --correlation-id issue-7 --format json",
        "bridge events wait task_assigned --follow --group coders --exec ./work-on-it",
        "bridge events wait '*' --since now --follow",
        note="Exit status: 0 when what was waited for came, 5 when a type of --fail-on came first, "
        "124 when time was up. With --exec the "
        "command gets the event's JSON on standard input, and EVENT_ID, EVENT_TYPE and "
        "CORRELATION_ID in its environment; when it fails, its status is the wait's. The event is "
        "done when the command ends with status 0; otherwise it is given back, to another member "
        "of the group, after a pause that grows, and as often as --max-deliveries says.",
    )
)
def wait(  # noqa: PLR0913 - a command's options are its arguments
    event_types: Annotated[list[str] | None, TYPES] = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Go on after the first.")] = False,
    count: Annotated[
        int | None, typer.Option(min=1, help="End after so many events, and take no more.")
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            help="Such as 500ms, 90s, 30m or 2h; 0 looks once.",
            show_default="30s; with --follow without end",
        ),
    ] = None,
    filter_text: Filter = None,
    correlation_id: Annotated[
        str | None, typer.Option(help="Only one correlation ID's: a term of the filter.")
    ] = None,
    topic: Topic = None,
    group: Annotated[
        str | None, typer.Option(help="Share with all who name this group: each event to one.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Read from a cursor, event ID, time, 'earliest' or 'now', and keep no place.",
            show_default="a place that the bridge keeps for this agent, types and filter",
        ),
    ] = None,
    deliver: Annotated[
        Deliver | None,
        typer.Option(
            help="Where a place that does not exist yet begins: with all that is retained, with "
            "what is new, or with the newest of each type and correlation ID.",
            metavar="all|new|last",
            show_default="all",
        ),
    ] = None,
    consumer: Annotated[
        str | None,
        typer.Option(help="A name that makes this another place than the agent's others like it."),
    ] = None,
    lease: Annotated[
        str | None,
        typer.Option(
            help="Lease the events for so long, such as 5m, and leave it to you to acknowledge "
            "them: see bridge deliveries."
        ),
    ] = None,
    max_deliveries: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            help="Try an event so often before it is a dead letter.",
            show_default="10",
        ),
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-on",
            metavar="TYPE",
            help="End with status 5 should this type come first; may be repeated.",
            autocompletion=event_types_like,
        ),
    ] = None,
    command: Annotated[
        str | None,
        typer.Option("--exec", metavar="CMD", help="Run this in the shell for each event."),
    ] = None,
    stop_on_error: Annotated[
        bool, typer.Option("--stop-on-error", help="With --follow --exec: end when CMD fails.")
    ] = False,
    url: Url = None,
    token: Token = None,
    shown: Shown = None,
) -> None:
    """Wait for events: asleep until one comes, for hours if need be."""
    from bridge.cli.wait_events import Wish, run  # noqa: PLC0415 - the help needs no client

    wish = Wish(
        types=tuple(event_types or ()),
        options={
            "filter": filter_text,
            "correlation_id": correlation_id,
            "topic": topic,
            "group": group,
            "since": since,
            "deliver": deliver,
            "consumer": consumer,
            "max_deliveries": max_deliveries if since is None else None,
        },
        timeout=timeout,
        count=count,
        follow=follow,
        fail_on=tuple(fail_on or ()),
        command=command,
        stop_on_error=stop_on_error,
        lease=lease,
    )
    run(wish, url, token, shown)


events.command("subscribe", help="The same as `wait`.", hidden=True)(wait)


@events.command(
    epilog=examples(
        "bridge events tail",
        "bridge events tail tests_failing --filter 'failures:>3' --since earliest",
    )
)
def tail(  # noqa: PLR0913 - a command's options are its arguments
    event_types: Annotated[list[str] | None, TYPES] = None,
    *,
    filter_text: Filter = None,
    correlation_id: OneCorrelation = None,
    topic: Topic = None,
    since: Annotated[
        str, typer.Option(help="Begin at a cursor, event ID, time, 'earliest' or 'now'.")
    ] = "now",
    url: Url = None,
    token: Token = None,
    shown: Shown = None,
) -> None:
    """Print events as they come, until Ctrl-C; moves no subscription."""
    from bridge.cli import directory_commands  # noqa: PLC0415 - the help needs no client

    directory_commands.tail(
        tuple(event_types or ("*",)),
        {
            "filter": filter_text,
            "correlation_id": correlation_id,
            "topic": topic,
            "since": since,
        },
        url=url,
        token=token,
        shown=shown,
    )


@events.command(epilog=examples("bridge events explain tests_passing --filter 'coverage:>90'"))
def explain(
    event_types: Annotated[list[str] | None, TYPES] = None,
    *,
    filter_text: Filter = None,
    correlation_id: OneCorrelation = None,
    topic: Topic = None,
    url: Url = None,
    token: Token = None,
    shown: Shown = None,
) -> None:
    """Say why a wait for these gets nothing: what is retained, and what the filter finds."""
    from bridge.cli import directory_commands  # noqa: PLC0415 - the help needs no client

    directory_commands.explain(
        tuple(event_types or ()),
        filter=filter_text,
        correlation_id=correlation_id,
        topic=topic,
        url=url,
        token=token,
        shown=shown,
    )


@events.command(epilog=examples("bridge events show EVENT_ID"))
def show(
    event_id: Annotated[str, typer.Argument(help="As `bridge events list` shows it in JSON.")],
    url: Url = None,
    token: Token = None,
    shown: Shown = None,
) -> None:
    """Show an event, and what became of it for each subscription that it is for."""
    from bridge.cli import directory_commands  # noqa: PLC0415 - the help needs no client

    directory_commands.show(event_id, url, token, shown)


@events.command(
    "list",
    epilog=examples(
        "bridge events list",
        "bridge events list --correlation-id issue-7 --order asc",
        "bridge events list --type tests_failing --limit 5000 --format csv > failing.csv",
    ),
)
def list_(  # noqa: PLR0913 - a command's options are its arguments
    *,
    event_type: Annotated[
        str | None, typer.Option("--type", help="Only these types, separated by commas.")
    ] = None,
    topic: Topic = None,
    filter_text: Filter = None,
    correlation_id: OneCorrelation = None,
    since: Annotated[str | None, typer.Option(help="After this cursor, event ID or time.")] = None,
    until: Annotated[str | None, typer.Option(help="Up to this cursor, event ID or time.")] = None,
    order: Annotated[Order, typer.Option(help="Newest or oldest first.")] = Order.DESC,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    url: Url = None,
    token: Token = None,
    shown: Shown = None,
) -> None:
    """Show retained events, newest first; moves no subscription."""
    from bridge.cli import event_io  # noqa: PLC0415 - the help needs no client

    event_io.show(
        limit,
        type=event_type,
        topic=topic,
        filter=filter_text,
        correlation_id=correlation_id,
        since=since,
        until=until,
        order=order,
        url=url,
        token=token,
        shown=shown,
    )
