"""Keepers: a flow that is run again and again beside what its caller does, until that is over."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from bridge.client.flow import Flow

KeepFlow = Callable[[], Flow[None]]
"""Makes the flow that is run each time."""


class Keeper:
    """Runs a flow every so many seconds in a thread."""

    def __init__(self, run: Callable[[Flow[None]], Any], every: float, keep: KeepFlow) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(
            target=self._keep, args=(run, every, keep), name="bridge-lease", daemon=True
        )
        self._thread.start()

    def _keep(self, run: Callable[[Flow[None]], Any], every: float, keep: KeepFlow) -> None:
        while not self._over.wait(every):
            run(keep())

    def end(self) -> None:
        """Let it end, without waiting for that."""
        self._over.set()

    def stop(self) -> None:
        """End it; a run that is under way is finished first."""
        self.end()
        self._thread.join()


class AsyncKeeper:
    """Runs a flow every so many seconds in a task of the current event loop."""

    def __init__(
        self,
        run: Callable[[Flow[None]], Coroutine[Any, Any, Any]],
        every: float,
        keep: KeepFlow,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._task = self._loop.create_task(self._keep(run, every, keep), name="bridge-lease")

    async def _keep(
        self, run: Callable[[Flow[None]], Coroutine[Any, Any, Any]], every: float, keep: KeepFlow
    ) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), every)
                return
            await run(keep())

    def end(self) -> None:
        """Let it end, without waiting for that, from whatever thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and its tasks with it
            self._loop.call_soon_threadsafe(self._over.set)

    async def stop(self) -> None:
        """End it; a run that is under way is finished first."""
        self._over.set()
        await self._task
