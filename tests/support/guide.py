"""Somebody who follows helm/OPERATIONS.md from its beginning and looks at what is printed."""

import re
import shlex
import signal
import subprocess
from typing import Any

import pytest

from tests.support.operations import World
from tests.support.readme import Block, in_terminal
from tests.support.shown import missing
from tests.support.waiting import eventually

_FUNCTION = re.compile(r"^\w+\(\) \{", re.MULTILINE)
_LIVE = re.compile(r"^nats (sub|events) ", re.MULTILINE)
_LIVE_SECONDS = 30.0
_WITHOUT_QUORUM = "NATS is away"


class Reading:
    """Does what the blocks say, each once, with everything before it.

    What `kubectl` would do to pods is done to processes. Commands that go on until Ctrl-C are ended
    when they have shown what the block after them shows. What agents see of a deletion and of a
    restored stream is kept for tests.
    """

    def __init__(self, world: World, steps: list[Block]) -> None:
        self.world = world
        self.heard_again: list[Any] = []
        self.cursor = ""
        self._steps = steps
        self._outputs: list[str] = []
        self._functions = ""
        self._failed = ""

    def reach(self, block: Block) -> str:
        """Do what was not yet done up to this block, and give what it printed."""
        wanted = self._steps.index(block)
        while len(self._outputs) <= wanted:
            if self._failed:
                pytest.fail(f"a block before this one failed: {self._failed}")
            step = self._steps[len(self._outputs)]
            self._failed = str(step)
            self._outputs.append(self._do(step))
            self._failed = ""
        return self._outputs[wanted]

    def before(self, block: Block) -> str:
        """Give what the commands before this block printed."""
        return self.reach(self._steps[self._steps.index(block) - 1])

    def finish(self) -> World:
        """Follow the guide to its end."""
        self.reach(self._steps[-1])
        return self.world

    def _do(self, block: Block) -> str:
        if block.language == "console":
            return self._on_kubernetes(block)
        if block.language != "bash":
            return ""
        if _FUNCTION.match(block.text):
            self._functions += block.text
        if block.section == _WITHOUT_QUORUM:
            self.world.lose_quorum()
        printed = self._listen(block) if _LIVE.search(block.text) else self._type(block.text)
        if block.section == _WITHOUT_QUORUM:
            self.world.heal()
        if "consumer rm" in block.text:
            self.heard_again = self.world.agent("coder-1").events("tests_failing")
        if "stream backup" in block.text:
            self.cursor = self.world.agent("reader").wait(since="now")["next_cursor"]
        return printed

    def _type(self, text: str) -> str:
        text = text.replace("localhost:3001", self.world.address)
        script = f"set -eu -o pipefail\n{self._functions}\n{text}"
        status, printed = in_terminal(script, self.world.folder, self.world.environment)
        assert status == 0, f"{text}\nended with {status}:\n{printed}"
        return printed

    def _listen(self, block: Block) -> str:
        """Let something happen while the command listens, until it has shown what it should."""
        shown = self._steps[self._steps.index(block) + 1].text
        path = self.world.folder / "listening.log"
        with path.open("wb") as log:
            process = subprocess.Popen(
                shlex.split(block.text), env=self.world.environment, stdout=log, stderr=log
            )

        def heard() -> bool:
            self.world.work()
            return not missing(shown, path.read_text())

        try:
            eventually(path.read_text, what="the first line")
            eventually(heard, within=_LIVE_SECONDS, what=f"what {block} shows")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(10)
        return path.read_text()

    def _on_kubernetes(self, block: Block) -> str:
        """Scale and restart bridges; print what they have logged."""
        if replicas := re.search(r" scale .*--replicas=(\d+)", block.text):
            self.world.scale(int(replicas[1]))
        if " rollout restart " in block.text:
            self.world.restart()
        if logs := re.search(r"^kubectl .* logs .*? \| (.*)$", block.text, re.MULTILINE):
            (self.world.folder / "pods.log").write_text(self.world.log)
            return self._type(f"cat pods.log | {logs[1]}")
        return ""
