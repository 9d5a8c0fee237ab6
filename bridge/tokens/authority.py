"""The token authority: verifies the tokens of agents and, where it has the key, mints them."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import jwt

from bridge.errors import RequestInvalid, StartError, TokenExpired, TokenInvalid
from bridge.events import rfc3339
from bridge.tokens.claims import (
    ClaimError,
    Principal,
    check_audience,
    check_issuer,
    check_not_before,
    claims_object,
    read_header,
    read_principal,
)
from bridge.tokens.config import KeyConfig, conflicts
from bridge.tokens.jwks import KeySet
from bridge.tokens.keys import (
    KeySource,
    OwnKeyBeside,
    StaticKey,
    key_id,
    static_keys,
)
from bridge.tokens.minting import (
    MintedToken,
    granted_permissions,
    granted_ttl,
    mint_claims,
    renewed_ttl,
)
from bridge.tokens.revocations import Revocations

log = logging.getLogger("bridge.tokens")

MAX_CACHED_TOKENS = 10_000


class TokenAuthority:
    """Turns tokens into principals and principals into tokens.

    The algorithm is the configuration's; a token that names another is refused before any key is
    looked at (RFC 8725 §3.1). Raises `StartError` where the configuration does not hold together.
    `revoked` are the tokens that are void all the same, by default none. `clock` gives Unix time in
    seconds.
    """

    def __init__(
        self,
        config: KeyConfig,
        revoked: Revocations | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if found := list(conflicts(config)):
            raise StartError("; ".join(found))
        self._config = config
        self._clock = clock
        self._cache: dict[str, Principal] = {}
        self.revoked = revoked or Revocations.none()
        self.revoked.on_change(self._cache.clear)
        # A registry without the other algorithms: not even a bug could make it use one of them.
        self._jws = jwt.PyJWS(algorithms=[config.algorithm])
        self._keys: KeySource
        self._signing_key: Any = None
        self._headers: dict[str, Any] = {}
        if config.jwks:
            self._keys = KeySet(config.jwks, config.algorithm, on_change=self._cache.clear)
        if config.private_key or not config.jwks:
            public, self._signing_key = static_keys(config)
            if config.jwks:
                self._headers["kid"] = key_id(public)
                self._keys = OwnKeyBeside(self._headers["kid"], public, self._keys)
            else:
                self._keys = StaticKey(public)

    @property
    def can_sign(self) -> bool:
        """Whether there is a secret or private key to mint with."""
        return self._signing_key is not None

    def verify_cached(self, token: str) -> Principal | None:
        """Give the principal of a token that was verified before, or None.

        For the hot path: a look-up and a comparison. Raises `TokenExpired`.
        """
        principal = self._cache.get(token)
        if principal is None or self._keys.due():
            return None
        self._check_expiry(principal)
        return principal

    async def verify(self, token: str) -> Principal:
        """Verify signature and claims (RFC 7519 §7.2).

        Raises `TokenInvalid`, `TokenExpired`, or `Unavailable` while the key set cannot be read, or
        what is revoked was not.
        """
        await self._keys.renew()
        principal = self.verify_cached(token)
        if principal is None:
            claims = await self._signed_claims(token)
            principal = self._principal(claims)
            await self.revoked.settle()
            self.revoked.check(principal)
            self._remember(token, principal)
        return principal

    def mint(
        self,
        *,
        agent_id: str,
        agent_type: str | None = None,
        project: str | None = None,
        permissions: Iterable[str] | None = None,
        ttl_seconds: int | None = None,
        now: float | None = None,
        by: str = "the operator",
    ) -> MintedToken:
        """Sign a token; None stands for no agent type, the default project, no claim, default TTL.

        It is logged, but for the token itself, with `by` as who asked for it.
        Raises `RequestInvalid` for a value that `verify` would refuse, a lifetime out of bounds,
        or a bridge that has no key to sign with.
        """
        self._require_signing()
        ttl = granted_ttl(
            ttl_seconds,
            default=self._config.default_ttl_seconds,
            longest=self._config.max_ttl_seconds,
        )
        issued = int(self._clock() if now is None else now)
        claims = mint_claims(agent_id, agent_type, project, permissions)
        claims |= {"iat": issued, "exp": issued + ttl}
        claims |= self._own_names()
        minted = MintedToken(
            token=jwt.encode(
                claims,
                self._signing_key,
                algorithm=self._config.algorithm,
                headers=self._headers,
            ),
            agent_id=claims["sub"],
            agent_type=agent_type,
            project=claims["project_id"],
            permissions=claims.get("permissions"),
            expires_at=float(claims["exp"]),
            jti=claims["jti"],
        )
        log.info("made %s; asked for by %s", minted.described(), by)
        return minted

    def mint_for(
        self,
        caller: Principal,
        agent_id: str,
        agent_type: str | None = None,
        permissions: Iterable[str] | None = None,
        ttl_seconds: int | None = None,
    ) -> MintedToken:
        """Mint a token for another agent of the caller's project.

        Raises `Forbidden` where the caller may not, else as `mint` does.
        """
        return self.mint(
            agent_id=agent_id,
            agent_type=agent_type,
            project=caller.project,
            permissions=granted_permissions(caller, permissions),
            ttl_seconds=ttl_seconds,
            by=f"agent {caller.agent_id!r}",
        )

    def refresh(self, caller: Principal) -> MintedToken:
        """Mint the caller's own token again, with as long a lifetime as it had."""
        longest = self._config.max_ttl_seconds
        return self.mint(
            agent_id=caller.agent_id,
            agent_type=caller.agent_type,
            project=caller.project,
            permissions=caller.permissions,
            ttl_seconds=renewed_ttl(
                caller, default=self._config.default_ttl_seconds, longest=longest
            ),
            by=f"agent {caller.agent_id!r} itself",
        )

    def _remember(self, token: str, principal: Principal) -> None:
        if len(self._cache) >= MAX_CACHED_TOKENS:
            # The oldest goes: re-ordering at each use would cost more than verifying it again.
            del self._cache[next(iter(self._cache))]
        self._cache[token] = principal

    async def _signed_claims(self, token: str) -> dict[str, Any]:
        header = self._header(token)
        key = await self._keys.key_for(header.get("kid"))
        try:
            payload = self._jws.decode(token, key, algorithms=[self._config.algorithm])
        except jwt.InvalidSignatureError:
            raise TokenInvalid(
                "the token's signature is wrong: it was signed with another key than this bridge"
                " verifies with, or changed since; get a token from this bridge's issuer"
            ) from None
        except jwt.InvalidTokenError as error:
            raise TokenInvalid(f"the token cannot be used: {error}") from None
        return claims_object(payload)

    def _header(self, token: str) -> dict[str, Any]:
        header = read_header(token)
        algorithm = header.get("alg")
        if algorithm != self._config.algorithm:
            raise TokenInvalid(
                f"the token says algorithm {str(algorithm)[:32]!r}; this bridge accepts"
                f" {self._config.algorithm} only: have it signed with {self._config.algorithm}",
                accepted=self._config.algorithm,
            )
        return header

    def _principal(self, claims: dict[str, Any]) -> Principal:
        try:
            principal = read_principal(claims)
            self._check_expiry(principal)
            check_not_before(claims, now=self._clock() + self._config.leeway_seconds)
            check_issuer(claims.get("iss"), self._config.issuer)
            check_audience(claims.get("aud"), self._config.audience)
        except ClaimError as error:
            raise TokenInvalid(
                f"the token's claim {error}", claim=error.claim, claims=sorted(claims)[:20]
            ) from None
        return principal

    def _check_expiry(self, principal: Principal) -> None:
        if principal.expires_at + self._config.leeway_seconds <= self._clock():
            raise TokenExpired(
                f"the token expired at {rfc3339(principal.expires_at)}; get a new one from its"
                " issuer. POST /api/tokens/refresh renews a token that has not expired yet",
                expired_at=rfc3339(principal.expires_at),
            )

    def _require_signing(self) -> None:
        if not self.can_sign:
            raise RequestInvalid(
                "this bridge only verifies tokens: it has the issuer's public key and nothing to"
                " sign with; get tokens from their issuer"
            )

    def _own_names(self) -> dict[str, str]:
        names = {"iss": self._config.issuer, "aud": self._config.audience}
        return {claim: name for claim, name in names.items() if name is not None}
