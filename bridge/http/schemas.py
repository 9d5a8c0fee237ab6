"""The shapes of bodies and answers, for the API's description and for the ordinary endpoints."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bridge.events import MAX_TTL_SECONDS

_MOMENT = "2026-01-31T12:00:00.000000Z"
_CURSOR = "c18d9f1a2b3c4d5e6-00000000002a"


class EventIn(BaseModel):
    """An event to publish. Every field is optional; the path names the type."""

    event_type: str | None = Field(None, description="If given it equals the path's.")
    publisher: str | None = Field(
        None, description="Default: the token's agent. Must be that or its type."
    )
    topic: str | None = Field(
        None, description="Default: the catalogue's topic for a standard type, else coordination."
    )
    data: dict[str, Any] = Field({}, examples=[{"issue_id": "issue-123", "coverage": 91.5}])
    correlation_id: str | None = Field(None, min_length=1, max_length=256)
    ttl_seconds: int = Field(MAX_TTL_SECONDS, ge=1, le=MAX_TTL_SECONDS)
    priority: Literal["low", "normal", "high"] = "normal"
    event_id: str | None = Field(
        None, min_length=1, max_length=128, description="For idempotent retries."
    )


class Published(BaseModel):
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


class EventOut(BaseModel):
    """An event as it was published, with its place and its publisher's identity."""

    event_id: str
    event_type: str = Field(examples=["tests_passing"])
    publisher: str
    agent_id: str | None = Field(description="From the publisher's token.")
    agent_type: str | None
    topic: str
    data: dict[str, Any]
    correlation_id: str | None
    priority: str
    timestamp: str = Field(examples=[_MOMENT])
    ttl_seconds: int
    cursor: str = Field(examples=[_CURSOR])
    delivery_count: int = Field(description="Above 1 when an earlier delivery was not completed.")


class Gap(BaseModel):
    """The position asked for is no longer retained; reading went on at the oldest event."""

    reason: Literal["evicted", "stream_recreated"]
    lost: int | None = Field(description="How many of the project's events; null if unknown.")


class Waited(BaseModel):
    """What a wait brought."""

    events: list[EventOut]
    more_available: bool
    next_cursor: str = Field(examples=[_CURSOR])
    timeout: bool = Field(description="Time was up with fewer events than asked for.")
    timestamp: str
    gap: Gap | None = None
    warnings: list[str] | None = Field(
        None, description="Present when there are any: a `timeout` that looks like seconds."
    )


class Page(BaseModel):
    """Some retained events; for the next page pass `next_cursor` as `until` (desc) or `since`."""

    events: list[EventOut]
    more_available: bool
    next_cursor: str
    timestamp: str


class Subscription(BaseModel):
    """A durable subscription and how far it has come: null while no NATS server can tell."""

    name: str
    agent: str
    agent_type: str | None
    group: str | None
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


class Subscriptions(BaseModel):
    """The caller's durable subscriptions, or the project's for whoever may spawn agents."""

    subscriptions: list[Subscription]


class TokenRequest(BaseModel):
    """A token to mint for another agent of the same project."""

    model_config = ConfigDict(extra="forbid", strict=True)

    agent_id: str = Field(examples=["coder-1"])
    agent_type: str | None = Field(None, examples=["python-specialist"])
    permissions: list[str] | None = Field(
        None, description="Default: the caller's own without spawn_agents."
    )
    ttl_seconds: int | None = Field(None, description="Default: the bridge's token life.")


class Token(BaseModel):
    """A signed token."""

    token: str
    agent_id: str
    agent_type: str | None
    project_id: str
    expires_at: str = Field(examples=[_MOMENT])


class Problem(BaseModel):
    """What went wrong and how to mend it."""

    error: str = Field(examples=["invalid_filter"])
    message: str
    code: str = Field(examples=["EVT_003"])
    details: dict[str, Any]
    timestamp: str
    request_id: str


class Health(BaseModel):
    """Whether the bridge can serve, and why not."""

    status: Literal["ok", "unavailable"]
    service: str
    version: str
    uptime_seconds: float
    checks: dict[str, str]
