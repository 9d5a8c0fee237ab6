"""The data folder: which files are in it, and who holds it."""

import fcntl
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import StartError
from bridge.events import rfc3339

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The files that the embedded server keeps in one folder."""

    path: Path

    @property
    def config(self) -> Path:
        """The configuration of nats-server, with its password."""
        return self.path / "nats-server.conf"

    @property
    def log(self) -> Path:
        """What nats-server says."""
        return self.path / "nats-server.log"

    @property
    def pid(self) -> Path:
        """The process ID of nats-server, while it runs."""
        return self.path / "nats-server.pid"

    @property
    def url(self) -> Path:
        """The URL for the `nats` CLI, while the bridge runs."""
        return self.path / "nats.url"

    @property
    def store(self) -> Path:
        """Where JetStream keeps its streams."""
        return self.path / "nats"

    @property
    def lock(self) -> Path:
        """Held by the one bridge that uses the folder."""
        return self.path / "bridge.lock"

    def make(self) -> None:
        """Make the folder, open to this user only, unless it is there."""
        self.path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)


def write_private(path: Path, text: str) -> None:
    """Replace a file that only this user may read, so that no reader sees half of it."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)  # one left by a crash might have another mode
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


class FolderLock:
    """Keeps a second bridge off the data folder: two servers on one store would destroy it.

    `flock` ends with the process, however that ends, so there is no stale lock to clean up.
    `holder` is a free text for whoever finds the folder taken, such as this bridge's URL.
    """

    def __init__(self, folder: DataFolder, holder: str = "") -> None:
        self._folder = folder
        self._holder = holder
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock at once, or raise `StartError` that names who has it."""
        # Python opens files close-on-exec, so that nats-server cannot keep the lock for us.
        descriptor = os.open(self._folder.lock, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(self._held(_read(descriptor))) from None
        else:
            self._descriptor, descriptor = descriptor, -1
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        _write(
            self._descriptor,
            {"pid": os.getpid(), "since": rfc3339(time.time()), "holder": self._holder},
        )

    def release(self) -> None:
        """Give the lock back; the file stays, since removing it would race with the next holder."""
        if self._descriptor is not None:
            _write(self._descriptor, {})
            os.close(self._descriptor)
            self._descriptor = None

    def _held(self, entry: dict[str, object]) -> str:
        who = f"process {entry['pid']}" if "pid" in entry else "another process"
        if entry.get("holder"):
            who += f" ({entry['holder']})"
        if "since" in entry:
            who += f", started {entry['since']}"
        return (
            f"data folder {self._folder.path} is held by {who}; if that is just stopping, try "
            "again in a moment, else use --data-dir for another"
        )


def holder(folder: DataFolder) -> str:
    """Give what the bridge that holds a data folder says of itself, empty if none holds it."""
    try:
        descriptor = os.open(folder.lock, os.O_RDONLY)
    except OSError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return str(_read(descriptor).get("holder", ""))
    else:
        return ""
    finally:
        os.close(descriptor)


def _write(descriptor: int, entry: dict[str, object]) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(entry).encode() + b"\n", 0)


def _read(descriptor: int) -> dict[str, object]:
    """Read who holds the lock; nothing where the holder has not written that yet."""
    try:
        entry = json.loads(os.pread(descriptor, 65_536, 0))
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
