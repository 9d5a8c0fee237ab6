"""`bridge demo`: seven agents on a bridge of its own, and an account that comes out even."""

import contextlib
import os
import re
import signal
from pathlib import Path

import pytest

from bridge.cli.demo.account import Account, AwaitedQuery, Report, Tally, read_report
from bridge.client import EventClient
from tests.support import Agents, BridgeProcess, eventually
from tests.support.commands import Shell, interrupt

ROLES = {"architect", "coder-api", "coder-worker", "tester", "tester-2", "security", "devops"}
FAILED, INTERRUPTED, TERMINATED = 1, 130, 143
_LINE = re.compile(r"^ +\d+\.\d{3} s  (\S+) +(.*)$", re.MULTILINE)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell with a folder for temporary files of its own, and settings that the demo ignores."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    variables = {"TMPDIR": str(folder), "JWT_TOKEN": "wrong", "BRIDGE_PORT": "wrong"}
    return Shell(tmp_path, variables)


def left_over(shell: Shell) -> dict[int, list[str]]:
    """The commands of the processes that this shell's demo started and that run, by process ID."""
    ours = f"TMPDIR={shell.variables['TMPDIR']}"
    found: dict[int, list[str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if ours in _strings(folder / "environ"):
                found[int(folder.name)] = _strings(folder / "cmdline")
    return {pid: command for pid, command in found.items() if any(map(_is_demos, command))}


def _strings(path: Path) -> list[str]:
    return path.read_bytes().decode(errors="replace").split("\0")


def _is_demos(argument: str) -> bool:
    return argument == "bridge.cli.demo.processes" or Path(argument).name.startswith("nats-server")


def test_the_workflow_runs_to_a_clean_account(shell: Shell) -> None:
    ended = shell.run("demo", "--speed", "5")
    assert ended.stderr == ""
    lines = _LINE.findall(ended.stdout)
    assert {agent for agent, _ in lines} == ROLES
    assert {agent for agent, said in lines if said == "is done"} == ROLES - {"tester"}
    assert ("tester", "is killed; tester-2 takes its place") in lines
    [taken] = [said for agent, said in lines if agent == "tester" and said.startswith("<- ")]
    assert ("tester-2", taken) in lines
    said = [line for _, line in lines]
    assert said.count("-> implementation_complete") == 3
    assert said.count("-> tests_failing") == 1
    assert said.count("-> tests_passing") == 2
    # What else was tested may have passed before: which coder is done first is chance.
    assert said.index("-> tests_failing") < len(said) - 1 - said[::-1].index("-> tests_passing")
    assert "waits for phase_complete with phase:deployment" in said
    assert said.count("<- release_announced from architect") == 5
    published = sum(line.startswith("-> ") for line in said)
    received = sum(line.startswith("<- ") for line in said)
    *_, stored, awaited, again, rounds, latency, last = ended.stdout.splitlines()
    assert stored == f"{published} events published, {published} stored"
    assert awaited.startswith(
        f"{received - 1} deliveries awaited, {received - 1} received: 0 lost, 0"
    )
    assert again == "1 delivered again, since the worker that had it was killed"
    assert rounds == "2 rounds until the tests passed"
    assert re.match(r"publish to received, .*: p50 [\d.]+ ms, max [\d.]+ ms", latency)
    assert last.endswith("had in hand when it was killed: another did it.")
    assert left_over(shell) == {}
    assert list(Path(shell.variables["TMPDIR"]).iterdir()) == []


def test_a_terminal_shows_who_waits_for_whom(shell: Shell) -> None:
    shown = shell.on_terminal("demo", "--speed", "20", "--keep")
    assert "who waits for whom" in shown
    assert "chief-architect" in shown
    (kept,) = Path(shell.variables["TMPDIR"]).glob("bridge-demo-*")
    assert f"Kept: {kept}" in shown
    assert {path.stem for path in kept.glob("*.log")} == {*ROLES, "bridge"}
    assert left_over(shell) == {}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_it_ends_its_processes_end_too(shell: Shell, how: signal.Signals) -> None:
    with shell.started("demo", "--speed", "0.2") as demo:
        assert demo.stdout is not None
        while "architect" not in demo.stdout.readline():
            assert demo.poll() is None
        assert len(left_over(shell)) == 2 + len(ROLES) - 1
        if how is signal.SIGINT:
            status, _, err = interrupt(demo)
            assert (status, err) == (INTERRUPTED, "")
        else:
            os.kill(demo.pid, how)
            assert demo.wait(60) == (TERMINATED if how is signal.SIGTERM else -how)
    eventually(lambda: not left_over(shell), what="the end of its processes")
    if how is not signal.SIGKILL:
        assert list(Path(shell.variables["TMPDIR"]).iterdir()) == []


def test_an_agent_that_dies_is_told_of(shell: Shell) -> None:
    with shell.started("demo", "--speed", "0.2") as demo:
        assert demo.stdout is not None
        while "architect" not in demo.stdout.readline():
            assert demo.poll() is None
        (devops,) = [pid for pid, command in left_over(shell).items() if "devops" in command]
        os.kill(devops, signal.SIGKILL)
        _, err = demo.communicate(timeout=60)
    assert demo.returncode == FAILED
    assert err.startswith("bridge: an agent has failed")
    assert left_over(shell) == {}


def test_without_a_nats_server_it_says_so(shell: Shell) -> None:
    told = shell.run("demo", status=FAILED, BRIDGE_NATS_SERVER_BINARY="/missing").stderr
    assert told.startswith("bridge: the demo's bridge did not start: ")
    assert "BRIDGE_NATS_SERVER_BINARY" in told
    assert told.count("\n") == 1


def reported(kind: str, query: AwaitedQuery | None = None, event_id: str = "") -> Report:
    return read_report(Report(kind, 2.0, 1.0, query, event_id, "step", "a").line())


@pytest.fixture
def counted(bridge: BridgeProcess, agents: Agents) -> tuple[Tally, list[str], EventClient]:
    """A tally of two events that were published and awaited, and who can look at the bridge."""
    agent = agents()
    ids = [agent.publish("step", {"n": n})["event_id"] for n in range(2)]
    tally = Tally()
    for event_id in ids:
        tally.take("a", reported("published", None, event_id))
    tally.take("b", reported("waits", AwaitedQuery("step", "n:*")))
    return tally, ids, EventClient(bridge.api, agent.token)


def take(tally: Tally, *event_ids: str) -> None:
    for event_id in event_ids:
        tally.take("b", reported("received", AwaitedQuery("step", "n:*"), event_id))


def account(counted: tuple[Tally, list[str], EventClient], *event_ids: str) -> Account:
    tally, _, client = counted
    take(tally, *event_ids)
    with client:
        return tally.account(client)


Counted = tuple[Tally, list[str], EventClient]


def test_the_account_is_clean_when_all_came_once(counted: Counted) -> None:
    found = account(counted, *counted[1])
    assert found.clean
    assert (found.published, found.stored, found.awaited, found.received) == (2, 2, 2, 2)


def test_the_account_shows_what_was_lost(counted: Counted) -> None:
    found = account(counted, counted[1][0])
    assert (found.clean, found.lost) == (False, 1)


def test_the_account_shows_what_came_twice(counted: Counted) -> None:
    found = account(counted, *counted[1], counted[1][1])
    assert (found.clean, found.repeated) == (False, 1)


def test_the_account_shows_what_nobody_asked_for(counted: Counted) -> None:
    found = account(counted, *counted[1], "stray")
    assert (found.clean, found.unasked) == (False, 1)


def test_the_account_shows_what_was_not_stored(counted: Counted) -> None:
    counted[0].take("a", reported("published", None, "vanished"))
    found = account(counted, *counted[1])
    assert (found.clean, found.unstored) == (False, 1)
