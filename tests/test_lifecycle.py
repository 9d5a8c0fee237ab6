"""A bridge's life as its operator sees it: start, refusal, drain, end, and what it logs."""

import contextlib
import json
import signal
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from nats.js import api

from tests.support import Agents, BridgeProcess, NatsServer, asking, eventually, on_jetstream
from tests.support.bridges import BRIDGE, SECRET, clean_environment

T = TypeVar("T")
Start = Callable[..., BridgeProcess]
AgentsOn = Callable[[BridgeProcess], Agents]
REFUSED = 1


@pytest.fixture
def run() -> Iterator[Callable[..., "Future[Any]"]]:
    with ThreadPoolExecutor(24) as pool:
        yield pool.submit


def refusal(folder: Path, **settings: str) -> str:
    """Serve, expect a refusal to start, and give the one line that says why."""
    given = {"port": "0", "data_dir": str(folder / "data"), "jwt_secret": SECRET}
    given |= {"drain_seconds": "0"} | settings
    ended = subprocess.run(
        [BRIDGE, "serve"],
        env=clean_environment(**{key: value for key, value in given.items() if value}),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == REFUSED, ended.stderr
    assert ended.stdout == ""
    told = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
    assert len(told) == 1, ended.stderr
    assert told[0].startswith("bridge: "), told
    assert "Traceback" not in ended.stderr
    return told[0]


def open_waits(bridge: BridgeProcess) -> int:
    return asking.open_waits(bridge.url)


def readiness(bridge: BridgeProcess) -> tuple[int, str]:
    answer = asking.get(f"{bridge.url}/readyz")
    return answer.status_code, answer.json().get("reason", "")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_answers_every_open_wait_and_ends_with_0(
    nats_url: str,
    start_bridge: Start,
    run: Callable[..., Any],
    how: signal.Signals,
    agents_on: AgentsOn,
) -> None:
    bridge = start_bridge(nats_url, drain_seconds="3")
    agents = agents_on(bridge)
    durable = [agents(f"agent-{number}") for number in range(10)]
    waits = [run(each.wait, "never", timeout=200) for each in durable]
    waits += [run(each.wait, "never", timeout=200, since="now") for each in durable]
    eventually(lambda: open_waits(bridge) == 20, what="20 open waits")

    bridge.send(how)

    answers = [wait.result(60) for wait in waits]
    assert readiness(bridge) == (503, "shutting down"), "they were answered at the drain's end"
    assert [answer["timeout"] for answer in answers] == [True] * 20
    assert [answer["events"] for answer in answers] == [[]] * 20
    assert all(answer["next_cursor"] for answer in answers)
    assert asking.answers(f"{bridge.url}/livez")
    assert bridge.wait(60) == 0


def test_a_signal_hands_over_what_a_counting_wait_has_collected(
    own_nats: NatsServer, start_bridge: Start, run: Callable[..., Any], agents_on: AgentsOn
) -> None:
    bridge = start_bridge(own_nats.url)
    agents = agents_on(bridge)
    leader, worker = agents("leader"), agents("worker")
    wait = run(leader.wait, "agent_completed", timeout=200, count=3)
    since = run(leader.wait, "agent_completed", timeout=200, count=3, since="earliest")
    eventually(lambda: open_waits(bridge) == 2, what="the waits")
    sent = [worker.publish("agent_completed")["event_id"] for _ in range(2)]

    def held() -> bool:
        return any(each["ack_pending"] == 2 for each in leader.subscriptions())

    eventually(held, what="two events in the wait's hands")
    bridge.send(signal.SIGTERM)

    for answer in (wait.result(60), since.result(60)):
        assert [event["event_id"] for event in answer["events"]] == sent
        assert answer["timeout"] is True
    assert bridge.wait(60) == 0
    again = start_bridge(own_nats.url)
    assert agents("leader", url=again.url).events("agent_completed") == []


def test_a_wait_that_begins_during_the_drain_is_answered_at_once(
    nats_url: str, start_bridge: Start, agents_on: AgentsOn
) -> None:
    bridge = start_bridge(nats_url, drain_seconds="60")
    agents = agents_on(bridge)
    agent = agents()
    event_id = agent.publish("left_over")["event_id"]
    bridge.send(signal.SIGTERM)
    eventually(lambda: readiness(bridge)[0] == 503, what="the drain")

    began = time.monotonic()
    answer = agent.wait("never", timeout=50)
    assert time.monotonic() - began < 10
    assert answer["timeout"] is True
    assert [event["event_id"] for event in agent.events("left_over", timeout=60)] == [event_id]
    assert readiness(bridge) == (503, "shutting down"), "it was answered at the drain's end"


def test_publishes_in_flight_at_the_signal_finish(
    own_nats: NatsServer, start_bridge: Start, run: Callable[..., Any], agents_on: AgentsOn
) -> None:
    """Clients stop when told so by `Connection: close`; until then none is reset or refused."""
    bridge = start_bridge(own_nats.url, drain_seconds="1")
    agents = agents_on(bridge)
    publishers = [agents(f"publisher-{number}") for number in range(8)]

    def publish(number: int) -> list[str]:
        acknowledged, closing = [], False
        while not closing:
            answer = publishers[number].http.post("/events/busy", json={"data": {}})
            assert answer.status_code == 202, answer.text
            acknowledged.append(answer.json()["event_id"])
            closing = answer.headers.get("connection") == "close"
        return acknowledged

    publishing = [run(publish, number) for number in range(8)]
    reader = agents("reader")
    eventually(lambda: len(reader.history(limit=200)["events"]) >= 100, what="some events")
    bridge.send(signal.SIGTERM)
    acknowledged = {event_id for each in publishing for event_id in each.result(60)}
    assert bridge.wait(60) == 0

    again = agents("reader", url=start_bridge(own_nats.url).url)
    stored: set[str] = set()
    while batch := again.events("busy", limit=1000):
        stored |= {event["event_id"] for event in batch}
    assert acknowledged == stored


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_exits_at_once(
    nats_url: str, start_bridge: Start, how: signal.Signals
) -> None:
    bridge = start_bridge(nats_url, drain_seconds="60")
    bridge.send(how)
    eventually(lambda: "shutting down" in bridge.log, what="the drain")
    bridge.send(how)
    assert bridge.wait(20) == 128 + how


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_it_is_ready_ends_with_0(tmp_path: Path, how: signal.Signals) -> None:
    """Its own nats-server is one that never gets ready, and does not stay behind."""
    hangs = tmp_path / "nats-server"
    hangs.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/child\nexec sleep 60\n")
    hangs.chmod(0o755)
    given = {"port": "0", "data_dir": str(tmp_path / "data"), "nats_server_binary": str(hangs)}
    with (tmp_path / "log").open("wb") as log:
        environment = clean_environment(**given)
        process = subprocess.Popen([BRIDGE, "serve"], env=environment, cwd=tmp_path, stderr=log)
    try:
        child = tmp_path / "child"
        eventually(lambda: child.exists() and child.read_text().strip(), what="its nats-server")
        process.send_signal(how)
        assert process.wait(30) == 0, (tmp_path / "log").read_text()
    finally:
        process.kill()
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert not Path(f"/proc/{child.read_text().strip()}/exe").exists()


def test_it_starts_before_nats_and_becomes_ready_when_nats_comes(
    tmp_path: Path, start_bridge: Start, agents_on: AgentsOn
) -> None:
    folder = tmp_path / "late"
    folder.mkdir()
    server = NatsServer(folder)
    bridge = start_bridge(server.url, ready=False, publish_timeout_seconds="1")
    agents = agents_on(bridge)
    assert readiness(bridge)[0] == 503
    assert httpx.get(f"{bridge.url}/livez").status_code == 200
    refused = agents().http.post("/events/early", json={})
    assert refused.status_code == 503
    assert refused.json()["code"] == "EVT_001"
    assert int(refused.headers["retry-after"]) >= 1

    server.start()
    try:
        eventually(bridge.ready, what="readiness")
        agents().publish("early")
        assert bridge.stop() == 0
    finally:
        server.stop()


def test_it_is_alive_and_not_ready_while_nats_is_away(
    own_nats: NatsServer, start_bridge: Start, run: Callable[..., Any], agents_on: AgentsOn
) -> None:
    bridge = start_bridge(own_nats.url)
    agents = agents_on(bridge)
    agent = agents()
    waits = [
        run(agent.events, "after", timeout=200),
        run(agent.events, "after", timeout=200, since="now"),
    ]
    eventually(lambda: open_waits(bridge) == 2, what="the waits")
    agent.publish("before")
    own_nats.kill()
    eventually(lambda: readiness(bridge)[0] == 503, what="unreadiness")
    assert httpx.get(f"{bridge.url}/livez").status_code == 200
    assert httpx.get(f"{bridge.url}/health").json()["checks"]["nats"] == "not connected"

    own_nats.start()
    eventually(bridge.ready, what="readiness")
    event_id = agent.publish("after")["event_id"]
    assert [[event["event_id"] for event in wait.result(60)] for wait in waits] == [[event_id]] * 2
    assert [event["event_type"] for event in agent.history(order="asc")["events"]] == [
        "before",
        "after",
    ]


class OldNats(socketserver.StreamRequestHandler):
    """As much of nats-server 2.10 as there is before a client knows its version, and a PONG."""

    def handle(self) -> None:
        self.wfile.write(
            b'INFO {"version": "2.10.26", "headers": true, "max_payload": 1048576}\r\n'
        )
        with contextlib.suppress(OSError):
            for line in self.rfile:
                if line.startswith(b"PING"):
                    self.wfile.write(b"PONG\r\n")


def test_a_nats_server_that_is_too_old_is_refused(tmp_path: Path) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), OldNats) as server:
        address = f"127.0.0.1:{server.server_address[1]}"
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            told = refusal(tmp_path, nats_url=f"nats://{address}")
        finally:
            server.shutdown()
            serving.join()
    assert f"{address} is 2.10.26" in told
    assert "2.11 or newer" in told


