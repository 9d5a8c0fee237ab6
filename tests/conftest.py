"""Fixtures: one nats-server and one bridge for the session, others for tests that break things."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from tests.support import Agent, Agents, BridgeProcess, NatsServer
from tests.support.bridges import Times
from tests.support.containers import nats_in_container

SHARED_FOLDERS = {"tests/cluster", "tests/image"}
OWN_SERVERS = {"tests/cluster/test_cut_off.py", "tests/cluster/test_single_replica.py"}
"""Files of such folders that share nothing with the others."""

LONGEST = "tests/cluster"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--nats",
        choices=("binary", "container"),
        default="binary",
        help="the NATS that tests share: the local nats-server, or a container (needs Docker)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Let bridges do on NATS what helm/nats-user.conf allows; a container knows no users."""
    NatsServer.restricted = config.getoption("--nats") == "binary"
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell ignores Ctrl-C for what it starts in the background, and so would every program
        # that tests start and interrupt.
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give workers of `-n` whole files, or whole folders whose tests share a cluster or image."""
    scheduler = LoadFileScheduling(config, log)
    scheduler._split_scope = _unit
    return scheduler


def _unit(nodeid: str) -> str:
    file = nodeid.partition("::")[0]
    folder = file.rpartition("/")[0]
    return folder if folder in SHARED_FOLDERS and file not in OWN_SERVERS else file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what lasts longest begin first, so that no worker ends with it while others are idle."""
    items.sort(key=lambda item: _unit(item.nodeid) != LONGEST)


@pytest.fixture(scope="session", autouse=True)
def nothing_forbidden_was_tried_at_the_end() -> Iterator[None]:
    """Fail if bridges that the session shares violate a permission when they stop."""
    yield
    NatsServer.end_all()
    assert NatsServer.all_violations() == []


@pytest.fixture(autouse=True)
def nothing_forbidden_was_tried(nothing_forbidden_was_tried_at_the_end: None) -> Iterator[None]:
    """Fail a test in which a permission was violated, unless it took the violation as its own."""
    yield
    assert NatsServer.all_violations() == [], "missing in helm/nats-user.conf, or a test's fault"


@pytest.fixture(scope="session")
def nats_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A nats-server for every test that leaves it as it is."""
    if request.config.getoption("--nats") == "container":
        with nats_in_container() as url:
            yield url
        return
    server = NatsServer(tmp_path_factory.mktemp("nats")).start()
    yield server.url
    server.end()


@pytest.fixture(scope="session")
def bridge(nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BridgeProcess]:
    """A bridge for every test that leaves it as it is; each test has a project of its own."""
    process = BridgeProcess(tmp_path_factory.mktemp("bridge"), nats_url, ack_wait_seconds="5")
    process.start()
    yield process
    assert process.stop() == 0, process.log


@pytest.fixture
def agents(bridge: BridgeProcess) -> Iterator[Agents]:
    """Makes agents of a project that no other test uses."""
    made = Agents(bridge.url)
    yield made
    made.close()


@pytest.fixture
def agent(agents: Agents) -> Agent:
    return agents()


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[NatsServer]:
    """A nats-server that the test may stop, kill, pause and restart."""
    folder = tmp_path / "nats"
    folder.mkdir()
    server = NatsServer(folder).start()
    yield server
    server.end()


@pytest.fixture
def start_bridge(tmp_path: Path) -> Iterator[Callable[..., BridgeProcess]]:
    """Starts bridges that the test may signal and kill; ends those that are left."""
    started: list[BridgeProcess] = []

    def start(
        nats_url: str | None = None,
        *,
        ready: bool = True,
        times: Times | None = None,
        **settings: Any,
    ) -> BridgeProcess:
        process = BridgeProcess(tmp_path / f"bridge-{len(started)}", nats_url, **settings)
        process.times = times
        started.append(process)
        return process.start(ready=ready)

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def agents_on() -> Iterator[Callable[[BridgeProcess], Agents]]:
    """Makes agents on bridges of the test's own, and closes them at the end."""
    with contextlib.ExitStack() as made:

        def on(bridge: BridgeProcess) -> Agents:
            agents = Agents(bridge.url)
            made.callback(agents.close)
            return agents

        yield on
