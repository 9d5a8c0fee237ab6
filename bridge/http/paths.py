"""Paths: spelt in one way before anything looks at them, and what was meant by a wrong one."""

import re
from collections.abc import Mapping, Sequence

from starlette.types import Scope

from bridge import subjects

EVENTS = "/api/events"
WAIT = "/api/events/wait"
PROBES = ("/livez", "/readyz", "/health")

_OUTSIDE = (*(probe[1:] for probe in PROBES), "status", "metrics", "docs", "openapi.json")
_INSIDE = ("events", "subscriptions", "tokens")
_RENAMED: Mapping[str, tuple[str, ...]] = {
    "event": ("events",),
    "publish": ("events",),
    "history": ("events",),
    "wait": ("events", "wait"),
    "token": ("tokens",),
    "subscription": ("subscriptions",),
    "healthz": ("health",),
    "ready": ("readyz",),
    "live": ("livez",),
}
_PREFIX = re.compile(r"api|v[0-9]")
_SLASHES = re.compile(r"//+")
_RAW_SLASHES = re.compile(rb"//+")
_SHOWN = 200
_EVERYTHING = "GET /openapi.json lists what there is"
_PLACES = (
    "publish with POST /api/events/{event_type}, wait with GET /api/events/wait/{event_types}, "
    f"ask GET /health how the bridge is; GET /docs shows and {_EVERYTHING}"
)


def tidy(scope: Scope) -> None:
    """Drop doubled slashes and the one at the end, under `/api`, where a base URL brings them in.

    Elsewhere a path stays as it is: a proxy may guard `/metrics` and let `//metrics` through.
    """
    path = _SLASHES.sub("/", scope["path"])
    if path.startswith("/api/"):
        scope["path"] = path.removesuffix("/")
        scope["raw_path"] = _RAW_SLASHES.sub(b"/", scope["raw_path"]).removesuffix(b"/")


def nowhere(path: str) -> str:
    """Say that there is nothing at a path, and where what was meant is."""
    told = f"there is nothing at {path[:_SHOWN]}"
    parts = [part for part in path.split("/") if part]
    while parts and _PREFIX.fullmatch(parts[0]):
        del parts[0]
    if not parts:
        return f"{told}; {_PLACES}"
    meant = _meant(*parts)
    if meant is None or meant == path or len(meant) > _SHOWN:
        return f"{told}; {_EVERYTHING}"
    return f"{told}; did you mean {meant}? {_EVERYTHING}"


def _meant(first: str, *others: str) -> str | None:
    first, *between = _RENAMED.get(first, (first,))
    if first in _OUTSIDE and not others:
        return f"/{first}"
    return "/".join(("/api", first, *between, *others)) if first in _INSIDE else None


def other_method(path: str, method: str, allowed: Sequence[str]) -> str:
    """Say which methods a path takes, and what does that which was probably meant."""
    told = f"{path[:_SHOWN]} takes {' or '.join(allowed)}, not {method}"
    instead = _instead(path, method)
    return f"{told}; {instead}" if instead else told


def _instead(path: str, method: str) -> str | None:
    parent, _, name = path.rpartition("/")
    asks = method in ("GET", "HEAD")
    if parent == WAIT and method == "POST":
        return f"POST {EVENTS}/{_known(name)} publishes an event"
    if path.startswith(f"{EVENTS}/") and asks:
        name = _known(name if parent == EVENTS else "")
        return (
            f"GET {WAIT}/{name} waits for events of this type, GET {EVENTS}?type={name} shows "
            "those there are"
        )
    if path == "/api/subscriptions" and method == "DELETE":
        return "DELETE /api/subscriptions/{name} deletes one"
    if path.startswith("/api/subscriptions/") and asks:
        return "GET /api/subscriptions lists them all"
    return None


def _known(name: str) -> str:
    """Give an event type that can be shown in a path, or what stands for one."""
    return name if subjects.NAME.match(name) else "{event_type}"
