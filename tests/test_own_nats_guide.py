"""helm/OPERATIONS.md, "A bridge with its own NATS": followed to a NATS of one's own, and broken."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import Agent, BridgeProcess, eventually
from tests.support.bridges import BRIDGE
from tests.support.disks import SmallDisk, small_disk
from tests.support.helm import CHART, HELMS, with_stubbed_dependencies
from tests.support.natscli import errors
from tests.support.natsservers import nats_binary
from tests.support.operations import World
from tests.support.own_nats import DATA, REFUSED, Mover
from tests.support.readme import Block
from tests.test_operations_guide import ALL_BLOCKS, BLOCKS, NAMES, NATS_STUB, TEXT

OWN = [block for block in ALL_BLOCKS if block not in BLOCKS]
[COPY] = [block for block in OWN if "flock" in block.text]

Start = Callable[..., BridgeProcess]


class Move:
    """A bridge with its own NATS and agents at work on it, who are half done when it moves."""

    def __init__(self, folder: Path, servers: int) -> None:
        for name in ("chart", "new", "folder"):
            (folder / name).mkdir()
        chart = with_stubbed_dependencies(CHART, folder / "chart", {"nats": NATS_STUB})
        release = HELMS["helm3"].template(chart, **NAMES)
        self._new = World(folder / "new", release, servers=servers)
        self._new.start_servers()
        self.mover = Mover(folder / "folder", OWN, self._new, self._work)
        self._agents: dict[str, Agent] = {}
        self.history: list[Any] = []
        self.cursor = ""
        self.leased: list[Any] = []

    def __call__(self, name: str, **claims: Any) -> Agent:
        """Give an agent, with the token that it had before the move."""
        if name not in self._agents:
            url = f"http://localhost:{self.mover.port}"
            secret = (self.mover.data / "jwt-secret").read_text().strip()
            self._agents[name] = Agent(url, name, "shop", secret=secret, **claims)
        return self._agents[name]

    def finish(self) -> "Move":
        self.mover.reach(OWN[-1])
        return self

    def end(self) -> None:
        for agent in self._agents.values():
            agent.close()
        self.mover.end()
        self._new.stop()

    def _work(self) -> None:
        tester, coder = self("tester-1"), self("coder-1")
        for number in range(6):
            tester.publish("tests_passing", {"n": number}, correlation_id=f"build-{number}")
        for number in range(2):
            tester.publish("review_requested", {"n": number}, correlation_id="build-9")
        assert numbers(coder.events("tests_passing", limit=3)) == [0, 1, 2]
        pinned = coder.events("review_requested", correlation_id="build-9", limit=1)
        assert numbers(pinned) == [0]
        self.cursor = coder.wait("tests_passing", since="earliest", limit=3)["next_cursor"]
        lease: dict[str, Any] = {"group": "deployers", "ack": "explicit", "lease": 300_000}
        self.leased = self("deployer-1").events("tests_passing", limit=2, **lease)
        self.history = tester.history(order="asc")["events"]
        assert self("leaver").http.get("/events").status_code == 200
        chief = self("chief", permissions=["spawn_agents"])
        revoked = chief.http.post("/tokens/revoked", json={"agent_id": "leaver"})
        assert revoked.is_success, revoked.text


def numbers(events: list[Any]) -> list[int]:
    return [event["data"]["n"] for event in events]


@pytest.fixture(scope="module", params=[1, 3], ids=["one-server", "three-servers"])
def move(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Move]:
    if absent := [name for name in ("nats", "flock") if shutil.which(name) is None]:
        pytest.skip(f"NOT RUN, not on PATH: {', '.join(absent)}")
    made = Move(tmp_path_factory.mktemp("move"), request.param)
    try:
        yield made
    finally:
        made.end()


@pytest.mark.parametrize("block", OWN, ids=str)
def test_each_block_does_what_the_guide_says(move: Move, block: Block) -> None:
    assert list(errors(move.mover.reach(block))) == []


def test_history_is_whole(move: Move) -> None:
    """But for cursors, which name the stream that there is now."""
    history = move.finish()("tester-1").history(order="asc")["events"]
    assert len(history) == 8
    assert [event | {"cursor": ""} for event in history] == [
        event | {"cursor": ""} for event in move.history
    ]


@pytest.mark.parametrize(
    ("types", "query", "left"),
    [
        ("tests_passing", {}, [3, 4, 5]),
        ("review_requested", {"correlation_id": "build-9"}, [1]),
    ],
    ids=["standing", "pinned"],
)
def test_a_subscription_gets_the_other_half(
    move: Move, types: str, query: dict[str, Any], left: list[int]
) -> None:
    answer = move.finish()("coder-1").wait(types, timeout=20, **query)
    assert "gap" not in answer
    assert numbers(answer["events"]) == left
    assert {event["delivery_count"] for event in answer["events"]} == {1}
    assert move("coder-1").events(types, **query) == []


def test_a_cursor_goes_on(move: Move) -> None:
    answer = move.finish()("reader").wait("tests_passing", since=move.cursor)
    assert ("gap" in answer, numbers(answer["events"])) == (False, [3, 4, 5])


def test_a_revoked_token_is_not_good_again(move: Move) -> None:
    refusal = move.finish()("leaver").http.get("/events")
    assert refusal.status_code == 401
    assert "was revoked" in refusal.json()["message"]


def test_leases_are_still_their_agents(move: Move) -> None:
    """One is done, the other is given back; the rest was never leased."""
    done, back = move.finish().leased
    others, query = move("deployer-2"), {"group": "deployers", "ack": "explicit"}
    assert numbers(others.events("tests_passing", timeout=20, **query)) == [2, 3, 4, 5]
    for verb, event in (("ack", done), ("release", back)):
        body = {"ack_ids": [event["ack_id"]]}
        answer = move("deployer-1").http.post(f"/deliveries/{verb}", json=body)
        assert answer.status_code == 200, answer.text
    [again] = others.events("tests_passing", timeout=20, **query)
    assert (again["event_id"], again["delivery_count"]) == (back["event_id"], 2)


# What it outlives


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose bridge has its data where the guide says."""
    (tmp_path / DATA).parent.mkdir(parents=True)
    return tmp_path


