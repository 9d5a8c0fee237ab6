"""JSON Web Key Sets (RFC 7517) from a file or a URL, kept and renewed without hammering either."""

import asyncio
import http.client
import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jwt

from bridge.errors import StartError, TokenInvalid, Unavailable
from bridge.tokens.keys import Key, fits, kind

log = logging.getLogger("bridge.tokens")

LIFESPAN_SECONDS = 300.0
"""How long a key set is trusted before it is read again."""

COOLDOWN_SECONDS = 30.0
"""The shortest time between two readings that unknown key IDs cause."""

RETRY_SECONDS = 5.0
"""The shortest time between two readings after one has failed."""

STALE_SECONDS = 3600.0
"""How long known keys stay in use while the set cannot be read."""

FETCH_TIMEOUT_SECONDS = 5.0

# Only these members are read, so that a private key in the set by mistake is never loaded.
_PUBLIC_MEMBERS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
# RFC 9864 gives EdDSA over Ed25519 a name of its own.
_SAME_ALGORITHM = {"EdDSA": ("EdDSA", "Ed25519")}


class KeySetError(Exception):
    """The key set cannot be read or holds no key for the algorithm."""


class KeySet:
    """The keys of one set that fit the configured algorithm, found by key ID.

    `on_change` is called when a reading brought another set than before: what was verified with
    the old keys must be verified again. A file is read at once (`StartError` if it is not good),
    a URL at the first token.
    """

    def __init__(
        self,
        location: str,
        algorithm: str,
        *,
        on_change: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = _reader(location)
        self._location = location
        self._algorithm = algorithm
        self._on_change = on_change
        self._clock = clock
        self._lock = asyncio.Lock()
        self._document: Any = None
        self._keys: list[tuple[str | None, Key]] = []
        self._refused: dict[str, str] = {}
        self._read_at = -math.inf
        self._not_before = -math.inf
        if not _is_url(location):
            try:
                self._take(self._read())
            except KeySetError as error:
                raise StartError(f"JWKS file {location}: {error}") from error

    def due(self) -> bool:
        """Whether the set should be read again, or is too old to be used at all."""
        now = self._clock()
        return now >= self._read_at + STALE_SECONDS or self._may_read(now, LIFESPAN_SECONDS)

    async def renew(self) -> None:
        """Read the set again if its lifespan is over."""
        await self._read_if_older(LIFESPAN_SECONDS)

    async def key_for(self, kid: str | None) -> Key:
        """Find the key; an unknown key ID causes a reading, at most one per cool-down.

        Raises `TokenInvalid` where the set has no such key and `Unavailable` where the set cannot
        be read, so that nobody can know.
        """
        await self.renew()
        self._require_known()
        key = self._find(kid)
        if key is None:
            await self._read_if_older(COOLDOWN_SECONDS)
            key = self._find(kid)
        if key is None:
            if self._clock() < self._not_before:
                raise self._unavailable()
            raise self._unknown(kid)
        return key

    def _find(self, kid: str | None) -> Key | None:
        if kid is None:
            return self._keys[0][1] if len(self._keys) == 1 else None
        return next((key for name, key in self._keys if name == kid), None)

    def _may_read(self, now: float, age: float) -> bool:
        return now >= self._read_at + age and now >= self._not_before

    async def _read_if_older(self, age: float) -> None:
        if not self._may_read(self._clock(), age):
            return
        async with self._lock:
            # Whoever waited for the lock finds that the reading has been done for it.
            if not self._may_read(self._clock(), age):
                return
            try:
                self._take(await asyncio.to_thread(self._read))
            except KeySetError as error:
                self._not_before = self._clock() + RETRY_SECONDS
                log.warning("JWKS %s: %s; next try in %g s", self._location, error, RETRY_SECONDS)

    def _take(self, document: object) -> None:
        keys, refused = _usable(document, self._algorithm)
        self._keys, self._refused = keys, refused
        self._read_at, self._not_before = self._clock(), -math.inf
        if document != self._document:
            self._document = document
            self._on_change()

    def _require_known(self) -> None:
        if self._clock() >= self._read_at + STALE_SECONDS:
            raise self._unavailable()

    def _unavailable(self) -> Unavailable:
        wait = max(1.0, self._not_before - self._clock())
        return Unavailable(
            "the key set that verifies tokens cannot be read at the moment; the token may be good:"
            f" send the same request again in {math.ceil(wait)} s",
            retry_after=wait,
        )

    def _unknown(self, kid: str | None) -> TokenInvalid:
        known = ", ".join(repr(name) for name, _ in self._keys[:10] if name) or "none has an ID"
        if kid is None:
            return TokenInvalid(
                f"the token's header has no kid and the key set has {len(self._keys)} keys:"
                f" sign with a kid in the header ({known})"
            )
        if kid in self._refused:
            return TokenInvalid(
                f"key {kid[:64]!r} of the key set is not used: {self._refused[kid]}"
            )
        return TokenInvalid(
            f"the key set has no key {kid[:64]!r} (known: {known}); get a token from the issuer"
            f" that this bridge trusts. A new key is noticed within {COOLDOWN_SECONDS:g} s",
        )


def _is_url(location: str) -> bool:
    return location.lower().startswith(("http://", "https://"))


def _reader(location: str) -> Callable[[], object]:
    """Make the blocking function that reads the set; it raises `KeySetError` only."""
    if not _is_url(location):
        return lambda: _read_file(Path(location))
    client = jwt.PyJWKClient(location, cache_jwk_set=False, timeout=FETCH_TIMEOUT_SECONDS)
    return lambda: _fetch(client)


def _read_file(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise KeySetError(f"cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise KeySetError(f"is not JSON: {error}") from error


def _fetch(client: jwt.PyJWKClient) -> object:
    try:
        return client.fetch_data()
    except (jwt.PyJWKClientError, OSError, http.client.HTTPException) as error:
        raise KeySetError(f"cannot be fetched: {error}") from error
    except (ValueError, RecursionError) as error:
        raise KeySetError(f"is not JSON: {error}") from error


def _usable(
    document: object, algorithm: str
) -> tuple[list[tuple[str | None, Key]], dict[str, str]]:
    """Sort a set into the keys that fit the algorithm and, by key ID, why the others do not."""
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise KeySetError('is not a JSON Web Key Set: {"keys": [...]} is expected')
    keys: list[tuple[str | None, Key]] = []
    refused: dict[str, str] = {}
    for entry in entries:
        kid = entry.get("kid") if isinstance(entry, dict) else None
        name = kid if isinstance(kid, str) else None
        try:
            keys.append((name, _load(entry, algorithm)))
        except KeySetError as error:
            refused.setdefault(name or "", str(error))
    if not keys:
        reasons = "; ".join(sorted(set(refused.values())))
        raise KeySetError(f"has no key for {algorithm}" + (f": {reasons}" if reasons else ""))
    return keys, refused


def _load(entry: object, algorithm: str) -> Key:
    """Load one JWK, if it is a signing key of the kind that the algorithm needs (RFC 7517 §4)."""
    if not isinstance(entry, Mapping):
        raise KeySetError("it is not a JSON object")
    if entry.get("use") not in (None, "sig"):
        raise KeySetError("its use is not 'sig'")
    operations = entry.get("key_ops")
    if isinstance(operations, list) and "verify" not in operations:
        raise KeySetError("its key_ops do not include 'verify'")
    if (entry.get("alg") or algorithm) not in _SAME_ALGORITHM.get(algorithm, (algorithm,)):
        raise KeySetError(f"it is for {entry['alg']}, and this bridge accepts {algorithm} only")
    members = _PUBLIC_MEMBERS.get(str(entry.get("kty")), ())
    public = {"kty": entry.get("kty")} | {name: entry.get(name) for name in members}
    try:
        key = jwt.PyJWK(public, algorithm=algorithm).key if members else None
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        key = None
    if not fits(key, algorithm):
        raise KeySetError(f"it is not {kind(algorithm)}, which {algorithm} needs")
    return key
