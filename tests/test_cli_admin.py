"""`bridge status`, `subscriptions` and `doctor`; help, completion, and tokens of its own."""

import csv
import io
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import jwt
import pytest

import bridge as package
from tests.support import Agent, Agents, BridgeProcess, NatsServer, eventually
from tests.support.agents import make_token
from tests.support.commands import Shell, interrupt

FAILED, USAGE, REFUSED, UNAVAILABLE, INTERRUPTED = 1, 2, 3, 4, 130
NOWHERE = "http://localhost:1/api"
COMMANDS = (
    ("events", "publish"),
    ("events", "wait"),
    ("events", "list"),
    ("subscriptions", "list"),
    ("subscriptions", "delete"),
    ("status",),
    ("doctor",),
    ("demo",),
    ("token",),
    ("tokens", "revoke"),
    ("tokens", "revoked"),
    ("tokens", "restore"),
)
CHECKS = [
    *("bridge", "live", "ready", "nats", "stream", "version", "clock"),
    *("token", "expiry", "permissions", "accepted"),
]


@pytest.fixture
def shell(tmp_path: Path, bridge: BridgeProcess, agent: Agent) -> Shell:
    """The shell of the same agent that `agent` is."""
    return Shell(tmp_path, {"SIDECAR_URL": bridge.api, "JWT_TOKEN": agent.token})


def findings(shell: Shell, *args: str, status: int = FAILED, **more: str) -> dict[str, str]:
    """What the doctor found wrong, with its remedy."""
    found = shell.records("doctor", *args, status=status, **more)
    assert all(bool(each["mend"]) != each["ok"] for each in found)
    return {each["check"]: f"{each['found']} -> {each['mend']}" for each in found if not each["ok"]}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_examples(shell: Shell, command: tuple[str, ...]) -> None:
    shown = shell.run(*command, "--help").stdout
    assert f"Usage: bridge {' '.join(command)}" in shown
    assert "Examples" in shown
    assert f"bridge {command[0]}" in shown.partition("Examples")[2]


def test_help_loads_neither_server_nor_client(tmp_path: Path) -> None:
    look = (
        "import sys\n"
        "sys.argv = ['bridge', *sys.argv[1:]]\n"
        "from bridge.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    print(*sys.modules, file=sys.stderr)\n"
    )
    for args in (["--help"], ["events", "wait", "--help"]):
        ended = subprocess.run(
            [sys.executable, "-c", look, *args], capture_output=True, text=True, check=True
        )
        loaded = set(ended.stderr.split())
        assert "bridge.cli.commands" in loaded
        heavy = {"fastapi", "uvicorn", "nats", "httpx", "jwt", "yaml", "bridge.client"}
        assert loaded & heavy == set()


def test_the_shell_can_complete_types_and_topics(shell: Shell) -> None:
    def completed(words: str) -> str:
        count = str(len(words.split(" ")) - 1)
        asked = "complete_bash"
        return shell.run(_BRIDGE_COMPLETE=asked, COMP_WORDS=words, COMP_CWORD=count).stdout

    types = {"tests_failing", "tests_passing", "tests_written"}
    assert set(completed("bridge events wait tests_").split()) == types
    assert "deployment" in completed("bridge events publish x --topic dep")


def test_status_in_every_format(shell: Shell, agent: Agent) -> None:
    agent.publish("step")
    agent.publish("tests_passing")
    status = json.loads(shell.run("status", "--format", "json").stdout)
    assert status["events"]["by_topic"] == {"coordination": 1, "testing": 1}
    (line,) = shell.records("status")
    assert line["project"] == agent.project
    pairs = dict(csv.reader(io.StringIO(shell.run("status", "--format", "csv").stdout)))
    assert pairs["events.by_type.tests_passing"] == "1"
    assert pairs["version"] == package.__version__
    table = shell.run("status", "--format", "table").stdout
    assert re.search(r"^events +2 retained", table, re.MULTILINE)
    assert re.search(r"^topics +coordination 1, testing 1", table, re.MULTILINE)