@pytest.fixture
def start(home: Path, start_bridge: Start) -> Start:
    """Starts the bridge on the data in this home."""
    return lambda **settings: start_bridge(data_dir=str(home / DATA), **settings)


def publish(bridge: BridgeProcess, count: int) -> None:
    with Agent(bridge.url, "tester-1", "shop") as agent:
        for number in range(count):
            agent.publish("tests_passing", {"n": number})


def given(bridge: BridgeProcess, **query: Any) -> list[tuple[int, int]]:
    """Give what the next wait of an agent brings, and how often each was given."""
    with Agent(bridge.url, "coder-1", "shop") as agent:
        events = agent.events("tests_passing", timeout=20, **query)
        return [(event["data"]["n"], event["delivery_count"]) for event in events]


def test_after_an_end_in_order_nothing_comes_twice(start: Start) -> None:
    bridge = start()
    publish(bridge, 3)
    assert given(bridge, limit=1) == [(0, 1)]
    assert bridge.stop() == 0
    assert given(start()) == [(1, 1), (2, 1)]


def test_a_bridge_that_was_killed_has_everything_and_says_what_it_may_repeat(
    start: Start, home: Path
) -> None:
    bridge = start()
    publish(bridge, 4)
    assert given(bridge, limit=1) == [(0, 1)]
    lease = {"group": "g", "ack": "explicit", "lease": 300_000}
    assert given(bridge, limit=1, **lease) == [(0, 1)]
    bridge.kill()
    assert (home / DATA / "nats-server.pid").exists()
    again = start()
    assert given(again, **lease) == [(1, 2), (2, 2), (3, 2)]
    assert {number for number, _ in given(again)} >= {1, 2, 3}
    assert again.stop() == 0
    assert not (home / DATA / "nats-server.pid").exists()


def test_a_nats_server_that_is_killed_is_started_again(start: Start, home: Path) -> None:
    bridge = start()
    publish(bridge, 1)
    os.kill(int((home / DATA / "nats-server.pid").read_text()), signal.SIGKILL)
    with Agent(bridge.url, "tester-1", "shop") as agent:
        eventually(lambda: agent.http.post("/events/after").status_code == 202, what="NATS")
        assert agent.history(type="tests_passing")["events"]
    [said] = re.findall(r"`(nats-server ended with -9; [^`]+)`", TEXT)
    assert said in bridge.log


