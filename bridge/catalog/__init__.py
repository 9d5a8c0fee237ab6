"""The catalogue: topics, event types and agent types, read from `config/*.yaml` at start."""

from bridge.catalog.load import load_catalog
from bridge.catalog.model import AgentType, Catalog, EventType, Topic

__all__ = ["AgentType", "Catalog", "EventType", "Topic", "load_catalog"]
