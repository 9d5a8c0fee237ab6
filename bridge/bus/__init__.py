"""The use cases: what an authenticated agent may do with events; nothing of HTTP or NATS.

publish   authorise, stamp, default the topic; stored when the store has acknowledged it
wait      a durable subscription: take what passes, hold it until the answer was written
          or `since`: read what is retained from a position that the client holds
leasing   what an agent says of deliveries that are leased to it
history   read what is retained, either way
streams   every event as it comes, from a position on, without an end
explaining, directory, presence   why nothing came; what there is; who is there
rights    what of all this an agent may see
revoking  which tokens are void
"""

import uuid
from dataclasses import replace

from bridge.bus.directory import Directory
from bridge.bus.event_types import EventTypes
from bridge.bus.explaining import Explaining
from bridge.bus.history import History, HistoryQuery, HistoryResult
from bridge.bus.leasing import Leasing
from bridge.bus.overview import Health, Overview
from bridge.bus.ports import Store
from bridge.bus.presence import Presence
from bridge.bus.publish import Publications, Receipt
from bridge.bus.revoking import Revoking
from bridge.bus.rights import readable
from bridge.bus.streams import Streams, Tidings
from bridge.bus.wait import WaitQuery, WaitResult, Waits
from bridge.catalog import Catalog
from bridge.errors import RequestInvalid
from bridge.events import NewEvent
from bridge.subscription import Deliver, Selection
from bridge.tokens import Principal

__all__ = [
    "Bus",
    "Health",
    "HistoryQuery",
    "HistoryResult",
    "Receipt",
    "Tidings",
    "WaitQuery",
    "WaitResult",
]


class Bus:
    """The use cases over one event store.

    `strict_publishers` refuses a `publisher` that is not the token's agent or its type,
    `only_catalogue` an event type that the catalogue does not list. `deliver` is where a durable
    subscription begins, and `max_deliveries` how often an event is leased, where a wait does not
    say.
    """

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        *,
        strict_publishers: bool = True,
        only_catalogue: bool = False,
        deliver: Deliver = "all",
        max_deliveries: int = 10,
    ) -> None:
        self._store = store
        types = EventTypes(store.log, catalog, only_catalogue=only_catalogue)
        publications = Publications(store, catalog, types, strict=strict_publishers)
        self.publish, self.publish_all = publications.one, publications.many
        self.leasing = Leasing(store)
        self.presence = Presence(store.bridges)
        explaining = Explaining(store.log, catalog)
        self._waits = Waits(
            store,
            catalog,
            self.leasing,
            self.presence,
            explaining,
            deliver=deliver,
            max_deliveries=max_deliveries,
        )
        self.wait, self.selection = self._waits.wait, self._waits.selection
        self.explain = explaining.explain
        self.history = History(store.log).show
        self.overview = Overview(store)
        self.directory = Directory(store, catalog, self.presence, self.overview)
        self.streams = Streams(store.log, self.presence, store.revocations.counted)
        self.revoking = Revoking(store.revocations)
        store.revocations.counted.on_change(store.wake_waits)

    async def ask(
        self, principal: Principal, new: NewEvent, query: WaitQuery
    ) -> tuple[Receipt, WaitResult]:
        """Publish an event and wait for its replies: those with its correlation ID behind it.

        Repeated with the same event ID it stores nothing, and waits again. Raises as `publish` and
        `wait` do.
        """
        replies = Selection(principal.project, query.types, query.topics, query.filter)
        replies = readable(principal, replies)
        if not new.correlation_ids:
            new = replace(new, correlation_id=str(uuid.uuid4()))
        receipt = await self.publish(principal, new)
        if not receipt.event.correlation_ids:  # a repeat of one that was published without
            raise RequestInvalid(
                "this event was published before without a correlation ID, so no reply can be told "
                "to be for it; ask again with another event_id",
                field="event_id",
            )
        return receipt, await self._waits.replies(principal, replies, receipt, query)

    def drain(self) -> None:
        """End every wait now, with what it has, and every stream; later ones do not wait."""
        self._waits.draining = self.streams.draining = True
        self._store.wake_waits()

    @property
    def draining(self) -> bool:
        """Whether the bridge is about to stop."""
        return self._waits.draining

    @property
    def max_event_bytes(self) -> int:
        """The largest body of an event; it may change when the store connects anew."""
        return self._store.publisher.max_event_bytes

    def health(self) -> Health:
        """Say how the bridge stands. Asks nobody."""
        return self.overview.health(draining=self.draining)

    async def ping_store(self, seconds: float) -> None:
        """Return if the store's server answers within so many seconds. Raises Unavailable."""
        await self._store.ping(seconds)
