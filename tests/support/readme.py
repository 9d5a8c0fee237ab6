"""The README as a reader follows it: its blocks, in order, in one folder and two terminals."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import asking
from tests.support.waiting import eventually

_HEADING = re.compile(r"#+ (.+)")
_FENCE = re.compile(r"```(\w*)")
_INSTALL = re.compile(r"python3 -m venv .+?(?: && (?=\S+bridge serve)|$)", re.MULTILINE)
_WHOLE_SUITE = re.compile(r"-m pytest(?: -n \d+)?$", re.MULTILINE)
_FILE_NAME = re.compile(r"# (\S+\.yaml)\n")
_SETTINGS = (
    "AGENT_",
    "BRIDGE_",
    "JWT_",
    "NATS_",
    "PYTEST_",
    "PYTHON",
    "SIDECAR_",
    "VIRTUAL_ENV",
    "XDG_",
)
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

INSTALL_SECONDS = 400.0


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: where it stands, its language and its text."""

    line: int
    section: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"line-{self.line}-{self.section}-{self.language}".replace(" ", "-")

    @property
    def serves(self) -> bool:
        return self.language == "bash" and "bridge serve" in self.text

    @property
    def runs_the_tests(self) -> bool:
        return self.language == "bash" and _WHOLE_SUITE.search(self.text) is not None

    @property
    def missing(self) -> list[str]:
        """The programs that the block calls and this machine has not."""
        if self.language != "bash":
            return []
        called = [
            name for name in ("curl", "nats") if re.search(rf"^{name} ", self.text, re.MULTILINE)
        ]
        return [name for name in called if shutil.which(name) is None]


def blocks(path: Path) -> list[Block]:
    """Read the fenced blocks of a Markdown file, in order."""
    found: list[Block] = []
    section, start, language, text = "", 0, "", [""]
    for number, line in enumerate(path.read_text().splitlines(keepends=True), start=1):
        fence = _FENCE.match(line)
        if start and fence:
            found.append(Block(start, section, language, "".join(text)))
            start = 0
        elif fence:
            start, language, text = number, fence[1], []
        elif start:
            text.append(line)
        elif heading := _HEADING.match(line):
            section = heading[1]
    assert not start, f"the block of line {start} is not closed"
    return found


def shape(value: Any) -> Any:
    """Reduce a JSON value to its keys and types; a list to the shape of its first item."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return "number" if type(value) in (int, float) else type(value).__name__


class Tour:
    """Runs blocks as a reader would type them, each once, with everything before it.

    `replaced` is the text to put in place of addresses that a test cannot use as they are written.
    `installed` is a virtual environment that is taken as what the first command has installed;
    None runs that command as well.
    """

    def __init__(
        self,
        folder: Path,
        steps: list[Block],
        *,
        port: int,
        replaced: Mapping[str, str],
        installed: Path | None,
    ) -> None:
        self._folder = folder
        self._steps = steps
        self._port = port
        self._replaced = replaced
        self._installed = installed
        self._outputs: list[str] = []
        self._server: subprocess.Popen[bytes] | None = None
        self._home = folder.with_name(folder.name + "-home")
        self._home.mkdir()
        self._state = self._home / "state"
        self._state.touch()
        if installed is not None:
            (folder / ".venv").symlink_to(installed)

    def reach(self, block: Block) -> str:
        """Run what has not been run up to this block, and give its output."""
        wanted = self._steps.index(block)
        while len(self._outputs) <= wanted:
            self._outputs.append(self._run(self._steps[len(self._outputs)]))
        return self._outputs[wanted]

    def end(self) -> None:
        """Stop the bridge and see that it ends."""
        if self._server is not None and self._server.poll() is None:
            os.killpg(self._server.pid, signal.SIGTERM)
            self._server.wait(60)
        self._server = None

    def _run(self, block: Block) -> str:
        if block.runs_the_tests or block.missing:
            return ""
        if block.serves:
            return self._serve(self._text(block))
        if block.language == "yaml":
            return self._write(block)
        if block.language == "json":
            return self._compare(block)
        assert block.language in {"bash", "python"}, f"nothing runs {block}"
        return self._type(self._text(block), block.language)

    def _text(self, block: Block) -> str:
        text = block.text
        for written, meant in self._replaced.items():
            text = text.replace(written, meant)
        return text if self._installed is None else _INSTALL.sub("", text)

    def _type(self, text: str, language: str = "bash") -> str:
        """Run a block in the terminal, where variables stay from one block to the next."""
        if language == "python":
            (self._folder / "block.py").write_text(text)
            text = ".venv/bin/python block.py\n"
        kept = f"set -a -euo pipefail; source '{self._state}'\n{text}\nexport -p > '{self._state}'"
        status, output = in_terminal(kept, self._folder, self._environment())
        assert status == 0, f"{text}\nended with {status}:\n{output}"
        return output

    def _serve(self, text: str) -> str:
        """Run a block in the other terminal, in place of what runs there, until it serves."""
        self.end()
        log = self._home / "serve.log"
        with log.open("wb") as stream:
            # The trap lets bash wait for the bridge's end instead of going first.
            self._server = subprocess.Popen(
                ["bash", "-c", f"trap : TERM; set -e\n{text}"],
                cwd=self._folder,
                env=self._environment(),
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        eventually(lambda: self._serving(log), within=INSTALL_SECONDS, what="the bridge")
        return log.read_text()

    def _serving(self, log: Path) -> bool:
        assert self._server is not None
        assert self._server.poll() is None, log.read_text()
        return asking.answers(f"http://localhost:{self._port}/readyz")

    def _write(self, block: Block) -> str:
        """Put a configuration file where its first line says, and let the bridge's loaders read it.

        The block that serves after it reads it once more.
        """
        name = _FILE_NAME.match(block.text)
        assert name, f"{block} does not begin with the name of its file"
        path = self._folder / name[1]
        path.parent.mkdir(exist_ok=True)
        path.write_text(block.text)
        load = "load_settings" if path.name == "bridge.yaml" else "load_catalog"
        return self._type(
            "from pathlib import Path\n"
            "from bridge.catalog import load_catalog\n"
            "from bridge.settings import load_settings\n"
            f"{load}(config_dir=Path({name[1]!r}).parent)\n",
            "python",
        )

    def _compare(self, block: Block) -> str:
        printed = self._steps[len(self._outputs) - 1]
        if not printed.missing:
            assert shape(json.loads(self._outputs[-1])) == shape(json.loads(block.text)), (
                f"{block} is not what the block before it prints:\n{self._outputs[-1]}"
            )
        return ""

    def _environment(self) -> dict[str, str]:
        """Give a new user's environment: a home of their own, and only where the bridge is set."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
        return kept | {
            "HOME": str(self._home),
            "BRIDGE_PORT": str(self._port),
            "SIDECAR_URL": f"http://localhost:{self._port}/api",
        }


def in_terminal(script: str, folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Run a script with a terminal, which some programs ask for; give status and output."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 65_536):
            written += chunk
    except OSError:  # EIO: how Linux says that the other end of a terminal is closed
        pass
    finally:
        os.close(ours)
    return process.wait(), _ANSI.sub("", written.decode(errors="replace"))
