"""The one "did you mean", and the one way to write a text in a filter as itself."""

import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from string import ascii_lowercase

CLOSE = 0.6
"""The least likeness, from 0 to 1, of a name that is suggested."""

LONGEST = 64
"""Longer names than this have too many slips to try."""

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SEPARATORS = re.compile(r"[-.:]")
_WORD = re.compile(r"[A-Za-z]{3,}")


def nearest(name: str, known: Collection[str], *, close: float = CLOSE) -> str | None:
    """Give the known name that is most like `name`, or None if none is like it.

    >>> nearest("tets_passing", ["tests_passing", "tests_failing"])
    'tests_passing'
    """
    near = get_close_matches(name, known, n=1, cutoff=close)
    return near[0] if near else None


def did_you_mean(name: str, known: Collection[str], *, close: float = CLOSE) -> str:
    """Say which known name is meant, or what the known ones are where none is near."""
    near = nearest(name, known, close=close)
    if near is not None:
        return f"did you mean `{near}`?"
    return f"known are {', '.join(f'`{one}`' for one in known)}"


def slips(name: str) -> Iterator[str]:
    """Give the names that one slip turns into this one, the likeliest first.

    It was written with capitals, dashes or dots, or in a word two letters are swapped, or one is
    missing, too many or wrong. Digits and words of one or two letters tell names apart on purpose,
    as in `step_1` and `step_2`.

    >>> "tests_passing" in slips("test_passing"), "step_1" in slips("step_2")
    (True, False)
    """
    plain = _SEPARATORS.sub("_", snake(name))
    if plain != name:
        yield plain
    if len(name) > LONGEST:
        return
    words = [found.span() for found in _WORD.finditer(name)]
    for start, end in words:
        for at in range(start, end - 1):
            yield f"{name[:at]}{name[at + 1]}{name[at]}{name[at + 2 :]}"
    for start, end in words:
        for at in range(start, end):
            yield name[:at] + name[at + 1 :]
    for start, end in words:
        for at in range(start, end + 1):
            yield from (f"{name[:at]}{letter}{name[at:]}" for letter in ascii_lowercase)
    for start, end in words:
        for at in range(start, end):
            yield from (f"{name[:at]}{letter}{name[at + 1 :]}" for letter in ascii_lowercase)


def snake(name: str) -> str:
    """Spell a name as the contract spells names.

    >>> snake("correlationId"), snake("TTL-Seconds")
    ('correlation_id', 'ttl_seconds')
    """
    return _HUMP.sub("_", name).replace("-", "_").lower()


def quoted(text: str) -> str:
    r"""Put a text in double quotes, as the value or the field of a filter's term.

    >>> print(quoted('a,b'), quoted('say "hi"'))
    "a,b" "say \"hi\""
    """
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
