"""Sockets: whether what was written to a connection can have reached the program at its end."""

import fcntl
import socket
import struct
import sys
from typing import Protocol

_TIOCOUTQ = 0x5411
_TCP_CLOSE = b"\x07"


class HasOptions(Protocol):
    """What is needed of a socket, which event loops show only in part."""

    def fileno(self) -> int:
        """Give its file descriptor."""

    def getsockopt(self, level: int, option: int, size: int = 0, /) -> int | bytes:
        """Read an option."""


def was_refused(connection: HasOptions) -> bool:
    """Tell, when the other end has closed, whether it did so before taking all that was written.

    A program that reads its answer and closes has acknowledged every byte, and its end is an
    orderly one. One that had gone leaves bytes unacknowledged or answers them with a reset, which
    an event loop may report as an ordinary end of file all the same. Linux tells of both.
    """
    if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        return True
    if not sys.platform.startswith("linux"):
        return False
    state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    unacknowledged = fcntl.ioctl(connection.fileno(), _TIOCOUTQ, struct.pack("i", 0))
    return state == _TCP_CLOSE or any(unacknowledged)