def test_subscriptions_are_listed_and_deleted(shell: Shell, agent: Agent) -> None:
    assert shell.run("subscriptions", "list", "--format", "json").stdout == "[]\n"
    agent.publish("step")
    agent.events("step", filter="n:*")
    (found,) = shell.records("subscriptions", "list")
    assert found == agent.subscriptions()[0]
    head, row = csv.reader(
        io.StringIO(shell.run("subscriptions", "list", "--format", "csv").stdout)
    )
    assert dict(zip(head, row, strict=True))["types"] == '["step"]'
    assert found["name"] in shell.run("subscriptions", "list", "--format", "table").stdout
    ended = shell.run("subscriptions", "delete", found["name"])
    assert ended.stderr == f"bridge: deleted {found['name']}\n"
    assert agent.subscriptions() == []
    told = shell.refused("subscriptions", "delete", found["name"], status=REFUSED)
    assert told.startswith("bridge: REQ_002 ")
    empty = shell.run("subscriptions", "list", "--format", "table")
    assert (empty.stdout, empty.stderr) == ("", "nothing found\n")


@pytest.mark.parametrize("command", [("status",), ("subscriptions", "list")], ids=" ".join)
def test_refused_and_unreachable(shell: Shell, command: tuple[str, ...]) -> None:
    assert NOWHERE in shell.refused(*command, "--url", NOWHERE, status=UNAVAILABLE)
    wrong = make_token("a", secret="b" * 40)
    assert "AUTH_001" in shell.refused(*command, "--token", wrong, status=REFUSED)


def test_something_else_at_the_url(shell: Shell, bridge: BridgeProcess) -> None:
    elsewhere = f"{bridge.url}/elsewhere/api"
    assert "REQ_002" in shell.refused("status", "--url", elsewhere, status=REFUSED)
    assert findings(shell, "--url", elsewhere).keys() == {"live", "accepted"}


def test_the_doctor_finds_nothing_to_mend(shell: Shell, bridge: BridgeProcess) -> None:
    found = shell.records("doctor", "--url", bridge.url)
    assert [each["check"] for each in found] == CHECKS
    assert all(each["ok"] for each in found)
    assert len(json.loads(shell.run("doctor", "--format", "json").stdout)) == len(CHECKS)
    table = shell.run("doctor", "--format", "table").stdout
    assert re.findall("^✓", table, re.MULTILINE) == ["✓"] * len(CHECKS)
    assert "ok bridge" in shell.run("doctor", "--format", "table", PYTHONIOENCODING="ascii").stdout


def test_the_doctor_on_a_terminal(shell: Shell) -> None:
    assert "\x1b[32m✓" in shell.on_terminal("doctor")
    assert "\x1b" not in shell.on_terminal("doctor", NO_COLOR="1")
    assert "✗" in shell.on_terminal("doctor", status=FAILED, JWT_TOKEN="no-token")


def test_the_doctor_on_tokens(shell: Shell, agents: Agents) -> None:
    assert "bridge token" in findings(shell, JWT_TOKEN="")["token"]
    assert "no JSON web token" in findings(shell, JWT_TOKEN="abc")["token"]
    expired = findings(shell, JWT_TOKEN=make_token("a", exp=int(time.time()) - 7200))
    assert expired["expiry"].startswith("it expired 2 h ago")
    assert "AUTH_002" in expired["accepted"]
    soon = findings(shell, JWT_TOKEN=make_token("a", exp=int(time.time()) + 100))
    assert soon.keys() == {"expiry"}
    forged = findings(shell, JWT_TOKEN=make_token("a", secret="b" * 40))
    assert "AUTH_001" in forged["accepted"]
    narrow = agents("narrow", permissions=["publish:testing.*"]).token
    assert findings(shell, status=0, JWT_TOKEN=narrow) == {}
    quiet = findings(shell, JWT_TOKEN=agents("quiet", permissions=["spawn_agents"]).token)
    assert "publish_events" in quiet["permissions"]


def test_the_doctor_without_a_bridge(shell: Shell) -> None:
    found = findings(shell, "--url", NOWHERE)
    assert found.keys() == {"bridge"}
    assert "bridge serve" in found["bridge"]
    shell.run("doctor", "--url", "nonsense", status=USAGE)


def test_the_doctor_on_a_bridge_whose_nats_is_away(
    shell: Shell, own_nats: NatsServer, start_bridge: Callable[..., BridgeProcess]
) -> None:
    running = start_bridge(own_nats.url, publish_timeout_seconds="0.5")
    own_nats.stop()
    eventually(lambda: not running.ready())
    found = findings(shell, "--url", running.api)
    assert {"ready", "nats"} <= found.keys()
    assert "BRIDGE_NATS_URL" in found["nats"]
    told = shell.refused("events", "publish", "x", "--url", running.api, status=UNAVAILABLE)
    assert "EVT_001" in told


