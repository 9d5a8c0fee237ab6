"""The form of a token: header, payload and signature, before anything of it is believed."""

import json
from typing import Any

import jwt

from bridge.errors import TokenInvalid

MAX_TOKEN_CHARACTERS = 8192


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
