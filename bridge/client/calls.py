"""The calls that an agent makes, each as a flow: the one logic behind both clients.

Each event has its ID before it is sent, so that it can be sent again.
"""

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, TypedDict, Unpack
from urllib.parse import quote

from bridge.client import answers
from bridge.client.answers import Asked, Page, Published, Settlement, SubscriptionInfo, Token, made
from bridge.client.channel import Channel
from bridge.client.flow import Deadline, Flow, Request
from bridge.client.polling import GRACE_SECONDS, POLL_SECONDS, check_options, joined
from bridge.client.readers import Reading
from bridge.client.replies import TRANSIENT, read, shapeless
from bridge.client.settling import Leased, extended, settle
from bridge.errors import Forbidden

MAX_BATCH = 1000


class PublishOptions(TypedDict, total=False):
    """What may be said of an event beside its type and its data."""

    topic: str | None
    """Default: the type's usual one, else coordination."""
    correlation_id: str | None
    """What ties it to other events."""
    ttl_seconds: int | None
    """Its life, 1 to 86400."""
    priority: str | None
    """`low`, `normal` or `high`: carried, never reorders."""
    event_id: str | None
    """An ID of the caller's: a repeat is not stored twice."""
    publisher: str | None
    """Default: the agent."""


class Calls(Reading):
    """Every call of one agent: those that read events as they come are in `Reading`.

    `publisher` is sent with each event unless another is given; `source` names where it comes from.
    """

    def __init__(
        self, channel: Channel, publisher: str | None = None, source: str = "AGENT_ID"
    ) -> None:
        super().__init__(channel)
        self._publisher = publisher
        self._source = source

    def deadline(self, seconds: float | None) -> Deadline:
        """Make a deadline on the client's clock, so many seconds from now; None is never."""
        return self._channel.deadline(seconds)

    def publish(
        self,
        event_type: str,
        data: Mapping[str, Any] | None = None,
        **fields: Unpack[PublishOptions],
    ) -> Flow[Published]:
        """Publish an event; it is stored when this returns.

        It is tried again after 503, 429, timeouts and broken connections, always under the same
        `event_id` (a new one unless given), so that it cannot be stored twice as long as
        `retry_for` is below the bridge's duplicate window of 2 minutes. `ttl_seconds` is 1 to
        86400, `priority` is low, normal or high. Raises the bridge's error, or Unreachable; their
        `details` name the event ID with which the event can be published once more.

        >>> from bridge.client import EventClient
        >>> with EventClient() as client:
        ...     stored = client.publish("tests_passing", {"coverage": 92, "duration_ms": 4100})
        >>> stored.topic, stored.duplicate
        ('testing', False)
        """
        check_options(fields, PublishOptions)
        body = self._body({"data": dict(data or {}), **fields})
        path = f"/events/{quote(event_type, safe='')}"
        try:
            answer = yield from self._send(Request("POST", path, content=_encoded(body)))
        except TRANSIENT as error:
            error.details.setdefault("event_id", body["event_id"])
            raise
        return _published(answer, given=fields.get("event_id") is not None)

    def ask(
        self,
        event_type: str,
        data: Mapping[str, Any] | None = None,
        *,
        reply: str | Iterable[str],
        timeout: float = 30.0,
        count: int = 1,
        filter: str | None = None,  # noqa: A002 - the contract's name
        **fields: Unpack[PublishOptions],
    ) -> Flow[Asked]:
        """Publish an event, and wait for events of the `reply` types with its correlation ID.

        They come after it: nothing falls between the two. A correlation ID is made up where none is
        given. The rest is as in `publish`; tried again it waits again, and stores nothing twice.
        Where `timeout` is longer than one request may last, others wait for the rest.

        >>> from bridge.client import EventClient
        >>> def review(event):
        ...     client.publish("review_done", {"ok": True}, correlation_id=event.correlation_id)
        >>> with EventClient() as client, client.on("review_wanted", review):
        ...     asked = client.ask("review_wanted", {"file": "a.py"}, reply="review_done")
        >>> asked.reply.events[0].data
        {'ok': True}
        """
        check_options(fields, PublishOptions)
        body = self._body({"data": dict(data or {}), **fields})
        correlation_id = body.get("correlation_id") or body["data"].get("correlation_id")
        if not isinstance(correlation_id, str):
            correlation_id = body["correlation_id"] = str(uuid.uuid4())
        deadline, types = self.deadline(timeout), joined(reply) or "*"
        seconds = min(timeout, POLL_SECONDS)
        params = {"reply": types, "timeout": str(round(seconds * 1000)), "count": str(count)}
        params |= {"filter": filter} if filter else {}
        path, read_seconds = f"/events/{quote(event_type, safe='')}", seconds + GRACE_SECONDS
        request = Request("POST", path, params, _encoded(body), read_seconds=read_seconds)
        try:
            answer = yield from self._send(request)
        except TRANSIENT as error:
            error.details.setdefault("event_id", body["event_id"])
            raise
        published = _published(answer, given=fields.get("event_id") is not None)
        batch = answers.batch_of(answers.within(answer, "reply"))
        if len(batch) < count and deadline.left > 0:
            rest = yield from self.wait(
                *types.split(","),
                since=batch.next_cursor,
                timeout=deadline.left,
                count=count - len(batch),
                filter=filter,
                correlation_id=correlation_id,
            )
            batch = replace(rest, events=batch.events + rest.events)
        return Asked(published, batch)

    def ack(self, *what: Leased) -> Flow[Settlement]:
        """Acknowledge leased events, or all of a batch: they are done, and never come again.

        Raises LeaseEnded if none could be: they may be another's by now.
        """
        return (yield from settle(self._channel, "ack", what))

    def extend(self, *what: Leased, lease: float = 30.0) -> Flow[Settlement]:
        """Begin leases anew, for so many seconds. Raises as `ack` does.

        Events and batches have their new `ack_id` from then on.
        """
        return (yield from extended(self._channel, what, lease))

    def release(self, *what: Leased, delay: float = 0.0) -> Flow[Settlement]:
        """Give leased events back, for delivery after so many seconds. Raises as `ack` does."""
        return (yield from settle(self._channel, "release", what, delay=round(delay * 1000)))

    def reject(self, *what: Leased, reason: str = "rejected") -> Flow[Settlement]:
        """Make leased events dead letters: they are not to be tried again. Raises as `ack` does."""
        return (yield from settle(self._channel, "reject", what, reason=reason))

    def redrive(self, subscription: str, *event_ids: str) -> Flow[Settlement]:
        """Deliver dead letters once more, to their subscription alone. Raises NotFound."""
        path = f"/subscriptions/{quote(subscription, safe='')}/redrive"
        body = _encoded({"event_ids": list(event_ids)})
        return made(
            Settlement, (yield from self._channel.insist(Request("POST", path, content=body)))
        )

    def publish_many(self, events: Iterable[Mapping[str, Any]]) -> Flow[list[Published]]:
        """Publish events in order; each is a mapping with its `event_type` and `publish`'s fields.

        Up to 1,000 go in one request, all or nothing for validation. They are tried again as
        `publish` does; on failure `details` names the `event_ids` of the request that failed.

        >>> from bridge.client import EventClient
        >>> with EventClient() as client:
        ...     stored = client.publish_many(
        ...         {"event_type": "task_assigned", "data": {"task": n}} for n in range(3)
        ...     )
        >>> [each.duplicate for each in stored]
        [False, False, False]
        """
        rest = iter(events)
        stored: list[Published] = []
        while chunk := [dict(event) for event in islice(rest, MAX_BATCH)]:
            bodies = [self._body(event) for event in chunk]
            request = Request("POST", "/events", content=_encoded(bodies))
            try:
                answer = yield from self._send(request)
            except TRANSIENT as error:
                error.details.setdefault("event_ids", [body["event_id"] for body in bodies])
                raise
            if not isinstance(answer, list) or len(answer) != len(chunk):
                raise shapeless(answer)
            stored += [
                _published(each, given=event.get("event_id") is not None)
                for each, event in zip(answer, chunk, strict=True)
            ]
        return stored

    def _send(self, request: Request) -> Flow[Any]:
        """Ask until there is an answer. A publisher that is refused is told where it comes from."""
        try:
            return (yield from self._channel.insist(request))
        except Forbidden as error:
            if f"publisher {self._publisher!r} " in error.message:
                error.message += f". It is {self._publisher!r} by {self._source}"
                error.args = (error.message,)
            raise

    def _body(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Complete an event: it must have its ID before it is sent for the first time."""
        body = {name: value for name, value in fields.items() if value is not None}
        body.setdefault("event_id", str(uuid.uuid4()))
        if self._publisher is not None:
            body.setdefault("publisher", self._publisher)
        return body

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
        max_bytes: int | None = None,
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
            "max_bytes": None if max_bytes is None else str(max_bytes),
        }
        params = {name: value for name, value in given.items() if value is not None}
        return answers.page_of((yield from self._channel.insist(Request("GET", "/events", params))))

    def explain(
        self,
        *types: str,
        filter: str | None = None,  # noqa: A002 - the contract's name
        correlation_id: str | None = None,
        topic: str | Iterable[str] | None = None,
    ) -> Flow[dict[str, Any]]:
        """Say why a wait for these gets nothing: counts, samples and `hints`. Moves nothing.

        >>> from bridge.client import EventClient
        >>> with EventClient() as client:
        ...     _ = client.publish("tests_passing", {"status": "ok"})
        ...     client.explain("test_passing")["hints"][0]["did_you_mean"]
        'tests_passing'
        """
        given = {"filter": filter, "correlation_id": correlation_id, "topic": joined(topic)}
        params = {name: value for name, value in given.items() if value is not None}
        names = ",".join(quote(name, safe="*,") for name in types)
        path = f"/events/explain/{names}" if names else "/events/explain"
        return _object((yield from self._channel.insist(Request("GET", path, params))))

    def event(self, event_id: str) -> Flow[dict[str, Any]]:
        """Show a retained event with its `deliveries`: whose, and in which state. Raises NotFound.

        >>> from bridge.client import EventClient
        >>> with EventClient() as client:
        ...     stored = client.publish("report_done", event_id="report-1")
        ...     client.event("report-1")["deliveries"]
        []
        """
        path = f"/events/{quote(event_id, safe='')}"
        return _object((yield from self._channel.insist(Request("GET", path))))

    def catalog(self) -> Flow[dict[str, Any]]:
        """List topics, event types and agent types, with how many events are retained of each."""
        return _object((yield from self._channel.insist(Request("GET", "/catalog"))))

    def agents(self) -> Flow[dict[str, Any]]:
        """Say who was seen in the last hour or has subscriptions, and who waits for what now."""
        return _object((yield from self._channel.insist(Request("GET", "/agents"))))

    def subscriptions(self) -> Flow[list[SubscriptionInfo]]:
        """List the agent's durable subscriptions; with `spawn_agents` the whole project's."""
        content = yield from self._channel.insist(Request("GET", "/subscriptions"))
        return answers.listed(SubscriptionInfo, answers.within(content, "subscriptions"))

    def delete_subscription(self, name: str) -> Flow[None]:
        """Delete a durable subscription: the next wait like it begins with all that is retained.

        Raises NotFound.
        """
        path = f"/subscriptions/{quote(name, safe='')}"
        yield from self._channel.insist(Request("DELETE", path))
        self._memory.forget()

    def status(self) -> Flow[dict[str, Any]]:
        """Sum up the project's events, subscriptions and agents, as the bridge tells it."""
        content = yield from self._channel.insist(Request("GET", "/status", outside=True))
        return _object(content)

    def health(self) -> Flow[dict[str, Any]]:
        """Say how the bridge stands, also when it is not well. Asked once. Raises Unreachable."""
        request = Request("GET", "/health", outside=True, read_seconds=5.0)
        answer = yield from self._channel.ask(request)
        if answer.status == 503 and answer.content.startswith(b"{"):
            return _object(json.loads(answer.content))
        return _object(read(answer))

    def mint_token(
        self,
        agent_id: str,
        *,
        agent_type: str | None = None,
        permissions: Iterable[str] | None = None,
        ttl_seconds: int | None = None,
    ) -> Flow[Token]:
        """Have a token made for another agent of the project, such as one that is spawned.

        Without `permissions` it gets this agent's own but for `spawn_agents`, which minting takes;
        `ttl_seconds` is by default what the bridge gives. Raises Forbidden, or RequestInvalid where
        the bridge has no key to sign with.
        """
        wished = {
            "agent_id": agent_id,
            "agent_type": agent_type,
            "permissions": None if permissions is None else list(permissions),
            "ttl_seconds": ttl_seconds,
        }
        body = {name: value for name, value in wished.items() if value is not None}
        request = Request("POST", "/tokens", content=json.dumps(body).encode())
        return made(Token, (yield from self._channel.insist(request)))

    def revoke_tokens(
        self,
        jti: str | None = None,
        *,
        agent_id: str | None = None,
        issued_before: str | None = None,
        expires_at: str | None = None,
    ) -> Flow[dict[str, Any]]:
        """Make void one token, by its `jti`, or an agent's that were issued before a time.

        That is now unless it is given; times are RFC 3339. Every bridge heeds it within 5 s.
        Without `expires_at`, when the last of these tokens has expired, it stays until it is taken
        back. Raises Forbidden without `spawn_agents`.
        """
        return _object((yield from self._revoked("POST", jti, agent_id, issued_before, expires_at)))

    def revoked_tokens(self) -> Flow[list[dict[str, Any]]]:
        """List which tokens of the project are void. Raises Forbidden without `spawn_agents`."""
        content = yield from self._channel.insist(Request("GET", "/tokens/revoked"))
        return [_object(each) for each in answers.within(content, "revoked") or ()]

    def restore_tokens(
        self,
        jti: str | None = None,
        *,
        agent_id: str | None = None,
        issued_before: str | None = None,
    ) -> Flow[None]:
        """Take back what `revoke_tokens` did, of the same `jti` or agent. Raises NotFound."""
        yield from self._revoked("DELETE", jti, agent_id, issued_before)

    def _revoked(self, method: str, *values: str | None) -> Flow[Any]:
        names = ("jti", "agent_id", "issued_before", "expires_at")
        body = {n: v for n, v in zip(names, values, strict=False) if v is not None}
        request = Request(method, "/tokens/revoked", content=_encoded(body))
        return (yield from self._channel.insist(request))

    def refresh_token(self) -> Flow[Token]:
        """Have the token renewed and use the new one. Done by itself before the token expires.

        Raises RequestInvalid where the bridge has no key to sign with.
        """
        return (yield from self._channel.refresh())


def _object(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise shapeless(content)
    return content


def _encoded(body: Any) -> bytes:
    return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()


def _published(content: Any, *, given: bool) -> Published:
    """Read a receipt; an ID made here can only have been stored by an earlier try of this call."""
    stored = made(Published, content)
    return stored if given or not stored.duplicate else made(Published, content, duplicate=False)
