"""Revocations of tokens, in a key-value bucket beside the stream (NATS ADR-8).

The bucket of the stream EVENTS is `revoked-EVENTS`: `nats kv get revoked-EVENTS default.jti.<jti>`.
It is made for the first revocation. A key is `<project>.jti.<jti>` or `<project>.agent_id.<agent>`,
with what NATS does not take written `=XX`.

Every bridge reads it before it serves for the first time, and looks every two seconds whether there
is more; who has written tells the others to look now. While NATS is away what was read counts on.
"""

import asyncio
import base64
import contextlib
import json
import logging
import math
import time
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client

from bridge.errors import Unavailable
from bridge.jetstream.connection import ApiError, Connection
from bridge.jetstream.neighbours import Neighbours
from bridge.jetstream.stream import STREAM_NOT_FOUND, StreamShape, drift
from bridge.subjects import encode_token
from bridge.tokens import Revocation, Revocations
from bridge.tokens.revocations import SPARE_SECONDS

log = logging.getLogger("bridge.revocations")

LOOK_SECONDS = 2.0
ANSWER_SECONDS = 1.5
"""With a look that is not answered in between, a revocation counts everywhere within 5 s."""

MARKER_SECONDS = 3600
"""How long a key that was taken back is kept as such; whoever missed it counts the keys."""

TRIES = 5
MESSAGE_NOT_FOUND = 10037
WRONG_LAST_SEQUENCE = 10071

_TOLD = "revoked"


class BucketShape(StreamShape):
    """What the bucket should be, as the stream that it is."""

    def config(self) -> dict[str, Any]:
        """Write it as NATS's own clients write a bucket, but for reads from followers."""
        return {
            "name": self.name,
            "description": "Tokens that are void, kept and heeded by the event bridge",
            "subjects": [f"{self.prefix}>"],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_msgs_per_subject": 1,
            "max_age": 0,
            "num_replicas": self.replicas,
            "allow_rollup_hdrs": True,
            "deny_delete": True,
            "allow_msg_ttl": True,
        }

    @property
    def bucket(self) -> str:
        """Its name as a bucket."""
        return self.name.removeprefix("KV_")

    @property
    def prefix(self) -> str:
        """What its keys have before them as subjects."""
        return f"$KV.{self.bucket}."


@dataclass(frozen=True, slots=True)
class _Held:
    """What a key holds: None if it was taken back, or makes no sense."""

    sequence: int
    revocation: Revocation | None


