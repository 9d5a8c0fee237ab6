"""`bridge hook`: what came since the last turn, as the hooks of coding agents want it."""

import json
import os
import subprocess
import sys

from tests.support import Agent, Agents, BridgeProcess

CLAUDE_CODE_STOP = {
    "session_id": "abc123",
    "transcript_path": "/home/a/.claude/projects/x/abc123.jsonl",
    "cwd": "/home/a/x",
    "hook_event_name": "Stop",
    "stop_hook_active": False,
}
"""What Claude Code writes to the standard input of a hook at the end of a turn."""


def hook(
    bridge: BridgeProcess, agent: Agent, *arguments: str, **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bridge", "hook", *arguments],
        env={**os.environ, "SIDECAR_URL": bridge.api, "JWT_TOKEN": agent.token, **env},
        input=json.dumps(CLAUDE_CODE_STOP),
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_came_is_printed_once(bridge: BridgeProcess, agents: Agents) -> None:
    lead, coder = agents("lead"), agents("coder")
    ended = hook(bridge, coder, "task_assigned")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    lead.publish("task_assigned", {"task": "login"}, correlation_id="job-1")
    lead.publish("task_assigned", {"task": "logout"})
    ended = hook(bridge, coder, "task_assigned")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "2 events from other agents came for you:",
        '- task_assigned from lead about job-1: {"task": "login"}',
        '- task_assigned from lead: {"task": "logout"}',
    ]
    assert hook(bridge, coder, "task_assigned").stdout == ""


def test_at_the_end_of_a_turn_it_sends_the_model_back_to_work(
    bridge: BridgeProcess, agents: Agents
) -> None:
    lead, coder = agents("lead"), agents("coder")
    assert hook(bridge, coder, "task_assigned", "--at-end").returncode == 0
    lead.publish("task_assigned", {"task": "login"})
    ended = hook(bridge, coder, "task_assigned", "--at-end")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "1 event from other agents came for you" in ended.stderr
    assert hook(bridge, coder, "task_assigned", "--at-end").returncode == 0


def test_it_is_bounded_and_the_rest_comes_next_time(bridge: BridgeProcess, agents: Agents) -> None:
    lead, coder = agents("lead"), agents("coder")
    for n in range(6):
        lead.publish("note", {"n": n, "text": "x" * 300})
    seen = []
    for _ in range(6):
        ended = hook(bridge, coder, "note", "--max-bytes", "1500")
        assert len(ended.stdout) < 1500
        seen += [line for line in ended.stdout.splitlines() if line.startswith("- note")]
        if "More is waiting" not in ended.stdout:
            break
    assert [json.loads(line.partition(": ")[2])["n"] for line in seen] == list(range(6))


def test_what_could_not_be_printed_comes_again(bridge: BridgeProcess, agents: Agents) -> None:
    lead, coder = agents("lead"), agents("coder")
    lead.publish("note", {"n": 1})
    command = f"{sys.executable} -m bridge hook note >/dev/full"
    env = {**os.environ, "SIDECAR_URL": bridge.api, "JWT_TOKEN": coder.token}
    assert subprocess.run(command, shell=True, env=env, check=False).returncode != 0
    [state] = coder.subscriptions()
    assert state["ack_pending"] == 1


def test_no_failure_sends_the_model_back_to_work(bridge: BridgeProcess, agents: Agents) -> None:
    coder = agents("coder")
    away = hook(bridge, coder, "note", "--at-end", SIDECAR_URL="http://127.0.0.1:9/api")
    wrong = hook(bridge, coder, "note", "--at-end", "--filter", "a=b")
    nobody = hook(bridge, coder, "note", "--at-end", JWT_TOKEN="", SIDECAR_URL="http://a.test/api")
    for ended in (away, wrong, nobody):
        assert ended.returncode not in (0, 2)
        assert ended.stderr.startswith("bridge: ")
