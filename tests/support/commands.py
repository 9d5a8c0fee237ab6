"""The `bridge` command as agents' shells run it: a process, with or without a terminal."""

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.bridges import BRIDGE, clean_environment

Ended = subprocess.CompletedProcess[str]
_LEFT_OUT = (
    *("SIDECAR_URL", "JWT_TOKEN", "AGENT_ID", "AGENT_TYPE", "NO_COLOR", "FORCE_COLOR"),
    # Unbuffered, Python takes half a write to a reader who has gone for a whole one.
    *("PYTHONUNBUFFERED", "PYTHONIOENCODING"),
    "PYTHONDONTWRITEBYTECODE",  # every command would compile all of it again
)


@dataclass(frozen=True)
class Shell:
    """Runs `bridge` in a folder, with these variables; others of the bridge's are not set."""

    folder: Path
    variables: dict[str, str]

    def environment(self, **more: str) -> dict[str, str]:
        kept = {key: value for key, value in clean_environment().items() if key not in _LEFT_OUT}
        # Elsewhere than under XDG_DATA_HOME there might be a bridge of this machine's.
        home = {"XDG_DATA_HOME": str(self.folder / "home"), "PATH": _path()}
        return {**kept, **home, "COLUMNS": "200", **self.variables, **more}

    def run(self, *args: str, text: str | None = None, status: int = 0, **more: str) -> Ended:
        """Run to the end and expect this exit status, and never a traceback."""
        ended = subprocess.run(
            [BRIDGE, *args],
            env=self.environment(**more),
            cwd=self.folder,
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == status, (ended.returncode, ended.stdout, ended.stderr)
        assert "Traceback" not in ended.stderr
        return ended

    def refused(self, *args: str, status: int, **more: str) -> str:
        """Expect a failure told in one line; give that line."""
        ended = self.run(*args, status=status, **more)
        assert ended.stdout == ""
        (line,) = ended.stderr.splitlines()
        assert line.startswith("bridge: ")
        return line

    def records(self, *args: str, status: int = 0, **more: str) -> list[dict[str, Any]]:
        """Run and read its output as JSON lines."""
        out = self.run(*args, status=status, **more).stdout
        return [json.loads(line) for line in out.splitlines()]

    @contextmanager
    def started(self, *args: str, **more: str) -> Iterator[subprocess.Popen[str]]:
        """Start it for as long as the block lasts."""
        process = subprocess.Popen(
            [BRIDGE, *args],
            env=self.environment(**more),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def on_terminal(self, *args: str, status: int = 0, **more: str) -> str:
        """Run with a terminal as its output and give what it shows there."""
        parent, child = pty.openpty()
        with subprocess.Popen(
            [BRIDGE, *args],
            env=self.environment(TERM="xterm-256color", **more),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=child,
            stderr=child,
        ) as process:
            os.close(child)
            shown = b"".join(_until_closed(parent))
        assert process.returncode == status, shown
        return shown.decode()


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Do what Ctrl-C does; give the exit status and what it said."""
    assert process.stdout is not None
    assert process.stderr is not None
    process.send_signal(signal.SIGINT)
    # Not `communicate`, which knows nothing of what was read ahead of a line that was read before.
    out, err = process.stdout.read(), process.stderr.read()
    return process.wait(20), out, err


def _path() -> str:
    """The programs of this installation first: iproute2 has a `bridge` as well."""
    return os.pathsep.join((str(Path(BRIDGE).parent), os.environ["PATH"]))


def _until_closed(terminal: int) -> Iterator[bytes]:
    try:
        while read := os.read(terminal, 65_536):
            yield read
    except OSError:  # how Linux tells that nobody has the other end open any more
        pass
    finally:
        os.close(terminal)
