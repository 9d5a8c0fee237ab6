"""Requests for tokens: what is wished for, or in plain words what is wrong with the wish."""

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bridge.errors import RequestInvalid
from bridge.http.misnamed import snake
from bridge.http.schemas import TokenRequest

_KINDS: Mapping[str, str] = {
    "agent_id": "must be a text",
    "agent_type": "must be a text",
    "permissions": "must be a list of texts",
    "ttl_seconds": "must be a whole number",
}
_MEANT: Mapping[str, str] = {
    "agent": "agent_id",
    "id": "agent_id",
    "name": "agent_id",
    "sub": "agent_id",
    "type": "agent_type",
    "role": "agent_type",
    "scope": "permissions",
    "scopes": "permissions",
    "ttl": "ttl_seconds",
    "exp": "ttl_seconds",
    "expires_in": "ttl_seconds",
}
_EXAMPLE = (
    'Send {"agent_id": "coder-1", "agent_type": "python-specialist", "permissions": '
    '["publish_events"], "ttl_seconds": 3600}'
)


def wanted(content: Any) -> TokenRequest:
    """Validate a request for a token. Raises RequestInvalid."""
    try:
        return TokenRequest.model_validate(content)
    except ValidationError as error:
        found = error.errors()
    told = dict.fromkeys(_told(details) for details in found)
    fields = {"field": str(found[0]["loc"][0])[:80]} if found[0]["loc"] else {}
    raise RequestInvalid(f"{'; '.join(told)}. {_EXAMPLE}", **fields)


def _told(details: ErrorDetails) -> str:
    if not details["loc"]:
        return "the body must be a JSON object"
    name = str(details["loc"][0])
    if details["type"] == "missing":
        return f"`{name}` is missing"
    return f"`{name[:80]}` {_KINDS.get(name) or _unknown(snake(name[:80]))}"


def _unknown(name: str) -> str:
    if name in ("project", "project_id"):
        return "is not asked for: a token is always for the caller's own project; leave it out"
    near = difflib.get_close_matches(name, _KINDS, n=1)
    meant = _MEANT.get(name) or (near[0] if near else None)
    hint = f"did you mean `{meant}`?" if meant else f"known are {', '.join(_KINDS)}"
    return f"is no field of it; {hint}"
