"""The embedded nats-server as one object: started, kept running, stopped."""

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bridge.datafolder import DataFolder, FolderLock, write_private
from bridge.errors import StartError
from bridge.jetstream.embedded.nats_config import ServerConfig, is_free, write_config
from bridge.jetstream.embedded.process import (
    START_SECONDS,
    STOP_SECONDS,
    end,
    end_orphan,
    find_binary,
    spawn,
    wait_until_serving,
)

if TYPE_CHECKING:
    from asyncio.subprocess import Process

log = logging.getLogger("bridge.nats-server")

PORT_ATTEMPTS = 3
FIRST_BACKOFF_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 5.0
HEALTHY_SECONDS = 60.0
"""After so long a life, the next death counts as the first one."""


class EmbeddedServer:
    """A nats-server over a data folder, for as long as the `async with` block runs.

    It listens on a loopback port that stays the same for the life of this object, needs the
    password in `url`, ends with the bridge even if that is killed, and is started again when it
    dies. `binary` names another nats-server than the installed one; `holder` is told to whoever
    tries to use the same folder. It must serve within `start_within` seconds and is killed if it
    does not end within `stop_within`; `backoffs` are the first and the longest pause before a try.
    """

    def __init__(
        self,
        data_dir: Path,
        binary: str | None = None,
        *,
        holder: str = "",
        start_within: float = START_SECONDS,
        stop_within: float = STOP_SECONDS,
        backoffs: tuple[float, float] = (FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS),
    ) -> None:
        self._start_within = start_within
        self._stop_within = stop_within
        self._backoffs = backoffs
        self._folder = DataFolder(data_dir.resolve())
        self._binary = binary
        self._lock = FolderLock(self._folder, holder)
        self._config: ServerConfig | None = None
        self._process: Process | None = None
        self._supervisor: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """The URL for clients, credentials included; raises `RuntimeError` before the start."""
        return self._started().url

    @property
    def pid(self) -> int | None:
        """The process ID of nats-server; None while there is none."""
        if self._process is None or self._process.returncode is not None:
            return None
        return self._process.pid

    async def start(self) -> None:
        """Take the folder and start the server; it accepts connections when this returns.

        Raises `StartError` where the folder is taken or unusable, there is no nats-server, or it
        does not come up.
        """
        try:
            await self._start()
        except OSError as error:
            await self.stop()
            raise StartError(f"data folder {self._folder.path} cannot be used: {error}") from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the server and give the folder back."""
        try:
            if self._supervisor is not None:
                self._supervisor.cancel()
                await asyncio.wait([self._supervisor])
                self._supervisor = None
            if self._process is not None:
                await end(self._process, self._stop_within)
                self._process = None
                self._folder.url.unlink(missing_ok=True)
                self._folder.pid.unlink(missing_ok=True)
        finally:
            self._lock.release()

    async def _start(self) -> None:
        binary = find_binary(self._binary)
        self._folder.make()
        self._lock.acquire()
        orphan = await end_orphan(self._folder)
        if orphan is not None:
            log.warning("ended nats-server (process %d), left by a bridge that crashed", orphan)
        await self._first_process(binary)
        write_private(self._folder.url, self.url + "\n")
        self._supervisor = asyncio.create_task(self._supervise(binary), name="nats-server")

    async def _first_process(self, binary: str) -> None:
        """Start the server, on another port should somebody take it between probe and use."""
        for attempt in range(1, PORT_ATTEMPTS + 1):
            self._config = write_config(self._folder)
            try:
                await self._run(binary)
            except StartError:
                if attempt == PORT_ATTEMPTS or is_free(self._config.port):
                    raise
            else:
                return

    async def _run(self, binary: str) -> None:
        """Start a process and see it serve; one that does not is ended again."""
        self._process = await spawn(binary, self._folder)
        try:
            config = self._started()
            await wait_until_serving(self._process, config, self._folder, self._start_within)
        except StartError:
            await end(self._process, self._stop_within)
            raise

    async def _supervise(self, binary: str) -> None:
        loop = asyncio.get_running_loop()
        first, _ = self._backoffs
        backoff = first
        while self._process is not None:
            up_since = loop.time()
            code = await self._process.wait()
            log.warning("nats-server ended with %d; starting it again", code)
            if loop.time() - up_since >= HEALTHY_SECONDS:
                backoff = first
            backoff = await self._restart(binary, backoff)

    async def _restart(self, binary: str, backoff: float) -> float:
        """Try until the server runs again, on the same port; give the next backoff in seconds."""
        while True:
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, self._backoffs[1])
            try:
                await self._run(binary)
            except (StartError, OSError) as error:
                log.error("nats-server does not start, next try in %g s: %s", backoff, error)  # noqa: TRY400 - the message is the whole story
            else:
                log.info("nats-server runs again (process %s)", self.pid)
                return backoff

    def _started(self) -> ServerConfig:
        if self._config is None:
            raise RuntimeError("the embedded server has not been started")
        return self._config
