"""One cluster with its bridges for the package; each test breaks it and finds it whole."""

from collections.abc import Iterator

import pytest

from tests.cluster.fleet import Fleet
from tests.cluster.scene import Scene
from tests.support.cluster import NatsCluster


@pytest.fixture(scope="package")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    made = Fleet(folder, NatsCluster(folder / "nats"))
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture
def scene(fleet: Fleet) -> Iterator[Scene]:
    """A scene that the test starts; at its end the fleet is made whole for the next."""
    fleet.heal()
    scene = Scene(fleet)
    yield scene
    scene.stop()
    fleet.heal()
    scene.clean()