class RevocationBucket:
    """Keeps revocations, and has those that every bridge knows counted in `counted`."""

    def __init__(
        self,
        connection: Connection,
        neighbours: Neighbours,
        stream: StreamShape,
        counted: Revocations,
    ) -> None:
        self._connection = connection
        self._neighbours = neighbours
        self._shape = BucketShape(
            f"KV_revoked-{stream.name}", manage=stream.manage, replicas=stream.replicas
        )
        self.counted = counted
        self._reading = asyncio.Lock()
        self._due = asyncio.Event()
        self._created = ""
        self._read_up_to = 0
        self._held: dict[str, _Held] = {}
        self._config: dict[str, Any] | None = None
        self._mended: dict[str, Any] = {}
        self._trouble = ""
        neighbours.hear(_TOLD, lambda _: self._due.set())
        counted.expect(connection.usable)

    async def attach(self, client: Client) -> None:
        """Read the bucket over a new connection, the first time before anything is served.

        Raises Unavailable or ApiError.
        """
        if not self.counted.known:
            await self._read(client)
        self._due.set()

    async def watch(self) -> None:
        """Look every few seconds, and at once when told to, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), LOOK_SECONDS)
            self._due.clear()
            if self._connection.is_up:
                await self._look()

    async def put(self, revocation: Revocation) -> Revocation:
        """Add a revocation, beside what is revoked already; give what counts now."""
        for _ in range(TRIES):
            await self._refresh()
            if self._config is None:
                await self._make()
            held = self._held.get(self._subject(revocation))
            found = held.revocation if held is not None else None
            wanted = revocation if found is None else revocation.beside(found)
            if wanted == found or await self._write(wanted, held):
                break
        else:
            raise Unavailable("others revoke the same at this moment; try again")
        await self._refresh()
        return wanted

    async def remove(self, revocation: Revocation) -> None:
        """Take a revocation back, unless it was changed meanwhile."""
        await self._refresh()
        held = self._held.get(self._subject(revocation))
        if held is not None and held.revocation == revocation:
            await self._write(revocation, held, gone=True)
            await self._refresh()

    def _subject(self, revocation: Revocation) -> str:
        return self._shape.prefix + ".".join(map(_token, revocation.key))

    async def _write(
        self, revocation: Revocation, held: _Held | None, *, gone: bool = False
    ) -> bool:
        """Write a key, or that it is gone; False if somebody else has just written it."""
        expected = held.sequence if held is not None else 0
        headers = {"Nats-Expected-Last-Subject-Sequence": str(expected)}
        life = float(MARKER_SECONDS) if gone else _life(revocation)
        if gone:
            headers["KV-Operation"] = "DEL"
        if life is not None and (self._config or {}).get("allow_msg_ttl"):
            headers["Nats-TTL"] = str(math.ceil(life))
        content = None if gone else revocation.as_json()
        subject = self._subject(revocation)
        try:
            await self._connection.request(subject, content, headers=headers)
        except ApiError as error:
            if error.err_code == WRONG_LAST_SEQUENCE:
                return False
            raise Unavailable(f"JetStream does not take the revocation: {error}") from error
        await self._neighbours.tell(_TOLD, True)
        return True

    async def _make(self) -> None:
        shape = self._shape
        if not shape.manage:
            raise Unavailable(
                f"there is no bucket {shape.bucket} to keep revocations in, and "
                "BRIDGE_STREAM_MANAGE is false: make it with "
                f"`nats kv add {shape.bucket} --replicas {shape.replicas}`"
            )
        try:
            request = f"$JS.API.STREAM.CREATE.{shape.name}"
            made = await self._connection.request(request, shape.config())
        except ApiError as error:
            raise Unavailable(
                f"NATS will not make the bucket {shape.bucket}: {error.description}"
            ) from error
        self._config = made["config"]
        log.info("made the bucket %s for revoked tokens", shape.bucket)

    async def _look(self) -> None:
        try:
            await self._read()
            await self._mend()
        except (Unavailable, ApiError) as error:
            if not self._trouble:
                log.warning("what was known to be revoked counts on: %s", error)
            self._trouble = str(error)
        else:
            self._trouble = ""

    async def _refresh(self) -> None:
        """Read what there is now. Raises Unavailable."""
        try:
            await self._read()
        except ApiError as error:
            raise Unavailable(f"JetStream cannot tell which tokens are revoked: {error}") from error

    async def _read(self, client: Client | None = None) -> None:
        """Read what was written since, and everything anew where something went otherwise."""
        async with self._reading:
            info = await self._info(client)
            self._config = info and info["config"]
            state = info["state"] if info is not None else {"last_seq": 0, "messages": 0}
            created = info["created"] if info is not None else ""
            if created != self._created or state["last_seq"] < self._read_up_to:
                self._forget(created)
            await self._read_on(state["last_seq"], client)
            if len(self._held) != state["messages"]:  # some have expired, or were deleted by hand
                self._forget(created)
                await self._read_on(state["last_seq"], client)
            found = (held.revocation for held in self._held.values())
            self.counted.take(each for each in found if each is not None)

    def _forget(self, created: str) -> None:
        self._created, self._read_up_to, self._held = created, 0, {}

    async def _info(self, client: Client | None) -> dict[str, Any] | None:
        subject = f"$JS.API.STREAM.INFO.{self._shape.name}"
        try:
            return await self._connection.request(subject, client=client, timeout=ANSWER_SECONDS)
        except ApiError as error:
            if error.err_code != STREAM_NOT_FOUND:
                raise
            return None

    async def _read_on(self, last: int, client: Client | None) -> None:
        subject = f"$JS.API.STREAM.MSG.GET.{self._shape.name}"
        while self._read_up_to < last:
            body = {"seq": self._read_up_to + 1, "next_by_subj": f"{self._shape.prefix}>"}
            try:
                told = await self._connection.request(subject, body, client, ANSWER_SECONDS)
            except ApiError as error:
                if error.err_code != MESSAGE_NOT_FOUND:
                    raise
                self._read_up_to = last
                return
            message = told["message"]
            self._read_up_to = message["seq"]
            self._held[message["subject"]] = _Held(message["seq"], _revocation(message))

    async def _mend(self) -> None:
        """Bring a bucket that is not as it should be into shape, once as far as NATS lets it."""
        differences = {} if self._config is None else drift(self._config, self._shape.config())
        tried, self._mended = self._mended, differences
        if not differences or differences == tried or not self._shape.manage:
            return
        wanted = (self._config or {}) | {key: want for key, (_, want) in differences.items()}
        log.warning("the bucket %s differs, and is mended: %s", self._shape.bucket, differences)
        try:
            await self._connection.request(f"$JS.API.STREAM.UPDATE.{self._shape.name}", wanted)
        except ApiError as error:
            log.warning("NATS does not mend %s: %s", self._shape.bucket, error.description)


def _revocation(message: dict[str, Any]) -> Revocation | None:
    data = base64.b64decode(message.get("data") or "")
    if not data:  # it was taken back, or has expired
        return None
    try:
        return Revocation.from_json(json.loads(data))
    except ValueError as error:
        log.warning("what is under %s voids no token: %s", message["subject"], error)
        return None


def _token(text: str) -> str:
    """Write a text as a part of a key, which may hold less than a subject may."""
    return encode_token(text).replace("%", "=")


def _life(revocation: Revocation) -> float | None:
    """Give for how many seconds it has to be kept; None for ever."""
    if revocation.expires_at is None:
        return None
    return max(0.0, revocation.expires_at - time.time()) + SPARE_SECONDS
