"""`bridge events`: publish, wait for and look at events."""

from enum import StrEnum
from typing import Annotated

import typer

from bridge.cli.options import TYPE, TYPES, Filter, OneTopic, Shown, Token, Topic, Url, examples

events = typer.Typer(
    help="Publish events, wait for them, look at them.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


class Priority(StrEnum):
    """An event's priority."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


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
    data: Annotated[
        str | None,
        typer.Option(help="A JSON object; @FILE reads it from a file, - from standard input."),
    ] = None,
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
    from bridge.cli.publishing import Draft, run  # noqa: PLC0415 - the help needs no client

    choice = priority.value if priority else None
    run(Draft(event_type, data, topic, correlation_id, ttl, choice, event_id), url, token, shown)


@events.command(
    epilog=examples(
        "bridge events wait tests_passing tests_failing --timeout 2h && make deploy",
        "bridge events wait review_complete --correlation-id issue-7 --format json",
        "bridge events wait task_assigned --follow --group coders --exec ./work-on-it",
        "bridge events wait '*' --since now --follow",
        note="Exit status: 0 when what was waited for came, 124 when time was up. With --exec the "
        "command gets the event's JSON on standard input, and EVENT_ID, EVENT_TYPE and "
        "CORRELATION_ID in its environment; when it fails, its status is the wait's. The event "
        "counts as delivered before the command runs.",
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
            help="Such as 90s, 30m or 2h; 0 looks once.",
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
    from bridge.cli.waiting import Wish, run  # noqa: PLC0415 - the help needs no client

    wish = Wish(
        types=tuple(event_types or ()),
        filter_text=filter_text,
        correlation_id=correlation_id,
        topic=topic,
        group=group,
        since=since,
        timeout=timeout,
        count=count,
        follow=follow,
        command=command,
        stop_on_error=stop_on_error,
    )
    run(wish, url, token, shown)


events.command("subscribe", help="The same as `wait`.", hidden=True)(wait)


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
    correlation_id: Annotated[str | None, typer.Option(help="Only one correlation ID's.")] = None,
    since: Annotated[str | None, typer.Option(help="After this cursor, event ID or time.")] = None,
    until: Annotated[str | None, typer.Option(help="Up to this cursor, event ID or time.")] = None,
    order: Annotated[Order, typer.Option(help="Newest or oldest first.")] = Order.DESC,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    url: Url = None,
    token: Token = None,
    shown: Shown = None,
) -> None:
    """Show retained events, newest first; moves no subscription."""
    from bridge.cli.listing import Search, run  # noqa: PLC0415 - the help needs no client

    search = Search(
        event_type, topic, filter_text, correlation_id, since, until, order.value, limit
    )
    run(search, url, token, shown)
