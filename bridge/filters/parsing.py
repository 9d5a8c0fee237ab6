"""Text → filter, or an error that says where, what was expected and what was probably meant."""

from bridge.errors import FilterInvalid
from bridge.filters import hints
from bridge.filters.numeric import read_number
from bridge.filters.refusing import Refusing
from bridge.filters.scanner import MisreadError, Part
from bridge.filters.spelling import FIELD_STOPS, VALUE_STOPS
from bridge.filters.tree import (
    MAX_CHARACTERS,
    Clause,
    Compare,
    Equals,
    Filter,
    Glob,
    Operator,
    Present,
    Term,
    Test,
)

_SHOWN_CHARACTERS = 200
"""How much of a filter that is too long is shown."""

_OPERATORS: tuple[Operator, ...] = (">=", "<=", ">", "<")


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


class _Reader(Refusing):
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
        value = self.part(VALUE_STOPS)
        name = f"{'!' if negated else ''}{field.raw}"
        test = self._test(name, value)
        self.previous = (name, value)
        return Term(field.pieces[0], test, negated)

    def _test(self, name: str, value: Part) -> Test:
        if value.quoted:
            return Equals(value.pieces[0])
        self._refuse_as_value(name, value)
        if value.raw.startswith(("<", ">")):
            return self._compare(name, value)
        first, *others = value.pieces
        if not others:
            return Equals(first)
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
