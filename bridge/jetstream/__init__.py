"""Everything that knows NATS: the event store, for whoever composes a bridge.

Its rooms, from the bottom: the connection; pulls, the inbox and the consumers' API; `log`, what the
stream holds; `subscriptions`, what is delivered of it; the publisher; and the store, which is all
of them. `embedded` runs a nats-server.
"""

from bridge.jetstream.embedded import EmbeddedServer
from bridge.jetstream.endpoint import Endpoint
from bridge.jetstream.service import Registration
from bridge.jetstream.store import JetStream, Options, Times
from bridge.jetstream.stream import StreamShape

__all__ = [
    "EmbeddedServer",
    "Endpoint",
    "JetStream",
    "Options",
    "Registration",
    "StreamShape",
    "Times",
]
