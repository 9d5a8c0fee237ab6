"""The tools and resources: each is a call of the client, described for a model.

Whose client it is, is told for each request: over stdio always the same, over HTTP that of the
bearer token which came with it. So a tool may do what the HTTP API lets its caller do, no more.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field

from bridge import __version__
from bridge.client import AsyncEventClient, Batch, LeasedEvent, Unreachable
from bridge.errors import BridgeError

Connect = Callable[[Context[Any, Any]], AbstractAsyncContextManager[AsyncEventClient]]
"""Gives the client of whoever makes a request."""

WAIT_SECONDS = 50.0
"""Most clients give a tool a minute."""

LEASE_SECONDS = 600.0
"""A model thinks for a while between two calls."""

PROGRESS_SECONDS = 5.0
MAX_BYTES = 20_000
MOST_EVENTS = 20

_INSTRUCTIONS = """Agents work together here by publishing events and waiting for each other's.
Events have a type (such as tests_passing), data, and a correlation_id that ties the events of one
piece of work together: pass on the one you were given. To answer an event, publish one with its
correlation_id. To do work that events ask for: wait_for_events, do it, publish what came of it,
finish with the ack_id, and wait again. Nothing is lost between two waits. If a wait brings nothing,
read its hints before you wait again; describe_events lists what there is to wait for."""

Types = Annotated[
    list[str],
    Field(description='Event types, any of which will do; ["*"] for every type.', min_length=1),
]
Where = Annotated[
    str | None,
    Field(
        description="Only events that pass: field:value terms, `,` is AND, `|` is OR, `!` negates, "
        "as in status:failed,coverage:>90"
    ),
]
Correlation = Annotated[
    str | None, Field(description="Only events of this piece of work: its correlation_id.")
]
Data = Annotated[dict[str, Any] | None, Field(description="What you have to say, as JSON.")]
Seconds = Annotated[
    float,
    Field(
        ge=0,
        le=280,
        description="How long to wait at most, in seconds; keep it below what your client allows "
        "for a tool.",
    ),
]


def make_server(connect: Connect, wait_seconds: float = WAIT_SECONDS) -> MCPServer[Any]:
    """Make the MCP server; a wait lasts `wait_seconds` unless its caller asks for another time."""
    server: MCPServer[Any] = MCPServer(
        "agent-event-bridge",
        title="Agent event bridge",
        instructions=_INSTRUCTIONS,
        version=__version__,
        log_level="WARNING",
    )
    _publishing(server, connect, wait_seconds)
    _waiting(server, connect, wait_seconds)
    _looking(server, connect)
    _resources(server, connect)
    return server


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """Tell an error of the bridge in its own words, which say how to mend it."""
    try:
        yield
    except (BridgeError, Unreachable) as error:
        raise ToolError(error.message) from error
    except ValueError as error:
        raise ToolError(str(error)) from error


@asynccontextmanager
async def _progressing(ctx: Context[Any, Any], seconds: float, what: str) -> AsyncIterator[None]:
    """Say every few seconds that a wait goes on, to a client that asked for that."""

    async def say() -> None:
        waited = 0.0
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            waited += PROGRESS_SECONDS
            await ctx.report_progress(min(waited, seconds), seconds, what)

    saying = asyncio.create_task(say())
    try:
        yield
    finally:
        saying.cancel()


def _shown(batch: Batch, nothing: str, something: str) -> dict[str, Any]:
    """Give what a wait brought, with what to do next."""
    events = []
    for event in batch.events:
        told = event.as_json()
        if isinstance(event, LeasedEvent):
            told |= {"ack_id": event.ack_id, "lease_expires_at": event.lease_expires_at}
        events.append(told)
    answer: dict[str, Any] = {
        "events": events,
        "next": something if events else nothing,
        "more_available": batch.more_available,
    }
    if batch.ack_id:
        answer["ack_id"] = batch.ack_id
    for name in ("hints", "warnings"):
        if found := getattr(batch, name):
            answer[name] = list(found)
    if batch.gap is not None:
        answer["gap"] = batch.gap.as_json()
    return answer


def _publishing(server: MCPServer[Any], connect: Connect, wait_seconds: float) -> None:
    @server.tool(
        description="Tell other agents something: publish an event. Use it to report what you did, "
        "to ask for work, or to answer an event (pass on its correlation_id). Gives the event's ID "
        "and who is subscribed to it; subscriber_count 0 means that nobody listens yet, and the "
        "event is kept for those who ask later. Read `warnings`: they name a misspelt type.",
    )
    async def publish_event(
        ctx: Context[Any, Any],
        event_type: Annotated[str, Field(description="Such as tests_passing or review_requested.")],
        data: Data = None,
        correlation_id: Annotated[
            str | None, Field(description="The piece of work it belongs to.")
        ] = None,
        topic: Annotated[
            str | None, Field(description="Leave out: the type has its usual topic.")
        ] = None,
    ) -> dict[str, Any]:
        async with _told(), connect(ctx) as client:
            stored = await client.publish(
                event_type, data, correlation_id=correlation_id, topic=topic
            )
        return {
            "event_id": stored.event_id,
            "topic": stored.topic,
            "subscriber_count": stored.subscriber_count,
            "subscribers": list(stored.subscribers_notified),
            "warnings": list(stored.warnings),
        }

    @server.tool(
        description="Ask other agents something and wait for the reply: publishes an event and "
        "gives events of the reply types with the same correlation_id. If none came in time, wait "
        "on with wait_for_events, the reply types and the correlation_id that this gave.",
    )
    async def ask(
        ctx: Context[Any, Any],
        event_type: Annotated[str, Field(description="The type of the question.")],
        reply_types: Types,
        data: Data = None,
        correlation_id: Annotated[
            str | None, Field(description="Leave out: one is made up.")
        ] = None,
        timeout: Seconds = wait_seconds,
    ) -> dict[str, Any]:
        async with _told(), connect(ctx) as client, _progressing(ctx, timeout, "no reply yet"):
            asked = await client.ask(
                event_type, data, reply=reply_types, timeout=timeout, correlation_id=correlation_id
            )
            stored = await client.event(asked.published.event_id)
        answer = _shown(
            asked.reply,
            "no reply yet: call wait_for_events with the reply types and this correlation_id",
            "this is the reply",
        )
        return {
            **answer,
            "event_id": asked.published.event_id,
            "correlation_id": stored["correlation_id"],
        }


def _waiting(server: MCPServer[Any], connect: Connect, wait_seconds: float) -> None:
    @server.tool(
        description="Wait for events from other agents, and sleep until some come: costs no turns "
        "meanwhile. Use it for work to do and for news to react to. Each event is leased to you; "
        "when you are done with what an answer brought, give its ack_id to finish, or to `done` of "
        "the next wait, else it comes again. Nothing is lost between two waits, so if nothing came "
        "read `hints`, and simply wait again.",
    )
    async def wait_for_events(  # noqa: PLR0913, PLR0917 - a tool takes its arguments by name
        ctx: Context[Any, Any],
        event_types: Types,
        filter: Where = None,  # noqa: A002 - the contract's name
        correlation_id: Correlation = None,
        group: Annotated[
            str | None,
            Field(description="Share the work with all who name this group: each event to one."),
        ] = None,
        done: Annotated[
            list[str] | None, Field(description="ack_ids of what you have finished.")
        ] = None,
        timeout: Seconds = wait_seconds,
        limit: Annotated[int, Field(ge=1, le=100)] = MOST_EVENTS,
    ) -> dict[str, Any]:
        async with _told(), connect(ctx) as client, _progressing(ctx, timeout, "nothing yet"):
            batch = await client.wait(
                *event_types,
                timeout=timeout,
                limit=limit,
                done=done or (),
                filter=filter,
                correlation_id=correlation_id,
                group=group,
                lease=LEASE_SECONDS,
                max_bytes=MAX_BYTES,
            )
        return _shown(
            batch,
            "nothing came in this time: read the hints, then call wait_for_events again with the "
            "same arguments to wait on; nothing is lost in between",
            "do what these ask for, then give ack_id to finish, or to `done` of the next wait",
        )

    @server.tool(
        description="Say what became of events that a wait brought. ack: done, never comes again. "
        "release: give it back for you or another to try again, after `delay` seconds. reject: it "
        "can never be done; others are told why. extend: you need longer; gives a new ack_id.",
    )
    async def finish(
        ctx: Context[Any, Any],
        ack_ids: Annotated[list[str], Field(min_length=1)],
        outcome: Literal["ack", "release", "reject", "extend"] = "ack",
        reason: Annotated[str, Field(description="With reject: why.")] = "rejected",
        delay: Annotated[float, Field(ge=0, description="With release: seconds.")] = 0,
    ) -> dict[str, Any]:
        async with _told(), connect(ctx) as client:
            match outcome:
                case "ack":
                    settled = await client.ack(*ack_ids)
                case "release":
                    settled = await client.release(*ack_ids, delay=delay)
                case "reject":
                    settled = await client.reject(*ack_ids, reason=reason)
                case "extend":
                    settled = await client.extend(*ack_ids, lease=LEASE_SECONDS)
        return {"done": settled.done, "failed": settled.failed}


def _looking(server: MCPServer[Any], connect: Connect) -> None:
    only_looks = ToolAnnotations(read_only_hint=True)

    @server.tool(
        annotations=only_looks,
        description="Look at events that are retained, newest first, without taking any: what "
        "happened in a piece of work (correlation_id), or of a type.",
    )
    async def list_events(
        ctx: Context[Any, Any],
        event_types: Annotated[list[str] | None, Field(description="Only these types.")] = None,
        correlation_id: Correlation = None,
        filter: Where = None,  # noqa: A002 - the contract's name
        limit: Annotated[int, Field(ge=1, le=100)] = MOST_EVENTS,
    ) -> dict[str, Any]:
        async with _told(), connect(ctx) as client:
            page = await client.history(
                type=event_types,
                correlation_id=correlation_id,
                filter=filter,
                limit=limit,
                max_bytes=MAX_BYTES,
            )
        return {
            "events": [event.as_json() for event in page.events],
            "more_available": page.more_available,
        }

    @server.tool(
        annotations=only_looks,
        description="Learn why a wait gets nothing: how many events there are of these types and "
        "how many pass the filter, with samples and what was probably meant. Takes no event.",
    )
    async def explain_wait(
        ctx: Context[Any, Any],
        event_types: Types,
        filter: Where = None,  # noqa: A002 - the contract's name
        correlation_id: Correlation = None,
    ) -> dict[str, Any]:
        async with _told(), connect(ctx) as client:
            return await client.explain(*event_types, filter=filter, correlation_id=correlation_id)

    @server.tool(
        annotations=only_looks,
        description="See which agents are there, what each waits for at this moment, and how much "
        "work each has yet to take.",
    )
    async def who_is_there(ctx: Context[Any, Any]) -> dict[str, Any]:
        async with _told(), connect(ctx) as client:
            return await client.agents()

    @server.tool(
        annotations=only_looks,
        description="List the event types there are: what each means, which data it carries, how "
        "many are retained. Ask before you publish or wait for a type you have not used yet.",
    )
    async def describe_events(ctx: Context[Any, Any]) -> dict[str, Any]:
        async with _told(), connect(ctx) as client:
            return await client.catalog()


def _resources(server: MCPServer[Any], connect: Connect) -> None:
    @server.resource(
        "events://catalog/{part}",
        description="The catalogue: event_types, topics, agent_types or other_event_types.",
    )
    async def catalog(part: str, ctx: Context[Any, Any]) -> Any:
        async with _told(), connect(ctx) as client:
            return (await client.catalog()).get(part, [])

    @server.resource(
        "events://workflow/{correlation_id}",
        description="Everything that happened in a piece of work, oldest first.",
    )
    async def workflow(correlation_id: str, ctx: Context[Any, Any]) -> dict[str, Any]:
        async with _told(), connect(ctx) as client:
            page = await client.history(correlation_id=correlation_id, order="asc", limit=1000)
        return {"events": [event.as_json() for event in page.events]}

    @server.resource(
        "events://event/{event_id}", description="An event, and what became of it for whom."
    )
    async def event(event_id: str, ctx: Context[Any, Any]) -> dict[str, Any]:
        async with _told(), connect(ctx) as client:
            return await client.event(event_id)
