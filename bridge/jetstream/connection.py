"""The connection to NATS: made again for as long as the bridge lives, whatever ended it.

nats-py can reconnect by itself, but gives up for good on some errors (a rotated credential that is
refused once, for example), and sends requests that it buffered before the loss to a server that no
longer knows their context. Here each connection is a client of its own: when it ends, the next one
is made, and whoever depends on it is told.
"""

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from bridge.errors import StartError, Unavailable
from bridge.jetstream.endpoint import Endpoint
from bridge.jetstream.natspy import NatsClient
from bridge.jetstream.refusals import Refusals, Refused
from bridge.urls import hide_login, host_and_port

log = logging.getLogger("bridge.nats")

OLDEST_SERVER = (2, 11)
CONNECT_TIMEOUT_SECONDS = 5
PING_INTERVAL_SECONDS = 5
MAX_PINGS_OUTSTANDING = 2
PONG_SECONDS = 2
GOODBYE_SECONDS = 2.0
"""What each step of a proper end may take while NATS hangs: the last acks, what is in flight."""

LOOK_SECONDS = 0.25
RETRY_SECONDS = (0.05, 2.0)
API_TIMEOUT_SECONDS = 5.0
QUESTION_SECONDS = 1.0
MAX_KEPT_POSTS = 20_000
"""Acks kept while there is no connection; one that is dropped costs a repeated delivery."""


class Unanswered(Unavailable):
    """Nobody answered a request in time, though the connection stands."""


Session = Callable[[NatsClient], Awaitable[None]]


class ApiError(Exception):
    """JetStream's API refused a request; `err_code` is from the server's list of errors."""

    def __init__(self, code: int, err_code: int, description: str) -> None:
        super().__init__(f"{description} (code {code}, err_code {err_code})")
        self.code = code
        self.err_code = err_code
        self.description = description


