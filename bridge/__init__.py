"""An event bridge: agents coordinate over HTTP, every event lives in NATS JetStream."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("agent-event-bridge")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0.0.0"
