"""Filter → canonical text, and the rules of escaping that reading and writing share."""

import re

from bridge.filters.tree import (
    MAX_CHARACTERS,
    Compare,
    Equals,
    Filter,
    Glob,
    Present,
    Term,
    Test,
    number_text,
)
from bridge.suggest import quoted

# Where these lead a part, they mean something else than themselves (or are a known mistake).
FIELD_LEADS = '"!({'
VALUE_LEADS = '"!=<>'
# Characters that end an unquoted part. An operator ends a field because it stands where the
# colon should; it is then refused with a hint.
FIELD_STOPS = ":,|=<>"
VALUE_STOPS = ",|"

# Words of other query languages. They are refused because they would otherwise be taken for text
# that no event ever has; one escape anywhere in the part, or quotes, say that they are meant.
# Each begins with one single character class, so that long runs of blanks cost linear time.
JOINER = re.compile(
    r"\s(?P<word>and|or|&&)\s[!(\s]*(?:not\s+)?[\w.\-]+\s*(?:!?=|[:<>])"
    r"|(?P<tight>&&)\s*!?[\w.\-]+\s*:",
    re.IGNORECASE,
)
# Marks of other query languages, refused likewise: text in single quotes, and a `;` after a plain
# value and before what looks like the next term.
SINGLE_QUOTED = re.compile(r"'[^']*'")
SEMICOLON = re.compile(r"[<>=]*[\w.\-*]+(?P<tight>;)\s?!?[\w.\-]+:\S")
LEADING_WORD = re.compile(r"(?P<word>and|or|not)\s", re.IGNORECASE)


def canonical(filter: Filter) -> str:  # noqa: A002  # the contract's word for it
    """Write a filter so that order, spacing, quoting and repeats do not show.

    The text reads back as a filter of the same meaning and the same canonical text. The filter
    that matches everything is "".
    """
    text = _filter(filter, shortest=False)
    # Escapes are minimal, so only plainly written numbers can make a filter that was short
    # enough to be read too long to be read again.
    return text if len(text) <= MAX_CHARACTERS else _filter(filter, shortest=True)


def _filter(whole: Filter, *, shortest: bool) -> str:
    clauses = ({_term(term, shortest=shortest) for term in each.terms} for each in whole.clauses)
    return ",".join(sorted({"|".join(sorted(terms)) for terms in clauses}))


def _term(term: Term, *, shortest: bool) -> str:
    value = _test(term.test, shortest=shortest)
    return f"{'!' if term.negated else ''}{spell_field(term.field)}:{value}"


def _test(test: Test, *, shortest: bool) -> str:
    match test:
        case Equals(text, literal):
            return _literal(text, shortest=shortest) if literal else spell_value(text)
        case Glob(parts):
            return _value(parts)
        case Compare(operator, number):
            return operator + number_text(number, shortest=shortest)
        case Present():
            return "*"


def spell_field(name: str) -> str:
    r"""Write a field name, escaped or quoted, whichever is shorter.

    >>> spell_field("metrics.coverage"), spell_field("a:b")
    ('metrics.coverage', 'a\\:b')
    """
    return _shorter(_meant(_escaped((name,), FIELD_STOPS, FIELD_LEADS), LEADING_WORD), name)


def spell_value(text: str) -> str:
    r"""Write a value that stands for itself, escaped or quoted, whichever is shorter.

    >>> spell_value("http://x"), spell_value("*"), spell_value("a,b,c,d"), spell_value("")
    ('http://x', '\\*', '"a,b,c,d"', '""')
    """
    return _shorter(_value((text,)), text)


def _literal(text: str, *, shortest: bool) -> str:
    """Write a text so that it is not read as the number or constant that it spells."""
    mark = next((at for at, each in enumerate(text) if not each.isalnum()), None)
    if shortest and mark is not None:
        return f"{text[:mark]}\\{text[mark:]}"
    return f'"{text}"'


def _value(parts: tuple[str, ...]) -> str:
    text = _meant(_escaped(parts, VALUE_STOPS, VALUE_LEADS), JOINER)
    if "\\" in text:
        return text
    if SINGLE_QUOTED.fullmatch(text):
        return f"\\{text}"
    found = SEMICOLON.match(text)
    return (
        text
        if found is None
        else f"{text[: found.start('tight')]}\\{text[found.end('tight') - 1 :]}"
    )


def _shorter(escaped: str, text: str) -> str:
    in_quotes = quoted(text)
    return escaped if text and len(escaped) <= len(in_quotes) else in_quotes


def _escaped(parts: tuple[str, ...], stops: str, leads: str) -> str:
    """Join literal parts with `*`, with a backslash where a character would not stand for itself.

    Blanks need one only where they would be stripped: the first and the last character.
    """
    special = re.compile(f"[{re.escape(stops)}*\\\\]")
    body = "*".join(special.sub(r"\\\g<0>", part) for part in parts)
    first, last = parts[0][:1], parts[-1][-1:]
    if last.isspace() and parts != (last,):
        body = f"{body[:-1]}\\{last}"
    if first and (first.isspace() or first in leads) and not body.startswith("\\"):
        body = f"\\{body}"
    return body


def _meant(escaped: str, words: re.Pattern[str]) -> str:
    """Add the escape that says a query word is text, where there is no escape yet."""
    if "\\" in escaped:
        return escaped
    found = words.match(escaped) if words is LEADING_WORD else words.search(escaped)
    if found is None:
        return escaped
    blank = found.end() - 1 if words is LEADING_WORD else found.start()
    return f"{escaped[:blank]}\\{escaped[blank:]}"