def test_where_a_bridge_runs_no_token_is_needed(
    tmp_path: Path, start_bridge: Callable[..., BridgeProcess]
) -> None:
    """With the secret that the first start made up, as on a laptop after `bridge serve`."""
    data = tmp_path / "data"
    running = start_bridge(data_dir=str(data), jwt_secret="")
    shell = Shell(tmp_path, {"SIDECAR_URL": running.api, "BRIDGE_DATA_DIR": str(data)})
    ended = shell.run("events", "publish", "hello")
    assert ended.stderr.count("\n") == 1
    assert "signed one for agent 'cli'" in ended.stderr
    (event,) = shell.records("events", "list")
    assert event["agent_id"] == "cli"
    shell.run("events", "wait", "hello", "--timeout", "0", AGENT_ID="watcher")
    (found,) = shell.records("subscriptions", "list")
    assert found["agent"] == "watcher"
    assert findings(shell, status=0) == {}
    # The secret's tokens are for this machine only, and none is made up for a command's sake.
    elsewhere = ("events", "list", "--url", "http://bridge.invalid/api")
    assert "JWT_TOKEN" in shell.refused(*elsewhere, status=USAGE)
    other = str(tmp_path / "other")
    assert "JWT_TOKEN" in shell.refused("status", status=USAGE, BRIDGE_DATA_DIR=other)
    assert not Path(other).exists()


def test_settings_that_are_wrong_are_told_of(shell: Shell) -> None:
    told = shell.refused("events", "list", status=FAILED, JWT_TOKEN="", BRIDGE_PROT="1")
    assert "BRIDGE_PROT in the environment" in told


@pytest.mark.parametrize(
    "command",
    [
        ("events", "publish", "x"),
        ("events", "list"),
        ("subscriptions", "list"),
        ("status",),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_ctrl_c_in_any_command(shell: Shell, command: tuple[str, ...]) -> None:
    """While a server that answers nothing has the request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        with shell.started(*command, "--url", url) as asking:
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(1)
                assert interrupt(asking) == (INTERRUPTED, "", "")


def test_the_command_line_finds_the_bridge_of_its_machine(
    tmp_path: Path, start_bridge: Callable[..., BridgeProcess]
) -> None:
    """Where it listens, and what signs its tokens, as `bridge serve` was told: by `.env`."""
    data = tmp_path / "data"
    start_bridge(data_dir=str(data), jwt_secret="")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / ".env").write_text(f"BRIDGE_DATA_DIR={data}\n")
    shell = Shell(folder, {})
    shell.run("events", "publish", "hello")
    assert [event["event_type"] for event in shell.records("events", "list")] == ["hello"]


def test_without_a_folder_it_is_looked_for_at_the_port_of_the_settings(
    tmp_path: Path, bridge: BridgeProcess, agent: Agent
) -> None:
    port = str(urlsplit(bridge.url).port)
    shell = Shell(tmp_path, {"JWT_TOKEN": agent.token, "BRIDGE_PORT": port})
    assert shell.run("status", BRIDGE_DATA_DIR=str(tmp_path / "none")).stdout


def test_a_token_goes_to_no_other_program(tmp_path: Path, agent: Agent) -> None:
    """Something else may listen where a bridge is looked for."""
    heard: list[str | None] = []

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.headers.get("Authorization"))
            body = b'{"service": "something-else"}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        shell = Shell(tmp_path, {"SIDECAR_URL": url, "JWT_TOKEN": agent.token})
        told = shell.refused("events", "publish", "x", status=USAGE)
        server.shutdown()
    assert "no event bridge (/health says 'something-else')" in told
    assert heard == [None]


def test_a_token_of_its_own_may_do_what_the_command_does_and_no_more(
    tmp_path: Path, start_bridge: Callable[..., BridgeProcess]
) -> None:
    data = tmp_path / "data"
    running = start_bridge(data_dir=str(data), jwt_secret="")
    shell = Shell(tmp_path, {"SIDECAR_URL": running.api, "BRIDGE_DATA_DIR": str(data)})
    shell.run("events", "publish", "work")
    work = '[ -n "$JWT_TOKEN" ] && echo "$JWT_TOKEN"'
    token = shell.run("events", "wait", "work", "--exec", work).stdout.strip()
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["permissions"] == ["publish_events"]
