"""Keys: what the operator configured, checked once at the start."""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Protocol

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurve,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from bridge.errors import StartError

CURVES: dict[str, type[EllipticCurve]] = {
    "ES256": SECP256R1,
    "ES384": SECP384R1,
    "ES512": SECP521R1,
}
HASH_BITS = ("256", "384", "512")
SHARED_SECRET_ALGORITHMS = tuple(f"HS{bits}" for bits in HASH_BITS)
RSA_ALGORITHMS = tuple(f"{scheme}{bits}" for scheme in ("RS", "PS") for bits in HASH_BITS)
ALGORITHMS = (*SHARED_SECRET_ALGORITHMS, *RSA_ALGORITHMS, *CURVES, "EdDSA")
"""Those of RFC 7518 and RFC 8037; no other is accepted."""

MIN_RSA_BITS = 2048
"""RFC 7518 §3.3."""

# Usable in PyJWT as it is; Any because the union of key classes differs between its versions.
Key = Any


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


class KeySource(Protocol):
    """Where the key that verifies a token comes from."""

    def due(self) -> bool:
        """Whether the keys are too old to trust an earlier verification."""

    async def renew(self) -> None:
        """Bring the keys up to date if they are due."""

    async def key_for(self, kid: str | None) -> Key:
        """Find the key of this key ID (RFC 7515 §4.1.4)."""


class StaticKey:
    """One key, given by configuration; the token's key ID has no say."""

    def __init__(self, key: Key) -> None:
        self._key = key

    def due(self) -> bool:
        """Never: the configuration does not change while the bridge runs."""
        return False

    async def renew(self) -> None:
        """Nothing to bring up to date."""

    async def key_for(self, kid: str | None) -> Key:  # noqa: ARG002 - the protocol's signature
        """Give the one key."""
        return self._key


class OwnKeyBeside:
    """The bridge's own key beside another source: for the tokens that the bridge itself minted."""

    def __init__(self, kid: str, key: Key, others: KeySource) -> None:
        self._kid = kid
        self._key = key
        self._others = others

    def due(self) -> bool:
        """Whether the other source's keys are too old."""
        return self._others.due()

    async def renew(self) -> None:
        """Bring the other source's keys up to date if they are due."""
        await self._others.renew()

    async def key_for(self, kid: str | None) -> Key:
        """Give the own key for its own ID, else what the other source has."""
        return self._key if kid == self._kid else await self._others.key_for(kid)


def check_config(config: KeyConfig) -> None:
    """Raise `StartError` where the settings do not fit the algorithm or each other."""
    if config.algorithm not in ALGORITHMS:
        raise StartError(
            f"JWT algorithm {config.algorithm!r} is not supported; choose one of"
            f" {', '.join(ALGORITHMS)}"
        )
    asymmetric = config.public_key or config.private_key or config.jwks
    if config.algorithm in SHARED_SECRET_ALGORITHMS:
        if asymmetric:
            raise StartError(
                f"the JWT algorithm is {config.algorithm} and a public key, private key or JWKS is"
                " configured: choose its algorithm, such as RS256, ES256 or EdDSA, or remove it"
            )
    elif not asymmetric:
        raise StartError(
            f"the JWT algorithm {config.algorithm} needs a public key, a private key or a JWKS"
        )
    if config.jwks and config.public_key:
        raise StartError("a JWKS and a JWT public key are both configured: keep one of them")
    if not 1 <= config.default_ttl_seconds <= config.max_ttl_seconds:
        raise StartError(
            f"the default lifetime of a token ({config.default_ttl_seconds} s) must be at least 1"
            f" and at most the longest one ({config.max_ttl_seconds} s)"
        )


def static_keys(config: KeyConfig) -> tuple[Key, Key | None]:
    """Give the key that verifies and, where there is one, the key that signs.

    Raises `StartError` for a key that cannot be read, is of another kind than the algorithm needs,
    or whose two halves do not belong together.
    """
    if config.algorithm in SHARED_SECRET_ALGORITHMS:
        secret = _checked_secret(config.secret, config.algorithm)
        return secret, secret
    private: Key = _private_key(config.private_key) if config.private_key else None
    public = _public_key(config.public_key) if config.public_key else private.public_key()
    if not fits(public, config.algorithm):
        raise StartError(
            f"the JWT algorithm {config.algorithm} needs {kind(config.algorithm)}, not this key"
        )
    if private is not None and private.public_key() != public:
        raise StartError("the JWT private key and public key do not belong together")
    return public, private


def fits(key: object, algorithm: str) -> bool:
    """Tell whether a public key is of the kind that the algorithm needs."""
    if algorithm in RSA_ALGORITHMS:
        return isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS
    if algorithm in CURVES:
        return isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, CURVES[algorithm])
    return algorithm == "EdDSA" and isinstance(key, Ed25519PublicKey)


def kind(algorithm: str) -> str:
    """Say in words which kind of key pair an algorithm needs."""
    if algorithm in RSA_ALGORITHMS:
        return f"an RSA key of at least {MIN_RSA_BITS} bits"
    if algorithm in CURVES:
        return f"an elliptic curve key on {CURVES[algorithm].name}"
    return "an Ed25519 key"


def key_id(public: Key) -> str:
    """Name a public key by its own content, so that bridges with the same key agree."""
    content = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"bridge-{hashlib.sha256(content).hexdigest()[:16]}"


def _checked_secret(secret: str | None, algorithm: str) -> str:
    least = int(algorithm[2:]) // 8  # as long as the hash that it keys (RFC 7518 §3.2)
    remedy = f"make one: openssl rand -hex {least}"
    if not secret:
        raise StartError(f"the JWT algorithm {algorithm} needs a secret; {remedy}")
    if len(secret.encode()) < least:
        raise StartError(
            f"the JWT secret has {len(secret.encode())} bytes; {algorithm} needs at least {least}"
            f" (RFC 7518); {remedy}"
        )
    try:
        jwt.encode({}, secret, algorithm=algorithm)
    except jwt.InvalidKeyError:  # a PEM or a JWK given as the secret is known to whoever verifies
        raise StartError(
            f"the JWT secret is a PEM key, a certificate or a JWK; {algorithm} needs a secret text"
        ) from None
    return secret


def _private_key(pem: str) -> Key:
    try:
        return load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise StartError(
            "the JWT private key is not an unencrypted PEM private key (BEGIN PRIVATE KEY)"
        ) from None


def _public_key(pem: str) -> Key:
    try:
        return load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise StartError(
            "the JWT public key is not a PEM public key (BEGIN PUBLIC KEY); from a private key:"
            " openssl pkey -in private.pem -pubout"
        ) from None
