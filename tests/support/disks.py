"""A small disk that a test may fill: a file system in memory, which Linux lets everybody mount."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_MOUNT = 'mount -t tmpfs -o "size=$1" tmpfs "$2" && echo mounted && exec sleep infinity'


class SmallDisk:
    """A disk on `folder` for the programs that are started with `prefix`, and for nobody else."""

    def __init__(self, holder: int, folder: Path) -> None:
        self.prefix = ["nsenter", f"--target={holder}", "--user", "--preserve-credentials"]
        self.prefix.append("--mount")
        self.inside = Path(f"/proc/{holder}/root{folder}")
        """Where everybody else sees it."""

    def fill(self) -> None:
        """Leave no byte free."""
        with (self.inside / "filling").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(65_536))
            except OSError:
                assert os.statvfs(self.inside).f_bavail == 0

    def clear(self) -> None:
        """Take away what `fill` has written."""
        (self.inside / "filling").unlink()


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[SmallDisk]:
    """Mount a disk of this size, such as 12m, on a new folder; skips where that is not allowed."""
    folder.mkdir(parents=True)
    shell = ["sh", "-c", _MOUNT, "mount", size, str(folder)]
    with subprocess.Popen(
        ["unshare", "--map-root-user", "--mount", *shell],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stderr is not None
            if holder.stdout.readline() != "mounted\n":
                pytest.skip(f"NOT RUN, no small disk can be mounted: {holder.stderr.read()}")
            yield SmallDisk(holder.pid, folder)
        finally:
            holder.kill()
