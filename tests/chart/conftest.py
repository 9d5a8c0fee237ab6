"""Fixtures: the chart, ready to be rendered, and what it renders for each set of values."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chart.starting import Load, loader
from tests.chart.valuesets import SETS, ValueSet
from tests.support.helm import (
    CHART,
    HELMS,
    NAMESPACE,
    RELEASE,
    with_dependency,
    with_stubbed_dependencies,
)
from tests.support.manifests import Object

NATS_STUB = Path(__file__).with_name("nats-stub.yaml")

Render = Callable[..., list[Object]]


@pytest.fixture(scope="session")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart with a stand-in for NATS's, which is not in the repository."""
    folder = tmp_path_factory.mktemp("chart")
    return with_stubbed_dependencies(CHART, folder, {"nats": NATS_STUB})


@pytest.fixture(scope="session")
def real_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart with NATS's own, in the folder that the variable NATS_CHART names."""
    brought = os.environ.get("NATS_CHART")
    if not brought:
        pytest.skip("NOT RUN: NATS_CHART does not name the folder of the NATS chart")
    return with_dependency(CHART, tmp_path_factory.mktemp("real"), "nats", Path(brought))


@pytest.fixture(scope="session")
def render(chart: Path) -> Render:
    """Renders the chart with values given as text, each render once."""
    made: dict[tuple[str, str, str, str], list[Object]] = {}

    def once(
        values: str = "", *, helm: str = "helm3", name: str = RELEASE, namespace: str = NAMESPACE
    ) -> list[Object]:
        key = (helm, values, name, namespace)
        if key not in made:
            made[key] = HELMS[helm].template(chart, values, name=name, namespace=namespace)
        return made[key]

    return once


@pytest.fixture(params=SETS, ids=str)
def values(request: pytest.FixtureRequest) -> ValueSet:
    """Each set of values: every file in helm/ci, of which one changes nothing."""
    found: ValueSet = request.param
    return found


@pytest.fixture
def objects(values: ValueSet, render: Render) -> list[Object]:
    """What the chart renders for a set of values; not to be changed."""
    return render(values.text)


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads the settings of the bridge in a rendered pod, as it would load them there."""
    return loader(tmp_path, monkeypatch)
