"""What is refused of a filter, and what was probably meant instead."""

from typing import NoReturn

from bridge.filters import hints
from bridge.filters.scanner import MisreadError, Part, Scanner
from bridge.filters.spelling import JOINER, LEADING_WORD, SEMICOLON, SINGLE_QUOTED
from bridge.filters.tree import MAX_TERMS


class Refusing(Scanner):
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
