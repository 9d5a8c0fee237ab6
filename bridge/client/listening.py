"""Listeners: events given to a handler in the background, in a thread or a task."""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from bridge.client.flow import Flow
from bridge.client.wires import AsyncWire, Cut, Stopped, Wire

log = logging.getLogger("bridge.client")

STOP_SECONDS = 10.0
GENTLE_SECONDS = 1.0
"""How long the bridge has to end a wait whose client has said that it will leave."""


class Listener:
    """A thread that gives events to a handler until it is stopped; ends by itself on an error.

    Use it as a context manager, or call `stop`.
    """

    def __init__(self, wire: Wire, flow: Flow[None]) -> None:
        self._cut = Cut()
        self._wire = wire.with_cut(self._cut)
        self._error: Exception | None = None
        self._thread = threading.Thread(
            target=self._run, args=(flow,), name="bridge-listener", daemon=True
        )
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it still listens."""
        return self._thread.is_alive()

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """End it; an event that is in the handler's hands is finished first, for `timeout` seconds.

        Raises what ended it before (with `stop_on_error` the handler's error), or TimeoutError if
        the handler does not return in time. From inside the handler it returns at once.
        """
        self._cut.now()
        if threading.current_thread() is self._thread:
            return
        self._thread.join(min(timeout, GENTLE_SECONDS))
        self._cut.now(socket.SHUT_RDWR)
        self.join(max(0.0, timeout - GENTLE_SECONDS))

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, `timeout` seconds at most. Raises as `stop` does."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError("the listener has not ended: its handler is still at work")
        if self._error is not None:
            raise self._error

    def _run(self, flow: Flow[None]) -> None:
        try:
            self._wire.run(flow)
        except Stopped:
            pass
        except Exception as error:
            log.exception("the listener ends")
            self._error = error
        finally:
            self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class AsyncListener:
    """A task that gives events to a handler until it is stopped; ends by itself on an error.

    Use it as an async context manager, or await `stop`.
    """

    def __init__(self, wire: AsyncWire, flow: Flow[None]) -> None:
        self._cut = Cut()
        self._stopping = asyncio.Event()
        self._wire = wire.with_cut(self._cut, self._pause)
        self._error: Exception | None = None
        self._task = asyncio.get_running_loop().create_task(self._run(flow), name="bridge-listener")

    @property
    def running(self) -> bool:
        """Whether it still listens."""
        return not self._task.done()

    async def stop(self, timeout: float = STOP_SECONDS) -> None:
        """End it; an event that is in the handler's hands is finished first, for `timeout` seconds.

        Raises what ended it before (with `stop_on_error` the handler's error), or TimeoutError if
        the handler does not return in time: then it is cancelled. From inside the handler it
        returns at once.
        """
        self._cut.now()
        self._stopping.set()
        if asyncio.current_task() is self._task:
            return
        await asyncio.wait((self._task,), timeout=min(timeout, GENTLE_SECONDS))
        self._cut.now(socket.SHUT_RDWR)
        try:
            await self.join(max(0.0, timeout - GENTLE_SECONDS))
        except TimeoutError:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            raise

    async def join(self, timeout: float | None = None) -> None:
        """Wait for its end, `timeout` seconds at most. Raises as `stop` does."""
        done, _ = await asyncio.wait((self._task,), timeout=timeout)
        if not done:
            raise TimeoutError("the listener has not ended: its handler is still at work")
        if self._error is not None:
            raise self._error

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _run(self, flow: Flow[None]) -> None:
        try:
            await self._wire.run(flow)
        except Stopped:
            pass
        except Exception as error:
            log.exception("the listener ends")
            self._error = error
        finally:
            await self._wire.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


class Workers:
    """Listeners that share the work of one subscription; see `work`."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    @property
    def running(self) -> bool:
        """Whether any of them still listens."""
        return any(listener.running for listener in self._listeners)

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """End them all at once; what is in hand is finished first. Raises as `Listener.stop`."""
        with ThreadPoolExecutor(len(self._listeners)) as pool:
            list(pool.map(lambda listener: listener.stop(timeout), self._listeners))

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end of each, `timeout` seconds at most. Raises as `stop` does."""
        for listener in self._listeners:
            listener.join(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class AsyncWorkers:
    """The same, of the async client."""

    def __init__(self, listeners: Sequence[AsyncListener]) -> None:
        self._listeners = listeners

    @property
    def running(self) -> bool:
        """Whether any of them still listens."""
        return any(listener.running for listener in self._listeners)

    async def stop(self, timeout: float = STOP_SECONDS) -> None:
        """End them all at once; what is in hand is finished first. Raises as `stop` of each."""
        await asyncio.gather(*(listener.stop(timeout) for listener in self._listeners))

    async def join(self, timeout: float | None = None) -> None:
        """Wait for the end of each, `timeout` seconds at most. Raises as `stop` does."""
        await asyncio.gather(*(listener.join(timeout) for listener in self._listeners))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
