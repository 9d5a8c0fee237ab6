"""What an agent probably meant: correct forms for texts that are no filters.

Everything here guesses from raw text and may guess wrong; a guess is shown only if it reads as a
filter.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from bridge.filters.spelling import JOINER, spell_field, spell_value

_TERM = re.compile(
    r"""\s* (?P<no> ! \s* | not \s+ )?
        (?P<field> "[^"]*" | [^\s=<>!:]+ ) \s*
        (?P<operator>
            is\s+not\s | (?: is | eq | equals )\s | <> | !=+ | [<>]=? | =[<>] | :?=+ | :
            | (?<= \s ) (?= \S )
        ) \s*
        (?P<value> .* )""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_LEADING_JOINER = re.compile(r"\A\s*(?:and|or)\s+", re.IGNORECASE)
_WRONG_WAY_ROUND = {"=>": ">=", "=<": "<="}
_CHUNK = re.compile(r'(?:"(?:[^"\\]|\\.)*"|\\.|[^,|])*', re.DOTALL)
_CLAUSE = re.compile(r'(?:"(?:[^"\\]|\\.)*"|\\.|[^,])*', re.DOTALL)
_GROUP = re.compile(r"(?:^|(?<=[,|]))\s*\(([^(),]*)\)")
_LIST = re.compile(
    r"""\s* (?P<no> ! \s* | not \s+ )?
        (?P<field> "[^"]*" | [^\s=<>!:,|]+ ) \s* (?: : \s* | \s )
        (?P<unequal> not \s+ )? (?: in \b \s* )?
        [\[(] (?P<items> [^\[\]():]* ) [\])]""",
    re.IGNORECASE | re.VERBOSE,
)
_SEPARATOR = re.compile(r"(?<=[\w.\-*]);\s?(?=!?[\w.\-]+:\S)")
_LONGEST_QUOTED = 80
_QUANTITY = re.compile(r"([+-]?[0-9][0-9_]*(?:\.[0-9]+)?)\s*(?:%|[A-Za-z]{0,3})")


def chunk(text: str, start: int) -> str:
    """Give the text from `start` to the end of its term."""
    match = _CHUNK.match(text, start)
    return match[0] if match else ""


def each_mended(text: str, reads: Callable[[str], bool]) -> str:
    """Rewrite those terms of a whole filter that do not read as they are."""
    return _CHUNK.sub(lambda term: term[0] if reads(term[0]) else mended(term[0]), text)


def mended(raw: str) -> str:
    """Rewrite terms of another query language: `a == 1 AND b != 'x'` becomes `a:1,!b:x`.

    A mixture of AND and OR stays as it is: there the words bind the other way round.
    """
    pieces, start = [], 0
    if len({word.lower() == "or" for word, _ in JOINER.findall(raw)}) > 1:
        return raw
    for match in JOINER.finditer(raw):
        word = match["word"] or match["tight"]
        at = match.start("word") if match["word"] else match.start("tight")
        pieces += [_mended_term(raw[start:at]), "|" if word.lower() == "or" else ","]
        start = at + len(word)
    return "".join([*pieces, _mended_term(raw[start:])])


def _mended_term(raw: str) -> str:
    match = _TERM.fullmatch(_LEADING_JOINER.sub("", raw, count=1))
    if match is None:
        return raw.strip()
    field, operator, value = match["field"], match["operator"], _unquoted(match["value"].strip())
    unequal = operator == "<>" or operator.startswith("!") or operator.strip().endswith("t")
    negated = bool(match["no"]) != unequal
    operator = _WRONG_WAY_ROUND.get(operator, operator)
    compare = operator if operator.startswith(("<", ">")) and not unequal else ""
    return f"{'!' if negated else ''}{field}:{compare}{value}"


def _unquoted(value: str) -> str:
    """Spell a value in quotes of any kind anew; leave one without as it is."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        spelt = spell_value(value[1:-1])
        return spelt.replace("\\*", "*") if value[0] == "'" else spelt
    return value


def alternatives(text: str, field: str, first: str, start: int) -> str:
    """Give each bare value after `field:first` its field: `s:a|b` becomes `s:a|s:b`.

    `start` is where the first bare value begins. After a negated term the values are meant to be
    ruled out one and all.
    """
    rest = _CLAUSE.match(text, start)
    values = [first.removeprefix("("), *(rest[0] if rest else "").split("|")]
    values[-1] = values[-1].strip().removesuffix(")")
    terms = [value if ":" in value else f"{field}:{value.strip()}" for value in values]
    return ("," if field.startswith("!") else "|").join(terms)


def listed(text: str, start: int, end: int) -> str | None:
    """Rewrite a list as alternatives: `s:in(a,b)` and `s:[a,b]` become `s:a|s:b`, the rest stays.

    `start` is where its term begins, and up to `end` the text was read as something else. In a
    negated term the values are ruled out one and all.
    """
    found = _LIST.match(text, start)
    if found is None or found.end() < end:
        return None
    negated = bool(found["no"]) != bool(found["unequal"])
    items = (_unquoted(item.strip()) for item in re.split("[,|]", found["items"]) if item.strip())
    terms = [f"{'!' if negated else ''}{found['field']}:{item}" for item in items]
    return text[:start] + ("," if negated else "|").join(terms) + text[found.end() :]


def quoted(text: str) -> str | None:
    """Put a text in double quotes, instead of single ones; None if that takes more, or is long."""
    literal = text.strip()
    if literal.startswith("'") and literal.endswith("'"):
        literal = literal[1:-1]
    if len(literal) > _LONGEST_QUOTED or '"' in literal or "\\" in literal:
        return None
    return f'"{literal}"'


def separated(text: str) -> str:
    """Write `,` for each `;` between terms."""
    return _SEPARATOR.sub(",", text)


def ungrouped(text: str) -> str | None:
    """Drop round brackets that hold alternatives only: OR binds tighter than AND without them."""
    return None if "!(" in text.replace(" ", "") else _GROUP.sub(r"\1", text)


def number(rest: str) -> str | None:
    """Find the number in what was written after `>`: in quotes, with a unit, with underscores."""
    match = _QUANTITY.fullmatch(rest.strip("\"' "))
    return match[1].replace("_", "") if match else None


def without_gaps(text: str) -> str:
    """Drop the separators that have nothing on one side, and halve doubled ones."""
    text = re.sub(r"[,|](?:[\s,|]*,)[\s,|]*", ",", text)
    text = re.sub(r"\|[\s|]*\|", "|", text)
    return text.strip().strip(",|").strip()


def from_json(text: str) -> str | None:
    """Rewrite a JSON object as a filter, if it is one: `{"a": [1, 2]}` becomes `a:1|a:2`."""
    try:
        wanted = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return ",".join("|".join(_json_terms(field, value)) for field, value in wanted.items())


def _json_terms(field: str, value: Any) -> Iterator[str]:
    for each in value if isinstance(value, list) else [value]:
        literal = each if isinstance(each, str) else json.dumps(each)
        yield f"{spell_field(field)}:{spell_value(literal)}"
