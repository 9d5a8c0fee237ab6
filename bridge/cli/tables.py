"""Tables for people: colour on a terminal only, and not where NO_COLOR is set."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich import box
from rich.cells import set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bridge.cli.failures import one_line
from bridge.cli.output import Record, Shape, Write

HEAD = "bold"
PIPED_WIDTH = 160
"""Cells in a line that goes to no terminal."""


class _Console(Console):
    """A console that leaves a reader who has gone to the command."""

    def on_broken_pipe(self) -> None:
        """Pass the error on; called while it is handled."""
        raise  # noqa: PLE0704 - Rich's own would end the program here, with status 1


def console(*, stderr: bool = False) -> Console:
    """Make a console that takes text as it is.

    NO_COLOR counts wherever it is not empty (no-color.org).
    """
    stream = sys.stderr if stderr else sys.stdout
    terminal = stream.isatty()
    coloured = terminal and not os.environ.get("NO_COLOR")
    width = None if terminal or os.environ.get("COLUMNS") else PIPED_WIDTH
    return _Console(
        file=stream,
        force_terminal=terminal,
        color_system="auto" if coloured else None,
        width=width,
        markup=False,
        highlight=False,
        emoji=False,
    )


@contextmanager
def table(shape: Shape) -> Iterator[Write]:
    """Collect records and draw them at the end."""
    drawn = Table(box=box.SIMPLE_HEAD, header_style=HEAD, pad_edge=False)
    for column in shape.columns:
        drawn.add_column(column.title, no_wrap=True, overflow="ellipsis")
    yield lambda record: drawn.add_row(*(Text(one_line(c.cell(record))) for c in shape.columns))
    if drawn.row_count:
        console().print(drawn)
    else:
        console(stderr=True).print("nothing found")


@contextmanager
def lines(shape: Shape) -> Iterator[Write]:
    """Write each record as one line of fixed columns, under a head that comes with the first."""
    out = console()
    head = [column.title for column in shape.columns]

    def write_line(cells: Iterable[str], style: str = "") -> None:
        sized = (
            set_cell_size(cell, column.width) if column.width else cell
            for cell, column in zip(cells, shape.columns, strict=True)
        )
        out.print(Text("  ".join(sized).rstrip(), style), no_wrap=True, overflow="ellipsis")
        sys.stdout.flush()

    def write(record: Record) -> None:
        if head:
            write_line(head, HEAD)
            head.clear()
        write_line(one_line(column.cell(record)) for column in shape.columns)

    yield write


def pairs(content: Iterable[tuple[str, str]]) -> None:
    """Write names and values, one pair a line; a pair without a value is left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style=HEAD, no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in content:
        if value:
            grid.add_row(name, Text(one_line(value)))
    console().print(grid)
