"""A child process of the demo: the bridge, or one agent. It ends when its parent does.

Run as `python -m bridge.cli.demo.child PARENT_PID serve` or `… PARENT_PID ROLE WORKFLOW SPEED`.
"""

import ctypes
import os
import platform
import signal
import sys

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
    from bridge.cli.demo.reports import ReportingTransport  # noqa: PLC0415 - not for the bridge
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
