"""The shapes of bodies and answers, for the API's description and for the ordinary endpoints."""

from dataclasses import fields
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from bridge.events import Event, Gap, NewEvent, told

_MOMENT = "2026-01-31T12:00:00.000000Z"
_CURSOR = "c18d9f1a2b3c4d5e6-00000000002a"


def _model(kind: type[Event | NewEvent], text: str, **defaults: Any) -> type[BaseModel]:
    """Make a model of what is told of an event's fields; those without a default are required."""
    shape: dict[str, Any] = {
        name: (
            hint,
            Field(defaults.get(name, ...), description=each.description or None, **each.limits),
        )
        for name, (hint, each) in told(kind).items()
    }
    return create_model("EventIn" if kind is NewEvent else "EventOut", __doc__=text, **shape)


_OPTIONAL = {each.name: each.default for each in fields(NewEvent)}
EventIn = _model(
    NewEvent,
    "An event to publish. Every field is optional; the path names the type.",
    **{**_OPTIONAL, "event_type": None, "data": {}},
)
_TRACE = "Its publisher's place in a trace (W3C Trace Context); present where it sent one."
EventOut = create_model(
    "EventOut",
    __base__=_model(
        Event, "An event as it was published, with its place and its publisher's identity."
    ),
    traceparent=(str | None, Field(None, description=_TRACE)),
    tracestate=(str | None, Field(None, description="Beside `traceparent`.")),
)


class RequestBody(BaseModel):
    """The body of a request, read strictly; `example` is one that is right."""

    model_config = ConfigDict(extra="forbid", strict=True)
    example: ClassVar[str]


class PublishAnswer(BaseModel):
    """JetStream has acknowledged storing the event."""

    event_id: str = Field(examples=["7f8fbd8c-9c0c-4a3e-8d55-5dd5fd4ea5c2"])
    published: Literal[True]
    duplicate: bool = Field(description="It was stored before; nothing was stored now.")
    topic: str = Field(examples=["testing"])
    ttl_seconds: int
    timestamp: str = Field(examples=[_MOMENT])
    cursor: str = Field(description="The event's place in the stream.", examples=[_CURSOR])
    subscribers_notified: list[str] = Field(
        description="Agents with a durable subscription that matches; at most 100 are named.",
        examples=[["qa-1", "group:reviewers"]],
    )
    subscriber_count: int
    warnings: list[str] | None = Field(None, description="Present when there are any.")


class HintOut(BaseModel):
    """One reason why nothing came, with what it is about and what was found."""

    model_config = ConfigDict(extra="allow")

    about: Literal[
        "project", "event_type", "topic", "filter", "delivered", "position", "permissions"
    ]
    message: str = Field(
        examples=['`status:ok` passes none of the 7 events: `status` was "failed" 7 times']
    )


class WaitAnswer(BaseModel):
    """What a wait brought."""

    events: list[EventOut]  # type: ignore[valid-type]  # it is made above
    more_available: bool
    next_cursor: str = Field(examples=[_CURSOR])
    timeout: bool = Field(description="Time was up with fewer events than asked for.")
    ended_by: Literal["events", "timeout", "gap", "shutdown"]
    ack_id: str | None = Field(
        None, description="With ack=explicit: stands for all events of this answer."
    )
    timestamp: str
    gap: Gap | None = None
    hints: list[HintOut] | None = Field(
        None, description="Why nothing came: present where there are no events."
    )
    warnings: list[str] | None = Field(
        None, description="Present when there are any: a `timeout` that looks like seconds."
    )


class ExplainAnswer(BaseModel):
    """What is retained for a wait, from the widest to the whole, and why it gets nothing."""

    retained: int = Field(description="All events of the project.")
    of_types: int = Field(description="Those of the wait's types.")
    on_topics: int = Field(description="Those of them on its topics.")
    matching: int = Field(description="Those of them that pass its filter.")
    looked_at_all: bool = Field(description="Whether there were no more than were looked at.")
    samples: list[EventOut]  # type: ignore[valid-type]  # it is made above
    hints: list[HintOut]
    timestamp: str


