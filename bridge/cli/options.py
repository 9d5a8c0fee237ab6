"""Options that several commands have, durations as people write them, and examples in helps."""

import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from bridge.cli.output import Format
from bridge.errors import RequestInvalid

T = TypeVar("T")


def _without_types(params: list[Any]) -> list[Any]:
    """Let the help name no type for flags, which take no value."""
    for param in params:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
    return params


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


class _Group(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


class Commands(typer.Typer):
    """A group of commands, or the program as a whole."""

    def __init__(self, text: str) -> None:
        super().__init__(
            cls=_Group,
            help=text,
            no_args_is_help=True,
            pretty_exceptions_enable=False,
            rich_markup_mode="rich",
        )

    def command(  # type: ignore[override]  # every option of Typer's, without listing them
        self, name: str | None = None, **options: Any
    ) -> Callable[[Callable[..., T]], Callable[..., T]]:
        """Make a function a command; see Typer."""
        return super().command(name, cls=_Command, **options)


def examples(*lines: str, note: str = "") -> str:
    """Write examples for the end of a command's help, one line each, and a paragraph after them."""
    shown = (line.replace("[", r"\[") for line in lines)
    return "\n\n".join(("[bold]Examples[/bold]", *shown, note)).strip()


def event_types_like(incomplete: str) -> list[str]:
    """Complete the name of an event type."""
    from bridge.catalog import load_catalog  # noqa: PLC0415 - only while completing

    return [name for name in load_catalog(None).event_types if name.startswith(incomplete)]


def _topics(incomplete: str) -> list[str]:
    from bridge.catalog import load_catalog  # noqa: PLC0415 - only while completing

    return [name for name in load_catalog(None).topics if name.startswith(incomplete)]


Url = Annotated[
    str | None,
    typer.Option(
        envvar="SIDECAR_URL",
        help="The bridge's API.",
        show_default="this machine's own bridge",
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="JWT_TOKEN",
        help="The agent's token; prefer the environment, where `ps` does not show it.",
        show_envvar=True,
    ),
]
Shown = Annotated[
    Format | None,
    typer.Option(
        "--format",
        help="How to print: table, json, jsonl or csv.",
        metavar="FORMAT",
        show_default="table on a terminal, else jsonl",
    ),
]
Filter = Annotated[
    str | None,
    typer.Option(
        "--filter", help="Terms such as status:success,coverage:>90 (`|` is OR, `!` is NOT)."
    ),
]
Topic = Annotated[
    str | None,
    typer.Option(help="Only these topics, separated by commas.", autocompletion=_topics),
]
Data = Annotated[
    str | None,
    typer.Option(help="A JSON object; @FILE reads it from a file, - from standard input."),
]
OneCorrelation = Annotated[str | None, typer.Option(help="Only one correlation ID's.")]
OneTopic = Annotated[
    str | None,
    typer.Option(
        "--topic",
        help="The event's topic.",
        show_default="the type's usual one, else coordination",
        autocompletion=_topics,
    ),
]
TYPE = typer.Argument(metavar="TYPE", help="The event's type.", autocompletion=event_types_like)
TYPES = typer.Argument(
    metavar="TYPE",
    help="Event types, any of them; '*' for every one. Without: your agent type's topics.",
    show_default=False,
    autocompletion=event_types_like,
)


_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s?(ms|[smhd]?)\Z")


def seconds(text: str) -> float:
    """Read a duration such as 500ms, 90, 90s, 1.5h or 7d, in seconds. Raises RequestInvalid."""
    found = _DURATION.match(text.strip())
    if not found:
        raise RequestInvalid(f"{text!r} is not a duration; write 500ms, 90s, 30m, 1h or 7d")
    return float(found[1]) * _UNITS[found[2] or "s"]


def whole_seconds(text: str) -> int:
    """Read a duration that is kept in whole seconds. Raises RequestInvalid."""
    found = seconds(text)
    if found != int(found):
        raise RequestInvalid(f"{text!r} is not a whole number of seconds, as this must be")
    return int(found)


def written(amount: float) -> str:
    """Write seconds as a person would say them.

    >>> written(42), written(150), written(7200), written(200_000)
    ('42 s', '2 min', '2 h', '2 d')
    """
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if amount >= 2 * size or (amount >= size and amount % size == 0):
            return f"{int(amount // size)} {unit}"
    return f"{amount:.0f} s"
