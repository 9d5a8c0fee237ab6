"""Tables for people: colour on a terminal only, and not where NO_COLOR is set."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bridge.cli.endings import one_line
from bridge.cli.output import Column, Record, Shape, Write

HEAD = "bold"
GAP = 2
"""Cells between two columns."""

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
    """Collect records and draw them at the end.

    Where the line is too short for a table, each is drawn for itself: its first column, and under
    it a line for each other one.
    """
    found: list[Record] = []
    yield found.append
    out = console()
    if not found:
        console(stderr=True).print("nothing found")
        return
    rows = [[one_line(column.cell(record)) for column in shape.columns] for record in found]
    sizes = [max(map(cell_len, cells)) for cells in zip(*rows, strict=True)]
    wanted = [max(n, cell_len(c.title)) for n, c in zip(sizes, shape.columns, strict=True)]
    fitting = fit(shape.columns, wanted, out.width)
    if fitting is None:
        first, *rest = shape.columns
        for record in found:
            out.print(Text(one_line(first.cell(record)), HEAD), soft_wrap=True)
            pairs((f"  {column.title}", column.cell(record)) for column in rest)
        return
    drawn = Table(
        box=box.SIMPLE_HEAD,
        header_style=HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for index, width in fitting.items():
        drawn.add_column(shape.columns[index].title, no_wrap=True, overflow="ellipsis", width=width)
    for row in rows:
        drawn.add_row(*(Text(row[index]) for index in fitting))
    out.print(drawn)


def fit(columns: Sequence[Column], wanted: Sequence[int], width: int) -> dict[int, int] | None:
    """Choose the columns, by their index, and their widths for a line of `width` cells.

    `wanted` are the widths that hold everything. None if no choice is good enough.
    """
    whole = dict(enumerate(wanted))
    narrow = {n: size for n, size in whole.items() if not columns[n].spare}
    for sizes in (whole, narrow):
        if _length(sizes) <= width:
            return sizes
    sizes = {n: min(size, columns[n].least or size) for n, size in narrow.items()}
    left = width - _length(sizes)
    if left < 0:
        return None
    for n in reversed(sizes):  # the last column shows most of what differs
        more = min(left, narrow[n] - sizes[n])
        sizes[n] += more
        left -= more
    return sizes


def _length(sizes: Mapping[int, int]) -> int:
    return sum(sizes.values()) + GAP * (len(sizes) - 1)


@contextmanager
def lines(shape: Shape) -> Iterator[Write]:
    """Write each record as one line of fixed columns, under a head that comes with the first."""
    out = console()
    head = [column.title for column in shape.columns]
    *_, last = shape.columns
    wanted = [column.width or out.width for column in shape.columns]
    sizes = fit(shape.columns, wanted, out.width) or dict(enumerate(wanted))

    def write_line(cells: Iterable[str], style: str = "") -> None:
        texts = list(cells)
        sized = (
            texts[n] if shape.columns[n] is last else set_cell_size(texts[n], size)
            for n, size in sizes.items()
        )
        line = (" " * GAP).join(sized).rstrip()
        out.print(Text(line, style), no_wrap=True, overflow="ellipsis")
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
