"""The stream: made if missing, compared with what it should be, and asked how it stands."""

import contextlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nats.aio.client import Client

from bridge import subjects
from bridge.errors import StartError, Unavailable
from bridge.jetstream.connection import (
    API_TIMEOUT_SECONDS,
    QUESTION_SECONDS,
    ApiError,
    Connection,
    Unanswered,
)
from bridge.jetstream.natspy import NatsClient

log = logging.getLogger("bridge.stream")

_SECOND = 1_000_000_000  # JetStream's durations are nanoseconds
STREAM_NOT_FOUND = 10059

HEARD_SECONDS = 5
"""Servers of a stream hear of each other every second; after so long one counts as away."""

ELECTION_TRIES = 3
ELECTION_SECONDS = 1.5
"""How long to wait for an answer that a new leader may give to the next question."""

# Changing these on an existing stream is refused by the server, or would change what is retained
# for others in ways that a start of the bridge must not decide.
_ESSENTIAL = {"subjects", "retention", "allow_msg_ttl"}
_FIXED = {"storage", "retention", "max_consumers"}
_WORDS = {"description", "metadata"}
_SERVER, _RESTARTED = "bridge_server", "bridge_restarted"
_EPOCH, _EARLIER = "bridge_epoch", "bridge_earlier_epochs"
MAX_EARLIER = 8
"""Positions from before so many restores are good."""

SUBJECTS_TOLD = "events.<project>.<topic>.<event type>.<correlation id, or _>"


@dataclass(frozen=True)
class StreamShape:
    """What the stream should be; ages and windows in seconds, -1 for no limit on bytes."""

    name: str = "EVENTS"
    manage: bool = True
    max_messages: int = 10_000
    max_age: float = 86_400
    max_bytes: int = -1
    replicas: int = 1
    duplicate_window: float = 120
    max_consumers: int = 100_000

    def config(self) -> dict[str, Any]:
        """Write the shape as a JetStream stream configuration (NATS ADR-8, ADR-43 for TTLs)."""
        return {
            "name": self.name,
            "description": "Events of AI agents, published and read through the event bridge",
            "metadata": {"bridge_subjects": SUBJECTS_TOLD},
            "subjects": [subjects.ALL],
            "retention": "limits",
            "storage": "file",
            "discard": "old",
            "max_msgs": self.max_messages,
            "max_age": int(self.max_age * _SECOND),
            "max_bytes": self.max_bytes,
            "num_replicas": self.replicas,
            "duplicate_window": int(self.duplicate_window * _SECOND),
            "max_consumers": self.max_consumers,
            "allow_msg_ttl": True,
            "allow_direct": True,
            "subject_transform": dict(zip(("src", "dest"), subjects.UNCORRELATED, strict=True)),
        }


@dataclass(frozen=True)
class StreamState:
    """How the stream stands: `epoch` is its creation in ns, `skew` the server's clock minus ours.

    `max_age` is in seconds and 0 for no limit, `max_messages` and `max_bytes` are -1 for none.
    """

    epoch: int
    earlier: Mapping[int, int]
    """Epochs from before restores, and up to which sequence positions of each are good."""
    messages: int
    first_sequence: int
    last_sequence: int
    max_messages: int
    max_bytes: int
    max_age: float
    replicas: int
    skew: float
    told_at: float
    """When it stood so, in Unix seconds by the server's clock."""
    trouble: str
    """Why it cannot take events though it answers, empty if it can."""
    behind: bool
    """Whether a server that is there has yet to hear of messages that are stored."""
    restarted_at: float
    """When a single server was started again, in Unix seconds by its clock; 0 if never."""


async def ensure_stream(
    connection: Connection, client: NatsClient, shape: StreamShape
) -> StreamState:
    """Make the stream if it is missing, mend it if it may be, and say how it stands.

    Raises StartError if it can never serve the bridge, Unavailable if it cannot be asked.
    """
    try:
        info = await _info(connection, client, shape.name)
    except ApiError as error:
        if error.err_code != STREAM_NOT_FOUND:
            raise _unusable(error, "ask about", shape) from error
        info = await _create(connection, client, shape)
    else:
        info = await _mend(connection, client, shape, info)
    return _state(await _note(connection, client, shape, info), 0.0)