class Connection:
    """A connection to NATS that is made again whenever it ends.

    `on_connect` is awaited with each new client before the connection counts as made; if it
    raises, the connection is dropped and tried again. `on_lost` is called when a connection ends.
    A server has `greeting` seconds to let the bridge in; it is pinged every `ping` seconds, and has
    `pong` to answer if it seems to hang.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        on_connect: Session,
        on_lost: Callable[[], None],
        *,
        greeting: int = CONNECT_TIMEOUT_SECONDS,
        ping: int = PING_INTERVAL_SECONDS,
        pong: int = PONG_SECONDS,
        goodbye: float = GOODBYE_SECONDS,
    ) -> None:
        self._greeting, self._goodbye = greeting, goodbye
        self._ping, self._pong = ping, pong
        self._endpoint = endpoint
        self._on_connect = on_connect
        self._on_lost = on_lost
        self._client: NatsClient | None = None
        self._refusals = Refusals(endpoint.inbox_prefix)
        self._refused = ""
        self._servers = random.sample(endpoint.servers, len(endpoint.servers))
        self._ended = asyncio.Event()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._up = asyncio.Event()
        self._kept: list[tuple[str, bytes]] = []
        self._last_error = ""
        self.reconnects = 0
        self.up_before = False

    @property
    def name(self) -> str:
        """What the connection is called in NATS's reports."""
        return self._endpoint.name

    @property
    def is_up(self) -> bool:
        """Whether there is a working connection now, as far as is known."""
        return self._up.is_set() and self._client is not None and self._client.is_connected

    @property
    def server_id(self) -> str:
        """Which server this is, of which a restart makes another one."""
        return self._client.server_id if self._client is not None else ""

    @property
    def max_payload(self) -> int:
        """The largest message that the server takes, headers included, in bytes."""
        return self._client.max_payload if self._client is not None else 0

    @property
    def problem(self) -> str:
        """Why there is no connection, in words; empty while there is one."""
        return "" if self.is_up else self._last_error or "not connected to NATS yet"

    async def run(self) -> None:
        """Keep a connection until cancelled.

        Raises StartError if the first server that answers can never serve this bridge.
        """
        delay = RETRY_SECONDS[0]
        while True:
            try:
                client = await self._connect()
                delay = RETRY_SECONDS[0]
                await self._until_closed(client)
                log.warning("the connection to NATS ended; connecting again")
            except StartError:
                raise
            except Exception as error:  # noqa: BLE001 - what answers may not be NATS, and say anything
                self._note(error)
                # nats-py tries no other server once one accepts the connection, though it hangs.
                self._servers.append(self._servers.pop(0))
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                delay = min(delay * 2, RETRY_SECONDS[1])
            finally:
                await self._drop()

    async def close(self) -> None:
        """Send what is written and end the connection; for after `run` was cancelled."""
        await self._drop()

    async def usable(self, wait: float = 2.0) -> None:
        """Return as soon as there is a connection.

        Raises Unavailable when there is none within `wait` seconds: Refused if that is why.
        """
        if self.is_up:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                if self._up.is_set():  # it has just ended, and is yet to be found out
                    await asyncio.wait((self._over,))
                await self._up.wait()
        if not self.is_up:
            if self._refused:
                raise Refused(self._refused)
            raise Unavailable(
                "the event store (NATS JetStream) cannot be reached right now; nothing was lost, "
                "try again in a moment"
            )

    async def request(
        self,
        subject: str,
        body: dict[str, Any] | None = None,
        client: Client | None = None,
        timeout: float = API_TIMEOUT_SECONDS,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Ask JetStream's API, or have it store a message, and give its answer.

        Raises ApiError if JetStream refuses it and Refused if NATS does, Unavailable when there is
        no connection, Unanswered when there is no answer within `timeout` seconds.
        """
        if client is None:
            await self.usable()
            client = self._client
        if client is None:
            raise Unavailable("the connection to NATS was lost; try again in a moment")
        payload = json.dumps(body).encode() if body is not None else b""
        try:
            request = client.request(subject, payload, timeout=timeout, headers=headers)
            answer = await self._unless_over(request, subject)
        except nats.errors.NoRespondersError as error:
            raise ApiError(503, 0, "JetStream is not enabled or has no leader") from error
        except (nats.errors.Error, TimeoutError) as error:
            raise Unanswered(
                f"JetStream did not answer {subject.removeprefix('$JS.API.')} in time; "
                "try again in a moment"
            ) from error
        decoded: dict[str, Any] = json.loads(answer.data)
        if refusal := decoded.get("error"):
            raise ApiError(
                refusal.get("code", 500), refusal.get("err_code", 0), refusal.get("description", "")
            )
        return decoded

    async def question(self, subject: str, timeout: float = API_TIMEOUT_SECONDS) -> dict[str, Any]:
        """Ask how something stands, again and again: what arrives as its leader moves is lost.

        Raises as `request` does.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            left = deadline - loop.time()
            try:
                return await self.request(subject, timeout=min(left, QUESTION_SECONDS))
            except Unanswered:
                if left <= QUESTION_SECONDS:
                    raise

    async def _unless_over(self, call: Coroutine[Any, Any, Msg], subject: str) -> Msg:
        """Await an answer for as long as it can come; nats-py waits on when it no longer can.

        Raises Unavailable when the connection ends first, Refused when NATS refuses the request.
        """
        task, over = asyncio.ensure_future(call), self._over
        with self._refusals.of(subject) as refused:
            try:
                await asyncio.wait((task, over, refused), return_when=asyncio.FIRST_COMPLETED)
                if task.done():
                    return task.result()
                if refused.done():
                    raise Refused(refused.result())
                raise Unavailable("the connection to NATS was lost; try again in a moment")
            finally:
                task.cancel()

    def forget_posts(self) -> None:
        """Drop what was kept for the next connection: the stream is another one now."""
        self._kept.clear()

    async def post(self, subject: str, payload: bytes, *, keep: bool = True) -> None:
        """Publish without waiting for anything, or keep it until there is a connection again."""
        client = self._client
        if client is not None and self.is_up:
            with contextlib.suppress(nats.errors.ConnectionClosedError):
                await client.publish(subject, payload)
                return
        if keep and len(self._kept) < MAX_KEPT_POSTS:
            self._kept.append((subject, payload))

    async def ask(self, subject: str, payload: bytes, reply: str, headers: bytes = b"") -> None:
        """Publish a request whose answers come to `reply`; lost if there is no connection.

        `headers` are as `header_block` writes them.
        Raises Unavailable if it is lost, and Refused where NATS has just refused the subject: NATS
        tells of that as of no particular message, so it is known only to whoever asks again.
        """
        self._refusals.check(subject)
        client = self._client
        if client is not None and self.is_up:
            with contextlib.suppress(nats.errors.ConnectionClosedError):
                await client.send(subject, payload, reply, headers)
                return
        raise Unavailable("the connection to NATS was lost; try again in a moment")

    def refuses(self, subject: str) -> bool:
        """Tell whether NATS has refused a subject a moment ago, as it does without an answer."""
        return self._refusals.recent(subject) is not None

    async def flush(self) -> None:
        """Wait until NATS has taken everything that was sent, unless it hangs."""
        if self._client is not None and self._up.is_set():
            with contextlib.suppress(nats.errors.Error, TimeoutError):
                await asyncio.wait_for(self._client.flush(), self._goodbye)

    async def ping(self, seconds: float) -> None:
        """Return if NATS answers a ping within so many seconds: a server that hangs does not.

        Raises Unavailable, Refused if that is why there is no connection.
        """
        await self.usable(0)
        try:
            if self._client is not None:
                await asyncio.wait_for(self._client.flush(), seconds)
        except (nats.errors.Error, TimeoutError):
            raise Unavailable(
                "the event store (NATS JetStream) does not answer right now; nothing was lost, "
                "try again in a moment"
            ) from None

    async def check(self) -> None:
        """Give up a connection whose server does not even answer a ping: it hangs."""
        client = self._client
        if client is None or not self.is_up:
            return
        try:
            await client.flush(self._pong)
        except (nats.errors.Error, TimeoutError):
            if client is self._client:
                log.warning("NATS at %s does not answer; trying another server", _host(client))
                await self.leave()

    async def leave(self) -> None:
        """End the connection because its server is of no use, and try the others first."""
        if self._client is not None and (url := self._client.connected_url) is not None:
            left = (url.hostname, url.port)
            self._servers.sort(key=lambda server: host_and_port(server) == left)
        await self._drop()

    async def _until_closed(self, client: Client) -> None:
        """Wait for the end of a connection.

        nats-py does not always tell of it: when the socket is gone before what was written, its
        own clean-up fails half-way.
        """
        while client.is_connected:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), LOOK_SECONDS)

    async def _connect(self) -> NatsClient:
        login = self._endpoint.options()
        client = NatsClient()
        self._ended = ended = asyncio.Event()
        self._over = asyncio.get_running_loop().create_future()
        self._client = client
        self._refusals = Refusals(self._endpoint.inbox_prefix)

        async def closed() -> None:
            ended.set()

        await asyncio.wait_for(
            client.connect(
                servers=self._servers,
                dont_randomize=True,
                name=self._endpoint.name,
                inbox_prefix=self._endpoint.inbox_prefix,
                error_cb=self._report,
                closed_cb=closed,
                allow_reconnect=False,
                connect_timeout=self._greeting,
                reconnect_time_wait=0,
                max_reconnect_attempts=1,
                ping_interval=self._ping,
                max_outstanding_pings=MAX_PINGS_OUTSTANDING,
                skip_subject_validation=True,
                **login,
            ),
            self._greeting * (len(self._servers) + 1),
        )
        self._check_version(client)
        self._remember_servers(client)
        await self._on_connect(client)
        self._up.set()
        self._last_error = self._refused = ""
        self.reconnects += self.up_before
        self.up_before = True
        kept, self._kept = self._kept, []
        for subject, payload in kept:
            await self.post(subject, payload)
        log.info("connected to NATS %s at %s", _version(client), _host(client))
        return client

    def _check_version(self, client: Client) -> None:
        version = client.connected_server_version
        if (version.major, version.minor) < OLDEST_SERVER:
            problem = (
                f"the NATS server at {_host(client)} is {_version(client)}; the bridge needs 2.11 "
                "or newer (per-message TTL): upgrade nats-server"
            )
            if not self.up_before:
                raise StartError(problem)
            raise Unavailable(problem)

    def _remember_servers(self, client: Client) -> None:
        """Keep the other members that a cluster names, for when this server dies."""
        known = {(server.hostname, server.port) for server in client.servers}
        given = {host_and_port(url) for url in self._endpoint.servers}
        sample = self._endpoint.servers[0]
        scheme = sample.partition("://")[0] if "://" in sample else "nats"
        self._servers = self._endpoint.servers + [
            f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
            for host, port in known - given
            if host
        ]
        random.shuffle(self._servers)

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if not self._over.done():
            self._over.set_result(None)
        if self._up.is_set():
            self._up.clear()
            self._on_lost()
        if client is not None and client.has_begun and not client.is_closed:
            # RuntimeError is uvloop's for a socket that is closed already.
            with contextlib.suppress(OSError, RuntimeError, nats.errors.Error, TimeoutError):
                await asyncio.wait_for(client.close(), self._goodbye)

    async def _report(self, error: Exception) -> None:
        """Take nats-py's asynchronous errors; a refused permission is told nowhere else."""
        if self._refusals.note(str(error)):
            return
        self._last_error = self._endpoint.explained(error)
        if self._up.is_set():
            log.warning("NATS reports: %s", self._last_error)

    def _note(self, error: Exception) -> None:
        text = self._endpoint.explained(error)
        if self._last_error and type(error) in (nats.errors.NoServersError, TimeoutError):
            text = self._last_error
        self._last_error = text
        self._refused = text if isinstance(error, Refused) else ""
        shown = ", ".join(map(hide_login, self._endpoint.servers))
        log.warning("cannot use NATS at %s yet: %s", shown, text)


def _version(client: Client) -> str:
    version = client.connected_server_version
    return f"{version.major}.{version.minor}.{version.patch}"


def _host(client: Client) -> str:
    url = client.connected_url
    return f"{url.hostname}:{url.port}" if url is not None else "?"
