"""Fixtures: one cluster for all tests, and the chart's release on it.

Everything in this folder is marked `kubernetes`, which no run has but one that asks for it:
`tests/kubernetes/lab/prepare`, once, then `pytest -m kubernetes`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.cluster import Cluster, missing

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.kubernetes)
            item.add_marker(pytest.mark.timeout(1200))
            item.add_marker(pytest.mark.xdist_group("kubernetes"))


@pytest.fixture(scope="session")
def bare_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with nothing on it, or a loud skip where none can be."""
    if why := missing():
        pytest.skip(f"KUBERNETES WAS NOT RUN: {why}")
    cluster = Cluster(tmp_path_factory.mktemp("release"))
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down()


@pytest.fixture(scope="session")
def cluster(bare_cluster: Cluster) -> Cluster:
    """The cluster with the chart's release, as its default values have it."""
    bare_cluster.install()
    return bare_cluster
