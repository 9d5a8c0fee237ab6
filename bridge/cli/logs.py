"""Logs: text for a terminal, JSON for a collector; never event data or tokens."""

import json
import logging
import sys
import time
from typing import Any

from bridge.events import rfc3339

CONTEXT = ("request_id", "agent", "project")


class TextFormatter(logging.Formatter):
    """One readable line for each record."""

    def format(self, record: logging.LogRecord) -> str:
        """Write time, level, message and what is known of the request."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        known = [f"{key}={value}" for key in CONTEXT if (value := getattr(record, key, None))]
        line = " ".join((clock, record.levelname.lower().ljust(7), record.getMessage(), *known))
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object for each record."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record with the fields that collectors look for."""
        content: dict[str, Any] = {
            "timestamp": rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        content |= {key: value for key in CONTEXT if (value := getattr(record, key, None))}
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        return json.dumps(content, ensure_ascii=False)


def set_up(level: str, form: str) -> None:
    """Send the bridge's log to stderr; `form` is text, json or auto (text on a terminal)."""
    text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler()
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("bridge").setLevel(level.upper())
    logging.captureWarnings(capture=True)
