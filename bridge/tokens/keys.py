"""Keys: what the operator configured, checked once at the start, or a secret of the bridge's own.

That secret is made once, where the operator gave no key, and kept in the data folder.
"""

import hashlib
import os
import secrets
import stat
from pathlib import Path
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
from bridge.tokens.config import ALGORITHMS, KeyConfig

CURVES: dict[str, type[EllipticCurve]] = {
    "ES256": SECP256R1,
    "ES384": SECP384R1,
    "ES512": SECP521R1,
}
RSA_ALGORITHMS = tuple(name for name in ALGORITHMS if name[:2] in ("RS", "PS"))

MIN_RSA_BITS = 2048
"""RFC 7518 §3.3."""

# Usable in PyJWT as it is; Any because the union of key classes differs between its versions.
Key = Any


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


def static_keys(config: KeyConfig) -> tuple[Key, Key | None]:
    """Give the key that verifies and, where there is one, the key that signs.

    Raises `StartError` for a key that cannot be read, is of another kind than the algorithm needs,
    or whose two halves do not belong together.
    """
    if config.shares_secret:
        secret = _checked_secret(config.secret or "", config.algorithm)
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


def _checked_secret(secret: str, algorithm: str) -> str:
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


FILE_NAME = "jwt-secret"

SECRET_BYTES = 64
"""As many as the largest hash needs (RFC 7518 §3.2)."""

SHORTEST = 32
"""What HS256 needs; in characters, which are bytes here."""


def load_or_create_secret(data_dir: Path) -> str:
    """Read the secret of this data folder, making it (and the folder) first if there is none.

    Processes that start at the same moment end with the same secret. Raises `StartError` where the
    file can be read by others, is too short to be a secret, or cannot be read or made.
    """
    path = data_dir / FILE_NAME
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _create(path)
        return _load(path)
    except OSError as error:
        raise StartError(
            f"the JWT secret {path} cannot be read or made: {error.strerror}; make the data folder"
            " writable, choose another, or set BRIDGE_JWT_SECRET"
        ) from error


def _create(path: Path) -> None:
    """Write a whole file under another name, then link it: no reader ever sees half a secret."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(SECRET_BYTES // 2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return  # another process was faster; its secret is the one
    finally:
        draft.unlink()


def _load(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        mode = os.fstat(file.fileno()).st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise StartError(
                f"the JWT secret {path} is open to other users ({stat.filemode(mode)}), who could"
                f" sign tokens with it; close it: chmod 600 {path}. If it may have been read,"
                " delete it and start again: every token made with it then ends"
            )
        secret = file.read().strip()
    if len(secret) < SHORTEST:
        raise StartError(
            f"the JWT secret {path} is empty or too short ({len(secret)} characters, at least"
            f" {SHORTEST} are needed); delete it, and the bridge makes a new one"
        )
    return secret
