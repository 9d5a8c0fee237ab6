"""Cursors: a client-held position in the stream, as opaque text.

A cursor names the stream's epoch (when it was created) and a sequence in it. The sequence alone
would lie once the stream is deleted and made again: its numbers start over. Both have a fixed
width, so within one stream cursors sort as text in stream order.
"""

import re
from typing import NamedTuple

from bridge.errors import CursorInvalid

_FORM = re.compile(r"c([0-9a-f]{16})-([0-9a-f]{12})\Z")
MAX_SEQUENCE = (1 << 48) - 1


class Cursor(NamedTuple):
    """Everything up to and including `sequence` of the stream created at `epoch` was read.

    `epoch` is the stream's creation time in nanoseconds since 1970.
    """

    epoch: int
    sequence: int


def write_cursor(epoch: int, sequence: int) -> str:
    """Write a position as opaque text.

    >>> write_cursor(255, 10)
    'c00000000000000ff-00000000000a'
    """
    return f"c{epoch:016x}-{sequence:012x}"


def read_cursor(text: str) -> Cursor:
    """Read what `write_cursor` wrote.

    Raises CursorInvalid for any other text.
    """
    found = _FORM.match(text)
    if not found:
        raise CursorInvalid(
            f"{text[:80]!r} is not a cursor. Pass a `cursor` or `next_cursor` from an earlier "
            "answer exactly as it was given.",
            given=text[:80],
        )
    return Cursor(int(found[1], 16), int(found[2], 16))


def looks_like_cursor(text: str) -> bool:
    """Tell whether the text has a cursor's form, whatever stream it is from."""
    return _FORM.match(text) is not None