class DeliveryOut(BaseModel):
    """What became of an event for one subscription, as far as JetStream tells."""

    subscription: str
    agent: str
    group: str | None
    state: Literal["pending", "delivered", "acknowledged", "dead", "unknown"]
    delivered_at: str | None
    leased_until: str | None


class EventAnswer(EventOut):  # type: ignore[valid-type,misc]  # it is made above
    """A retained event and its deliveries."""

    deliveries: list[DeliveryOut]


class TopicOut(BaseModel):
    """A topic of the catalogue."""

    name: str
    purpose: str
    publishers: list[str]
    subscribers: list[str]


class EventTypeOut(BaseModel):
    """An event type of the catalogue, and how many events of it are retained."""

    name: str
    topic: str
    description: str
    data_fields: list[str]
    also_on: list[str]
    retained: int


class AgentTypeOut(BaseModel):
    """An agent type of the catalogue; `*` is every topic."""

    name: str
    description: str
    topics: list[str]


class RetainedType(BaseModel):
    """An event type that is retained and not in the catalogue."""

    name: str
    retained: int


class CatalogAnswer(BaseModel):
    """What there is to talk about."""

    topics: list[TopicOut]
    event_types: list[EventTypeOut]
    agent_types: list[AgentTypeOut]
    other_event_types: list[RetainedType]


class OpenWaitOut(BaseModel):
    """A wait or a stream that is open now; `subscription` is null for who holds the position."""

    types: list[str]
    topics: list[str]
    filter: str
    group: str | None
    subscription: str | None
    since: str


class AgentOut(BaseModel):
    """An agent of the project."""

    agent_id: str
    agent_type: str | None
    last_seen: str | None = Field(description="Null if not in the last hour.")
    waiting: list[OpenWaitOut]
    subscriptions: int
    pending: int = Field(description="Events that its subscriptions have yet to be offered.")
    leased: int = Field(description="Events delivered to it and not acknowledged yet.")


class AgentsAnswer(BaseModel):
    """Who is there, as far as the bridges that answered know."""

    agents: list[AgentOut]
    bridges: int


class AskAnswer(PublishAnswer):
    """What publish answers, and the replies as a wait answers them."""

    reply: WaitAnswer


class HistoryAnswer(BaseModel):
    """Some retained events; for the next page pass `next_cursor` as `until` (desc) or `since`."""

    events: list[EventOut]  # type: ignore[valid-type]  # it is made above
    more_available: bool
    next_cursor: str
    timestamp: str


class SubscriptionAnswer(BaseModel):
    """A durable subscription and how far it has come: null while no NATS server can tell."""

    name: str
    agent: str
    agent_type: str | None
    group: str | None
    consumer: str | None
    types: list[str]
    topics: list[str]
    filter: str
    created: str | None
    pending: int | None = Field(description="Events that it has yet to be offered.")
    ack_pending: int | None = Field(description="Delivered, and not acknowledged yet.")
    redelivered: int | None
    waiting: int | None = Field(description="Pulls open right now, on any replica.")
    last_delivery: str | None
    cursor: str | None
    dead: int = Field(description="Dead letters that retained events tell of.")


class SubscriptionsAnswer(BaseModel):
    """The caller's durable subscriptions, or the project's for whoever may spawn agents."""

    subscriptions: list[SubscriptionAnswer]


class TokenRequest(RequestBody):
    """A token to mint for another agent of the same project."""

    example = (
        '{"agent_id": "coder-1", "agent_type": "python-specialist", "permissions": '
        '["publish_events"], "ttl_seconds": 3600}'
    )

    agent_id: str = Field(examples=["coder-1"])
    agent_type: str | None = Field(None, examples=["python-specialist"])
    permissions: list[str] | None = Field(
        None,
        description="Default: the caller's own without spawn_agents. `publish_events`, "
        "`spawn_agents`, or what they are for: `publish:<topic>`, `publish:<topic>.<event type>` "
        "and `wait:…` likewise, with `*` at the end of a part.",
        examples=[["publish:testing.*", "wait:testing"]],
    )
    ttl_seconds: int | None = Field(None, description="Default: the bridge's token life.")