def test_an_older_servers_store_is_read_by_the_one_that_is_installed(start: Start) -> None:
    """.ci/run tries it with an older one."""
    bridge = start(nats_server_binary=nats_binary())
    publish(bridge, 2)
    assert given(bridge, limit=1) == [(0, 1)]
    assert bridge.stop() == 0
    assert given(start()) == [(1, 1)]


class OnADisk(BridgeProcess):
    """A bridge that has its data on a small disk."""

    disk: SmallDisk

    def _command(self) -> list[str]:
        return [*self.disk.prefix, BRIDGE, "serve"]


@contextmanager
def on_a_disk(tmp_path: Path, size: str) -> Iterator[tuple[SmallDisk, Start]]:
    """Give a small disk, and what starts the bridge that has its data there."""
    with small_disk(tmp_path / "data", size) as disk, ExitStack() as ending:

        def start(**settings: str) -> BridgeProcess:
            bridge = OnADisk(tmp_path / "bridge", data_dir=str(tmp_path / "data"), **settings)
            bridge.disk = disk
            ending.callback(bridge.kill)
            return bridge.start()

        yield disk, start


def refusal(bridge: BridgeProcess) -> str:
    """Publish until an event is not taken, and give the message."""
    with Agent(bridge.url, "tester-1", "shop") as agent:
        big = {"data": {"log": "x" * 100_000}}
        answers = (agent.http.post("/events/work", json=big) for _ in range(200))
        refused = next(answer for answer in answers if answer.status_code != 202)
    assert refused.status_code == 503
    return str(refused.json()["message"])


def test_a_disk_that_something_else_has_filled(tmp_path: Path) -> None:
    """NATS takes nothing more, whatever room there is, until it is started again."""
    with on_a_disk(tmp_path, "12m") as (disk, start):
        bridge = start()
        publish(bridge, 3)
        assert given(bridge, limit=1) == [(0, 1)]
        disk.fill()
        [told] = re.findall(r"`(JetStream did not confirm the event)`", TEXT)
        assert told in refusal(bridge)
        [logged] = re.findall(r"nats-server has `([^`]+)`", TEXT.replace("\n", " "))
        assert logged in (disk.inside / "nats-server.log").read_text()
        assert bridge.ready()
        assert given(bridge, limit=1) == [(1, 1)]
        disk.clear()
        assert told in refusal(bridge)
        assert bridge.stop() == 0
        again = start()
        publish(again, 1)
        assert [number for number, _ in given(again)][-2:] == [2, 0]


def test_a_disk_that_is_full_of_events(tmp_path: Path) -> None:
    """NATS leaves some of it to others; a smaller stream makes room."""
    with on_a_disk(tmp_path, "12m") as (disk, start):
        bridge = start()
        [most] = re.findall(
            r"Max Storage: +(\S+) MB", (disk.inside / "nats-server.log").read_text()
        )
        assert "three quarters" in TEXT
        assert 0.7 < float(most) / 12 < 0.8
        assert "JetStream does not take the event: insufficient resources" in refusal(bridge)
        assert bridge.ready()
        assert bridge.stop() == 0
        publish(start(stream_max_bytes="2000000"), 1)


def test_the_command_that_the_bridge_logs_looks_inside(start: Start) -> None:
    if shutil.which("nats") is None:
        pytest.skip("NOT RUN, not on PATH: nats")
    logged = [json.loads(line)["message"] for line in start().log.splitlines()]
    [command] = [line.partition("look inside with ")[2] for line in logged if "inside" in line]
    shown = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "EVENTS" in shown.stdout


def test_a_copy_in_the_folders_place_is_what_was_there(start: Start, home: Path) -> None:
    if shutil.which("flock") is None:
        pytest.skip("NOT RUN, not on PATH: flock")
    bridge = start()
    publish(bridge, 2)
    assert given(bridge, limit=1) == [(0, 1)]
    assert REFUSED in copied(home)
    assert bridge.stop() == 0
    assert copied(home) == ""
    later = start()
    publish(later, 3)
    assert len(given(later)) == 4
    assert later.stop() == 0
    shutil.rmtree(home / DATA)
    (home / "events-copy").rename(home / DATA)
    assert given(start()) == [(1, 1)]


def copied(home: Path) -> str:
    """Type what the guide says copies the folder of a bridge that does not run."""
    return subprocess.run(
        ["bash", "-c", COPY.text],
        cwd=home,
        env=os.environ | {"HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
