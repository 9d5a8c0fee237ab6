"""Somebody who follows helm/OPERATIONS.md from its beginning and looks at what is printed."""

import re
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from types import MappingProxyType
from typing import Any

import pytest

from tests.support.natscli import as_typed, restored
from tests.support.natsservers import server_version
from tests.support.operations import World
from tests.support.readme import Block, in_terminal
from tests.support.shown import missing
from tests.support.waiting import eventually

_FUNCTION = re.compile(r"^\w+\(\) \{", re.MULTILINE)
_LIVE = re.compile(r"^nats (sub|events) ", re.MULTILINE)
_LIVE_SECONDS = 30.0
_SCENES: Mapping[str, Callable[[World], AbstractContextManager[None]]] = MappingProxyType(
    {
        "NATS is away": World.without_quorum,
        "Who is waiting?": World.with_a_waiter,
        "Dead letters": World.with_a_dead_letter,
    }
)
"""What has happened when a section is read, and is over when it has been."""

# What is left when NATS loses the beginning of a restore: the CLI's server may be told that another
# one restores before it is told on which subject that listens. Then both are done again.
_BROKEN_RESTORE = """
admin stream rm EVENTS --force
wanted=$(jq '{config, state}' events-backup/backup.json)
admin request --no-templates '$JS.API.STREAM.RESTORE.EVENTS' "$wanted"
"""
_RESTORES_AT_ONCE = (2, 14)
"""Older servers delete what a second restore has made when they give up on the first."""


class Reading:
    """Does what the blocks say, each once, with everything before it.

    What `kubectl` would do to pods is done to processes. Commands that go on until Ctrl-C are ended
    when they have shown what the block after them shows. What agents see of deletions, and cursors
    of before and after the backup, are kept for tests.
    """

    def __init__(self, world: World, steps: list[Block]) -> None:
        self.world = world
        self.heard: dict[str, list[Any]] = {}
        self.cursors: list[str] = []
        self._section = ""
        self._scene = ExitStack()
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
        if block.section != self._section:
            self._scene.close()
            self._section = block.section
            if (scene := _SCENES.get(block.section)) is not None:
                self._scene.enter_context(scene(self.world))
        if block.language == "console":
            return self._on_kubernetes(block)
        if block.language != "bash":
            return ""
        if "stream rm" in block.text:
            assert not self.world.ending, "a bridge that lives on makes the stream again"
            if server_version() >= _RESTORES_AT_ONCE:
                self._type(_BROKEN_RESTORE)
        if _FUNCTION.match(block.text):
            self._functions += block.text
        printed = self._listen(block) if _LIVE.search(block.text) else self._run(block)
        for deletion in ("subscriptions delete", "consumer rm"):
            if deletion in block.text:
                self.heard[deletion] = self.world.agent("coder-1").events("tests_failing")
        if "backup stream" in block.text:
            before = self.world.agent("reader").wait(since="now")["next_cursor"]
            after = self.world.agent("tester-1").publish("tests_failing", {"failures": 9})["cursor"]
            self.cursors = [before, after]
        return printed

    def _run(self, block: Block) -> str:
        if "backup restore" not in block.text:
            return self._type(block.text)
        return restored(lambda: self._type(block.text), lambda: None)

    def _type(self, text: str) -> str:
        return typed(self.world, text, self._functions)

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
        """Scale and restart bridges, wait where that is said, and print what they have logged."""
        printed = ""
        for line in block.text.splitlines():
            if replicas := re.search(r" scale .*--replicas=(\d+)", line):
                self.world.scale(int(replicas[1]))
            elif " wait --for=delete pod " in line:
                self.world.await_ends()
            elif re.search(r" rollout restart .*\bdeploy/bridge-agent-event-bridge\b", line):
                self.world.restart()
            elif " rollout status " in line:
                self.world.await_rollout()
            elif logs := re.search(r" logs (.*?) \| (.*)$", line):
                (self.world.folder / "pods.log").write_text(self._logs(logs[1]))
                printed += self._type(f"cat pods.log | {logs[2]}")
        return printed

    def _logs(self, arguments: str) -> str:
        """Give what `kubectl logs` does: of a Deployment one pod, by a label the end of each."""
        by_label = "-l " in arguments
        pods = list(self.world.logs.items())
        tail = re.search(r"--tail=(-?\d+)", arguments)
        most = int(tail[1]) if tail else 10 if by_label else -1
        lines = [
            (f"[pod/{name}/bridge] " if "--prefix" in arguments else "") + line
            for name, log in (pods if by_label else pods[-1:])
            for line in log.splitlines(keepends=True)[-most if most > 0 else 0 :]
        ]
        return "".join(lines)


def typed(world: World, text: str, functions: str = "") -> str:
    """Give what a block prints in the shell; it must end well."""
    text = as_typed(text.replace("localhost:3001", world.address))
    script = f"set -eu -o pipefail\n{functions}\n{text}"
    status, printed = in_terminal(script, world.folder, world.environment)
    assert status == 0, f"{text}\nended with {status}:\n{printed}"
    return printed
