"""Exit statuses, which scripts and agents' hooks rely on."""

from enum import IntEnum


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
    TIMEOUT = 124
    """Time was up before what was waited for came, as with timeout(1)."""
    INTERRUPTED = 130
    """Ctrl-C: 128 and the signal's number, as shells count."""
    TERMINATED = 143
    """SIGTERM, counted likewise."""
    PIPE_CLOSED = 141
    """Whoever read the output has gone (SIGPIPE), as after `| head -1`."""
