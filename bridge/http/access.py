"""Access: who is asking, from the bearer token, and whether it asks too often."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from bridge.errors import RateLimited, TokenInvalid
from bridge.tokens import Principal, TokenAuthority

_HOW = "send `Authorization: Bearer <token>`; `bridge token --agent NAME` makes one"
MAX_BUCKETS = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class RateLimiter:
    """A token bucket for each agent of this process: `rate` requests a second, `burst` at once."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self.burst = burst
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()

    def take(self, principal: Principal, cost: int = 1) -> list[tuple[bytes, bytes]]:
        """Count a request and give the X-RateLimit headers for its answer.

        Raises RateLimited, with `retry_after` in whole seconds.
        """
        if self.rate <= 0:
            return []
        now = time.monotonic()
        bucket = self._bucket((principal.project, principal.agent_id), now)
        bucket.tokens = min(self.burst, bucket.tokens + (now - bucket.at) * self.rate)
        bucket.at = now
        needed = min(cost, self.burst)
        if bucket.tokens < needed:
            # Whole seconds, as the header Retry-After has them (RFC 9110 section 10.2.3).
            wait = max(1, math.ceil((needed - bucket.tokens) / self.rate))
            raise RateLimited(
                f"too many requests: this agent may make {self.rate:g} a second, {self.burst} at "
                f"once; try again in {wait} s (a wait with a longer `timeout` or a `count` "
                "needs fewer requests than polling)",
                retry_after=wait,
                limit=self.burst,
            )
        bucket.tokens -= needed
        return self._headers(bucket)

    def _headers(self, bucket: _Bucket) -> list[tuple[bytes, bytes]]:
        full_in = (self.burst - bucket.tokens) / self.rate
        return [
            (b"x-ratelimit-limit", b"%d" % self.burst),
            (b"x-ratelimit-remaining", b"%d" % int(bucket.tokens)),
            (b"x-ratelimit-reset", b"%d" % round(full_in)),
        ]

    def _bucket(self, key: tuple[str, str], now: float) -> _Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(self.burst, now)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        return bucket


class Access:
    """Tells who a request is from; `note` is told of each."""

    def __init__(
        self,
        authority: TokenAuthority,
        limiter: RateLimiter,
        note: Callable[[Principal], None],
    ) -> None:
        self.authority = authority
        self.limiter = limiter
        self._note = note

    async def principal(self, authorization: str | None) -> Principal:
        """Give the principal behind an Authorization header (RFC 6750).

        Raises TokenInvalid, TokenExpired or Unavailable (keys cannot be fetched).
        """
        token = _bearer(authorization)
        found = self.authority.verify_cached(token) or await self.authority.verify(token)
        self._note(found)
        return found


@lru_cache(4096)
def _bearer(authorization: str | None) -> str:
    if not authorization:
        raise TokenInvalid(f"there is no token: {_HOW}")
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise TokenInvalid(f"the Authorization header is not a bearer token: {_HOW}")
    return token.strip()
