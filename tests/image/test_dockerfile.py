"""The Dockerfile as text: rules that hold wherever the tests run, with or without Docker."""

import json
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.images import DOCKERFILE, INDEX_SETTINGS, ROOT, default_base
from tests.test_packaging import PROJECT

VALUES = ROOT / "helm" / "values.yaml"


@dataclass(frozen=True)
class Instruction:
    """One instruction, its lines joined, and the number of its stage; 0 is before the first."""

    stage: int
    name: str
    text: str


def instructions() -> list[Instruction]:
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    found: list[Instruction] = []
    stage = 0
    for line in filter(str.strip, joined.splitlines()):
        name, _, text = line.partition(" ")
        stage += name == "FROM"
        found.append(Instruction(stage, name, text.strip()))
    return found


ALL = instructions()


def texts(name: str) -> list[str]:
    return [each.text for each in ALL if each.name == name]


def is_used(argument: Instruction) -> bool:
    name = argument.text.partition("=")[0]
    if argument.stage == 0:
        return any(f"${{{name}}}" in text for text in texts("FROM"))
    later = [each for each in ALL[ALL.index(argument) + 1 :] if each.stage == argument.stage]
    if name in INDEX_SETTINGS:  # pip reads them from its environment
        return any("pip" in each.text for each in later if each.name == "RUN")
    return any(re.search(rf"\$\{{?{name}\b", each.text) for each in later)


def run_as_users(value: Any) -> list[Any]:
    """Find every `runAsUser` in a chart's values."""
    if not isinstance(value, dict):
        return []
    inner = [found for each in value.values() for found in run_as_users(each)]
    return inner + ([value["runAsUser"]] if "runAsUser" in value else [])


def context(folder: Path, names: list[str]) -> set[str]:
    """Give which of these files Docker would send to the builder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its own, told at import
        from docker.utils import exclude_paths  # type: ignore[import-untyped]  # noqa: PLC0415
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent: set[str] = exclude_paths(str(folder), [line for line in lines if line[:1] != "#"])
    return {name for name in names if name in sent}


def test_every_argument_is_used() -> None:
    arguments = [each for each in ALL if each.name == "ARG"]
    assert len(arguments) > 4
    assert [each for each in arguments if not is_used(each)] == []


def test_the_base_is_pinned_and_the_only_one() -> None:
    name, _, tag = default_base().partition(":")
    found = re.fullmatch(r"(3\.\d+)(\.\d+)?-slim-[a-z]+", tag)
    assert name == "python"
    assert found, f"{tag} is not the tag of a slim Python of one Debian"
    assert f"Programming Language :: Python :: {found[1]}" in PROJECT["classifiers"]
    stages = [text.split() for text in texts("FROM")]
    earlier = {words[2] for words in stages if len(words) == 3}
    assert {words[0] for words in stages} - earlier == {"${BASE}", "scratch"}
    assert stages[-1] == ["scratch"]
    assert "latest" not in DOCKERFILE.read_text()


def test_the_base_that_is_shown_with_a_digest_is_the_default() -> None:
    files = (DOCKERFILE, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / ".ci" / "release")
    shown = {path.name: re.findall(r"(\S+)@sha256:…", path.read_text()) for path in files}
    assert {
        name: {one.rpartition("BASE=")[2] for one in found} for name, found in shown.items()
    } == {path.name: {default_base()} for path in files}


def test_nothing_comes_from_the_network_but_packages() -> None:
    assert texts("ADD") == []
    fetching = re.compile(r"https?://|\b(curl|wget|git|apt-get)\b")
    assert [each for each in ALL if fetching.search(each.text)] == []


def test_every_install_is_pinned() -> None:
    installs = [text for text in texts("RUN") if re.search(r"\bpip\b.* install\b", text)]
    assert len(installs) == 2
    assert [text for text in installs if " -c constraints.txt " not in text] == []


def test_it_names_no_shell_to_start_with() -> None:
    assert [json.loads(text) for text in texts("ENTRYPOINT") + texts("CMD")] == [
        ["bridge"],
        ["serve"],
    ]
    assert texts("HEALTHCHECK") == []
    final = max(each.stage for each in ALL)
    assert [each for each in ALL if each.stage == final and each.name == "RUN"] == []


def test_the_user_is_a_number_and_the_charts() -> None:
    (user,) = texts("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    if not VALUES.exists():
        pytest.skip("THE CHART'S USER WAS NOT COMPARED: there is no helm/values.yaml")
    values = yaml.safe_load(VALUES.read_text())
    del values["nats"]  # has an image of its own
    asked = run_as_users(values)
    assert asked, "the chart's values set no runAsUser"
    assert {str(each) for each in asked} == {user.partition(":")[0]}


def test_the_label_says_the_packages_version() -> None:
    assert f"VERSION={PROJECT['version']}" in texts("ARG")


def test_dependencies_come_before_the_source() -> None:
    """Or a change of one line would install everything again."""
    copies = [
        ALL.index(each) for each in ALL if each.name == "COPY" and "bridge bridge" in each.text
    ]
    server = [ALL.index(each) for each in ALL if "server.txt" in each.text]
    assert len(copies) == len(server) == 1
    assert server < copies


def test_only_what_it_is_built_from_goes_to_the_builder(tmp_path: Path) -> None:
    needed = ["bridge/cli/serve.py", "bridge/py.typed", "config/bridge.yaml", "pyproject.toml"]
    needed += ["constraints.txt", "README.md", "LICENSE"]
    other = [".git/HEAD", ".venv/bin/python", "tests/conftest.py", "helm/values.yaml", ".env"]
    other += [".ci/run", "bridge/__pycache__/bus.pyc", "bridge/cli/__pycache__/serve.pyc"]
    other += ["Dockerfile.local", "secrets.txt"]
    assert context(tmp_path, needed + other) == set(needed)
    copied = [word for text in texts("COPY") if "--from" not in text for word in text.split()[:-1]]
    assert {name.split("/")[0] for name in needed} == set(copied)
