"""Rights: what of its project's events an agent may see. Every way to see any asks here.

A request is narrowed to what its token may read, and refused where it names something of which that
can have nothing: whoever leaves something open gets what is theirs of it.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from bridge.bus.ports import EventLog
from bridge.errors import Forbidden
from bridge.events import Event
from bridge.scopes import Scope
from bridge.subscription import Selection
from bridge.tokens import Principal


def limit_of(principal: Principal) -> Scope | None:
    """Give what an agent may read; None if that is everything of its project."""
    return None if principal.reads.covers(None, None) else principal.reads


def all_of(principal: Principal) -> Selection:
    """Select everything that an agent may read."""
    return Selection(principal.project, within=limit_of(principal))


def may_see(principal: Principal, event: Event) -> bool:
    """Tell whether an agent may be told of an event."""
    return all_of(principal).accepts(event)


def may_hear_of(principal: Principal, selection: Selection) -> bool:
    """Tell whether what another waits for names nothing beyond what an agent may read."""
    types, topics = selection.types, selection.topics
    return (types, topics) == (None, None) or principal.reads.covers(types, topics)


def readable(principal: Principal, selection: Selection) -> Selection:
    """Narrow a selection to what an agent may read.

    Raises Forbidden where it names a type or a topic of which the agent may read nothing.
    """
    scope, types, topics = principal.reads, selection.types, selection.topics
    if scope.covers(types, topics):
        return selection
    allowed = scope.written()
    if not scope:
        raise Forbidden(
            "this token may read nothing: its permissions `wait:…` name no topic",
            allowed=allowed,
        )
    if scope.among(types, topics) != (types, topics):
        raise Forbidden(
            f"this token may read {spelled(scope)} alone, and not all that was asked for: "
            f"{_asked(selection)}. Name what it may read, or leave types and topics out",
            allowed=allowed,
        )
    topics = scope.topics() if topics is None else topics  # which NATS selects by
    return replace(selection, topics=topics, within=None if scope.covers(types, topics) else scope)


async def retained_types(log: EventLog, principal: Principal) -> Mapping[str, int]:
    """Count the retained events that an agent may read, by type."""
    selection = all_of(principal)
    if selection.within is None:
        return log.mirror.types(principal.project)
    counts: Counter[str] = Counter()
    for stored in log.mirror.forwards(selection, 0, log.now()):
        if stored is None:
            await asyncio.sleep(0)
        else:
            counts[stored.event.event_type] += 1
    return counts


def spelled(scope: Scope) -> str:
    """Write a scope for a sentence."""
    return ", ".join(f"`{each}`" for each in scope.written()) or "nothing"


def _asked(selection: Selection) -> str:
    types = ", ".join(f"`{each}`" for each in selection.types or ()) or "any type"
    topics = ", ".join(f"`{each}`" for each in selection.topics or ())
    return f"{types} on {topics or 'any topic'}"
