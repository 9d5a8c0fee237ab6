"""What the bridge's NATS user may not do: told once, with the permission to grant."""

import asyncio
import contextlib
import logging
import re
from collections.abc import Iterator

from bridge.errors import Unavailable

log = logging.getLogger("bridge.nats")

REFUSED_SECONDS = 5.0
"""How long what NATS refused is not tried again on the same connection."""

MAX_REFUSALS = 1000
_VIOLATION = re.compile(
    r'permissions violation for (publish|subscription) to "(.+?)"', re.IGNORECASE
)
_VERBS = {"publish": "publish", "subscription": "subscribe"}
# What is refused, and the permission of helm/nats-user.conf that covers it.
_PERMISSIONS = (
    (r"events\..+", r"events.>"),
    (r"(\$KV\.[^.]+)\..+", r"\1.>"),
    (r"(\$JS\.API\.CONSUMER\.(?:CREATE|INFO|DELETE|MSG\.NEXT)\.[^.]+)\..+", r"\1.*"),
    (r"\$JS\.ACK\.([^.]+)(?:\.[^.]+){6}", r"$JS.ACK.\1.>"),
    (r"\$JS\.ACK(?:\.[^.]+){2}\.([^.]+)\..+", r"$JS.ACK.*.*.\1.>"),
    (r"(\$JS\.EVENT\..+)\.[^.]+", r"\1.*"),
    (r"(\$SRV\.DELETE\.[^.]+)\.[^.]+", r"\1.*"),
    (r"(\$SRV\.BRIDGES\.[^.]+)", r"\1"),
    (r"\$SRV\.[^.]+\.([^.]+)", r"$SRV.*.\1"),
    (r"\$SRV\.[^.]+\.([^.]+)\.[^.]+", r"$SRV.*.\1.*"),
)


class Refused(Unavailable):
    """The bridge's NATS user may not do what was asked."""


class Refusals:
    """What NATS has refused on one connection; each missing permission is logged once."""

    def __init__(self, inbox_prefix: str) -> None:
        self._inbox_prefix = inbox_prefix
        self._recent: dict[str, tuple[float, str]] = {}
        self._logged: set[tuple[str, str]] = set()
        self._asking: dict[asyncio.Future[str], str] = {}

    def note(self, text: str) -> bool:
        """Take an error that NATS reports; False if it does not tell of a missing permission."""
        found = _VIOLATION.search(text)
        if found is None:
            return False
        verb, subject = _VERBS[found[1].lower()], found[2]
        permission = self._permission(subject)
        remedy = "it" if permission == subject else f'"{permission}"'
        words = (
            f'NATS refuses the bridge\'s user: {verb} to "{subject}"; grant {remedy} '
            "(helm/nats-user.conf has the whole list)"
        )
        if (verb, permission) not in self._logged and len(self._logged) < MAX_REFUSALS:
            self._logged.add((verb, permission))
            log.warning("%s", words)
        if verb == "publish":
            self._remember(subject.lower(), words)
        for answer, asked in self._asking.items():
            unheard = verb == "subscribe" and self._is_inbox(subject)
            if (unheard or asked == subject.lower()) and not answer.done():
                answer.set_result(words)
        return True

    def check(self, subject: str) -> None:
        """Raise Refused if publishing to a subject was refused a moment ago."""
        if (words := self.recent(subject)) is not None:
            raise Refused(words)

    def recent(self, subject: str) -> str | None:
        """Say what NATS refused a moment ago: publishing to this subject. None if it did not."""
        if not self._recent:
            return None
        at, words = self._recent.get(subject.lower(), (float("-inf"), ""))
        return words if asyncio.get_running_loop().time() - at < REFUSED_SECONDS else None

    @contextlib.contextmanager
    def of(self, subject: str) -> Iterator[asyncio.Future[str]]:
        """Give a future that resolves, in words, when NATS refuses a request to a subject."""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._asking[answer] = subject.lower()
        try:
            yield answer
        finally:
            del self._asking[answer]

    def _remember(self, subject: str, words: str) -> None:
        self._recent.pop(subject, None)
        self._recent[subject] = (asyncio.get_running_loop().time(), words)
        if len(self._recent) > MAX_REFUSALS:
            del self._recent[next(iter(self._recent))]

    def _is_inbox(self, subject: str) -> bool:
        return subject.lower().startswith(f"{self._inbox_prefix}.".lower())

    def _permission(self, subject: str) -> str:
        if self._is_inbox(subject):
            return f"{self._inbox_prefix}.>"
        for pattern, permission in _PERMISSIONS:
            if found := re.fullmatch(pattern, subject, re.IGNORECASE):
                return found.expand(permission)
        return subject
