"""The sets of values that the chart is rendered with: its own, and every file in helm/ci."""

import re
from dataclasses import dataclass

from tests.support.helm import CHART

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
SETS = [
    ValueSet("no-values", ""),
    *(ValueSet(path.name.removesuffix("-values.yaml"), path.read_text()) for path in FILES),
]
