"""The calls that an agent makes, each as a flow: the one logic behind both clients."""

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from bridge.client import answers
from bridge.client.answers import Page, Token
from bridge.client.channel import Channel
from bridge.client.errors import read, shapeless
from bridge.client.polling import joined
from bridge.client.publishing import Publishing
from bridge.client.reading import Reading
from bridge.client.retrying import Deadline
from bridge.client.steps import Flow, Request, send


class Calls(Publishing, Reading):
    """Every call of one agent. `publisher` is sent with each event unless another is given."""

    def __init__(self, channel: Channel, publisher: str | None = None) -> None:
        Publishing.__init__(self, channel, publisher)
        Reading.__init__(self, channel)

    def deadline(self, seconds: float | None) -> Deadline:
        """Make a deadline on the client's clock, so many seconds from now; None is never."""
        return self._channel.deadline(seconds)

    def history(  # noqa: PLR0913 - the contract's fields
        self,
        *,
        topic: str | Iterable[str] | None = None,
        type: str | Iterable[str] | None = None,  # noqa: A002 - the contract's name
        filter: str | None = None,  # noqa: A002 - the contract's name
        correlation_id: str | None = None,
        since: str | None = None,
        until: str | None = None,
        order: str = "desc",
        limit: int = 20,
    ) -> Flow[Page]:
        """Show retained events, newest first unless `order` is `asc`. Moves no subscription.

        >>> from bridge.client import EventClient
        >>> with EventClient() as client:
        ...     _ = client.publish("phase_complete", {"phase": "design"}, correlation_id="issue-2")
        ...     page = client.history(correlation_id="issue-2")
        >>> [event.data["phase"] for event in page.events]
        ['design']
        """
        given = {
            "topic": joined(topic),
            "type": joined(type),
            "filter": filter,
            "correlation_id": correlation_id,
            "since": since,
            "until": until,
            "order": order,
            "limit": str(limit),
        }
        params = {name: value for name, value in given.items() if value is not None}
        return answers.page_of((yield from self._channel.insist(Request("GET", "/events", params))))

    def subscriptions(self) -> Flow[list[answers.Subscription]]:
        """List the agent's durable subscriptions; with `spawn_agents` the whole project's."""
        content = yield from self._channel.insist(Request("GET", "/subscriptions"))
        found = content.get("subscriptions") if isinstance(content, dict) else None
        return answers.listed(answers.Subscription, found)

    def delete_subscription(self, name: str) -> Flow[None]:
        """Delete a durable subscription: the next wait like it begins with all that is retained.

        Raises NotFound.
        """
        path = f"/subscriptions/{quote(name, safe='')}"
        yield from self._channel.insist(Request("DELETE", path))

    def status(self) -> Flow[dict[str, Any]]:
        """Sum up the project's events, subscriptions and agents, as the bridge tells it."""
        content = yield from self._channel.insist(Request("GET", "/status", outside=True))
        return _object(content)

    def health(self) -> Flow[dict[str, Any]]:
        """Say how the bridge stands, also when it is not well. Asked once. Raises Unreachable."""
        answer = yield from send(Request("GET", "/health", outside=True, read_seconds=5.0))
        if answer.status == 503 and answer.content.startswith(b"{"):
            return _object(json.loads(answer.content))
        return _object(read(answer))

    def refresh_token(self) -> Flow[Token]:
        """Have the token renewed and use the new one. Done by itself before the token expires.

        Raises RequestInvalid where the bridge has no key to sign with.
        """
        return (yield from self._channel.refresh())


def _object(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise shapeless(content)
    return content