async def _note(
    connection: Connection, client: NatsClient, shape: StreamShape, info: dict[str, Any]
) -> dict[str, Any]:
    """Note in the stream what every bridge has to know of it later, wherever it is then."""
    metadata = info["config"].get("metadata") or {}
    noted = metadata | _note_server(metadata, client, info) | note_epoch(metadata, info)
    if not shape.manage or noted == metadata:
        return info
    try:
        request = f"$JS.API.STREAM.UPDATE.{shape.name}"
        config = info["config"] | {"metadata": noted}
        return await connection.request(request, config, client=client)
    except ApiError as error:
        log.warning("which NATS server and stream this is, is not noted: %s", error.description)
        return info


def _note_server(
    metadata: Mapping[str, str], client: NatsClient, info: dict[str, Any]
) -> dict[str, str]:
    """Say which server has the stream, and when that was another one the last time.

    A single server that was killed may have forgotten deliveries of its last moments, which a
    bridge that was not there must know as well. In a cluster the other servers remember.
    """
    known = metadata.get(_SERVER)
    if "name" in (info.get("cluster") or {}) or known == client.server_id:
        return {}
    restarted = {} if known is None else {_RESTARTED: str(_told_at(info))}
    return {_SERVER: client.server_id, **restarted}


def note_epoch(metadata: Mapping[str, str], info: dict[str, Any]) -> dict[str, str]:
    """Say when the stream was made, and up to where positions from before a restore are good.

    To nats-server a restored stream is made anew. It holds what it held before: so a position up to
    its end is still good, and one behind that is of events that the backup has not.
    """
    epoch, known = _nanoseconds(info["created"]), int(metadata.get(_EPOCH, 0))
    if epoch == known:
        return {}
    note = {_EPOCH: str(epoch)}
    earlier = earlier_epochs(metadata)
    if known:
        earlier.pop(epoch, None)
        earlier[known] = info["state"]["last_seq"]
        kept = list(earlier.items())[-MAX_EARLIER:]
        note[_EARLIER] = " ".join(f"{each}:{sequence}" for each, sequence in kept)
    return note


def earlier_epochs(metadata: Mapping[str, str]) -> dict[int, int]:
    """Read what `note_epoch` has said: epochs, and up to which sequence positions are good."""
    entries = (entry.split(":") for entry in metadata.get(_EARLIER, "").split())
    return {int(epoch): int(sequence) for epoch, sequence in entries}


async def _info(connection: Connection, client: Client, name: str) -> dict[str, Any]:
    """Ask for the stream, once more if need be: an election leaves a question without answer."""
    subject = f"$JS.API.STREAM.INFO.{name}"
    for _ in range(ELECTION_TRIES):
        with contextlib.suppress(Unanswered):
            return await connection.request(subject, client=client, timeout=ELECTION_SECONDS)
    return await connection.request(subject, client=client)


async def stream_state(
    connection: Connection, name: str, timeout: float = API_TIMEOUT_SECONDS
) -> StreamState:
    """Ask how the stream stands, and wait at most `timeout` seconds for an answer.

    Raises ApiError (10059 if it is gone) or Unavailable.
    """
    before = time.time()
    info = await connection.question(f"$JS.API.STREAM.INFO.{name}", timeout)
    told, after = info.get("ts"), time.time()
    asked = max(before, after - QUESTION_SECONDS)
    skew = _moment(told) - (asked + after) / 2 if told else 0.0
    return _state(info, skew)


async def note_clean_end(connection: Connection, name: str) -> None:
    """Note in the stream that its server, which is this bridge's own, is about to end in order.

    It forgets nothing then, so nothing that it delivers after its next start is a repeat.
    """
    try:
        info = await connection.request(f"$JS.API.STREAM.INFO.{name}")
        metadata = {**(info["config"].get("metadata") or {})}
        metadata.pop(_SERVER, None)
        config = info["config"] | {"metadata": metadata}
        await connection.request(f"$JS.API.STREAM.UPDATE.{name}", config)
    except (ApiError, Unavailable) as error:
        log.info("that NATS ends in order is not noted: %s", error)


