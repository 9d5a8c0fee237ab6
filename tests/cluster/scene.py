"""A scene: agents at work on a fleet that is whole, for a test to break something."""

import uuid
from collections.abc import Sequence

from tests.cluster.fleet import RECOVERY_SECONDS, STREAM, Fleet, FleetBridge
from tests.cluster.openwaits import OpenWaits
from tests.support import eventually
from tests.support.load import Load
from tests.support.readiness import ReadinessProbe

UNTRUTHS = 2
"""Publishes in a row that may be refused before `/readyz` says so: it has to be found out."""

ALARMS = 150
"""Publishes in a row that may be stored before `/readyz` calls a bridge ready again.

Each takes a tenth of a second or more. The stream is asked every half second, for up to three, and
is read again first; without a fault that came to 46.
"""


class Scene:
    """Load on all bridges, waits that are open on some, and a probe of each one's readiness."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.cluster = fleet.cluster
        self.bridges = fleet.bridges
        self.project = f"p-{uuid.uuid4().hex[:12]}"
        self.load = Load(fleet.urls, self.project)
        self.probes = [ReadinessProbe(url, self.project) for url in fleet.urls]
        self._waits: list[OpenWaits] = []

    def start(self, waiting: Sequence[FleetBridge], pinned_at: str = "") -> "Scene":
        """Open waits at these bridges, then start everything else."""
        self._waits = [OpenWaits(bridge, self.project, pinned_at) for bridge in waiting]
        for probe in self.probes:
            probe.start()
        self.load.start()
        return self

    def start_with_all_on_one_server(self) -> str:
        """Start, with the worst server to lose, and name it.

        It leads the stream, the first bridge is connected to it, and of some pinned subscriptions
        for which somebody waits it has the only replica.
        """
        victim = self.bridges[0].server
        self.cluster.move_stream(STREAM, to=victim)
        self.start(self.bridges, pinned_at=victim)
        return victim

    def await_another_leader(self, than: str) -> None:
        """Wait until another server leads the stream."""
        eventually(
            lambda: self.cluster.stream_leader(STREAM) in self.cluster.others(than),
            within=RECOVERY_SECONDS,
            what=f"a leader of the stream other than {than}",
        )

    def finish(self) -> int:
        """Expect everything to go on and to be complete, and readiness to have told the truth.

        Gives how many events were acknowledged, all of which were delivered.
        """
        for bridge in self.bridges:
            bridge.await_ready()
        self.load.goes_on("new events after all is whole again")
        for waits in self._waits:
            waits.answer()
        self.load.finish()
        self.stop()
        for probe in self.probes:
            assert not probe.wrong, probe.wrong
            assert probe.longest_untruth <= UNTRUTHS, (
                f"{probe.url} called itself ready and refused publishes: {probe.report()}; "
                f"{probe.refusals[-1]}"
            )
            assert probe.longest_alarm <= ALARMS, (
                f"{probe.url} called itself unready and stored publishes: {probe.report()}"
            )
        return len(self.load.acked)

    def stop(self) -> None:
        """End all that it started."""
        self.load.stop()
        for probe in self.probes:
            probe.stop()

    def clean(self) -> None:
        """Delete every subscription that it made."""
        for name in self.cluster.consumers(STREAM):
            if name.startswith(self.project):
                self.cluster.delete_consumer(STREAM, name)
