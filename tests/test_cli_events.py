"""`bridge events`: what shells and agents' hooks can rely on."""

import csv
import io
import json
import re
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.support import Agent, Agents, BridgeProcess, eventually
from tests.support.agents import make_token
from tests.support.bridges import BRIDGE
from tests.support.commands import Shell, interrupt

USAGE, REFUSED, UNAVAILABLE, UNWANTED, TIMEOUT, INTERRUPTED = 2, 3, 4, 5, 124, 130
FIELDS = (
    "event_id,event_type,publisher,agent_id,agent_type,topic,data,correlation_id,priority,"
    "timestamp,ttl_seconds,cursor,delivery_count"
)


@pytest.fixture
def shell(tmp_path: Path, bridge: BridgeProcess, agent: Agent) -> Shell:
    """The shell of the same agent that `agent` is."""
    return Shell(tmp_path, {"SIDECAR_URL": bridge.api, "JWT_TOKEN": agent.token})


def waits(agent: Agent) -> bool:
    return any(subscription["waiting"] for subscription in agent.subscriptions())


def test_publish_stores_what_the_options_say(shell: Shell, agent: Agent) -> None:
    (receipt,) = shell.records(
        *("events", "publish", "tests_passing", "--data", '{"coverage": 92, "duration_ms": 1}'),
        *("--topic", "release", "--correlation-id", "issue-7", "--ttl", "1h"),
        *("--priority", "high", "--event-id", "mine-1"),
    )
    assert (receipt["event_id"], receipt["duplicate"]) == ("mine-1", False)
    (event,) = agent.history()["events"]
    expected = {
        "event_id": "mine-1",
        "topic": "release",
        "correlation_id": "issue-7",
        "ttl_seconds": 3600,
        "priority": "high",
        "data": {"coverage": 92, "duration_ms": 1},
    }
    assert expected.items() <= event.items()
    (again,) = shell.records("events", "publish", "tests_passing", "--event-id", "mine-1")
    assert again["duplicate"]


def test_what_is_rounded_before_it_is_sent_is_told(shell: Shell, agent: Agent) -> None:
    data = '{"price": 12345678901234567.89, "n": 0.1}'
    done = shell.run("events", "publish", "offer", "--data", data)
    assert "warning: --data: `price` has 12345678901234567.89" in done.stderr
    assert done.stderr.count("warning") == 1


def test_a_wait_may_be_for_one_correlation_id(shell: Shell, agent: Agent) -> None:
    for each in ("issue-7", "a, |b*"):
        agent.publish_many(
            {"event_type": "step", "correlation_id": correlation, "data": {"n": n}}
            for n, correlation in enumerate((each, "another", each))
        )
        args = ("events", "wait", "step", "--timeout", "5s", "--correlation-id", each)
        found = shell.records(*args, "--count", "2")
        assert [event["correlation_id"] for event in found] == [each, each]
        (one,) = shell.records(*args, "--filter", "n:>1|n:<0")
        assert one["data"] == {"n": 2}
    told = shell.run(*args, "--filter", "n:>", status=REFUSED).stderr
    assert "column 4" in told


def test_data_comes_from_a_file_and_from_standard_input(shell: Shell, agent: Agent) -> None:
    (shell.folder / "data.json").write_text('{"from": "a file, für alle"}')
    shell.run("events", "publish", "one", "--data", "@data.json")
    shell.run("events", "publish", "two", "--data", "-", text='{"from": "standard input"}')
    shell.run("events", "publish", "three")
    found = [event["data"] for event in agent.history(order="asc")["events"]]
    assert found == [{"from": "a file, für alle"}, {"from": "standard input"}, {}]


