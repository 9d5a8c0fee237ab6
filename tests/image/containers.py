"""The bridge in a container, on the network of the machine, where the tests' NATS is."""

import re
import subprocess
from collections.abc import Iterable

import httpx

from tests.support import asking
from tests.support.bridges import SECRET
from tests.support.images import HARDENED, docker
from tests.support.waiting import eventually


def environment(settings: dict[str, str]) -> list[str]:
    """Give the options of `docker run` that set these settings (without the prefix)."""
    return [f"--env=BRIDGE_{key.upper()}={value}" for key, value in settings.items()]


def command(image: str, *args: str, status: int = 0, **settings: str) -> tuple[str, str]:
    """Run one `bridge` command to its end; give what it printed, and what it said on stderr."""
    options = [*HARDENED, "--network", "host", *environment(settings)]
    ended = docker("run", "--rm", *options, image, *args, status=status)
    return ended.stdout, ended.stderr


def python(image: str, program: str) -> str:
    """Run a Python program with the image's interpreter, which needs no shell."""
    options = [*HARDENED, "--network", "none", "--entrypoint", "python"]
    return docker("run", "--rm", *options, image, "-c", program).stdout


class BridgeContainer:
    """One `bridge serve` on a free port; settings are keyword arguments without the prefix."""

    def __init__(
        self, image: str, nats_url: str, *, options: Iterable[str] = HARDENED, **settings: str
    ) -> None:
        given = {"port": "0", "nats_url": nats_url, "jwt_secret": SECRET, **settings}
        run = ["run", "--detach", "--network", "host", *options, *environment(given), image]
        self.id = docker(*run).stdout.strip()
        self.url = ""

    @property
    def log(self) -> str:
        return docker("logs", self.id).stderr

    def start(self) -> "BridgeContainer":
        """Wait until it listens and is ready."""
        self.url = eventually(self._listening, within=60, what="the bridge in its container")
        eventually(lambda: self.readiness() == 200, within=60, what="readiness")
        return self

    def readiness(self) -> int:
        try:
            return asking.get(f"{self.url}/readyz").status_code
        except httpx.TransportError:
            return 0

    def python(self, program: str) -> str:
        """Run a Python program beside the bridge, in its container."""
        return docker("exec", self.id, "python", "-c", program).stdout

    def stopping(self) -> subprocess.Popen[bytes]:
        """Do what a node does: SIGTERM, and SIGKILL to what is there 40 seconds later."""
        return subprocess.Popen(
            ["docker", "stop", "--time", "40", self.id],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def wait(self) -> int:
        """Wait for its end and give the exit status."""
        return int(docker("wait", self.id).stdout)

    def changes(self) -> str:
        """Give what was written to the root, a line for each path; nothing if nothing was."""
        return docker("diff", self.id).stdout

    def remove(self) -> None:
        docker("rm", "--force", self.id)

    def _listening(self) -> str:
        state = docker("inspect", "--format", "{{.State.Running}}", self.id).stdout.strip()
        assert state == "true", self.log
        found = re.search(r"listening on http://0\.0\.0\.0:(\d+)/api", self.log)
        return f"http://127.0.0.1:{found[1]}" if found else ""
