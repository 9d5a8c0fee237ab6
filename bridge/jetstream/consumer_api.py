"""JetStream's API for consumers, as raw requests and answers.

nats-py's own manager is not used for them: it drops what it does not know of a configuration, which
an update would take away from a consumer that a newer bridge or an operator has made, and of a list
it drops the names of those that no server can tell of.
"""

import logging
from typing import Any

from nats.aio.client import Client

from bridge.errors import Unavailable
from bridge.jetstream.connection import API_TIMEOUT_SECONDS, ApiError, Connection, Unanswered

log = logging.getLogger("bridge.consumers")

CONSUMER_NOT_FOUND = 10014
CONSUMER_EXISTS = {10013, 10148, 10012}
"""What creating says of a name that is taken by a consumer with another configuration."""

ABANDON_SECONDS = 1.0
"""How long to wait for a deletion that probably nobody will confirm."""

LIST_SECONDS = 10.0
"""How long a page of consumers may take: the server gives those that are away 4 s to answer."""


class ConsumerApi:
    """Makes, changes, deletes and lists the consumers of one stream."""

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection = connection
        self._stream = stream

    @property
    def reachable(self) -> bool:
        """Whether there is a connection to ask over."""
        return self._connection.is_up

    async def create(
        self, config: dict[str, Any], timeout: float = API_TIMEOUT_SECONDS
    ) -> dict[str, Any] | None:
        """Make a consumer from a configuration, content with one that has its name.

        Gives JetStream's answer, None if there is one with another configuration.
        Raises Unavailable or ApiError.
        """
        subject = f"$JS.API.CONSUMER.CREATE.{self._stream}.{config['name']}"
        request = {"stream_name": self._stream, "config": config, "action": "create"}
        try:
            return await self._connection.request(subject, request, timeout=timeout)
        except ApiError as error:
            if error.err_code not in CONSUMER_EXISTS:
                raise
            return None

    async def update(self, name: str, config: dict[str, Any]) -> None:
        """Change a consumer's configuration, given whole. Raises Unavailable."""
        subject = f"$JS.API.CONSUMER.CREATE.{self._stream}.{name}"
        request = {"stream_name": self._stream, "config": config, "action": "update"}
        try:
            await self._connection.request(subject, request)
        except ApiError as error:
            raise Unavailable(f"JetStream cannot update {name}: {error}") from error

    async def abandon(self, name: str) -> None:
        """Delete a consumer whose only server is away.

        The cluster decides that without this server, and then nobody is there to confirm it.
        Raises Unavailable.
        """
        try:
            await self.delete(name, ABANDON_SECONDS)
        except Unanswered:
            log.debug("nobody confirms that consumer %s is deleted", name)

    async def delete(self, name: str, timeout: float = API_TIMEOUT_SECONDS) -> bool:
        """Delete a consumer; False if there is none of this name.

        Raises Unavailable, Unanswered if nobody confirms it within `timeout` seconds.
        """
        subject = f"$JS.API.CONSUMER.DELETE.{self._stream}.{name}"
        try:
            await self._connection.request(subject, timeout=timeout)
        except ApiError as error:
            if error.err_code == CONSUMER_NOT_FOUND:
                return False
            raise Unavailable(f"JetStream cannot delete {name}: {error}") from error
        return True

    async def info(self, name: str, timeout: float = API_TIMEOUT_SECONDS) -> dict[str, Any] | None:
        """Ask how a consumer stands; None if it is gone. Raises Unavailable."""
        try:
            return await self._connection.question(
                f"$JS.API.CONSUMER.INFO.{self._stream}.{name}", timeout
            )
        except ApiError as error:
            if error.err_code == CONSUMER_NOT_FOUND:
                return None
            raise Unavailable(f"JetStream cannot tell of {name}: {error}") from error

    async def list(self, client: Client | None = None) -> tuple[list[dict[str, Any]], set[str]]:
        """List every consumer, a page at a time.

        Beside them come the names of consumers that exist and have no server to tell of them.
        Raises Unavailable or ApiError.
        """
        found: list[dict[str, Any]] = []
        away: set[str] = set()
        while True:
            answer = await self._connection.request(
                f"$JS.API.CONSUMER.LIST.{self._stream}",
                {"offset": len(found) + len(away)},
                client=client,
                timeout=LIST_SECONDS,
            )
            page, missing = answer.get("consumers") or [], answer.get("missing") or []
            found += page
            away.update(missing)
            if not (page or missing) or len(found) + len(away) >= answer.get("total", 0):
                return found, away