def drift(found: dict[str, Any], wanted: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Name the fields in which a stream differs from what it should be: found, wanted.

    Words for people are no differences, nor are the server's own metadata and defaults.
    """
    return {
        key: (found.get(key), value)
        for key, value in wanted.items()
        if key not in _WORDS and found.get(key) != value
    }


async def _create(connection: Connection, client: Client, shape: StreamShape) -> dict[str, Any]:
    if not shape.manage:
        raise StartError(
            f"stream {shape.name} does not exist and BRIDGE_STREAM_MANAGE is false: create it with "
            "the nats CLI, or let the bridge do it"
        )
    name = f"$JS.API.STREAM.CREATE.{shape.name}"
    try:
        try:
            info = await connection.request(name, shape.config(), client=client)
        except ApiError as error:
            if shape.max_bytes < 0:
                raise
            # NATS reserves the bytes of a limit, and may have no room for so many.
            config = shape.config() | {"max_bytes": -1}
            info = await connection.request(name, config, client=client)
            log.warning(
                "NATS will not reserve %d bytes for stream %s (%s), which has no limit of bytes "
                "now; set BRIDGE_STREAM_MAX_BYTES to what there is room for",
                shape.max_bytes,
                shape.name,
                error.description,
            )
    except ApiError as error:
        raise _unusable(error, "create", shape) from error
    log.info("created stream %s", shape.name)
    return info


async def _mend(
    connection: Connection, client: Client, shape: StreamShape, info: dict[str, Any]
) -> dict[str, Any]:
    differences = drift(info["config"], shape.config())
    if not differences:
        return info
    told = "; ".join(f"{key} is {was!r}, not {want!r}" for key, (was, want) in differences.items())
    essential = differences.keys() & _ESSENTIAL
    changeable = differences.keys() - _FIXED
    if essential & _FIXED or (essential and not shape.manage):
        raise StartError(f"stream {shape.name} cannot carry the bridge's events: {told}")
    if not shape.manage or not changeable:
        log.warning("stream %s differs and is left as it is: %s", shape.name, told)
        return info
    log.warning("stream %s differs: %s; updating what may be updated", shape.name, told)
    wanted = info["config"] | {key: differences[key][1] for key in changeable}
    try:
        request = f"$JS.API.STREAM.UPDATE.{shape.name}"
        return await connection.request(request, wanted, client=client)
    except ApiError as error:
        if essential:
            raise StartError(
                f"stream {shape.name} cannot carry the bridge's events and the server refuses to "
                f"change it ({error.description}): {told}"
            ) from error
        log.warning("the server refuses to update stream %s: %s", shape.name, error.description)
        return info


def _unusable(error: ApiError, verb: str, shape: StreamShape) -> Exception:
    """Sort a refusal: what the server cannot do now is tried again, the rest is the operator's."""
    text = f"NATS will not {verb} stream {shape.name}: {error.description}"
    return Unavailable(text) if error.code >= 500 else StartError(text)


def _state(info: dict[str, Any], skew: float) -> StreamState:
    state, config = info["state"], info["config"]
    metadata = config.get("metadata") or {}
    return StreamState(
        epoch=_nanoseconds(info["created"]),
        earlier=earlier_epochs(metadata),
        messages=state["messages"],
        first_sequence=state["first_seq"],
        last_sequence=state["last_seq"],
        max_messages=config.get("max_msgs", -1),
        max_bytes=config.get("max_bytes", -1),
        max_age=config.get("max_age", 0) / _SECOND,
        replicas=config.get("num_replicas", 1),
        skew=skew,
        told_at=_told_at(info),
        trouble=_trouble(info.get("cluster") or {}, config.get("num_replicas", 1)),
        behind=_is_behind(info.get("cluster") or {}),
        restarted_at=float(metadata.get(_RESTARTED, 0)),
    )


def _trouble(cluster: dict[str, Any], replicas: int) -> str:
    """Say what a stream in a cluster lacks; outside of clusters there is nothing to lack.

    A leader that has lost the others answers for some time as if nothing had happened, but says
    how long ago it heard of each.
    """
    if not cluster:
        return ""
    if not cluster.get("leader"):
        return "the stream has no leader: too few NATS servers reach each other, or have room left"
    others = cluster.get("replicas") or []
    heard = 1 + sum(map(_is_heard, others))
    if heard * 2 <= replicas:
        return f"of the stream's {replicas} NATS servers {heard} can be reached, which is too few"
    return ""


def _is_behind(cluster: dict[str, Any]) -> bool:
    """Tell whether a replica is not current; one that nobody hears of serves no consumer either."""
    heard = [other for other in cluster.get("replicas") or [] if _is_heard(other)]
    return any(not other.get("current") or other.get("lag") for other in heard)


def _is_heard(replica: dict[str, Any]) -> bool:
    return bool(replica.get("active", 0) < HEARD_SECONDS * _SECOND)


def _told_at(info: dict[str, Any]) -> float:
    return _moment(info["ts"]) if info.get("ts") else time.time()


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _nanoseconds(text: str) -> int:
    """Read an RFC 3339 time as nanoseconds since 1970; floats would round them."""
    head, _, fraction = text.rstrip("Z").partition(".")
    whole = int(datetime.fromisoformat(f"{head}+00:00").timestamp())
    return whole * _SECOND + int(fraction.ljust(9, "0")[:9] or 0)
