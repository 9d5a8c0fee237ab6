"""Everything that knows NATS; the rest of the bridge imports what it needs from here."""

from bridge.jetstream.broker import JetStream, Options
from bridge.jetstream.consumers import ConsumerState as SubscriptionState
from bridge.jetstream.embedded import EmbeddedServer
from bridge.jetstream.endpoint import Endpoint
from bridge.jetstream.held import Held
from bridge.jetstream.message import Message
from bridge.jetstream.mirror import Mirror
from bridge.jetstream.publisher import Stored
from bridge.jetstream.service import Registration
from bridge.jetstream.stream import StreamShape

__all__ = [
    "EmbeddedServer",
    "Endpoint",
    "Held",
    "JetStream",
    "Message",
    "Mirror",
    "Options",
    "Registration",
    "Stored",
    "StreamShape",
    "SubscriptionState",
]
