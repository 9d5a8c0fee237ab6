"""The API's description: FastAPI's own, completed with the endpoints that decode for themselves."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from bridge.http import schemas

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
    401: "No or invalid token (`AUTH_001`), or expired (`AUTH_002`)",
    403: "Not allowed with this token (`AUTH_003`)",
    404: "No such thing (`REQ_002`)",
    413: "Too large (`EVT_005`)",
    429: "Too many requests (`RATE_001`), with `Retry-After`",
    503: "JetStream is out of reach or full (`EVT_001`), with `Retry-After`; safe to repeat",
}

_TIMEOUT = "Milliseconds, 0 to 300000: 30 s is 30000; 0 is whatever is there now."
_FILTER = (
    "`field:value` terms: `,` is AND, `|` is OR, `!` negates; `f:a*b` glob, `f:>n` numbers, `f:*` "
    "present. Names are looked for in `data` (dots descend) and in the envelope."
)
_SINCE = (
    "A position that the client holds: a cursor, an event ID, an RFC 3339 time, `earliest` or "
    "`now`. Makes no durable subscription and moves none."
)
_EXAMPLE_FILTER = "issue_id:issue-*,coverage:>90"


def _query(name: str, text: str, schema: dict[str, Any], example: Any = None) -> dict[str, Any]:
    parameter = {"name": name, "in": "query", "description": text, "schema": schema}
    return parameter if example is None else {**parameter, "example": example}


def _whole(low: int, high: int, default: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": high, "default": default}


_TEXT = {"type": "string"}

WAIT_PARAMETERS = [
    _query("timeout", _TIMEOUT, _whole(0, 300_000, 30_000)),
    _query("filter", _FILTER, _TEXT, _EXAMPLE_FILTER),
    _query("topic", "Topics, separated by commas.", _TEXT),
    _query("limit", "Most events in one answer.", _whole(1, 1000, 100)),
    _query("count", "Answer when so many are collected, or time is up.", _whole(1, 1000, 1)),
    _query("since", _SINCE, _TEXT),
    _query(
        "deliver",
        "Where a durable subscription that does not exist yet begins.",
        {"type": "string", "enum": ["all", "new"], "default": "all"},
    ),
    _query("group", "Share one subscription: each event goes to one of the group.", _TEXT),
]

HISTORY_PARAMETERS = [
    _query("topic", "Topics, separated by commas.", _TEXT),
    _query("type", "Event types, separated by commas.", _TEXT),
    _query("filter", _FILTER, _TEXT, _EXAMPLE_FILTER),
    _query("correlation_id", "Only events with this correlation ID.", _TEXT),
    _query("since", "Only events behind this position: as in a wait.", _TEXT),
    _query("until", "Only events up to this position.", _TEXT),
    _query("order", "Newest or oldest first.", {"enum": ["desc", "asc"], "default": "desc"}),
    _query("limit", "Most events in one answer.", _whole(1, 1000, 20)),
]

_TYPE = {
    "name": "event_type",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"},
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
        schemas.Published,
        schemas.EventOut,
        schemas.Waited,
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


def _fast_paths() -> dict[str, dict[str, Any]]:
    one, published, waited = (
        _schema(model) for model in (schemas.EventIn, schemas.Published, schemas.Waited)
    )
    many = {"type": "array", "items": one, "minItems": 1, "maxItems": 1000}
    example = {"data": {"coverage": 91.5}, "correlation_id": "build-7"}
    publish_errors = (400, 401, 403, 413, 429, 503)
    wait_errors = (400, 401, 413, 429, 503)
    return {
        "/api/events/{event_type}": {
            "post": {
                "tags": ["events"],
                "operationId": "publish",
                "summary": "Publish an event",
                "parameters": [_TYPE, _KEY],
                "requestBody": {"content": _json(one, example=example)},
                "responses": _responses(202, "Stored", published, *publish_errors),
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
                "parameters": [_TYPES, *WAIT_PARAMETERS],
                "responses": _responses(200, "Events, or time is up", waited, *wait_errors),
            }
        },
        "/api/events/wait": {
            "get": {
                "tags": ["events"],
                "operationId": "wait_for_own_topics",
                "summary": "Wait for events on the topics that the agent's type subscribes to",
                "parameters": WAIT_PARAMETERS,
                "responses": _responses(200, "Events, or time is up", waited, *wait_errors),
            }
        },
    }
