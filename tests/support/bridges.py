"""A bridge as users run it: a process started with `bridge serve`."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.support import asking
from tests.support.natsservers import NatsServer
from tests.support.stopping import stop
from tests.support.waiting import eventually

SECRET = "a secret for tests that is long enough to sign with"
LOGINS = {"nats_user", "nats_token", "nats_nkey_file", "nats_credentials_file"}
BRIDGE = str(Path(sys.executable).parent / "bridge")
ROOT = Path(__file__).parent.parent.parent

Times = dict[str, float]
HASTY: Times = {
    "greeting": 2,
    "ping": 1,
    "pong": 1,
    "goodbye": 0.5,
    "look": 0.5,
    "answer": 1.0,
    "look_again": 0.2,
    "patience": 3.0,
    "abandoned": 2.0,
    "unknown": 8.0,
}
"""`bridge.jetstream.Times` for bridges that are to find out soon what a test has broken."""


def clean_environment(**settings: str) -> dict[str, str]:
    """Give the environment without any BRIDGE_ variable but those given (without the prefix)."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("BRIDGE_")}
    return kept | {f"BRIDGE_{key.upper()}": value for key, value in settings.items()}


class BridgeProcess:
    """One `bridge serve` on a free port; settings are keyword arguments without the prefix.

    It logs in to a server that demands it (`NatsServer.login_of`), unless it is given a login.
    With `times` it is `bridge serve` but for those.
    """

    times: Times | None = None

    def __init__(self, folder: Path, nats_url: str | None = None, **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        login = {} if settings.keys() & LOGINS else NatsServer.login_of(nats_url)
        given = {"port": "0", "data_dir": str(folder / "data"), "log_format": "json"}
        given |= {"drain_seconds": "0.1"}  # nothing balances load between tests
        given |= login | settings
        if nats_url is not None:
            given |= {"nats_url": nats_url}
        given.setdefault("jwt_secret", SECRET)
        self.url = ""
        self._folder = folder
        self._environment = clean_environment(**given)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def api(self) -> str:
        return f"{self.url}/api"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return (self._folder / "bridge.log").read_text()

    def start(self, *, ready: bool = True) -> "BridgeProcess":
        """Start it and wait until it listens and, unless told otherwise, is ready."""
        path = self._folder / "bridge.log"
        with path.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(), env=self._environment, cwd=self._folder, stderr=log
            )
        self.url = eventually(self._listening, what="the bridge")
        if ready:
            eventually(self.ready, what="readiness")
        return self

    def ready(self) -> bool:
        return asking.answers(f"{self.url}/readyz")

    def send(self, how: signal.Signals) -> None:
        assert self._process is not None
        if how is signal.SIGSTOP:
            stop(self.pid)
        else:
            self._process.send_signal(how)

    def wait(self, timeout: float = 30) -> int:
        """Wait for its end and give the exit status."""
        assert self._process is not None
        return self._process.wait(timeout)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self._process is not None
        if self._process.poll() is None:
            self.send(how)
        return self.wait()

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def _command(self) -> list[str]:
        if self.times is None:
            return [BRIDGE, "serve"]
        self._environment["PYTHONPATH"] = str(ROOT)  # the tests are not installed
        return [sys.executable, "-m", "tests.support.serving", json.dumps(self.times)]

    def _listening(self) -> str:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        found = re.search(r"listening on (http://\S+)/api", self.log)
        return found[1] if found else ""
