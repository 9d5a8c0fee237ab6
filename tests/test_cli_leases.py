"""`bridge events wait` leases: what its command did not do, or nobody read, comes again."""

import json
from pathlib import Path

import pytest

from bridge.cli.endings import Status
from tests.support import Agent, BridgeProcess, eventually
from tests.support.commands import Shell, interrupt

WAIT = ("events", "wait", "task")


@pytest.fixture
def shell(tmp_path: Path, bridge: BridgeProcess, agent: Agent) -> Shell:
    return Shell(tmp_path, {"SIDECAR_URL": bridge.api, "JWT_TOKEN": agent.token})


def test_a_command_that_fails_gives_its_event_back_after_a_pause(
    shell: Shell, agent: Agent
) -> None:
    agent.publish("task", {"n": 1})
    shell.run(*WAIT, "--exec", "exit 7", status=7)
    ended = shell.run(*WAIT, "--timeout", "20s", "--exec", "echo $DELIVERY_COUNT; exit 0")
    assert ended.stdout == "2\n"
    shell.run(*WAIT, "--timeout", "2s", status=Status.TIMEOUT)


def test_a_command_that_always_fails_ends_in_a_dead_letter(shell: Shell, agent: Agent) -> None:
    agent.publish("task", {"n": 1})
    args = (*WAIT, "--follow", "--timeout", "20s", "--max-deliveries", "2", "--exec", "exit 3")
    with shell.started(*args) as process:
        [failure] = agent.events("delivery_failed", timeout=40)
        process.terminate()
    assert failure["data"]["deliveries"] == 2
    [found] = [each for each in agent.subscriptions() if each["types"] == ["task"]]
    assert found["dead"] == 1
    event_id = failure["data"]["event_id"]
    shell.run("subscriptions", "redrive", found["name"], event_id)
    [again] = shell.records(*WAIT, "--timeout", "10s")
    assert again["event_id"] == event_id


def test_an_interrupted_command_gives_its_event_back_at_once(shell: Shell, agent: Agent) -> None:
    agent.publish("task", {"n": 1})
    begun = shell.folder / "begun"
    with shell.started(*WAIT, "--exec", f"touch {begun}; exec sleep 30") as process:
        eventually(begun.exists, what="the command")
        status, _, _ = interrupt(process)
    assert status == Status.INTERRUPTED
    [again] = shell.records(*WAIT, "--timeout", "10s")
    assert again["delivery_count"] == 2


def test_what_was_written_out_is_done(shell: Shell, agent: Agent) -> None:
    agent.publish("task", {"n": 1})
    assert shell.records(*WAIT)[0]["data"] == {"n": 1}
    [found] = agent.subscriptions()
    assert (found["pending"], found["ack_pending"]) == (0, 0)


def test_leased_events_are_settled_by_their_own_commands(shell: Shell, agent: Agent) -> None:
    for n in range(4):
        agent.publish("task", {"n": n})
    given = shell.records(*WAIT, "--count", "4", "--lease", "5m")
    ids = [each["ack_id"] for each in given]
    [extended] = shell.records("deliveries", "extend", ids[0], "--lease", "10m")
    assert extended["lease_expires_at"] > given[0]["lease_expires_at"]
    assert shell.records("deliveries", "ack", extended["ack_id"])[0]["done"] is True
    shell.run("deliveries", "release", ids[1], "--delay", "1s")
    shell.run("deliveries", "reject", ids[2], "--reason", "no such file")
    shell.run("deliveries", "ack", ids[3])
    [again] = shell.records(*WAIT, "--timeout", "20s")
    assert again["data"] == {"n": 1}
    [failure] = agent.events("delivery_failed", timeout=5)
    assert failure["data"]["reason"] == "no such file"
    assert "is not an ack_id" in shell.refused(
        "deliveries", "ack", "nonsense", status=Status.REFUSED
    )


def test_lease_is_for_who_acknowledges_itself(shell: Shell) -> None:
    told = shell.refused(*WAIT, "--lease", "5m", "--exec", "true", status=Status.USAGE)
    assert "acknowledge yourself" in told


def test_ask_prints_the_reply(shell: Shell, agent: Agent) -> None:
    args = ("events", "ask", "wanted", "--data", '{"n": 1}', "--reply", "done")
    with shell.started(*args, "--timeout", "20s") as process:
        [event] = agent.events("wanted", timeout=20)
        agent.publish("done", {"ok": True}, correlation_id=event["correlation_id"])
        out, _ = process.communicate(timeout=30)
    assert json.loads(out)["data"] == {"ok": True}
    shell.run(*args, "--timeout", "100ms", status=Status.TIMEOUT)
