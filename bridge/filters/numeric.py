"""Which texts read as numbers, and the one way to write a number."""

import math
import re
from decimal import Decimal

from bridge.filters.tree import MAX_CHARACTERS, Number

_NUMBER = re.compile(r"[+-]?[0-9]+(?P<fraction>\.[0-9]+)?(?P<exponent>[eE][+-]?[0-9]+)?")
_LARGEST_DOUBLE = int(1.7976931348623157e308)
_BEYOND_DOUBLE = "1e999"
_PLAIN_CHARACTERS = 16


def read_number(text: str) -> Number | None:
    """Give the number that a text spells, or None if it spells none.

    The grammar is JSON's (RFC 8259, section 6) and besides it takes a leading `+` and leading
    zeros. Without a fraction and an exponent the number is exact; with one it is a double, as
    JSON decoders make it, and infinite if it is too large for a double. `NaN`, `Infinity`, hex,
    underscores, digits other than ASCII and anything longer than a filter may be are not numbers.

    >>> read_number("-07.50"), read_number("12"), read_number("1_000")
    (-7.5, 12, None)
    """
    if len(text) > MAX_CHARACTERS:  # int() refuses to read much longer ones
        return None
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    return float(text) if match["fraction"] or match["exponent"] else int(text)


def number_text(number: Number, *, shortest: bool = False) -> str:
    """Write a number so that equal numbers have one text, which reads as the same number.

    Up to 16 characters are written plainly, unless `shortest` asks for the text than which the
    number has no shorter one.

    >>> number_text(90.0), number_text(5000), number_text(1e300), number_text(0.25)
    ('90', '5000', '1e300', '0.25')
    >>> number_text(5000, shortest=True)
    '5e3'
    """
    if isinstance(number, int):
        if abs(number) > _LARGEST_DOUBLE or float(number) != number:
            return str(number)
        number = float(number)
    if math.isinf(number):
        return _BEYOND_DOUBLE if number > 0 else f"-{_BEYOND_DOUBLE}"
    value = Decimal(repr(number)).normalize()
    sign, digits, exponent = value.as_tuple()
    # A whole double is written with all its digits: without an exponent they are read as exact.
    plain = str(int(number)) if number.is_integer() else f"{value:f}"
    if len(plain) <= _PLAIN_CHARACTERS and not shortest:
        return plain
    scientific = f"{'-' if sign else ''}{''.join(map(str, digits))}e{exponent}"
    return min(plain, scientific, key=len)
