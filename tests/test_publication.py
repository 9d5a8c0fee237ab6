"""Publishing: what is told when it went wrong halfway."""

import asyncio
from typing import Any

import pytest

from bridge.bus.event_types import EventTypes
from bridge.bus.publish import Publications, in_part
from bridge.catalog import load_catalog
from bridge.errors import BridgeError, EventTooLarge, Failed, Unavailable
from bridge.events import Event, NewEvent
from bridge.tokens import Principal

IDS = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (Unavailable("no leader", retry_after=7), Unavailable),
        (EventTooLarge("too large", limit_bytes=5), EventTooLarge),
        (RuntimeError("a slip of the bridge"), Failed),
        (TimeoutError(), Failed),
    ],
)
def test_whatever_went_wrong_every_id_is_named(
    failure: BaseException, kind: type[BridgeError]
) -> None:
    told = in_part([failure], IDS)
    assert type(told) is kind
    assert told.details["event_ids"] == IDS
    assert "1 of 3 events were not confirmed" in told.message
    assert "slip" not in told.message
    assert told.details.get("limit_bytes") == getattr(failure, "details", {}).get("limit_bytes")
    assert getattr(told, "retry_after", 0) == getattr(failure, "retry_after", 0)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (Unavailable("no leader", retry_after=7), Unavailable),
        (EventTooLarge("too large", limit_bytes=5), EventTooLarge),
        (RuntimeError("a slip of the bridge"), Failed),
    ],
)
def test_a_single_event_is_named_too(failure: Exception, kind: type[BridgeError]) -> None:
    """Here the event store is none at all, and fails as no NATS could be made to."""

    class Broken:
        def __init__(self) -> None:
            self.publisher = self.log = self.subscribers = self

        def prepare(self, _: Event, **__: Any) -> "Broken":
            return self

        async def store(self) -> None:
            raise failure

    broken: Any = Broken()
    catalog = load_catalog()
    types = EventTypes(broken, catalog, only_catalogue=False)
    publications = Publications(broken, catalog, types, strict=True)
    caller = Principal("a", None, "p", None, 0, None)
    with pytest.raises(kind) as told:
        asyncio.run(publications.one(caller, NewEvent("tests_passing", event_id="e-1")))
    assert type(told.value) is kind
    assert told.value.details["event_id"] == "e-1"
    assert "slip" not in told.value.message
