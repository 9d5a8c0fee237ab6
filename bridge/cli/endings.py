"""How commands end: one line on stderr, an exit status to rely on, never a traceback; and signals.

Nothing heavy is imported here, for the handlers have to be there before what is.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from types import FrameType
from typing import NoReturn

import typer

from bridge.errors import BridgeError, FilterInvalid, StartError, Unavailable

SHOWN_BEFORE_CARET = 60
SHOWN_AFTER_CARET = 40


class Status(IntEnum):
    """What a command of `bridge` ends with; 0 is success."""

    FAILED = 1
    """The bridge cannot start, or a check found something to mend."""
    USAGE = 2
    """The command line is wrong; nothing was sent."""
    REFUSED = 3
    """The bridge answered that it will not (HTTP 4xx)."""
    UNAVAILABLE = 4
    """No bridge can be reached, or it cannot serve right now."""
    UNWANTED = 5
    """What `--fail-on` names came first."""
    TIMEOUT = 124
    """Time was up before what was waited for came, as with timeout(1)."""
    INTERRUPTED = 130
    """Ctrl-C: 128 and the signal's number, as shells count."""
    TERMINATED = 143
    """SIGTERM, counted likewise."""
    PIPE_CLOSED = 141
    """Whoever read the output has gone (SIGPIPE), as after `| head -1`."""


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
    except OSError as error:
        _fail_on_disk(error)


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
    except OSError as error:
        _fail_on_disk(error)
    except KeyboardInterrupt:
        raise typer.Exit(Status.INTERRUPTED) from None


def closed_pipe() -> Status:
    """Write nothing more to a reader that has gone."""
    _drop_output()
    return Status.PIPE_CLOSED


def _fail_on_disk(error: OSError) -> NoReturn:
    """Tell of a file, or of output, that cannot be written: a disk that is full, say."""
    if error.filename is None:
        _drop_output()
    fail(Status.FAILED, f"{error.filename or 'the output'}: {error.strerror or error}")


def _drop_output() -> None:
    """Let nothing more be written to stdout: Python would complain of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _point(text: str, column: object) -> None:
    """Show a filter with a caret under a column, which counts characters from 1."""
    if not text or not isinstance(column, int):
        return
    from rich.cells import cell_len  # noqa: PLC0415 - only for this

    start = max(0, column - 1 - SHOWN_BEFORE_CARET)
    line = "".join(c if c.isprintable() else " " for c in text)
    shown = line[start : column - 1 + SHOWN_AFTER_CARET]
    typer.echo(f"  {shown}\n  {' ' * cell_len(line[start : column - 1])}^", err=True)


SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """Ends a program in order at the first signal, and at the next one at once.

    Before `covers` there is nothing to put in order; from then on its task is cancelled.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[object] | None = None
        self.begun = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Take the signals meanwhile."""
        before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        try:
            yield
        except asyncio.CancelledError:
            if not self.begun:
                raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def covers(self) -> None:
        """Cancel the task that calls this, should a signal come."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.begun:
            os._exit(128 + number)
        self.begun = True
        if self._loop is None or self._task is None:
            raise SystemExit(0)
        self._loop.call_soon_threadsafe(self._task.cancel)
