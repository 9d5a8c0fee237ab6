"""Characters → parts: blanks, stars, escapes and quotes are dealt with here, meaning is not."""

from dataclasses import dataclass

from bridge.filters import hints
from bridge.filters.spelling import JOINER


class MisreadError(Exception):
    """The text is no filter: what is wrong at `index`, and guesses at what was meant, best first.

    It is `foreign` if it is in another query language, so that other terms need mending too. It
    never leaves the package; agents see `FilterInvalid`.
    """

    def __init__(
        self, index: int, what: str, expected: str, *guesses: str | None, foreign: bool = False
    ) -> None:
        super().__init__(what)
        self.index = index
        self.what = what
        self.expected = expected
        self.guesses = guesses
        self.foreign = foreign


@dataclass(frozen=True, slots=True)
class Part:
    """A field or a value: as written, from index `start` on, and its texts between bare stars."""

    start: int
    raw: str
    pieces: tuple[str, ...]

    @property
    def quoted(self) -> bool:
        """Whether it is written in double quotes."""
        return self.raw.startswith('"')

    @property
    def bare(self) -> bool:
        """Whether it has neither quotes around it nor any escape."""
        return not self.quoted and "\\" not in self.raw


class Scanner:
    """Goes through a text from left to right; `at` is the index of the next character."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def next(self) -> str:
        """Give the next character, "" at the end."""
        return self.text[self.at : self.at + 1]

    def take(self, character: str) -> bool:
        """Go over a character if it is the next one, and say whether it was."""
        found = self.next() == character
        self.at += found
        return found

    def skip_blanks(self) -> None:
        """Go to the next character that is not white space."""
        while self.next().isspace():
            self.at += 1

    def part(self, stops: str) -> Part:
        """Read up to one of `stops` or the end, without the white space around it.

        Raises `MisreadError` for a quote left open and for a backslash that escapes nothing.
        """
        self.skip_blanks()
        start = self.at
        pieces = self._quoted(stops) if self.next() == '"' else self._unquoted(stops)
        return Part(start, self.text[start : self.at].rstrip(), pieces)

    def _unquoted(self, stops: str) -> tuple[str, ...]:
        pieces: list[str] = []
        piece = ""
        solid = 0  # so many characters of the piece are not trailing white space
        while (character := self.next()) and character not in stops:
            if character == "*":
                pieces.append(piece)
                piece, solid = "", 0
            else:
                escaped = character == "\\"
                piece += self._escaped() if escaped else character
                solid = len(piece) if escaped or not character.isspace() else solid
            self.at += 1
        return (*pieces, piece[:solid])

    def _escaped(self) -> str:
        """Go to the character after a backslash. Letters and digits have no business there."""
        backslash = self.at
        self.at += 1
        character = self.next()
        if character and not character.isalnum():
            return character
        what = f"`\\{character}` is not an escape" if character else "a `\\` at the end"
        raise MisreadError(
            backslash,
            what,
            "`\\` only before a character that would not stand for itself, as in `\\,` or `\\*`",
            f"{self.text[:backslash]}\\{self.text[backslash:]}",
        )

    def _quoted(self, stops: str) -> tuple[str, ...]:
        opening = self.at
        self.at += 1
        text = ""
        while (character := self.next()) != '"':
            if character == "":
                raise MisreadError(
                    opening,
                    "this double quote is never closed",
                    'a closing `"`; a double quote that is part of the text is written `\\"`',
                    f'{self.text.rstrip()}"',
                )
            text += self._escaped_in_quotes() if character == "\\" else character
            self.at += 1
        self.at += 1
        self._nothing_but(stops)
        return (text,)

    def _escaped_in_quotes(self) -> str:
        backslash = self.at
        self.at += 1
        if self.next() in ('"', "\\"):
            return self.next()
        raise MisreadError(
            backslash,
            'in double quotes every character but `\\` and `"` stands for itself',
            "`\\\\` for a backslash",
            f"{self.text[:backslash]}\\{self.text[backslash:]}",
            f"{self.text[:backslash]}{self.text[backslash + 1 :]}",
        )

    def _nothing_but(self, stops: str) -> None:
        self.skip_blanks()
        if self.next() and self.next() not in stops:
            raise MisreadError(
                self.at,
                "text after the closing double quote",
                "`:`, `,`, `|` or the end; double quotes hold a whole field or value, and a `*` "
                "outside of them would need the other characters escaped with `\\` instead",
                hints.mended(self.text) if JOINER.search(self.text, self.at - 1) else None,
            )