def make_stream(url: str, **fields: Any) -> None:
    config = api.StreamConfig(name="EVENTS", subjects=["events.>"], **fields)
    on_jetstream(url, lambda js: js.add_stream(config))


def stream_config(url: str) -> api.StreamConfig:
    return on_jetstream(url, lambda js: js.stream_info("EVENTS")).config


def test_a_stream_of_another_shape_is_named_and_updated(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn
) -> None:
    make_stream(own_nats.url, max_msgs=500)
    bridge = start_bridge(own_nats.url)

    (line,) = [each for each in bridge.log.splitlines() if "stream EVENTS differs" in each]
    for field in ("max_msgs is 500, not 10000", "max_age", "allow_msg_ttl", "max_consumers"):
        assert field in line, line
    config = stream_config(own_nats.url)
    assert (config.max_msgs, config.max_age, config.allow_msg_ttl) == (10_000, 86_400, True)
    agents = agents_on(bridge)
    agent = agents()
    agent.publish("works", ttl_seconds=60)
    assert len(agent.events("works", timeout=5)) == 1


def test_an_unmanaged_stream_is_left_as_it_is(own_nats: NatsServer, start_bridge: Start) -> None:
    make_stream(own_nats.url, max_msgs=500, allow_msg_ttl=True)
    before = stream_config(own_nats.url)
    bridge = start_bridge(own_nats.url, stream_manage="false")

    assert "differs and is left as it is" in bridge.log
    assert "max_msgs is 500, not 10000" in bridge.log
    assert stream_config(own_nats.url) == before


