"""Settling: saying of leased events that they are done, need longer, go back, or will never do."""

import json
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from bridge.client.answers import Batch, LeasedEvent, Settlement, made
from bridge.client.channel import Channel
from bridge.client.flow import Flow, Request
from bridge.client.replies import Unreachable
from bridge.errors import BridgeError, LeaseEnded
from bridge.events import Event

log = logging.getLogger("bridge.client")

SETTLE_SECONDS = 5.0
"""How long an answer may take before it is asked for again; it takes milliseconds."""

LONGEST_REST_SECONDS = 60.0

Leased = str | Event | Batch
"""An `ack_id`, or what has one: a `LeasedEvent`, or a batch of them."""


def ack_ids(what: Iterable[Leased]) -> list[str]:
    """Give the `ack_id`s of leased events, of answers and of texts."""
    found: list[str] = []
    for each in what:
        text = each if isinstance(each, str) else getattr(each, "ack_id", None)
        if not text:
            raise ValueError("there is no lease to settle: wait with `lease` to have one")
        found += text.split(",")
    return found


def settle(channel: Channel, verb: str, what: Iterable[Leased], **more: Any) -> Flow[Settlement]:
    """Settle leases. Raises LeaseEnded if none could be, or what `insist` raises.

    It is sent also when a listener is being stopped: the work is done, and shall be known to be.
    """
    body = json.dumps({"ack_ids": ack_ids(what), **more}).encode()
    request = Request(
        "POST", f"/deliveries/{verb}", content=body, read_seconds=SETTLE_SECONDS, anyway=True
    )
    return made(Settlement, (yield from channel.insist(request)))


def if_possible(what: Sequence[Leased], settling: Flow[Settlement]) -> Flow[None]:
    """Settle leases, or log why that is in vain: the events come again."""
    if not what:
        return
    told = ", ".join(each.event_id for each in what if isinstance(each, Event))
    try:
        yield from settling
    except LeaseEnded as error:
        log.warning("event %s: %s", told, error.message)
    except (BridgeError, Unreachable) as error:
        log.warning("event %s comes again: %s", told, error.message)


def rest_seconds(event: Event) -> float:
    """Say how long an event rests that its reader failed on: longer with each delivery."""
    return float(min(2.0 ** (event.delivery_count - 1), LONGEST_REST_SECONDS))


def extended(channel: Channel, what: Sequence[Leased], seconds: float) -> Flow[Settlement]:
    """Begin leases anew; events and batches among them have their new `ack_id` from then on.

    Raises as `settle` does.
    """
    settlement = yield from settle(channel, "extend", what, lease=round(seconds * 1000))
    for each in what:
        if isinstance(each, str):
            continue
        were = ack_ids([each])
        renewed = [done for done in settlement.done if done["was"] in were]
        events = each.events if isinstance(each, Batch) else [each]
        if isinstance(each, Batch) and renewed:
            each.ack_id = ",".join(done["ack_id"] for done in renewed)
        if len(renewed) == len(events):
            for event, done in zip(events, renewed, strict=True):
                if isinstance(event, LeasedEvent):
                    event.ack_id, event.lease_expires_at = done["ack_id"], done["lease_expires_at"]
    return settlement
