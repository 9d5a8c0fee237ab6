"""How commands fail: one line on stderr, an exit status to rely on, never a traceback."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from bridge.cli.statuses import Status
from bridge.errors import BridgeError, FilterInvalid, StartError, Unavailable

SHOWN_BEFORE_CARET = 60
SHOWN_AFTER_CARET = 40


class Misused(Exception):
    """The command line asks for something that makes no sense; the message says what does."""


def note(message: str) -> None:
    """Tell of something on stderr, in one line."""
    typer.echo(f"bridge: {one_line(message)}", err=True)


def fail(status: Status, message: str) -> NoReturn:
    """Say in one line what is wrong and end with this status."""
    note(message)
    raise typer.Exit(status) from None


def one_line(text: str) -> str:
    """Write text from elsewhere so that it cannot break the line or steer the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


@contextmanager
def local_errors() -> Iterator[None]:
    """Tell of what goes wrong in commands that ask no bridge."""
    try:
        yield
    except Misused as error:
        fail(Status.USAGE, str(error))
    except StartError as error:
        fail(Status.FAILED, str(error))
    except BridgeError as error:
        fail(Status.FAILED, error.message)


@contextmanager
def client_errors(filter_text: str | None = None) -> Iterator[None]:
    """Tell of what goes wrong in commands that ask a bridge; a wrong filter is shown."""
    try:
        yield
        sys.stdout.flush()  # a reader that has gone shows here, not at interpreter's end
    except Misused as error:
        fail(Status.USAGE, str(error))
    except StartError as error:
        fail(Status.FAILED, str(error))
    except Unavailable as error:
        fail(Status.UNAVAILABLE, f"{error.code} {error.message}")
    except FilterInvalid as error:
        note(f"{error.code} {error.message}")
        _point(filter_text or "", error.details.get("column"))
        raise typer.Exit(Status.REFUSED) from None
    except BridgeError as error:
        failed = getattr(error, "status", 0) >= 500  # not the caller's doing
        status = Status.UNAVAILABLE if failed else Status.REFUSED
        fail(status, f"{error.code} {error.message}")
    except BrokenPipeError:
        raise typer.Exit(closed_pipe()) from None
    except KeyboardInterrupt:
        raise typer.Exit(Status.INTERRUPTED) from None


def closed_pipe() -> Status:
    """Let nothing more be written to a reader that has gone: Python would complain at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Status.PIPE_CLOSED


def _point(text: str, column: object) -> None:
    """Show a filter with a caret under a column, which counts characters from 1."""
    if not text or not isinstance(column, int):
        return
    from rich.cells import cell_len  # noqa: PLC0415 - only for this

    start = max(0, column - 1 - SHOWN_BEFORE_CARET)
    line = "".join(c if c.isprintable() else " " for c in text)
    shown = line[start : column - 1 + SHOWN_AFTER_CARET]
    typer.echo(f"  {shown}\n  {' ' * cell_len(line[start : column - 1])}^", err=True)
