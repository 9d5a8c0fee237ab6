"""Three bridges on a cluster of nats-servers."""

import re
import shutil
from pathlib import Path

from tests.support import BridgeProcess, asking, eventually
from tests.support.bridges import HASTY
from tests.support.cluster import NatsCluster
from tests.support.natsservers import free_port

STREAM = "EVENTS"
BRIDGES = 3
RECOVERY_SECONDS = 60.0
_CONNECTED = re.compile(r"connected to NATS \S+ at [\d.]+:(\d+)")


class FleetBridge(BridgeProcess):
    """A bridge that keeps its port, and its logs, when it is started again."""

    times = HASTY | {"look": 1.0, "answer": 1.5, "ping": 2}
    """Not the shortest: three servers that share a small machine take a while to answer."""

    def __init__(self, folder: Path, cluster: NatsCluster, nats_url: str) -> None:
        port = free_port()
        super().__init__(
            folder,
            nats_url,
            port=str(port),
            stream_replicas="3",
            ack_wait_seconds="3",
            log_level="debug",
            drain_seconds="1",
            nats_name=f"bridge/test/{folder.name}",
        )
        self.url = f"http://127.0.0.1:{port}"
        self.cluster = cluster

    @property
    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    @property
    def server(self) -> str:
        """The name of the nats-server that it is connected to, by what it has logged."""
        return self.cluster.name_at(int(_CONNECTED.findall(self.log)[-1]))

    @property
    def open_waits(self) -> int:
        return asking.open_waits(self.url)

    def revive(self) -> None:
        """Start it if it has ended, and wait until it is ready."""
        if self.ended:
            log = self._folder / "bridge.log"
            if log.exists():
                shutil.copy(log, f"{log}.{len(list(self._folder.glob('bridge.log.*')))}")
            self.start(ready=False)
        self.await_ready()

    def await_other_server(self, than: str) -> None:
        """Wait until it is connected to another server than this."""
        eventually(
            lambda: self.server != than,
            within=RECOVERY_SECONDS,
            what=f"a connection of {self.url} to another server than {than}",
        )

    def await_ready(self) -> None:
        eventually(self.ready, within=RECOVERY_SECONDS, what=f"readiness of {self.url}")


class Fleet:
    """The cluster and its bridges; the first is told of one server only, if one is named."""

    def __init__(self, folder: Path, cluster: NatsCluster, first_at: str = "") -> None:
        self.cluster = cluster
        told = [cluster.url] * BRIDGES
        if first_at:
            told[0] = cluster[first_at].url
        self.bridges = [
            FleetBridge(folder / f"bridge-{number}", cluster, url)
            for number, url in enumerate(told)
        ]

    @property
    def urls(self) -> list[str]:
        return [bridge.url for bridge in self.bridges]

    def start(self) -> "Fleet":
        self.cluster.start()
        for bridge in self.bridges:
            bridge.start()
        return self

    def stop(self) -> None:
        for bridge in self.bridges:
            if not bridge.ended:
                bridge.kill()
        self.cluster.stop()

    def heal(self) -> None:
        """Start what is down and wait until everything is whole."""
        self.cluster.heal(STREAM)
        for bridge in self.bridges:
            bridge.revive()
