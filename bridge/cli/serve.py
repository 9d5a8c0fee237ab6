"""`bridge serve`: settings become a running bridge, and it ends in the right order.

Its log is text for a terminal and JSON for a collector; never event data or tokens.
"""

import asyncio
import contextlib
import gc
import json
import logging
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from bridge import __version__
from bridge.bus import Bus
from bridge.catalog import load_catalog
from bridge.cli.endings import Stopping
from bridge.cli.signing import authority
from bridge.events import rfc3339
from bridge.http.app import HttpOptions, create_app
from bridge.http.server import Server, bind
from bridge.http.tracing import tracing_from_environment
from bridge.http.uvicorn_protocol import Patience
from bridge.jetstream import (
    EmbeddedServer,
    Endpoint,
    JetStream,
    Options,
    Registration,
    StreamShape,
    Times,
)
from bridge.request_counts import RequestCounts
from bridge.settings import Settings, load_settings
from bridge.tokens import Revocations

log = logging.getLogger("bridge")

COLLECT_AFTER = (50_000, 20, 50)
"""Allocations before a collection, and collections before one of the next older generation."""


def run(times: Times | None = None, stopping: Stopping | None = None, **overrides: Any) -> None:
    """Serve until a signal; `overrides` are settings. Raises StartError."""
    stopping = stopping or Stopping()
    with stopping.watched():
        _run(times or Times(), stopping, overrides)
    log.info("stopped")


def _run(times: Times, stopping: Stopping, overrides: dict[str, Any]) -> None:
    settings = load_settings(**overrides)
    set_up(settings.log_level, settings.log_format)
    log.info("bridge %s starts with %s", __version__, _told(settings.changed()) or "the defaults")
    log.debug("all settings: %s", _told(settings.resolved()))
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(settings, times, stopping))


def _loop_factory() -> Any:
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415 - not to be had on Windows

    return uvloop.new_event_loop


async def _serve(settings: Settings, times: Times, stopping: Stopping) -> None:
    stopping.covers()
    catalog = load_catalog(settings.config_dir)
    keys = authority(settings, Revocations())
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(contextlib.closing(bind(settings.host, settings.port)))
        listeners = [listener, *_internal(settings, stack)]
        address = _address(settings.host, listener)
        servers = await _nats(settings, stack, address)
        options, traffic = _options(settings, servers, times), RequestCounts()
        registration = Registration(traffic, _described(settings, options, address))
        jetstream = await stack.enter_async_context(JetStream(options, registration, keys.revoked))
        bus = Bus(
            jetstream,
            catalog,
            strict_publishers=settings.publisher_policy == "strict",
            only_catalogue=settings.unknown_types == "refuse",
            deliver=settings.default_deliver,
            max_deliveries=settings.max_deliveries,
        )
        server = Server(
            create_app(bus, keys, _http_options(settings), traffic, tracing_from_environment()),
            on_drain=bus.drain,
            drain_seconds=settings.drain_seconds,
            shutdown_timeout=settings.shutdown_timeout_seconds,
            patience=Patience(
                headers=settings.header_timeout_seconds,
                body=settings.body_timeout_seconds,
                answer=settings.answer_timeout_seconds,
            ),
        )
        log.info("listening on %s/api (API description: %s/docs)", address, address)
        for internal in listeners[1:]:
            log.info("probes and metrics at %s", _address(settings.host, internal))
        _tune_collector()
        async with _stopping_on_failure(jetstream, server):
            await server.serve(sockets=listeners)
            stopping.begun = True


def _internal(settings: Settings, stack: AsyncExitStack) -> list[socket.socket]:
    """Listen at the port for probes and metrics, if there is to be one. Raises StartError."""
    if not settings.internal_port:
        return []
    listener = bind(settings.host, settings.internal_port, "BRIDGE_HOST and BRIDGE_INTERNAL_PORT")
    return [stack.enter_context(contextlib.closing(listener))]


async def _nats(settings: Settings, stack: AsyncExitStack, address: str) -> list[str]:
    """Give the NATS servers to use, starting one if none is named."""
    if settings.nats_servers:
        return settings.nats_servers
    binary = str(settings.nats_server_binary) if settings.nats_server_binary else None
    embedded = EmbeddedServer(settings.data_dir, binary, holder=address)
    server = await stack.enter_async_context(embedded)
    where = settings.data_dir / "nats.url"
    log.info('embedded NATS: look inside with nats --server "$(cat %s)" stream ls', where)
    return [server.url]


@asynccontextmanager
async def _stopping_on_failure(jetstream: JetStream, server: Server) -> AsyncIterator[None]:
    """Stop serving when the event store turns out to be one that can never serve."""
    jetstream.failed.add_done_callback(lambda _: server.drain())
    yield
    if jetstream.failed.done():
        raise jetstream.failed.result()


def _tune_collector() -> None:
    """Let the cyclic garbage collector run seldom: it would walk the whole mirror each time.

    What a request leaves behind is freed by reference counting; what start-up made stays.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _options(settings: Settings, servers: list[str], times: Times) -> Options:
    def secret(value: Any) -> str | None:
        return value.get_secret_value() if value is not None else None

    def path(value: Path | None) -> str | None:
        return str(value) if value is not None else None

    return Options(
        Endpoint(
            servers=servers,
            name=settings.nats_name or f"bridge/{socket.gethostname()}",
            inbox_prefix=settings.nats_inbox_prefix,
            user=settings.nats_user,
            password=secret(settings.nats_password),
            token=secret(settings.nats_token),
            credentials_file=path(settings.nats_credentials_file),
            nkey_file=path(settings.nats_nkey_file),
            tls_ca=path(settings.nats_tls_ca),
            tls_cert=path(settings.nats_tls_cert),
            tls_key=path(settings.nats_tls_key),
            tls_hostname=settings.nats_tls_hostname,
        ),
        StreamShape(
            name=settings.stream,
            manage=settings.stream_manage,
            max_messages=settings.stream_max_messages,
            max_age=settings.stream_max_age_seconds,
            max_bytes=settings.stream_max_bytes,
            replicas=settings.stream_replicas,
            duplicate_window=settings.duplicate_window_seconds,
            max_consumers=settings.max_consumers,
        ),
        ack_wait=settings.ack_wait_seconds,
        publish_timeout=settings.publish_timeout_seconds,
        times=times,
        max_event_bytes=settings.max_event_bytes,
        own_server=settings.nats_url is None,
    )


def _described(settings: Settings, options: Options, address: str) -> dict[str, str]:
    """Give what tells one bridge from another in `nats service info`."""
    return {
        "connection": options.endpoint.name,
        "host": socket.gethostname(),
        "listens_on": address,
        "stream": settings.stream,
    }


def _http_options(settings: Settings) -> HttpOptions:
    return HttpOptions(
        max_batch_bytes=settings.max_batch_bytes,
        rate_limit=settings.rate_limit,
        rate_burst=settings.burst,
        answer_timeout=settings.answer_timeout_seconds,
        cors_origins=tuple(settings.cors_origin_list),
        mcp_wait=settings.mcp_wait_seconds,
        internal_port=settings.internal_port,
    )


def _told(settings: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def _address(host: str, listener: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"


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
