"""The bridge in a rendered pod, started as far as its settings: what the tests need for it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.settings import Settings, load_settings
from tests.support.manifests import Container, Object, Pod, inside, pods

PREFIX = "BRIDGE_"
PEM = "-----BEGIN {0} KEY-----\nbm90IGEga2V5\n-----END {0} KEY-----\n"

Load = Callable[[list[Object], Pod], Settings]


def stand_in(key: str) -> str:
    """Give what an operator might have put under a key: settings look no closer than this."""
    if "private" in key or key == "tls.key":
        return PEM.format("PRIVATE")
    if "public" in key:
        return PEM.format("PUBLIC")
    return "a stand-in of sixty-four characters, as HS512 wants its secrets to be"


def bridges(objects: list[Object]) -> list[Pod]:
    """Give the pods with a bridge in them, behind a Service or beside an agent."""
    return [pod for pod in pods(objects) if any(one["name"] == "bridge" for one in pod.containers)]


def container_of(pod: Pod) -> Container:
    """Give the bridge's container of a pod."""
    return next(one for one in pod.containers if one["name"] == "bridge")


def loader(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Give what loads the settings of the bridge in a pod as it would load them there.

    The pod's volumes are made in the folder; no BRIDGE_ variable and no `.env` of whoever runs the
    tests is taken for the chart's.
    """
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(folder)

    def loaded(objects: list[Object], pod: Pod) -> Settings:
        with monkeypatch.context() as environment:
            found = inside.Inside(objects, pod, container_of(pod), folder, stand_in)
            found.set_up()
            for name, value in found.environment().items():
                environment.setenv(name, value)
            return load_settings()

    return loaded
