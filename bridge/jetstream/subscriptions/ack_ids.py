"""An `ack_id`: which deliveries, and until when they are somebody's, as text for any bridge."""

import base64
import binascii
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from bridge.errors import RequestInvalid

MAX_ACK_ID_CHARACTERS = 65_536
MAX_LEASES = 1000


@dataclass(frozen=True, slots=True)
class Lease:
    """One delivery of one event, until a moment of the server's clock in Unix seconds.

    `consumer` is the subscription's name, `reply` where the delivery is answered.
    """

    epoch: int
    until: float
    reply: str
    consumer: str
    delivered: int
    sequence: int


def write_ack_id(epoch: int, until: float, replies: Sequence[str]) -> str:
    """Write deliveries of one moment as one text."""
    text = orjson.dumps([epoch, round(until * 1000), *replies])
    packed = zlib.compress(text) if len(replies) > 1 else text
    mark = "m" if len(replies) > 1 else "a"
    return mark + base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def read_ack_id(text: str, stream: str) -> list[Lease]:
    """Read what `write_ack_id` wrote. Raises RequestInvalid for anything else.

    Who may use it is not told by the text: it is checked against the subscription it names.
    """
    wrong = RequestInvalid(
        f"{text[:40]!r} is not an ack_id: give it exactly as a wait with ack=explicit answered it",
        field="ack_ids",
    )
    if len(text) > MAX_ACK_ID_CHARACTERS or text[:1] not in ("a", "m"):
        raise wrong
    try:
        packed = base64.urlsafe_b64decode(text[1:] + "=" * (-len(text[1:]) % 4))
        if text[0] == "m":
            packed = zlib.decompressobj().decompress(packed, MAX_LEASES * 512)
        epoch, until, *replies = orjson.loads(packed)
        if not replies or len(replies) > MAX_LEASES:
            raise wrong
        return [_lease(int(epoch), until / 1000, reply, stream) for reply in replies]
    except (binascii.Error, zlib.error, ValueError, TypeError, IndexError) as error:
        raise wrong from error


def _lease(epoch: int, until: float, reply: str, stream: str) -> Lease:
    tokens = reply.split(".")
    fields = tokens[2:9] if len(tokens) == 9 else tokens[4:11]
    if tokens[:2] != ["$JS", "ACK"] or len(fields) != 7 or fields[0] != stream:
        raise ValueError(reply)
    consumer, delivered, sequence, *numbers = fields[1:]
    if not all(number.isdigit() for number in numbers):
        raise ValueError(reply)
    return Lease(epoch, until, reply, consumer, int(delivered), int(sequence))