class AckRequest(RequestBody):
    """Leased events that are done."""

    example = '{"ack_ids": ["…"]}'

    ack_ids: list[str] = Field(min_length=1, max_length=1000)


class ExtendRequest(RequestBody):
    """Leases to begin anew; `lease` in milliseconds."""

    example = '{"ack_ids": ["…"], "lease": 60000}'

    ack_ids: list[str] = Field(min_length=1, max_length=1000)
    lease: int = Field(30_000, ge=1000, le=86_400_000)


class ReleaseRequest(RequestBody):
    """Leased events to give back; `delay` in milliseconds."""

    example = '{"ack_ids": ["…"], "delay": 0}'

    ack_ids: list[str] = Field(min_length=1, max_length=1000)
    delay: int = Field(0, ge=0, le=86_400_000)


class RejectRequest(RequestBody):
    """Leased events that are not to be tried again, and why."""

    example = '{"ack_ids": ["…"], "reason": "cannot be parsed"}'

    ack_ids: list[str] = Field(min_length=1, max_length=1000)
    reason: str = Field("rejected", max_length=1000)


class RedriveRequest(RequestBody):
    """Dead letters to deliver once more."""

    example = '{"event_ids": ["…"]}'

    event_ids: list[str] = Field(min_length=1, max_length=1000)


class SettledAnswer(BaseModel):
    """What became of each: an extended lease is told with its new `ack_id`."""

    done: list[Any]
    failed: list[dict[str, str]]


class TokenAnswer(BaseModel):
    """A signed token."""

    token: str
    agent_id: str
    agent_type: str | None
    project_id: str
    expires_at: str = Field(examples=[_MOMENT])
    jti: str = Field(
        description="What it is revoked by.", examples=["0b1c5f0e-6d5b-4a70-9d5e-2f6c1d1f6a52"]
    )


class RevocationRequest(RequestBody):
    """Tokens of the caller's project: one by its `jti`, or an agent's issued before a time."""

    example = '{"jti": "…"} or {"agent_id": "coder-1", "issued_before": "now"}'

    jti: str | None = Field(None, description="The claim `jti` of one token.")
    agent_id: str | None = Field(
        None, description="An agent, for all of its tokens.", examples=["coder-1"]
    )
    issued_before: str | None = Field(
        None,
        description="With `agent_id`: RFC 3339, or `now`, which is the default. A token that does "
        "not say when it was issued counts as issued before.",
    )


class RevokeRequest(RevocationRequest):
    """Tokens to make void."""

    expires_at: str | None = Field(
        None,
        description="RFC 3339: when the last of these tokens has expired, if that is known. The "
        "revocation goes then; without it, it stays until it is taken back.",
    )


class RevocationAnswer(BaseModel):
    """Tokens of the project that are void, since when, and by whose doing."""

    project_id: str
    jti: str | None = None
    agent_id: str | None = None
    issued_before: str | None = Field(None, description="Beside `agent_id`.")
    revoked_by: str = Field(description="An agent.")
    revoked_at: str = Field(examples=[_MOMENT])
    expires_at: str | None = Field(None, description="When it goes; left out if never.")


class RevocationsAnswer(BaseModel):
    """The revocations of the caller's project, the newest first."""

    revoked: list[RevocationAnswer]


class Problem(BaseModel):
    """What went wrong and how to mend it."""

    error: str = Field(examples=["invalid_filter"])
    message: str
    code: str = Field(examples=["EVT_003"])
    details: dict[str, Any]
    timestamp: str
    request_id: str


class HealthAnswer(BaseModel):
    """Whether the bridge can serve, and why not."""

    status: Literal["ok", "unavailable"]
    service: str
    version: str
    uptime_seconds: float
    checks: dict[str, str]
