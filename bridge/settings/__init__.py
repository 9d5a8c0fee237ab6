"""The settings, and the only reader of the environment; `config/bridge.yaml` documents each."""

from bridge.settings.load import load_settings
from bridge.settings.model import Settings

__all__ = ["Settings", "load_settings"]
