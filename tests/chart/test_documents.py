"""What README.md and OPERATIONS.md of the chart say of its values is so."""

import argparse
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.settings import Settings
from tests.chart.conftest import Render
from tests.support.helm import CHART, text_of
from tests.support.manifests import at, of_kind, where
from tests.support.readme import Block, blocks

ROOT = CHART.parent
README, OPERATIONS = CHART / "README.md", CHART / "OPERATIONS.md"
ROW = re.compile(
    r"^\| (?:\[|<a [^>]*>)?`?([a-z][\w.\"/-]*)`?(?:\]\([^)]*\)|</a>)? +\|", re.MULTILINE
)
SET = re.compile(r"--set(?:-string|-json|-file|-literal)?[ =]['\"]?([A-Za-z][\w.]*)(?:\[|\{|=|\\)")
INLINE = re.compile(r"`([a-z]\w*(?:\.\w+)+)`")


@cache
def values() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    return found


def leaves(tree: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Give every value's dotted name; an empty map is one value."""
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}"


def exists(name: str) -> bool:
    """Tell whether there is a value, or a place where users put their own."""
    thing: Any = values()
    first, *parts = name.split(".")
    if first not in thing:
        return False
    if first == "settings":
        return not parts or parts[0] in Settings.model_fields
    thing = thing[first]
    for part in parts:
        if first == "nats" or not thing:
            return True  # the values of NATS's own chart, or a map that is the user's to fill
        if not isinstance(thing, dict) or part not in thing:
            return False
        thing = thing[part]
    return True


def tables() -> set[str]:
    return set(ROW.findall(README.read_text())) - {"Key", "key"}


@pytest.mark.parametrize("path", [README, OPERATIONS], ids=lambda path: path.name)
def test_values_that_are_named_exist(path: Path) -> None:
    text = path.read_text()
    named = set(SET.findall(text)) | {
        name for name in INLINE.findall(text) if name.partition(".")[0] in values()
    }
    assert named, f"{path.name} names no value"
    assert sorted(name for name in named if not exists(name)) == []


def test_the_table_has_every_value_and_no_other() -> None:
    listed = tables()
    assert listed, "there is no table of values in README.md"
    parents = {name: prefixes(name) for name in leaves(values())}
    missing = sorted(name for name, above in parents.items() if not above & listed)
    assert missing == []
    assert sorted(name for name in listed if not exists(name)) == []


def prefixes(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts) + 1)}


def example(path: Path) -> list[Block]:
    """Give the blocks that are values files: YAML whose every key is a value's."""
    if not path.exists():
        return []
    found = []
    for block in blocks(path):
        content = yaml.safe_load(block.text) if block.language == "yaml" else None
        if isinstance(content, dict) and set(content) <= set(values()):
            found.append(block)
    return found


@pytest.mark.parametrize("block", [*example(README), *example(OPERATIONS)], ids=str)
def test_examples_of_values_render(block: Block, render: Render) -> None:
    assert render(block.text)


def commands(path: Path) -> list[list[str]]:
    """Give the commands of a document that need a cluster or a registry of images, as words."""
    lines = [line for block in blocks(path) for line in block.text.splitlines()]
    return [shlex.split(line) for line in lines if re.match(r"(helm|docker) ", line)]


@pytest.mark.parametrize("path", [README, ROOT / "README.md"], ids=["chart", "bridge"])
def test_what_installs_the_chart_names_things_that_are_there(path: Path, render: Render) -> None:
    [(_, _, name, folder, *options)] = [one for one in commands(path) if one[1] == "install"]
    assert (ROOT / folder / "Chart.yaml").is_file()
    taken = argparse.ArgumentParser()
    taken.add_argument("--namespace")
    taken.add_argument("--create-namespace", action="store_true")
    taken.add_argument("--dependency-update", action="store_true")
    taken.add_argument("--set")
    given = taken.parse_args(options)
    assert given.dependency_update, "Helm refuses the chart without NATS's"
    value, _, repository = given.set.partition("=")
    assert value == "image.repository"
    objects = render(
        text_of({"image": {"repository": repository}}), name=name, namespace=given.namespace
    )
    [deployment] = [one for one in of_kind(objects, "Deployment") if "bridge" in where(one)]
    [container] = at(deployment, "spec.template.spec.containers")
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert container["image"] == f"{repository}:{version}"
    built = [one for one in commands(path) if one[:2] == ["docker", "build"]]
    assert all(f"{repository}:{version}" in one for one in built)
    [(_, _, tested, *options)] = [one for one in commands(path) if one[1] == "test"]
    assert (tested, taken.parse_args(options).namespace) == (name, given.namespace)


def test_there_are_examples() -> None:
    assert example(README)


def test_helm_docs_would_change_nothing(tmp_path: Path) -> None:
    program = shutil.which("helm-docs")
    if program is None:
        pytest.skip("helm-docs is not on PATH: README.md may be older than values.yaml")
    copy = Path(shutil.copytree(CHART, tmp_path / "chart"))
    subprocess.run([program, "--chart-search-root", copy], check=True, capture_output=True)
    assert (copy / "README.md").read_text() == README.read_text()
