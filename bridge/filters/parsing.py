"""Text → filter, or an error that says where, what was expected and what was probably meant."""

from typing import NoReturn

from bridge.errors import FilterInvalid
from bridge.filters import hints
from bridge.filters.scanner import MisreadError, Part, Scanner
from bridge.filters.spelling import (
    FIELD_STOPS,
    JOINER,
    LEADING_WORD,
    SEMICOLON,
    SINGLE_QUOTED,
    VALUE_STOPS,
)
from bridge.filters.tree import (
    MAX_CHARACTERS,
    MAX_TERMS,
    PYTHONS,
    Clause,
    Compare,
    Equals,
    Filter,
    Glob,
    Operator,
    Present,
    Term,
    Test,
    read_number,
    reads_as_json,
)

_SHOWN_CHARACTERS = 200
"""How much of a filter that is too long is shown."""

_OPERATORS: tuple[Operator, ...] = (">=", "<=", ">", "<")

_PLACES = {
    "cursor": "a field of the event; for a position there is the query field `since`",
    "delivery_count": "a field of the event; how often it was delivered is for the reader to judge",
}
"""What an event in an answer has and an event in the stream has not."""


def parse(text: str) -> Filter:
    """Read a filter in the contract's syntax; blank text is the filter that matches everything.

    Raises `FilterInvalid` for anything else, with the details `column` (characters, from 1),
    `expected`, `filter` (the text; of one that is too long its beginning) and, where there is a
    good guess, `hint`: a correct form, which itself parses.
    """
    reader = _Reader(text)
    try:
        return reader.read()
    except MisreadError as misread:
        raise _invalid(text, reader.in_list(misread.index) or misread) from None


def _invalid(text: str, misread: MisreadError) -> FilterInvalid:
    column = misread.index + 1
    message = f"Filter, column {column}: {misread.what}. Expected {misread.expected}."
    shown = text if len(text) <= MAX_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
    details = {"expected": misread.expected, "filter": shown}
    guesses = misread.guesses
    if misread.foreign:
        # A term alone would be a wider filter than was meant.
        alone = hints.chunk(text, 0) == text
        guesses = (hints.each_mended(text, _reads), *(guesses if alone else ()))
    hint = next((guess for guess in guesses if guess and _reads(guess)), None)
    if hint is None:
        return FilterInvalid(message, column=column, **details)
    return FilterInvalid(f"{message} Write `{hint}`.", column=column, **details, hint=hint)


def _reads(guess: str) -> bool:
    """Tell whether a guess is a filter that can be shown: half a surrogate pair cannot."""
    try:
        guess.encode()
        return bool(_Reader(guess).read().clauses)
    except (MisreadError, UnicodeEncodeError):
        return False


def _literal(text: str) -> Equals:
    return Equals(text, literal=text in PYTHONS or reads_as_json(text))


