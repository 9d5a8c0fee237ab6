"""Durations as people write them."""

import re

from bridge.errors import RequestInvalid

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)\Z")


def seconds(text: str) -> int:
    """Read a duration such as 90, 90s, 30m, 1h or 7d, in seconds. Raises RequestInvalid."""
    found = _DURATION.match(text.strip())
    if not found:
        raise RequestInvalid(f"{text!r} is not a duration; write 90s, 30m, 1h or 7d")
    return int(found[1]) * _UNITS[found[2] or "s"]


def written(amount: float) -> str:
    """Write seconds as a person would say them.

    >>> written(42), written(150), written(7200), written(200_000)
    ('42 s', '2 min', '2 h', '2 d')
    """
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if amount >= 2 * size or (amount >= size and amount % size == 0):
            return f"{int(amount // size)} {unit}"
    return f"{amount:.0f} s"
