"""A nats-server of the bridge's own, run as a child process over a data folder."""

from bridge.jetstream.embedded.nats_server import EmbeddedServer

__all__ = ["EmbeddedServer"]