class _Refusing(Scanner):
    """A scanner that knows what terms it has met, and what no term can be."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.starts: list[int] = []  # of every term
        self.previous: tuple[str, Part] | None = None  # field as written with its `!`, value

    def in_list(self, index: int) -> MisreadError | None:
        """Say so if what could not be read at `index` belongs to a list of values."""
        for start in self.starts:
            meant = hints.listed(self.text, start, index)
            if meant:
                what = "there are no lists in filters"
                expected = "a term for each value, with `|` between them"
                return MisreadError(start, what, expected, meant)
        return None

    def _count_term(self, start: int) -> None:
        self.starts.append(start)
        if len(self.starts) > MAX_TERMS:
            what = f"the filter has more than {MAX_TERMS} terms"
            raise MisreadError(start, what, f"at most {MAX_TERMS} terms")

    def _refuse_as_term(self, start: int) -> None:
        if self.next() in ("", ",", "|"):
            raise MisreadError(
                self.at,
                f"there is no term {'after' if self.at else 'before'} a separator"
                if self.at == start
                else "there is no term after `!`",
                "a term such as `status:success`; one comma is AND, one `|` is OR",
                hints.without_gaps(self.text),
            )
        if self.next() == "!":
            meant = hints.chunk(self.text, self.at + 1).strip()
            expected = "one `!` at most, and then a field"
            raise MisreadError(self.at, "a term is negated once", expected, meant)
        if self.next() in ("(", "{"):
            raise MisreadError(
                self.at,
                f"there are no groups in filters, so `{self.next()}` cannot begin a term",
                "a term; `,` is AND of everything between commas, and `|` is OR within",
                hints.ungrouped(self.text),
            )

    def _refuse_without_colon(self, start: int, field: Part) -> NoReturn:
        raw = hints.chunk(self.text, start).strip()
        if self.next() and self.next() in "=<>":
            at = self.at - self.text.startswith("!=", max(self.at - 1, 0))
            operator = self.text[at : len(self.text) - len(self.text[at:].lstrip("!=<>"))]
            what = f"`{operator}` where the colon belongs"
            expected = "`field:value`; comparisons are `field:>90`, and not equal is `!field:value`"
            raise MisreadError(at, what, expected, hints.mended(raw), foreign=True)
        what = f"`{field.raw}` has no `:` and no value"
        expected = "`:` and a value after the field; every alternative names its field"
        guesses = [hints.mended(raw) if " " in raw else f"{raw}:*"]
        if self.previous:
            name, value = self.previous
            guesses.insert(0, hints.alternatives(self.text, name, value.raw, start))
            literal = self.text[value.start : start + len(hints.chunk(self.text, start))]
            if whole := hints.quoted(literal):
                expected += f", and a text with a comma is quoted: `{name}:{whole}`"
                guesses = [f"{name}:{whole}"] if literal.startswith("'") else guesses
        raise MisreadError(self.at, what, expected, *guesses)

    def _refuse_as_field(self, start: int, field: Part) -> None:
        colon = self.at - 1
        if not field.raw:
            expected = "a field before the `:`, such as `status:success`"
            raise MisreadError(colon, "a term without a field", expected)
        if len(field.pieces) > 1:
            expected = "the whole name of a field; `*` is for values, as in `issue_id:issue-*`"
            raise MisreadError(field.start, f"a `*` in the field `{field.raw}`", expected)
        word = LEADING_WORD.match(field.raw) if field.bare else None
        if word:
            what = f"`{word['word']}` before a field"
            expected = "a field; `,` is AND, `|` is OR, and `!` before a term is NOT"
            meant = hints.mended(hints.chunk(self.text, start))
            raise MisreadError(field.start, what, expected, meant, foreign=True)

    def _refuse_as_place(self, field: Part) -> None:
        """Refuse what only a delivery has: no event is selected by it, and a wait would hang."""
        name = field.pieces[0]
        if name in _PLACES:
            expected = f"{_PLACES[name]}; a field of `data` with this name is `data.{name}`"
            meant = f"{self.text[: field.start]}data.{self.text[field.start :]}"
            raise MisreadError(
                field.start,
                f"no event is selected by `{name}`",
                expected,
                meant if field.bare else None,
            )

    def _refuse_as_value(self, name: str, value: Part) -> None:
        if not value.raw:
            expected = f'a value; `{name}:*` asks whether there is one, `{name}:""` for empty text'
            raise MisreadError(value.start, f"`{name}:` has no value", expected, f"{name}:*")
        if value.raw.startswith("="):
            expected = "the value straight after the `:`; a value that begins with `=` is quoted"
            meant = hints.mended(f"{name}:{value.raw}")
            what = "`=` after the colon"
            raise MisreadError(value.start, what, expected, meant, foreign=True)
        if value.raw.startswith("!"):
            expected = "`!` before the field; a value that begins with `!` is quoted"
            meant = hints.mended(f"{name}!={value.raw.lstrip('!= ')}")
            raise MisreadError(value.start, "`!` after the colon", expected, meant)
        word = JOINER.search(value.raw) if value.bare else None
        if word:
            raise MisreadError(
                value.start + word.start(),
                f"`{word['word'] or word['tight']}` between terms",
                "`,` for AND, `|` for OR; a text that contains the word is put in double quotes",
                hints.mended(f"{name}:{value.raw}"),
                foreign=True,
            )
        if value.bare:
            self._refuse_foreign(name, value)

    def _refuse_as_number(self, name: str, operator: str, rest: str, at: int) -> NoReturn:
        if not rest:
            what = f"`{operator}` has no number after it"
            expected = f"a number; the text `{operator}` is written `\\{operator}`"
            raise MisreadError(at, what, expected, f"{name}:{operator}90")
        meant = hints.number(rest)
        raise MisreadError(
            at,
            f"`{operator}` compares numbers and `{rest}` is not one",
            f"a number; a text that begins with `{operator}` is written `\\{operator}`",
            f"{name}:{operator}{meant}" if meant else None,
            f"!{name}:{rest.removeprefix('>')}" if operator + rest[:1] == "<>" else None,
            f"{name}:{operator}90",
        )

    def _refuse_foreign(self, name: str, value: Part) -> None:
        if SINGLE_QUOTED.fullmatch(value.raw):
            what = "a text in single quotes"
            expected = "the text as it is, or in double quotes if it has a `,` or `|` in it"
            meant = hints.mended(f"{name}:{value.raw}")
            raise MisreadError(value.start, what, expected, meant, foreign=True)
        separator = SEMICOLON.match(value.raw)
        if separator:
            at = value.start + separator.start("tight")
            expected = "`,` for AND, `|` for OR; a `;` that is part of the text is written `\\;`"
            raise MisreadError(at, "`;` between terms", expected, hints.separated(self.text))


class _Reader(_Refusing):
    """Reads a filter by recursive descent: clauses, their terms, a term's field and test."""

    def read(self) -> Filter:
        """Read the whole text."""
        if len(self.text) > MAX_CHARACTERS:
            what = f"the filter has {len(self.text)} characters"
            raise MisreadError(MAX_CHARACTERS, what, f"at most {MAX_CHARACTERS}")
        self.skip_blanks()
        if not self.next():
            return Filter()
        if self.next() == "{":
            expected = "`field:value` terms separated by commas"
            guess = hints.from_json(self.text)
            raise MisreadError(self.at, "a filter is not a JSON object", expected, guess)
        clauses = [self._clause()]
        while self.take(","):
            clauses.append(self._clause())
        return Filter(tuple(clauses))

    def _clause(self) -> Clause:
        terms = [self._term()]
        while self.take("|"):
            terms.append(self._term())
        return Clause(tuple(terms))

    def _term(self) -> Term:
        self.skip_blanks()
        start = self.at
        self._count_term(start)
        negated = self.take("!")
        self.skip_blanks()
        self._refuse_as_term(start)
        field = self.part(FIELD_STOPS)
        if not self.take(":"):
            self._refuse_without_colon(start, field)
        self._refuse_as_field(start, field)
        self._refuse_as_place(field)
        value = self.part(VALUE_STOPS)
        name = f"{'!' if negated else ''}{field.raw}"
        test = self._test(name, value)
        self.previous = (name, value)
        return Term(field.pieces[0], test, negated)

    def _test(self, name: str, value: Part) -> Test:
        if value.quoted:
            return _literal(value.pieces[0])
        self._refuse_as_value(name, value)
        if value.raw.startswith(("<", ">")):
            return self._compare(name, value)
        first, *others = value.pieces
        if not others:
            return Equals(first) if value.bare else _literal(first)
        if not any(value.pieces):
            return Present()
        return Glob((first, *filter(None, others[:-1]), others[-1]))

    def _compare(self, name: str, value: Part) -> Compare:
        operator = next(each for each in _OPERATORS if value.raw.startswith(each))
        rest = value.raw.removeprefix(operator).strip()
        number = read_number(rest)
        if number is None:
            self._refuse_as_number(name, operator, rest, value.start + len(operator))
        return Compare(operator, number)
