"""Fixtures: the image, built once, and containers of it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.image.containers import BridgeContainer
from tests.support.images import built_image


@pytest.fixture(scope="session")
def image() -> Iterator[str]:
    """The image's name; a test that asks for it is skipped where it cannot be built."""
    with built_image() as name:
        yield name


@pytest.fixture
def run_bridge(image: str, nats_url: str) -> Iterator[Callable[..., BridgeContainer]]:
    """Starts bridges in containers, and removes them at the end."""
    started: list[BridgeContainer] = []

    def run(**given: Any) -> BridgeContainer:
        container = BridgeContainer(image, nats_url, **given)
        started.append(container)
        return container.start()

    yield run
    for container in started:
        container.remove()
