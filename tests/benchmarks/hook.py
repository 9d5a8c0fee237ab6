"""Print the time from a publish to the start of a `bridge events wait --exec` hook.

Run as `python -m tests.benchmarks.hook`.
"""

import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support import BridgeProcess, NatsServer, eventually
from tests.support.agents import Agent
from tests.support.commands import Shell

SAMPLES = 100


def main() -> None:
    """Measure on a nats-server and a bridge of its own, which do nothing else."""
    with tempfile.TemporaryDirectory() as name:
        server = NatsServer(Path(name)).start()
        bridge = BridgeProcess(Path(name, "bridge"), server.url).start()
        try:
            with Agent(bridge.url, "bench", "bench-hook") as agent:
                measure(
                    Shell(Path(name), {"SIDECAR_URL": bridge.api, "JWT_TOKEN": agent.token}), agent
                )
        finally:
            bridge.stop()
            server.stop()


def measure(shell: Shell, agent: Agent) -> None:
    """Let a hook write to a pipe as the first thing it does; beside it, bare `sh` from here."""
    pipe = shell.folder / "hooks"
    os.mkfifo(pipe)
    command = f"echo started > {pipe}"
    with shell.started("events", "wait", "hooked", "--follow", "--exec", command):
        eventually(lambda: any(each["waiting"] for each in agent.subscriptions()))
        hooked, bare = [], []
        for number in range(SAMPLES):
            began = time.perf_counter()
            agent.publish("hooked", {"number": number})
            assert pipe.read_text() == "started\n"
            hooked.append(time.perf_counter() - began)
            began = time.perf_counter()
            with subprocess.Popen(["sh", "-c", command]):
                pipe.read_text()
                bare.append(time.perf_counter() - began)
    for name, samples in (("publish to hook", hooked), ("sh alone", bare)):
        usual, slowest = statistics.median(samples) * 1000, max(samples) * 1000
        print(f"{name:<16} p50 {usual:6.2f} ms   max {slowest:6.2f} ms   ({len(samples)})")


if __name__ == "__main__":
    main()
