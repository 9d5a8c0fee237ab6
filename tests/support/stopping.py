"""Stopping a process in the middle of whatever it does, as a machine that hangs would."""

import os
import signal
from pathlib import Path

from tests.support.waiting import eventually


def stop(pid: int) -> None:
    """Send SIGSTOP, and return once every thread stands: until then it may still answer."""
    os.kill(pid, signal.SIGSTOP)
    tasks = Path(f"/proc/{pid}/task")
    if tasks.exists():
        eventually(lambda: all(map(_stands, tasks.iterdir())), what=f"the stop of process {pid}")


def _stands(task: Path) -> bool:
    try:
        status = (task / "stat").read_text()
    except FileNotFoundError:  # a thread that has ended meanwhile
        return True
    return status.rpartition(")")[2].split()[0] in ("T", "t", "Z", "X")