@pytest.mark.parametrize(
    ("args", "about"),
    [
        (("publish", "x", "--data", "{bad"), "not JSON"),
        (("publish", "x", "--data", '{"a": NaN}'), "NaN"),
        (("publish", "x", "--data", "[1]"), "an array"),
        (("publish", "x", "--data", "null"), "null"),
        (("publish", "x", "--data", "@missing.json"), "missing.json"),
        (("publish", "x", "--ttl", "soon"), "--ttl: 'soon' is not a duration"),
        (("wait", "x", "--timeout", "1w"), "--timeout: '1w' is not a duration"),
        (("wait", "x", "--stop-on-error"), "--follow --exec"),
        (("wait", "x", "--correlation-id", ""), "--correlation-id is empty"),
        (("list", "--url", "ftp://bridge"), "ftp://bridge"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(
    shell: Shell, args: tuple[str, ...], about: str
) -> None:
    assert about in shell.refused("events", *args, status=USAGE)


@pytest.mark.parametrize(
    "args", [("publish", "x", "--priority", "urgent"), ("wait", "--count", "0"), ("lsit",)]
)
def test_wrong_options_are_usage_errors(shell: Shell, args: tuple[str, ...]) -> None:
    assert shell.run("events", *args, status=USAGE).stdout == ""


def test_a_refusal_says_why(shell: Shell, agents: Agents, agent: Agent) -> None:
    told = shell.refused("events", "publish", "not a name", status=REFUSED)
    assert told.startswith("bridge: EVT_002 ")
    quiet = agents("quiet", permissions=[]).token
    assert "AUTH_003" in shell.refused("events", "publish", "x", status=REFUSED, JWT_TOKEN=quiet)
    for wrong in (make_token("a", secret="b" * 40), "no-token"):
        told = shell.refused("events", "list", "--token", wrong, status=REFUSED)
        assert "AUTH_001" in told
    expired = make_token("a", exp=1_700_000_000)
    assert "AUTH_002" in shell.refused("events", "list", status=REFUSED, JWT_TOKEN=expired)
    assert "EVT_004" in shell.refused("events", "list", "--since", "soon?", status=REFUSED)
    assert agent.history()["events"] == []


@pytest.mark.parametrize("command", ["wait", "list"])
def test_a_bad_filter_is_shown_with_its_place(shell: Shell, command: str) -> None:
    ended = shell.run("events", command, "--filter", "a:日本,status==b", status=REFUSED)
    said, shown, caret = ended.stderr.splitlines()
    assert said.startswith("bridge: EVT_003 Filter, column 12:")
    assert shown == "  a:日本,status==b"
    # Each of the two ideographs is two cells wide.
    assert caret == "  " + " " * (len("a:日本,status") + 2) + "^"


def test_no_bridge_is_told_of_at_once(shell: Shell) -> None:
    for args in (("list",), ("publish", "x"), ("wait", "x", "--timeout", "1h")):
        told = shell.refused("events", *args, "--url", "http://localhost:1", status=UNAVAILABLE)
        assert "http://localhost:1/api" in told
        assert "bridge serve" in told


def test_without_any_token_it_says_how_to_get_one(shell: Shell) -> None:
    told = shell.refused("events", "list", status=USAGE, JWT_TOKEN="")
    assert "bridge token --agent" in told


def test_list_narrows_orders_and_pages(shell: Shell, agent: Agent) -> None:
    steps = [
        {"event_type": "step", "data": {"n": n}, "correlation_id": f"c-{n % 2}"}
        for n in range(1005)
    ]
    agent.publish_many(steps[:1000])
    agent.publish_many(steps[1000:])
    agent.publish("other", topic="elsewhere")

    def numbers(*args: str) -> list[int]:
        return [event["data"]["n"] for event in shell.records("events", "list", *args)]

    assert numbers("--type", "step", "--limit", "3") == [1004, 1003, 1002]
    assert numbers("--type", "step", "--order", "asc", "--limit", "1002") == list(range(1002))
    assert numbers("--type", "step", "--limit", "5000") == list(range(1004, -1, -1))
    assert numbers("--correlation-id", "c-1", "--filter", "n:<4") == [3, 1]
    assert len(shell.records("events", "list", "--topic", "elsewhere,nowhere")) == 1
    middle = agent.history(type="step", filter="n:1000")["events"][0]["cursor"]
    assert numbers("--type", "step", "--since", middle) == [1004, 1003, 1002, 1001]
    assert numbers("--type", "step", "--until", middle, "--limit", "2") == [1000, 999]


def test_every_format(shell: Shell, agent: Agent) -> None:
    agent.publish("first", {"text": 'commas, "quotes"\nand lines'}, correlation_id="c-1")
    agent.publish("second", {"n": [1, 2]})
    stored = agent.history()["events"]

    def listed(form: str) -> str:
        return shell.run("events", "list", "--format", form).stdout

    assert json.loads(listed("json")) == stored
    assert [json.loads(line) for line in listed("jsonl").splitlines()] == stored
    head, *rows = csv.reader(io.StringIO(listed("csv")))
    assert head == FIELDS.split(",")
    assert [json.loads(row[head.index("data")]) for row in rows] == [e["data"] for e in stored]
    assert [row[head.index("correlation_id")] for row in rows] == ["", "c-1"]
    table = listed("table")
    assert "\x1b" not in table
    titles, _, second, first = (line.strip() for line in table.splitlines())
    assert titles.split() == ["time", "type", "topic", "publisher", "correlation", "data"]
    assert second.endswith('{"n": [1, 2]}')
    assert "first" in first
    assert shell.run("events", "list", "--format", "json", "--type", "none").stdout == "[]\n"


def test_a_receipt_in_every_format(shell: Shell) -> None:
    args = ("events", "publish", "tests_passing", "--event-id", "r", "--format")
    assert json.loads(shell.run(*args, "json").stdout)["event_id"] == "r"
    head, row = csv.reader(io.StringIO(shell.run(*args, "csv").stdout))
    assert dict(zip(head, row, strict=True))["duplicate"] == "true"
    table = shell.run(*args, "table")
    assert "stored before" in table.stdout
    assert table.stderr.startswith("bridge: warning: `tests_passing` usually carries")


def test_a_terminal_gets_a_table_in_colour_unless_told_otherwise(
    shell: Shell, agent: Agent
) -> None:
    agent.publish("shown", {"escape": "\x1b[31m\x9b"}, correlation_id="\x1b]0;title\x07")
    coloured = shell.on_terminal("events", "list")
    assert "\x1b[1m" in coloured
    assert "shown" in coloured
    assert "\x1b]0;" not in coloured
    assert "\x9b" not in coloured
    plain = shell.on_terminal("events", "list", NO_COLOR="1")
    assert "\x1b" not in plain
    assert "shown" in plain
    assert "\x1b" not in shell.run("events", "list", "--format", "table", FORCE_COLOR="1").stdout


def test_wait_prints_what_comes_and_ends_well(shell: Shell, agent: Agent) -> None:
    with shell.started("events", "wait", "ready", "--timeout", "1m") as waiting:
        eventually(lambda: waits(agent))
        agent.publish("ready", {"n": 1})
        out, err = waiting.communicate(timeout=20)
    assert (waiting.returncode, err) == (0, "")
    assert json.loads(out)["data"] == {"n": 1}
    ended = shell.run("events", "wait", "ready", "--timeout", "0", status=TIMEOUT)
    assert ended.stdout == ""
    assert "hint: 1 event that matches is retained, and this subscription was" in ended.stderr


def test_wait_takes_types_filter_topic_and_what_is_there(shell: Shell, agent: Agent) -> None:
    agent.publish("a", {"n": 1})
    agent.publish("b", {"n": 2})
    agent.publish("c", {"n": 3}, topic="release")

    def numbers(*args: str) -> list[int]:
        found = shell.records("events", "wait", *args, "--timeout", "0")
        return [event["data"]["n"] for event in found]

    assert numbers("a", "b") == [1, 2]
    assert numbers("*", "--filter", "n:>1") == [2, 3]
    assert numbers("*", "--topic", "release") == [3]
    assert numbers("a,b,c", "--since", "earliest") == [1, 2, 3]
    assert numbers() == [1, 2]
    (event,) = shell.records("events", "subscribe", "a", "--group", "crew", "--timeout", "0")
    assert event["data"] == {"n": 1}
    shell.run("events", "wait", "a", "--group", "crew", "--timeout", "0", status=TIMEOUT)


def test_wait_times_out_with_124(shell: Shell) -> None:
    ended = shell.run("events", "wait", "never", "--timeout", "1s", status=TIMEOUT)
    assert ended.stdout == ""
    assert ended.stderr.startswith("bridge: hint: nothing at all is retained in the project")
    ended = shell.run(
        *("events", "wait", "never", "--follow", "--timeout", "1", "--format", "json"),
        status=TIMEOUT,
    )
    assert json.loads(ended.stdout) == []


def test_count_takes_so_many_and_leaves_the_rest(shell: Shell, agent: Agent) -> None:
    agent.publish_many({"event_type": "step", "data": {"n": n}} for n in range(5))

    def taken(*args: str, status: int = 0) -> list[int]:
        ended = shell.run("events", "wait", "step", "--timeout", "0", *args, status=status)
        return [json.loads(line)["data"]["n"] for line in ended.stdout.splitlines()]

    assert taken("--count", "2") == [0, 1]
    assert taken("--count", "1", "--follow") == [2]
    # Fewer than asked for: what there is, and the status says that it was not all.
    assert taken("--count", "4", status=TIMEOUT) == [3, 4]


def test_follow_goes_on_and_ctrl_c_ends_it(shell: Shell, agent: Agent) -> None:
    with shell.started("events", "wait", "step", "--follow", "--format", "json") as following:
        eventually(lambda: waits(agent))
        assert following.stdout is not None
        agent.publish("step", {"n": 1})
        agent.publish("step", {"n": 2})
        seen = ""
        while '"n": 2' not in seen:
            seen += following.stdout.readline()
        status, rest, err = interrupt(following)
    assert (status, err) == (INTERRUPTED, "")
    assert [event["data"]["n"] for event in json.loads(seen + rest)] == [1, 2]


def test_follow_without_time_takes_all_there_is(shell: Shell, agent: Agent) -> None:
    agent.publish_many({"event_type": "step", "data": {"n": n}} for n in range(150))
    found = shell.records("events", "wait", "step", "--follow", "--timeout", "0")
    assert [event["data"]["n"] for event in found] == list(range(150))


def test_follow_since_a_place_keeps_the_place(shell: Shell, agent: Agent) -> None:
    args = ("events", "wait", "step", "--follow", "--since", "now", "--count", "2")
    with shell.started(*args, "--format", "csv") as following:
        number = 0
        # It makes no subscription that would show when it has begun.
        while following.poll() is None:
            agent.publish("step", {"n": (number := number + 1)})
            try:
                following.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        out, _ = following.communicate()
    head, *rows = csv.reader(io.StringIO(out))
    first, second = (json.loads(row[head.index("data")])["n"] for row in rows)
    assert second == first + 1
    assert agent.subscriptions() == []


def test_exec_runs_once_with_the_event(shell: Shell, agent: Agent) -> None:
    agent.publish("job", {"n": 1}, correlation_id="c-1")
    agent.publish("job", {"n": 2})
    hook = 'echo "$EVENT_TYPE/$CORRELATION_ID/$EVENT_ID"; cat'
    ended = shell.run("events", "wait", "job", "--exec", hook)
    named, event = ended.stdout.splitlines()
    assert named == f"job/c-1/{json.loads(event)['event_id']}"
    assert json.loads(event)["data"] == {"n": 1}
    ended = shell.run("events", "wait", "job", "--exec", "cat", "--timeout", "0")
    assert json.loads(ended.stdout)["data"] == {"n": 2}


def test_a_hook_that_fails_gives_its_status(shell: Shell, agent: Agent) -> None:
    agent.publish_many({"event_type": "job", "data": {"n": n}} for n in range(3))
    ended = shell.run("events", "wait", "job", "--count", "3", "--exec", "exit 7", status=7)
    assert ended.stderr.startswith("bridge: 'exit 7' ended with status 7 for event ")
    ended = shell.run("events", "wait", "job", "--exec", "kill -TERM $$", status=143)
    # What they failed on is given back, and comes again after a pause.
    ended = shell.run("events", "wait", "job", "--count", "3", "--exec", "cat", "--timeout", "20s")
    tried = [json.loads(line) for line in ended.stdout.splitlines()]
    assert sorted(event["data"]["n"] for event in tried) == [0, 1, 2]
    assert max(event["delivery_count"] for event in tried) > 1
    shell.run("events", "wait", "job", "--exec", "cat", "--timeout", "0", status=TIMEOUT)


def test_follow_outlives_a_hook_that_fails_unless_told(shell: Shell, agent: Agent) -> None:
    agent.publish_many({"event_type": "job", "data": {"n": n}} for n in range(3))
    args = ("events", "wait", "job", "--follow", "--timeout", "0", "--exec", "echo ran; exit 3")
    ended = shell.run(*args, "--filter", "n:*")
    assert ended.stdout == "ran\n" * 3
    assert len(ended.stderr.splitlines()) == 3
    ended = shell.run(*args, "--stop-on-error", status=3)
    assert ended.stdout == "ran\n"


def test_a_hook_may_answer_as_the_same_agent(shell: Shell, agent: Agent) -> None:
    agent.publish("question", correlation_id="c-9")
    answer = 'bridge events publish answer --correlation-id "$CORRELATION_ID" >/dev/null'
    args = ("--url", shell.variables["SIDECAR_URL"], "--token", agent.token)
    bare = Shell(shell.folder, {})
    bare.run("events", "wait", "question", "--exec", answer, *args)
    (event,) = agent.events("answer", filter="correlation_id:c-9")
    assert event["agent_id"] == agent.name


def test_ctrl_c_ends_a_wait_and_its_hook(shell: Shell, agent: Agent) -> None:
    with shell.started("events", "wait", "never", "--timeout", "2h") as waiting:
        eventually(lambda: waits(agent))
        assert interrupt(waiting) == (INTERRUPTED, "", "")
    agent.publish("job")
    # It is given its event once Python has it in hand; interrupted before that, it would live on.
    hook = "cat >event; echo started; exec sleep 60"
    with shell.started("events", "wait", "job", "--exec", hook) as hooked:
        assert hooked.stdout is not None
        assert hooked.stdout.readline() == "started\n"
        status, _, err = interrupt(hooked)
    assert (status, err) == (INTERRUPTED, "")


def test_a_reader_that_goes_away_is_no_error(shell: Shell, agent: Agent) -> None:
    agent.publish_many({"event_type": "step", "data": {"text": "x" * 2000}} for _ in range(1000))
    for form in ("jsonl", "json", "csv", "table"):
        piped = f"{BRIDGE} events list --limit 1000 --format {form} | head -n 1"
        ended = subprocess.run(
            ["bash", "-c", f"{piped}; echo ${{PIPESTATUS[0]}}"],
            env=shell.environment(),
            cwd=shell.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert ended.stderr == ""
        assert ended.stdout.splitlines()[-1] == "141", form


def test_output_in_any_encoding(shell: Shell, agent: Agent) -> None:
    agent.publish("greeting", {"text": "grüße 🎉"})
    found = shell.records("events", "list", PYTHONIOENCODING="ascii")
    assert found[0]["data"] == {"text": "grüße 🎉"}
    shell.run("events", "list", "--format", "table", PYTHONIOENCODING="ascii")


class TestFailOn:
    """`tests_passing` is waited for, and `tests_failing` must not pass for it."""

    WAIT = ("events", "wait", "tests_passing", "--fail-on", "tests_failing", "--timeout", "10s")

    def test_what_is_unwanted_ends_the_wait_with_a_status_of_its_own(
        self, shell: Shell, agent: Agent
    ) -> None:
        agent.publish("tests_failing", {"n": 1})
        agent.publish("tests_passing", {"n": 2})
        ended = shell.run(*self.WAIT, status=UNWANTED)
        assert json.loads(ended.stdout)["data"] == {"n": 1}
        assert "tests_failing came first" in ended.stderr

    def test_what_is_wanted_may_come_first(self, shell: Shell, agent: Agent) -> None:
        agent.publish("tests_passing", {"n": 1})
        agent.publish("tests_failing", {"n": 2})
        assert json.loads(shell.run(*self.WAIT).stdout)["data"] == {"n": 1}

    def test_a_command_is_not_run_for_it(self, shell: Shell, agent: Agent) -> None:
        agent.publish("tests_failing")
        ended = shell.run(*self.WAIT, "--exec", "echo deployed", status=UNWANTED)
        assert ended.stdout == ""

    def test_it_ends_a_wait_that_goes_on(self, shell: Shell, agent: Agent) -> None:
        agent.publish("tests_passing", {"n": 1})
        agent.publish("tests_failing", {"n": 2})
        assert len(shell.records(*self.WAIT, "--follow", status=UNWANTED)) == 2

    def test_it_needs_something_to_wait_for(self, shell: Shell) -> None:
        told = shell.refused("events", "wait", "--fail-on", "tests_failing", status=USAGE)
        assert "--fail-on needs the types" in told


def test_a_wait_may_last_less_than_a_second_and_says_so_on_a_terminal(shell: Shell) -> None:
    args = ("events", "wait", "never_comes", "--timeout", "200ms")
    assert "time was up first" in shell.on_terminal(*args, status=TIMEOUT)
    assert "time was up" not in shell.run(*args, status=TIMEOUT).stderr


def test_deliver_new_hears_what_comes(shell: Shell, agent: Agent) -> None:
    agent.publish("work", {"n": 1})
    wait = ("events", "wait", "work", "--deliver", "new", "--timeout", "0")
    shell.run(*wait, status=TIMEOUT)
    agent.publish("work", {"n": 2})
    assert json.loads(shell.run(*wait).stdout)["data"] == {"n": 2}


class TestNarrowTerminals:
    """80 columns, as a terminal has that nobody has made wider."""

    def test_a_list_shows_time_type_and_data(self, shell: Shell, agent: Agent) -> None:
        agent.publish("implementation_complete", {"n": 1}, correlation_id=str(uuid.uuid4()))
        for args in (("list",), ("wait", "*", "--since", "earliest", "--follow", "--count", "1")):
            shown = shell.on_terminal("events", *args, COLUMNS="80", NO_COLOR="1")
            head, *lines = (line.rstrip() for line in shown.splitlines() if line.strip())
            assert max(map(len, (head, *lines))) <= 80, shown
            assert head.split() == ["time", "type", "publisher", "correlation", "data"]
            assert re.match(r"\d\d:\d\d:\d\d ", lines[-1]), shown
            assert '{"n": 1}' in lines[-1]

    def test_subscriptions_show_whose_they_are_and_what_is_pending(
        self, shell: Shell, agent: Agent
    ) -> None:
        agent.wait("implementation_complete,error_encountered", filter="issue_id:issue-*")
        agent.publish("error_encountered", {"issue_id": "issue-1"})
        shown = shell.on_terminal("subscriptions", "list", COLUMNS="80", NO_COLOR="1")
        name, *lines = shown.splitlines()
        told = dict(line.split(maxsplit=1) for line in lines if line.strip())
        [found] = agent.subscriptions()
        assert name == found["name"]
        assert (told["whose"].rstrip(), told["pending"].rstrip()) == (agent.name, "1")
        assert told["waiting"].rstrip() == "0"
        assert max(map(len, lines)) <= 80

    def test_the_help_names_no_type_for_a_flag(self, shell: Shell) -> None:
        shown = shell.run("events", "wait", "--help", COLUMNS="80").stdout
        assert "bool" not in shown
        assert "--fail-on" in shown
