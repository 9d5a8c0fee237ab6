"""Places: how far each subscription is known to have come, through whichever bridge.

The list of consumers tells it once. After that a consumer on a single server of a cluster reports
each acknowledgement (`sample_freq`), so that every bridge could put another in its place.
"""

import json

from nats.aio.client import Client
from nats.aio.msg import Msg

from bridge.jetstream.consumers import ConsumerState
from bridge.jetstream.progress import Progress

_ACKNOWLEDGED = "$JS.EVENT.METRIC.CONSUMER.ACK"

MAX_PLACES = 10_000
"""Of so many subscriptions this process knows how far they have come."""


class Places:
    """The progress of subscriptions by name, those in use last."""

    def __init__(self) -> None:
        self._progress: dict[str, Progress] = {}

    def clear(self) -> None:
        """Forget everything: the stream is another one now."""
        self._progress.clear()

    async def attach(self, client: Client, stream: str) -> None:
        """Follow acknowledgements on a new connection."""
        await client.subscribe(f"{_ACKNOWLEDGED}.{stream}.*", cb=self._acknowledged)

    def of(self, name: str) -> Progress:
        """Give what is known of a subscription's consumer, which may be nothing."""
        known = self._progress.pop(name, None) or Progress()
        self._progress[name] = known
        if len(self._progress) > MAX_PLACES:
            del self._progress[next(iter(self._progress))]
        return known

    def forget(self, name: str) -> None:
        """Forget a subscription: it is to begin anew."""
        self._progress.pop(name, None)

    def learn(self, state: ConsumerState) -> None:
        """Take over how a consumer stands."""
        self.of(state.name).learn(state.created, *state.floor)

    def doubt(self, name: str) -> bool:
        """Note that a consumer may be another one by now; False if nothing was known of it."""
        known = name in self._progress
        self.of(name).doubt()
        return known

    def with_gaps(self) -> list[str]:
        """Name the consumers of which this process has not seen it all."""
        return [name for name, progress in self._progress.items() if progress.has_gap]

    async def _acknowledged(self, msg: Msg) -> None:
        told = json.loads(msg.data)
        known = self._progress.get(told["consumer"])
        if known is not None:
            known.note_ack(told["consumer_seq"], told["stream_seq"])
