"""The secret that signs tokens when the operator gave none: made once, kept in the data folder."""

import os
import secrets
import stat
from pathlib import Path

from bridge.errors import StartError

FILE_NAME = "jwt-secret"

SECRET_BYTES = 64
"""As many as the largest hash needs (RFC 7518 §3.2)."""

SHORTEST = 32
"""What HS256 needs; in characters, which are bytes here."""


def load_or_create_secret(data_dir: Path) -> str:
    """Read the secret of this data folder, making it (and the folder) first if there is none.

    Processes that start at the same moment end with the same secret. Raises `StartError` where the
    file can be read by others, is too short to be a secret, or cannot be read or made.
    """
    path = data_dir / FILE_NAME
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _create(path)
        return _load(path)
    except OSError as error:
        raise StartError(
            f"the JWT secret {path} cannot be read or made: {error.strerror}; make the data folder"
            " writable, choose another, or set BRIDGE_JWT_SECRET"
        ) from error


def _create(path: Path) -> None:
    """Write a whole file under another name, then link it: no reader ever sees half a secret."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(SECRET_BYTES // 2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return  # another process was faster; its secret is the one
    finally:
        draft.unlink()


def _load(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        mode = os.fstat(file.fileno()).st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise StartError(
                f"the JWT secret {path} is open to other users ({stat.filemode(mode)}), who could"
                f" sign tokens with it; close it: chmod 600 {path}. If it may have been read,"
                " delete it and start again: every token made with it then ends"
            )
        secret = file.read().strip()
    if len(secret) < SHORTEST:
        raise StartError(
            f"the JWT secret {path} is empty or too short ({len(secret)} characters, at least"
            f" {SHORTEST} are needed); delete it, and the bridge makes a new one"
        )
    return secret
