"""The API's description: FastAPI's own, completed with the endpoints that decode for themselves."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from bridge import subjects
from bridge.http import schemas
from bridge.http.parameters import ASK, STREAM, WAIT, Parameter

DESCRIPTION = """Agents publish events and wait for them; every event lives in NATS JetStream.

Bodies are JSON of at most 100 levels. Whole numbers beyond 64 bits are refused, because they would
come back rounded; send them as text.

Every path under `/api` takes `Authorization: Bearer <JWT>`. Errors all have one form: `message`
says what is wrong and how to mend it.
"""

_REF = "#/components/schemas/{model}"
_ERRORS = {
    400: "The event, filter, cursor or request is wrong (`EVT_002`, `EVT_003`, `EVT_004`, "
    "`REQ_001`)",
    401: "No token, or one that is invalid or revoked (`AUTH_001`), or expired (`AUTH_002`)",
    403: "Not allowed with this token (`AUTH_003`)",
    404: "No such thing, or a subscription that was deleted while it was waited on (`REQ_002`)",
    409: "The lease has ended (`ACK_001`): the event may be another's by now",
    413: "Too large (`EVT_005`)",
    429: "Too many requests (`RATE_001`), with `Retry-After`",
    503: "JetStream is out of reach or full (`EVT_001`), with `Retry-After`; safe to repeat",
}

_TEXT = {"type": "string"}
_TYPE = {
    "name": "event_type",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": f"^{subjects.NAME_PATTERN}$"},
    "example": "tests_passing",
}
_TYPES = {
    "name": "event_types",
    "in": "path",
    "required": True,
    "description": "One type, several separated by commas, or `*`.",
    "schema": _TEXT,
    "example": "tests_passing,tests_failing",
}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same as `event_id` in the body.",
    "schema": _TEXT,
}


def described(parameters: Sequence[Parameter]) -> list[dict[str, Any]]:
    """Describe the fields of a query."""
    return [parameter.described() for parameter in parameters]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of an endpoint, for FastAPI's `responses`."""
    return {
        status: {"model": schemas.Problem, "description": _ERRORS[status]} for status in statuses
    }


def describe(app: FastAPI) -> dict[str, Any]:
    """Describe every endpoint as an OpenAPI document; made once and kept."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=DESCRIPTION,
            routes=app.routes,
        )
        components = document.setdefault("components", {})
        components.setdefault("schemas", {}).update(_models())
        components["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
        }
        for path, methods in _fast_paths().items():
            document["paths"].setdefault(path, {}).update(methods)
        for path, methods in document["paths"].items():
            for operation in methods.values():
                operation["responses"].pop("422", None)  # FastAPI's own, which never happens
                if path.startswith("/api") or path == "/status":
                    operation["security"] = [{"token": []}]
        document["paths"] = dict(sorted(document["paths"].items()))
        app.openapi_schema = document
    return app.openapi_schema


def _models() -> dict[str, Any]:
    models: Sequence[type[BaseModel]] = (
        schemas.EventIn,
        schemas.PublishAnswer,
        schemas.EventOut,
        schemas.WaitAnswer,
        schemas.AskAnswer,
        schemas.Problem,
    )
    _, found = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    definitions: dict[str, Any] = found["$defs"]
    return definitions


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": _REF.format(model=model.__name__)}


def _json(schema: dict[str, Any], **extra: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema, **extra}}


def _responses(status: int, text: str, schema: dict[str, Any], *errors: int) -> dict[str, Any]:
    problem = _json(_schema(schemas.Problem))
    found = {str(status): {"description": text, "content": _json(schema)}}
    found |= {str(code): {"description": _ERRORS[code], "content": problem} for code in errors}
    return found


_WAITING = """Long poll: answers when there are events, or when `timeout` (30 s by default) is up.

Without `since` it is a durable subscription, told apart by agent or `group`, types, topics, filter
and `consumer`: each matching event is given to it once, in order, beginning with all that is
retained, and the next wait goes on behind, through whichever bridge. Events are done when the
answer was written; if the client has gone they come again at once, and what may be a second
delivery says so with `delivery_count` 2 or more: duplicates are possible, silent loss is not. With
`ack=explicit` they are done when you say so. With `since` you hold the position, and nothing is
kept. An answer without events says why in `hints`.
"""


def _stream(path: list[dict[str, Any]]) -> dict[str, Any]:
    last = {"name": "Last-Event-ID", "in": "header", "schema": _TEXT}
    last["description"] = "The `id` of the last event that was read: goes on behind it."
    whose = "of some types" if path else "on the topics that the agent's type subscribes to"
    found = _responses(200, "Events, until the client goes", _TEXT, 400, 401, 403, 429, 503)
    found["200"]["content"] = {"text/event-stream": {"schema": _TEXT}}
    return {
        "tags": ["events"],
        "operationId": "stream" if path else "stream_own_topics",
        "summary": f"Stream events {whose} (Server-Sent Events)",
        "description": "`id` is the event's cursor, `data` the event. `gap` and `cursor` are "
        "named events; `cursor` comes at least every 15 s. Keeps nothing on the server.",
        "parameters": [*path, last, *described(STREAM)],
        "responses": found,
    }


def _fast_paths() -> dict[str, dict[str, Any]]:
    one, published, waited = (
        _schema(model) for model in (schemas.EventIn, schemas.PublishAnswer, schemas.WaitAnswer)
    )
    many = {"type": "array", "items": one, "minItems": 1, "maxItems": 1000}
    example = {"data": {"coverage": 91.5}, "correlation_id": "build-7"}
    publish_errors = (400, 401, 403, 413, 429, 503)
    wait_errors = (400, 401, 403, 404, 413, 429, 503)
    return {
        "/api/events/{event_type}": {
            "post": {
                "tags": ["events"],
                "operationId": "publish",
                "summary": "Publish an event",
                "description": "With `reply` it waits for events of those types with the same "
                "correlation ID, and answers 200 with them as `reply`.",
                "parameters": [_TYPE, _KEY, *described(ASK)],
                "requestBody": {"content": _json(one, example=example)},
                "responses": _responses(202, "Stored", published, *publish_errors)
                | _responses(200, "Stored, and the replies", _schema(schemas.AskAnswer)),
            }
        },
        "/api/events": {
            "post": {
                "tags": ["events"],
                "operationId": "publish_many",
                "summary": "Publish up to 1,000 events, all or nothing for validation",
                "requestBody": {
                    "required": True,
                    "content": _json(many, example=[{"event_type": "tests_passing", **example}]),
                },
                "responses": _responses(
                    202, "All stored", {"type": "array", "items": published}, *publish_errors
                ),
            }
        },
        "/api/events/wait/{event_types}": {
            "get": {
                "tags": ["events"],
                "operationId": "wait",
                "summary": "Wait for events of some types",
                "description": _WAITING,
                "parameters": [_TYPES, *described(WAIT)],
                "responses": _responses(200, "Events, or time is up", waited, *wait_errors),
            }
        },
        "/api/events/stream/{event_types}": {"get": _stream([_TYPES])},
        "/api/events/stream": {"get": _stream([])},
        "/api/events/wait": {
            "get": {
                "tags": ["events"],
                "operationId": "wait_for_own_topics",
                "summary": "Wait for events on the topics that the agent's type subscribes to",
                "description": _WAITING,
                "parameters": described(WAIT),
                "responses": _responses(200, "Events, or time is up", waited, *wait_errors),
            }
        },
    }
