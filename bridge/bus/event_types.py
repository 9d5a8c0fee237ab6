"""Event types: which a project knows, and which known one a new one was probably meant to be."""

from collections.abc import Iterable

from bridge.bus.ports import EventLog
from bridge.bus.rights import limit_of
from bridge.catalog import Catalog
from bridge.errors import EventInvalid, Unavailable
from bridge.suggest import did_you_mean, slips
from bridge.tokens import Principal

MAX_SEEN = 10_000
LOOKED_AT = 20
"""Of so many new types of one request the known ones are looked for that were meant."""


class EventTypes:
    """What the catalogue lists, what the stream holds and what was published through this bridge.

    `only_catalogue` refuses all but the first.
    """

    def __init__(self, log: EventLog, catalog: Catalog, *, only_catalogue: bool) -> None:
        self._log = log
        self._listed = catalog.event_types
        self._only_catalogue = only_catalogue
        self._seen: dict[tuple[str, str], None] = {}

    def check(self, event_type: str) -> None:
        """Raise EventInvalid for a type that must not be published."""
        if self._only_catalogue and event_type not in self._listed:
            raise EventInvalid(
                f"the event type `{event_type}` is not in the catalogue, and this bridge takes no "
                f"other (BRIDGE_UNKNOWN_TYPES=refuse); {did_you_mean(event_type, self._listed)}",
                field="event_type",
            )

    def note(self, project: str, event_type: str) -> None:
        """Note that an event of this type was stored."""
        if event_type in self._listed:
            return
        self._seen[project, event_type] = None
        if len(self._seen) > MAX_SEEN:
            del self._seen[next(iter(self._seen))]

    def suspicions(self, principal: Principal, event_types: Iterable[str]) -> dict[str, str]:
        """Give warnings of types that are new to a project and one slip away from a known one.

        Whoever may not read everything is told of none but the catalogue's.
        """
        project = principal.project if limit_of(principal) is None else None
        new = [each for each in dict.fromkeys(event_types) if not self._is_known(project, each)]
        return {
            each: f"no event of the type `{each}` was known; did you mean `{meant}`?"
            for each in new[:LOOKED_AT]
            if (meant := self._meant(project, each)) is not None
        }

    def _meant(self, project: str | None, event_type: str) -> str | None:
        return next((each for each in slips(event_type) if self._is_known(project, each)), None)

    def _is_known(self, project: str | None, event_type: str) -> bool:
        if event_type in self._listed:
            return True
        if project is None:
            return False
        if (project, event_type) in self._seen:
            return True
        try:
            return self._log.mirror.has_type(project, event_type)
        except Unavailable:  # it was not read yet
            return False
