"""What a token says: the one place where it is checked; a `Principal` is trusted afterwards."""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from bridge.errors import TokenInvalid
from bridge.events import rfc3339
from bridge.scopes import Scope
from bridge.tokens.permissions import PUBLISH_EVENTS, SPAWN_AGENTS, publishable, readable

DEFAULT_PROJECT = "default"

MAX_TOKEN_CHARACTERS = 8192
MAX_AGENT_ID = 256
MAX_AGENT_TYPE = 128
MAX_PERMISSION = 512
PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

# Control characters, lone surrogates (JSON can carry them, UTF-8 cannot) and the two separators
# that end a line: any of them in a name would break a log line or a NATS header.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})

# The last second of the year 9999, after which no RFC 3339 time can be written. Milliseconds
# since 1970 lie beyond it, so that common mistake is caught here.
_LAST_SECOND = 253_402_300_799


class ClaimError(ValueError):
    """A claim's value breaks a rule; the message names the claim, the rule and the remedy."""

    def __init__(self, claim: str, message: str) -> None:
        super().__init__(message)
        self.claim = claim


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls, as a verified token says.

    `permissions` is None where the token has no such claim, as `jti` (RFC 7519 §4.1.7) is, which
    tells a token from all others. `expires_at` and `issued_at` are Unix times in seconds.
    """

    agent_id: str
    agent_type: str | None
    project: str
    permissions: frozenset[str] | None
    expires_at: float
    issued_at: float | None
    jti: str | None = None

    @property
    def publishes(self) -> Scope:
        """What this agent may publish."""
        return publishable(self.permissions)

    @property
    def reads(self) -> Scope:
        """What of its project's events this agent may see."""
        return readable(self.permissions)

    @property
    def can_publish(self) -> bool:
        """Whether this agent may publish anything; a token without permissions may."""
        return bool(self.publishes)

    @property
    def can_spawn(self) -> bool:
        """Whether this agent may mint tokens for others: only if its token says so."""
        return self.permissions is not None and SPAWN_AGENTS in self.permissions


def read_header(token: str) -> dict[str, Any]:
    """Read the header, which nobody has vouched for yet; raises `TokenInvalid`."""
    if not token.isascii() or not 0 < len(token) <= MAX_TOKEN_CHARACTERS:
        raise _not_a_token(token)
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.DecodeError, RecursionError):
        raise _not_a_token(token) from None
    except jwt.InvalidTokenError as error:
        raise TokenInvalid(f"the token's header cannot be used: {error}") from None
    if "crit" in header:  # RFC 7515 §4.1.11: whoever does not know such an extension must refuse
        raise TokenInvalid("the token's header cannot be used: leave out crit and what it names")
    return header


def claims_object(payload: Any) -> dict[str, Any]:
    """Read the payload of a token whose signature is good; raises `TokenInvalid`."""
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise TokenInvalid(
            "the token's payload is not a JSON object of claims like"
            ' {"sub": "backend-1", "exp": 1767225600}'
        )
    return claims


def read_principal(claims: Mapping[str, Any]) -> Principal:
    """Check the claims of a token whose signature is good.

    Raises `ClaimError` for a missing or malformed claim. Whether the token may be used here and
    now is for the other checks to say.
    """
    return Principal(
        agent_id=required_name(claims.get("sub"), "sub", MAX_AGENT_ID),
        agent_type=optional_name(claims.get("agent_type"), "agent_type", MAX_AGENT_TYPE),
        project=project_id(claims.get("project_id")),
        permissions=permission_set(claims["permissions"]) if "permissions" in claims else None,
        expires_at=_expiry(claims.get("exp")),
        issued_at=_moment(claims.get("iat"), "iat"),
        jti=_text_or_none(claims.get("jti")),
    )


def check_not_before(claims: Mapping[str, Any], *, now: float) -> None:
    """Raise `ClaimError` where the token does not count yet (RFC 7519 §4.1.5)."""
    valid_from = _moment(claims.get("nbf"), "nbf")
    if valid_from is not None and valid_from > now:
        raise ClaimError(
            "nbf",
            f"nbf says that it is not valid before {rfc3339(valid_from)}: wait until then, or set"
            " the issuer's clock",
        )


