"""A NATS in a container, in place of the local nats-server, where Docker answers."""

import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.waiting import eventually

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

IMAGE = os.environ.get("BRIDGE_TEST_NATS_IMAGE", "nats:2.12-alpine")
PORT = 4222


@contextmanager
def nats_in_container() -> Iterator[str]:
    """Run NATS with JetStream in a container and give its URL."""
    with _container() as container:
        host, port = container.get_container_host_ip(), int(container.get_exposed_port(PORT))
        eventually(lambda: _greets(host, port), within=60, what=f"NATS of {IMAGE}")
        yield f"nats://{host}:{port}"


def _container() -> "DockerContainer":
    """Describe the container; ends the run with one line where no Docker answers."""
    with warnings.catch_warnings():
        # Their own deprecations, told at import, are not this project's to mend.
        warnings.simplefilter("ignore", DeprecationWarning)
        # Only --nats=container needs them; the first has no types.
        from docker.errors import DockerException  # type: ignore[import-untyped]  # noqa: PLC0415
        from testcontainers.core.config import testcontainers_config  # noqa: PLC0415
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415
    # Without its helper container, which would be one more image to pull: `with` ends ours.
    testcontainers_config.ryuk_disabled = True
    try:
        container = DockerContainer(IMAGE)
    except DockerException as error:
        pytest.exit(f"--nats=container: Docker does not answer ({error})", returncode=2)
    return container.with_command("-js").with_exposed_ports(PORT)


def _greets(host: str, port: int) -> bool:
    """Tell whether NATS itself answers: Docker's proxy accepts connections before it does."""
    try:
        with socket.create_connection((host, port), timeout=1) as probe:
            return probe.recv(5) == b"INFO "
    except OSError:
        return False
