"""One name, one thing; and every room is on the map."""

import ast
import re
from collections import defaultdict
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parent.parent
BRIDGE = ROOT / "bridge"
FILES = sorted(BRIDGE.rglob("*.py"))


def twice(found: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: where for name, where in found.items() if len(where) > 1}


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_no_two_classes_have_one_name() -> None:
    """A protocol and what offers it have names of their own as well."""
    found = defaultdict(list)
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(shown(path))
    assert len(found) > 100
    assert twice(found) == {}


def test_no_two_files_have_one_name() -> None:
    found = defaultdict(list)
    for path in FILES:
        if path.name not in ("__init__.py", "__main__.py"):
            found[path.name].append(shown(path))
    assert len(found) > 80
    assert twice(found) == {}


def test_the_architecture_names_every_room_and_no_other() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    rows = re.findall(r"^\| (`[^|]+`) \|", text, re.MULTILINE)
    named = set(chain.from_iterable(re.findall(r"`([\w./]+)`", row) for row in rows))
    named = {name.removeprefix("bridge/").removesuffix("/") for name in named}
    tops = {path.name for path in BRIDGE.iterdir()} | {
        path.name for path in (BRIDGE / "jetstream").iterdir()
    }
    there = {name for name in tops if not name.startswith(("_", "."))} - {"py.typed"}
    assert named == there
