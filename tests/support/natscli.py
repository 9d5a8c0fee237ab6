"""The `nats` CLI on PATH: what it calls a command that the guide shows in today's form."""

import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "helm" / "OPERATIONS.md"
_LOST_BEGINNING = "no responders"
_RESTORES = 5
_FORMS = re.compile(r"`([a-z ]+)` is `([a-z ]+)`")


@cache
def has_backup() -> bool:
    """Tell whether it has `nats backup`, new in 0.5."""
    tried = subprocess.run(["nats", "backup", "stream", "--help"], capture_output=True, check=False)
    return tried.returncode == 0


def older_forms() -> dict[str, str]:
    """Give what the guide says that commands were called before, by what it shows."""
    return dict(_FORMS.findall(GUIDE.read_text().replace("\n", " ")))


def as_typed(text: str) -> str:
    """Write commands as this CLI knows them."""
    for today, before in () if has_backup() else older_forms().items():
        text = text.replace(f" {today} ", f" {before} ")
    return text


def errors(printed: str) -> Iterator[str]:
    """Give the lines in which it has complained."""
    yield from re.findall(r"^(?:nats: )?error: .*", printed, re.MULTILINE)


def restored(restore: Callable[[], str], before_the_next: Callable[[], object]) -> str:
    """Restore, and again, as the guide says, where NATS has lost the beginning."""
    for _ in range(_RESTORES):
        try:
            return restore()
        except AssertionError as error:
            if _LOST_BEGINNING not in str(error):
                raise
        before_the_next()
    return restore()
