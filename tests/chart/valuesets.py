"""The sets of values that the chart is rendered with: every file in helm/ci."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle
from typing import TypeVar

from tests.support.helm import CHART

T = TypeVar("T")
U = TypeVar("U")

_EXTERNAL = re.compile(r"^# external: (\w+/\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ValueSet:
    """One set of values, as the text of a values file."""

    name: str
    text: str

    def __str__(self) -> str:
        return self.name

    @property
    def external(self) -> frozenset[str]:
        """What the operator has to bring: its lines `# external: Kind/name`."""
        return frozenset(_EXTERNAL.findall(self.text))


FILES = sorted((CHART / "ci").glob("*-values.yaml"))
SETS = [ValueSet(path.name.removesuffix("-values.yaml"), path.read_text()) for path in FILES]


def in_turn(cases: Iterable[T], others: Iterable[U]) -> list[tuple[T, U]]:
    """Pair every case with one of the others, which take turns.

    Where what may go wrong with a case has nothing to do with which of the others it meets, each
    of both is tried in a fraction of all pairs.
    """
    return list(zip(cases, cycle(others), strict=False))
