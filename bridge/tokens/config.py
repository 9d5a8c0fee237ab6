"""How tokens are verified and minted, and which of these settings do not go together."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512", "EdDSA",
]  # fmt: skip
"""Those of RFC 7518 and RFC 8037; no other is accepted."""

ALGORITHMS: tuple[str, ...] = get_args(Algorithm)
SHARED_SECRET_ALGORITHMS = tuple(name for name in ALGORITHMS if name.startswith("HS"))


@dataclass(frozen=True)
class KeyConfig:
    """How tokens are verified and minted.

    `public_key` and `private_key` are PEM texts, `jwks` is the path or the http(s) URL of a JSON
    Web Key Set. A private key beside a JWKS mints tokens that only bridges with the same key
    accept, next to those of the JWKS's issuer. `issuer` and `audience` are required of every token
    where they are set.
    `leeway_seconds` allows for clocks that differ.
    """

    algorithm: str = "HS256"
    secret: str | None = field(default=None, repr=False)
    public_key: str | None = None
    private_key: str | None = field(default=None, repr=False)
    jwks: str | None = None
    issuer: str | None = None
    audience: str | None = None
    leeway_seconds: float = 0.0
    default_ttl_seconds: int = 86_400
    max_ttl_seconds: int = 30 * 86_400

    @property
    def shares_secret(self) -> bool:
        """Whether the key that verifies is also the one that signs."""
        return self.algorithm in SHARED_SECRET_ALGORITHMS

    @property
    def shortest_secret(self) -> int:
        """The least bytes of a secret: as many as the hash that it keys has (RFC 7518 §3.2)."""
        return int(self.algorithm[2:]) // 8


def conflicts(config: KeyConfig, *, secret_follows: bool = False) -> Iterator[str]:
    """Say, a sentence each and by the settings' names, what does not go together.

    With `secret_follows` a secret is made later where there is none.
    """
    if config.algorithm not in ALGORITHMS:
        known = ", ".join(ALGORITHMS)
        yield f"BRIDGE_JWT_ALGORITHM is {config.algorithm}: it must be one of {known}"
    elif config.shares_secret:
        yield from _shared_secret(config, secret_follows=secret_follows)
    else:
        yield from _key_pair(config)
    if not 1 <= config.default_ttl_seconds <= config.max_ttl_seconds:
        yield (
            f"BRIDGE_TOKEN_TTL_SECONDS is {config.default_ttl_seconds}: it must be at least 1 and "
            f"at most BRIDGE_TOKEN_MAX_TTL_SECONDS, {config.max_ttl_seconds}"
        )


def _shared_secret(config: KeyConfig, *, secret_follows: bool) -> Iterator[str]:
    given = [name for name in ("public_key", "private_key", "jwks") if getattr(config, name)]
    for name in given:
        yield (
            f"BRIDGE_JWT_ALGORITHM is {config.algorithm}, which checks tokens with "
            f"BRIDGE_JWT_SECRET alone: unset BRIDGE_JWT_{name.upper()}, or set the algorithm of "
            "your key, such as RS256, ES256 or EdDSA"
        )
    if config.secret is None and (given or secret_follows):
        return
    size, least = len((config.secret or "").encode()), config.shortest_secret
    if size < least:
        yield (
            f"BRIDGE_JWT_SECRET is {size} bytes long: {config.algorithm} needs at least {least} "
            f"(`openssl rand -hex {least}` makes one)"
        )


def _key_pair(config: KeyConfig) -> Iterator[str]:
    if config.secret is not None:
        yield (
            f"BRIDGE_JWT_ALGORITHM is {config.algorithm}, which checks tokens with a public key: "
            "unset BRIDGE_JWT_SECRET, or set BRIDGE_JWT_ALGORITHM to HS256"
        )
    if config.public_key and config.jwks:
        yield "BRIDGE_JWT_PUBLIC_KEY and BRIDGE_JWT_JWKS both say whom to trust: keep one"
    if not (config.public_key or config.jwks or config.private_key):
        yield (
            f"BRIDGE_JWT_ALGORITHM is {config.algorithm} and there is no key for it: set "
            "BRIDGE_JWT_PUBLIC_KEY, BRIDGE_JWT_JWKS or BRIDGE_JWT_PRIVATE_KEY"
        )
