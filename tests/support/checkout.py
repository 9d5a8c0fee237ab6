"""This repository as somebody has it who has just cloned it."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
_MADE = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "dist")


def copied(folder: Path) -> Path:
    """Copy it into a folder that is not there yet, without what was made in it since."""
    return Path(shutil.copytree(ROOT, folder, ignore=_MADE))