def test_an_unmanaged_stream_that_cannot_serve_is_refused(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    make_stream(own_nats.url, max_msgs=500)
    told = refusal(tmp_path, nats_url=own_nats.url, stream_manage="false")
    assert "allow_msg_ttl" in told
    assert stream_config(own_nats.url).max_msgs == 500


def test_a_missing_unmanaged_stream_is_refused(own_nats: NatsServer, tmp_path: Path) -> None:
    told = refusal(tmp_path, nats_url=own_nats.url, stream_manage="false")
    assert "EVENTS does not exist" in told


@pytest.mark.parametrize(
    "retention", [api.RetentionPolicy.WORK_QUEUE, api.RetentionPolicy.INTEREST]
)
def test_a_stream_that_does_not_keep_events_is_refused(
    own_nats: NatsServer, tmp_path: Path, retention: api.RetentionPolicy
) -> None:
    make_stream(own_nats.url, retention=retention)
    before = stream_config(own_nats.url)
    told = refusal(tmp_path, nats_url=own_nats.url)
    assert "retention" in told
    assert retention.value in told
    assert stream_config(own_nats.url) == before


def test_the_embedded_server_keeps_everything_over_a_restart(
    tmp_path: Path, start_bridge: Start, agents_on: AgentsOn
) -> None:
    data = str(tmp_path / "kept")
    first = start_bridge(data_dir=data)
    agents = agents_on(first)
    agent = agents()
    one, two = agent.publish("kept", {"n": 1}), agent.publish("kept", {"n": 2})
    assert [event["data"]["n"] for event in agent.events("kept", limit=1)] == [1]
    assert first.stop() == 0

    second = start_bridge(data_dir=data)
    agent = agents(url=second.url)

    assert [each["types"] for each in agent.subscriptions()] == [["kept"]]
    (rest,) = agent.events("kept", timeout=5)
    assert (rest["event_id"], rest["cursor"]) == (two["event_id"], two["cursor"])
    assert rest["delivery_count"] == 1
    batch = agent.wait("kept", since=one["cursor"])
    assert [event["event_id"] for event in batch["events"]] == [two["event_id"]]
    assert "gap" not in batch
    history = agent.history(order="asc")["events"]
    assert [event["event_id"] for event in history] == [one["event_id"], two["event_id"]]
    assert second.stop() == 0


def test_a_second_bridge_on_the_same_data_folder_names_the_first(
    tmp_path: Path, start_bridge: Start
) -> None:
    first = start_bridge(data_dir=str(tmp_path / "shared"))
    told = refusal(tmp_path, data_dir=str(tmp_path / "shared"))
    assert f"process {first.pid}" in told
    assert first.url in told
    assert first.ready()


def test_a_port_in_use_is_told_in_one_line(nats_url: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = refusal(tmp_path, nats_url=nats_url, port=str(port))
    assert f"127.0.0.1:{port}" in told
    assert "in use" in told


def test_an_open_address_without_a_key_is_refused(tmp_path: Path) -> None:
    told = refusal(tmp_path, host="0.0.0.0", jwt_secret="")
    assert "BRIDGE_HOST is 0.0.0.0" in told
    assert "BRIDGE_JWT_SECRET" in told


def test_an_unknown_variable_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    told = refusal(tmp_path, drain_second="3")
    assert "BRIDGE_DRAIN_SECOND" in told
    assert "did you mean" in told
    assert "drain_seconds" in told.lower()


def test_a_file_for_a_data_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in refusal(tmp_path, data_dir=str(tmp_path / "file"))


def test_logs_are_json_lines_without_event_data_tokens_or_secrets(
    tmp_path: Path, start_bridge: Start, agents_on: AgentsOn
) -> None:
    """At the most talkative level, with good and bad requests, and stderr not a terminal."""
    marker = "marker-f3b1c"
    data = tmp_path / "logged"
    bridge = start_bridge(data_dir=str(data), log_level="debug", log_format="auto")
    password = (data / "nats.url").read_text().partition("://")[2].rpartition("@")[0]
    agents = agents_on(bridge)
    agent = agents()
    agent.publish("logged", {"secret": marker}, correlation_id="known")
    agent.publish_many([{"event_type": "logged", "data": {"secret": marker}}])
    assert len(agent.events("logged", timeout=5)) == 2
    assert len(agent.events("logged", timeout=5, since="earliest")) == 2
    agent.history(type="logged")
    for body in (f'{{"data": "{marker}"}}', f'{{"data": {marker}', f'{{"{marker}": 1, "data": 3}}'):
        assert agent.http.post("/events/logged", content=body).status_code == 400
    spoofed = {"publisher": "somebody", "data": {"secret": marker}}
    assert agent.http.post("/events/logged", json=spoofed).status_code == 403
    wrong = {"Authorization": f"Bearer {agent.token}x"}
    assert agent.http.get("/events", headers=wrong).status_code == 401
    assert agent.http.get("/no/such/path").status_code == 404
    assert bridge.stop() == 0

    lines = [json.loads(line) for line in bridge.log.splitlines()]
    assert all({"timestamp", "level", "logger", "message"} <= line.keys() for line in lines)
    assert {line["level"] for line in lines} >= {"info", "debug"}
    assert any(line.get("agent") == agent.name for line in lines)
    for hidden in (
        marker,
        agent.token,
        agent.token.split(".")[2],
        SECRET,
        *password.split(":")[1:],
    ):
        assert hidden not in bridge.log


def test_the_log_says_what_it_starts_with(nats_url: str, start_bridge: Start) -> None:
    bridge = start_bridge(nats_url, log_format="text", ack_wait_seconds="7")
    assert "ack_wait_seconds=7" in bridge.log
    assert f"nats_url={nats_url}" in bridge.log
    assert SECRET not in bridge.log
    assert bridge.stop() == 0
