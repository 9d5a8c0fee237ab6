"""The demo's processes: a bridge and the agents, each of which ends when the demo does.

Run as `python -m bridge.cli.demo.processes PARENT_PID serve` or `… PARENT_PID ROLE WORKFLOW SPEED`
it is one of them.
"""

import contextlib
import ctypes
import json
import os
import platform
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

from bridge.cli.demo.account import Report, read_report
from bridge.cli.doctor import look
from bridge.errors import StartError

START_SECONDS = 30.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.02
_LISTENING = re.compile(r"listening on (http://\S+)/api")
_KEPT = ("BRIDGE_NATS_SERVER_BINARY",)
"""Settings of the operator's that concern the demo as well; the rest describes another bridge."""

Told = tuple[str, Report | None]
"""An agent's report, or None when it has ended."""


class Company:
    """Starts the processes, passes on what the agents report, and ends all that are left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.told: queue.SimpleQueue[Told] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start_bridge(self, secret: str) -> str:
        """Start a bridge with a nats-server of its own and give its URL. Raises StartError."""
        settings = {
            "BRIDGE_PORT": "0",
            "BRIDGE_DATA_DIR": str(self._folder / "data"),
            "BRIDGE_JWT_SECRET": secret,
            "BRIDGE_LOG_FORMAT": "json",
            "BRIDGE_DRAIN_SECONDS": "0",
        }
        process = self._start("bridge", ["serve"], settings, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise StartError(f"the demo's bridge did not start: {self.last_words('bridge')}")
            found = _LISTENING.search(self._log("bridge").read_text())
            if found and _ready(found[1]):
                return found[1]
            time.sleep(POLL_SECONDS)
        raise StartError(f"the demo's bridge was not ready within {START_SECONDS:g} s")

    def start_agent(self, role: str, *args: str, url: str, token: str) -> None:
        """Start an agent; what it reports comes through `told`."""
        environment = {"SIDECAR_URL": f"{url}/api", "JWT_TOKEN": token, "AGENT_ID": role}
        process = self._start(role, [role, *args], environment, stdout=subprocess.PIPE)
        threading.Thread(target=self._listen, args=(role, process), daemon=True).start()

    def kill(self, name: str) -> None:
        """Kill a process as a crash would: it gets no chance to say or to give back anything."""
        self._processes[name].kill()

    def exit_status(self, name: str) -> int:
        """Wait for a process that has closed its output and give its exit status."""
        return self._processes[name].wait(STOP_SECONDS)

    def last_words(self, name: str) -> str:
        """Give the last line that a process wrote to its log."""
        lines = self._log(name).read_text().strip().splitlines() or ["it said nothing"]
        with contextlib.suppress(ValueError):
            return str(json.loads(lines[-1])["message"])
        return lines[-1]

    def end(self) -> None:
        """End every process that is left, the bridge last."""
        for process in reversed(self._processes.values()):
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(
        self, name: str, args: list[str], variables: dict[str, str], *, stdout: int
    ) -> subprocess.Popen[bytes]:
        others = {
            key: value
            for key, value in os.environ.items()
            if key in _KEPT or not key.startswith(("BRIDGE_", "SIDECAR_", "JWT_", "AGENT_"))
        }
        program = [sys.executable, "-m", "bridge.cli.demo.processes", str(os.getpid()), *args]
        with self._log(name).open("wb") as log:
            self._processes[name] = subprocess.Popen(  # noqa: S603 - ourselves
                program,
                env=others | variables,
                cwd=self._folder,  # where no .env lies
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demo, which then ends them in order
            )
        return self._processes[name]

    def _listen(self, role: str, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        with process.stdout as lines:
            for line in lines:
                self.told.put((role, read_report(line.decode())))
        self.told.put((role, None))

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


def _ready(url: str) -> bool:
    try:
        return look(f"{url}/readyz").status == 200
    except OSError:
        return False


PR_SET_PDEATHSIG = 1
"""prctl(2): ask for a signal when the parent dies."""


def end_with(parent: int) -> None:
    """Be ended when the parent is, however that ends; Linux only."""
    if platform.system() != "Linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:  # it died before we asked
        raise SystemExit("the demo is gone")


def act(role: str, workflow: str, speed: float) -> None:
    """Be one of the agents, at the bridge and with the token that the environment names."""
    from bridge.cli.demo.account import ReportingTransport  # noqa: PLC0415 - not for the bridge
    from bridge.cli.demo.roles import ROLES, Scene, StoryBroken  # noqa: PLC0415 - the same
    from bridge.client import EventClient, Unreachable  # noqa: PLC0415 - the same
    from bridge.errors import BridgeError  # noqa: PLC0415 - the same

    try:
        with ReportingTransport() as wire, EventClient(transport=wire) as client:
            ROLES[role].act(Scene(client, workflow, speed))
    except (BridgeError, Unreachable, StoryBroken) as error:
        raise SystemExit(f"{role}: {error}") from error


def main(parent: str, what: str, *more: str) -> None:
    """Be what is asked for."""
    end_with(int(parent))
    if what == "serve":
        from bridge.cli import main as bridge  # noqa: PLC0415 - not for an agent

        sys.argv = ["bridge", "serve"]
        bridge()
    else:
        workflow, speed = more
        act(what, workflow, float(speed))


if __name__ == "__main__":
    main(*sys.argv[1:])
