"""Options that several commands have, and the examples under a command's help."""

from typing import Annotated

import typer

from bridge.cli.output import Format


def examples(*lines: str, note: str = "") -> str:
    """Write examples for the end of a command's help, one line each, and a paragraph after them."""
    shown = (line.replace("[", r"\[") for line in lines)
    return "\n\n".join(("[bold]Examples[/bold]", *shown, note)).strip()


def _event_types(incomplete: str) -> list[str]:
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
        show_default="http://localhost:3001/api",
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
OneTopic = Annotated[
    str | None,
    typer.Option(
        "--topic",
        help="The event's topic.",
        show_default="the type's usual one, else coordination",
        autocompletion=_topics,
    ),
]
TYPE = typer.Argument(metavar="TYPE", help="The event's type.", autocompletion=_event_types)
TYPES = typer.Argument(
    metavar="TYPE",
    help="Event types, any of them; '*' for every one. Without: your agent type's topics.",
    show_default=False,
    autocompletion=_event_types,
)
