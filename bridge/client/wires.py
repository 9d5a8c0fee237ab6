"""Wires: the two ways to run a flow, blocking and on asyncio, over httpx.

A wire can be cut from outside, for a listener that must not wait for its long poll to end. It is
cut gently: the client says that it will send no more (a half-closed connection), so the bridge
gives up the wait. An answer that is on its way at that moment still comes, so none of its events
is lost between the two.
"""

import asyncio
import contextlib
import inspect
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import httpx

from bridge.client.flow import Answer, Call, Flow, Request, Sleep, Step
from bridge.client.identity import BridgeUrls
from bridge.client.keeping import AsyncKeeper, Keeper
from bridge.client.replies import Unreachable, read

T = TypeVar("T")

_CONNECTED = {"connection.connect_tcp.complete", "connection.start_tls.complete"}
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=50, keepalive_expiry=30)


class Stopped(Exception):
    """The wire was cut; the flow ends here."""


class Cut:
    """Ends what waits on a wire. It remembers the wire's latest connection to do so."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._socket: Any = None
        self.hard = False
        """Whether also what is sent anyway is given up once it has failed."""

    @property
    def asked(self) -> bool:
        """Whether the wire has been cut."""
        return self._asked.is_set()

    def pause(self, seconds: float) -> None:
        """Sleep until it is cut."""
        self._asked.wait(seconds)

    def now(self, how: int = socket.SHUT_WR) -> None:
        """Cut: by default only say that nothing more is sent."""
        self.hard = self.hard or how == socket.SHUT_RDWR
        self._asked.set()
        self._shut(how)

    def note(self, request: Request, event: str, info: dict[str, Any]) -> None:
        """Look for a new connection in what httpcore traces of a request: later ones share it."""
        if event in _CONNECTED:
            self._socket = info["return_value"].get_extra_info("socket")
            if self.asked and not request.anyway:
                self._shut(socket.SHUT_WR)

    def _shut(self, how: int) -> None:
        """Shut the connection down below TLS, whatever kind of socket object stands for it."""
        with (
            contextlib.suppress(OSError, AttributeError),  # closed by itself, or none yet
            socket.socket(fileno=os.dup(self._socket.fileno())) as twin,
        ):
            twin.shutdown(how)


class WireFormat:
    """What both wires know: how a request is written, and which failures mean no answer."""

    def __init__(self, urls: BridgeUrls, connect_timeout: float) -> None:
        self._urls = urls
        self._connect_timeout = connect_timeout

    def options(self, request: Request) -> dict[str, Any]:
        """Give the arguments of httpx for a request."""
        headers = {"accept": "application/json"}
        if request.content is not None:
            headers["content-type"] = "application/json"
        if request.token is not None:
            headers["authorization"] = f"Bearer {request.token}"
        seconds = request.read_seconds
        return {
            "method": request.method,
            "url": (self._urls.root if request.outside else self._urls.api) + request.path,
            "params": dict(request.params),
            "content": request.content,
            "headers": headers,
            "timeout": httpx.Timeout(seconds, connect=self._connect_timeout, pool=None),
        }

    def lost(self, error: httpx.TransportError) -> Unreachable:
        """Make the error for a request without an answer."""
        if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
            raise error  # a mistake in the request: no bridge will ever answer it
        what = str(error) or type(error).__name__
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            hint = "start it with `bridge serve`, or set SIDECAR_URL to where it is"
            refused = isinstance(error, httpx.ConnectError)
            return Unreachable(f"no bridge at {self._urls.api} ({what}); {hint}", refused=refused)
        return Unreachable(f"no answer from the bridge at {self._urls.api} ({what})")


class Wire:
    """Runs flows on this thread. It may be used by several threads at once, unless it has a cut."""

    def __init__(
        self,
        wire_format: WireFormat,
        transport: httpx.BaseTransport | None,
        sleep: Callable[[float], None],
        cut: Cut | None = None,
    ) -> None:
        self._format = wire_format
        self._transport = transport
        self._sleep = sleep
        self._cut = cut
        self._http = httpx.Client(transport=transport, limits=LIMITS)

    def with_cut(self, cut: Cut) -> "Wire":
        """Make a wire like this one that can be cut."""
        return Wire(self._format, self._transport, cut.pause, cut)

    def close(self) -> None:
        """Close the connections; a transport that was passed in is its owner's to close."""
        if self._transport is None:
            self._http.close()

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end and give what it returns, or raise what it raises."""
        try:
            step = flow.send(None)
            while True:
                try:
                    reply = self._do(step)
                except Exception as error:  # noqa: BLE001 - it is the flow's to decide on
                    step = flow.throw(error)
                else:
                    step = flow.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result

    def _do(self, step: Step) -> Any:
        if isinstance(step, Call):
            keeper = step.keep and Keeper(self.undisturbed, step.every, step.keep)
            try:
                return step.function(step.argument)
            finally:
                if keeper:
                    keeper.stop()
        _check(self._cut, step)
        if isinstance(step, Sleep):
            (time.sleep if step.anyway else self._sleep)(step.seconds)
            return _check(self._cut, step)
        trace = {"trace": partial(self._cut.note, step)} if self._cut else {}
        try:
            answer = self._http.request(**self._format.options(step), extensions=trace)
        except httpx.TransportError as error:
            _check(self._cut, step)
            raise self._format.lost(error) from error
        return Answer(answer.status_code, answer.headers, answer.content)

    @contextlib.contextmanager
    def streaming(self, request: Request) -> Iterator[httpx.Response]:
        """Send a request and give its answer to be read as it comes.

        Raises what an error says, and Unreachable where the connection is lost.
        """
        try:
            with self._http.stream(**self._format.options(request)) as answer:
                if not answer.is_success:
                    read(Answer(answer.status_code, answer.headers, answer.read()))
                yield answer
        except httpx.TransportError as error:
            raise self._format.lost(error) from error

    def rest(self, seconds: float) -> None:
        """Sleep for so many seconds."""
        self._sleep(seconds)

    def undisturbed(self, flow: Flow[None]) -> None:
        """Run a flow that may as well not be run where the wire has been cut."""
        with contextlib.suppress(Stopped):
            self.run(flow)


class AsyncWire:
    """Runs flows on the current event loop."""

    def __init__(
        self,
        wire_format: WireFormat,
        transport: httpx.AsyncBaseTransport | None,
        sleep: Callable[[float], Awaitable[None]],
        cut: Cut | None = None,
    ) -> None:
        self._format = wire_format
        self._transport = transport
        self._sleep = sleep
        self._cut = cut
        self._http = httpx.AsyncClient(transport=transport, limits=LIMITS)

    def with_cut(self, cut: Cut, sleep: Callable[[float], Awaitable[None]]) -> "AsyncWire":
        """Make a wire like this one that can be cut; `sleep` must end when it is."""
        return AsyncWire(self._format, self._transport, sleep, cut)

    async def close(self) -> None:
        """Close the connections; a transport that was passed in is its owner's to close."""
        if self._transport is None:
            await self._http.aclose()

    async def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end and give what it returns, or raise what it raises."""
        try:
            step = flow.send(None)
            while True:
                try:
                    reply = await self._do(step)
                except Exception as error:  # noqa: BLE001 - it is the flow's to decide on
                    step = flow.throw(error)
                else:
                    step = flow.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _do(self, step: Step) -> Any:
        if isinstance(step, Call):
            keeper = step.keep and AsyncKeeper(self.undisturbed, step.every, step.keep)
            try:
                given = step.function(step.argument)
                return await given if inspect.isawaitable(given) else given
            finally:
                if keeper:
                    await keeper.stop()
        _check(self._cut, step)
        if isinstance(step, Sleep):
            await (asyncio.sleep if step.anyway else self._sleep)(step.seconds)
            return _check(self._cut, step)
        trace = {"trace": partial(self._note, self._cut, step)} if self._cut else {}
        try:
            answer = await self._http.request(**self._format.options(step), extensions=trace)
        except httpx.TransportError as error:
            _check(self._cut, step)
            raise self._format.lost(error) from error
        return Answer(answer.status_code, answer.headers, answer.content)

    @contextlib.asynccontextmanager
    async def streaming(self, request: Request) -> AsyncIterator[httpx.Response]:
        """Send a request and give its answer to be read as it comes.

        Raises what an error says, and Unreachable where the connection is lost.
        """
        try:
            async with self._http.stream(**self._format.options(request)) as answer:
                if not answer.is_success:
                    read(Answer(answer.status_code, answer.headers, await answer.aread()))
                yield answer
        except httpx.TransportError as error:
            raise self._format.lost(error) from error

    async def rest(self, seconds: float) -> None:
        """Sleep for so many seconds."""
        await self._sleep(seconds)

    async def undisturbed(self, flow: Flow[None]) -> None:
        """Run a flow that may as well not be run where the wire has been cut."""
        with contextlib.suppress(Stopped):
            await self.run(flow)

    @staticmethod
    async def _note(cut: Cut, request: Request, event: str, info: dict[str, Any]) -> None:
        cut.note(request, event, info)


def _check(cut: Cut | None, step: Request | Sleep) -> None:
    """Raise Stopped if a step is not to be taken any more.

    What is sent anyway is sent once more after a hard cut, but not tried again.
    """
    if cut is None:
        return
    over = cut.hard and isinstance(step, Sleep) if step.anyway else cut.asked
    if over:
        raise Stopped
