"""Somebody who follows helm/OPERATIONS.md from a bridge with its own NATS to a NATS of theirs."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.natscli import as_typed, restored
from tests.support.natsservers import BRIDGE_LOGIN, free_port, nats_binary
from tests.support.operations import World
from tests.support.readme import Block, Tour
from tests.support.shown import missing
from tests.support.waiting import eventually

DATA = Path(".local/share/agent-event-bridge")
REFUSED = "stop the bridge first"
_COPY_PORT = "4333"


class Mover(Tour):
    """Does what the blocks say, each once; `work` is done just before the bridge is stopped.

    The copy is tried before that as well, which the guide says copies nothing. What a text block
    shows is compared with what the block before it has printed.
    """

    def __init__(
        self, folder: Path, steps: list[Block], new: World, work: Callable[[], None]
    ) -> None:
        self.port, self._copy_port = free_port(), str(free_port())
        servers = new.environment["NATS_URL"]
        replaced = {
            "localhost:3001": f"localhost:{self.port}",
            "nats://nats.internal:4222": servers,
            _COPY_PORT: self._copy_port,
            "BRIDGE_STREAM_REPLICAS=3": f"BRIDGE_STREAM_REPLICAS={len(servers.split(','))}",
        }
        super().__init__(
            folder, steps, port=self.port, replaced=replaced, installed=Path(sys.prefix)
        )
        self._new = new
        self._work = work
        self._of_copy: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """The bridge's data folder."""
        return self._home / DATA

    def end(self) -> None:
        super().end()
        if self._of_copy is not None:
            self._of_copy.terminate()
            self._of_copy.wait(30)
        self._of_copy = None

    def _run(self, block: Block) -> str:
        text = as_typed(self._text(block))
        if block.language == "text":
            assert missing(block.text, self._outputs[-1]) == [], self._outputs[-1]
            return ""
        if text.startswith("nats-server "):
            return self._serve_copy(text)
        if "flock" in text:
            self._work()
            assert REFUSED in self._type(text)
            self.end()
            printed = self._type(text)
            assert REFUSED not in printed
            return printed
        if block.serves:
            return self._serve(text)
        if "restore" not in text:
            return self._type(text)
        [folder] = re.findall(r"restore stream (\S+)", block.text)
        return restored(lambda: self._type(text), lambda: self._type(f"rm -r {folder}"))

    def _serve_copy(self, text: str) -> str:
        """Run nats-server in another terminal until the bridge is served again."""
        log = self._home / "copy.log"
        with log.open("wb") as stream:
            self._of_copy = subprocess.Popen(
                ["bash", "-c", f"exec {text}"],
                cwd=self._folder,
                env=self._environment(),
                stdout=stream,
                stderr=stream,
            )
        eventually(lambda: "Server is ready" in log.read_text(), what="the copy's nats-server")
        return ""

    def _environment(self) -> dict[str, str]:
        given = {name: self._new.environment[name] for name in ("NATS_ADMIN_PASSWORD", "COLUMNS")}
        server = nats_binary()
        programs = (str(Path(server).parent), str(Path(sys.executable).parent), os.environ["PATH"])
        return {
            **super()._environment(),
            **given,
            "NATS_BRIDGE_PASSWORD": BRIDGE_LOGIN["nats_password"],
            "BRIDGE_NATS_SERVER_BINARY": server,
            "PATH": os.pathsep.join(programs),
        }