def check_issuer(issuer: object, expected: str | None) -> None:
    """Raise `ClaimError` unless the token comes from the expected issuer, where there is one."""
    if expected is not None and issuer != expected:
        raise ClaimError(
            "iss",
            f"iss is {_shown(issuer)}; this bridge accepts tokens issued by {expected!r} only",
        )


def check_audience(audience: object, expected: str | None) -> None:
    """Apply RFC 7519 §4.1.3: whoever is not named by an `aud` that is there must refuse."""
    named = audience if isinstance(audience, list) else [audience]
    if expected in named or (expected is None and not audience):
        return
    remedy = (
        f"get one for audience {expected!r}"
        if expected is not None
        else "get one without aud, or have the operator set this bridge's audience"
    )
    raise ClaimError("aud", f"aud is {_shown(audience)}, which is not this bridge: {remedy}")


def required_name(value: object, claim: str, limit: int) -> str:
    """Check a name of 1 to `limit` characters without control characters."""
    if value is None:
        raise ClaimError(
            claim, f"{claim} is missing: it names the agent, for example {claim}: 'backend-1'"
        )
    if not isinstance(value, str) or not value.strip():
        raise ClaimError(claim, f"{claim} must be a string that is not empty, like 'backend-1'")
    if len(value) > limit:
        raise ClaimError(claim, f"{claim} has {len(value)} characters; at most {limit} are taken")
    if any(unicodedata.category(character) in _UNPRINTABLE for character in value):
        raise ClaimError(claim, f"{claim} contains a control character; leave it out")
    return value


def optional_name(value: object, claim: str, limit: int) -> str | None:
    """Check a name as `required_name` does, where None means that there is none."""
    return None if value is None else required_name(value, claim, limit)


def project_id(value: object) -> str:
    """Check a project's name; None is the default project."""
    if value is None:
        return DEFAULT_PROJECT
    if not isinstance(value, str) or not PROJECT.fullmatch(value):
        raise ClaimError(
            "project_id",
            "project_id must be 1 to 64 letters, digits, '_', '.' or '-', beginning with a letter"
            " or digit, like 'web-shop'",
        )
    return value


def permission_set(value: object) -> frozenset[str]:
    """Check a list of permissions, or the same as one string separated by spaces."""
    entries = value.split() if isinstance(value, str) else value
    if not isinstance(entries, list | tuple | set | frozenset) or not all(
        isinstance(entry, str) and entry for entry in entries
    ):
        raise ClaimError(
            "permissions",
            f"permissions must be a list of strings, like ['{PUBLISH_EVENTS}']; leave the claim"
            " out to give no list at all",
        )
    return frozenset(_permissions(entries))


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _not_a_token(token: str) -> TokenInvalid:
    """Say what is wrong with something that has not the form of a JWS (RFC 7515 §3.1)."""
    if not token:
        hint = "it is empty"
    elif len(token) > MAX_TOKEN_CHARACTERS:
        hint = f"it has {len(token)} characters, more than {MAX_TOKEN_CHARACTERS}"
    elif token.lower().startswith("bearer"):
        hint = "it begins with 'Bearer' itself: send that word once"
    elif token.strip("\"' \t\r\n") != token:
        hint = "it has quotes or white space around it"
    elif token.count(".") == 4:
        hint = "it is encrypted (JWE): send a signed one"
    else:
        hint = "three base64url parts separated by dots are expected, eyJ….eyJ….…"
    return TokenInvalid(
        f"this is not a JSON Web Token: {hint}. Send the header 'Authorization: Bearer <JWT>'"
    )


def _shown(value: object) -> str:
    return "missing" if value is None else repr(str(value)[:64])


def _permissions(entries: Iterable[str]) -> Iterable[str]:
    return (required_name(entry, "permissions", MAX_PERMISSION) for entry in entries)


def _expiry(value: object) -> float:
    moment = _moment(value, "exp")
    if moment is None:
        raise ClaimError(
            "exp", "exp is missing: every token expires; set it to a Unix time in seconds"
        )
    return moment


def _moment(value: object, claim: str) -> float | None:
    """Check a NumericDate: seconds since 1970, fractions allowed (RFC 7519 §2)."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ClaimError(claim, f"{claim} must be a number: a Unix time in seconds")
    if not 0 <= value <= _LAST_SECOND:  # also refuses NaN, which no comparison holds for
        raise ClaimError(
            claim, f"{claim} is not a time: it must be in seconds since 1970, not milliseconds"
        )
    return float(value)
