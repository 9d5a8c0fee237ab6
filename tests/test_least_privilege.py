"""The NATS users of helm/nats-user.conf: what each needs is allowed, and nothing else."""

import asyncio
import json
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import nats
import pytest
from nats.js import JetStreamContext, api

from bridge.jetstream.refusals import Refusals
from tests.support import Agents, BridgeProcess, NatsServer, eventually, on_jetstream
from tests.support.natsservers import (
    BRIDGE_LOGIN,
    NATS_USER,
    OPERATOR_LOGIN,
    least_privilege,
    server_version,
)
from tests.test_delivery import numbers, open_wait
from tests.test_nats_logins import AgentsOn, reason
from tests.test_service import asked

Start = Callable[..., BridgeProcess]

BUCKET = "KV_revoked-EVENTS"
SECOND_FORM = "$JS.ACK.*.*.EVENTS.>"
_GRANT = re.compile(r'user: (publish|subscribe) to "([^"]+)"; grant (?:it|"([^"]+)") \(helm')
_TRACED = re.compile(r" - (cid:\d+) - .*?<<- \[(CONNECT|H?PUB|SUB) (.*)\]")


def permissions(user: str, kind: str) -> list[str]:
    """Read what a user may `publish` or `subscribe` to."""
    text = re.sub(r"^\s*#.*$", "", NATS_USER.read_text(), flags=re.MULTILINE)
    listed = text.partition(f"user: {user}\n")[2].partition(f"{kind}: [")[2].partition("]")[0]
    found = re.findall(r'"([^"]+)"', listed)
    assert found, f"{NATS_USER} has no {kind} list of {user} that can be read here"
    return found


ALLOWED = [
    (kind, each) for kind in ("publish", "subscribe") for each in permissions("bridge", kind)
]


def allows(permission: str, subject: str) -> bool:
    """Tell whether a permission covers a subject: `*` is one token, a last `>` one or more."""
    wanted, given = permission.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted, enough = wanted[:-1], len(given) >= len(wanted)
        given = given[: len(wanted)]
    else:
        enough = len(given) == len(wanted)
    return enough and all(w in {"*", g} for w, g in zip(wanted, given, strict=False))


def restricted(folder: Path, config: str = "", *, without: tuple[str, ...] = ()) -> NatsServer:
    folder.mkdir()
    return NatsServer(folder, config=least_privilege(folder, without=without) + config).start()


@dataclass(frozen=True)
class Run:
    """What two bridges gave when everything was asked of them, and the subjects that they used."""

    seen: dict[str, Any]
    used: dict[str, set[str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two bridges on an empty store and a restart of it, with each operation in its log."""
    folder = tmp_path_factory.mktemp("least")
    server = restricted(folder / "nats", "trace: true")
    settings = {"ack_wait_seconds": "2", "nats_name": "bridge/least", "drain_seconds": "0"}
    first = BridgeProcess(folder / "first", server.url, **settings)
    second = BridgeProcess(folder / "second", server.url, stream_max_messages="500", **settings)
    agents = Agents(first.start().url)
    try:
        seen = one_bridge(agents) | services(server) | two_bridges(agents, second.start())
        seen |= revoking(server, agents, second)
        seen["stream updated"] = on_jetstream(server.url, _max_messages)
        server.stop()
        if server_version() >= (2, 14):
            with server._config.open("a") as config:
                config.write("feature_flags { js_ack_fc_v2: true }\n")
        server.start()
        eventually(first.ready, what="readiness")
        agents("reader").publish("work", {"n": 9})
        seen["after a restart"] = numbers(agents("reader").events("work"))
        seen["ends"] = [first.stop(), second.stop()]
    finally:
        agents.close()
        first.kill()
        second.kill()
        server.stop()
    return Run(seen, used_by_bridges(server.log))


def used_by_bridges(log: str) -> dict[str, set[str]]:
    """Read from a trace what connections with the name of a bridge published and subscribed to."""
    bridges: dict[str, bool] = {}
    used: dict[str, set[str]] = {"publish": set(), "subscribe": set()}
    for connection, operation, rest in _TRACED.findall(log):
        if operation == "CONNECT":
            bridges[connection] = '"name": "bridge/' in rest
        elif bridges[connection]:
            used["subscribe" if operation == "SUB" else "publish"].add(rest.split()[0])
    return used


def one_bridge(agents: Agents) -> dict[str, Any]:
    publisher, reader = agents("publisher"), agents("reader")
    publisher.publish("work", {"n": 0}, correlation_id="c-1")
    publisher.publish_many([{"event_type": "work", "data": {"n": 1}}])
    publisher.publish("alone", {"n": 2})
    seen: dict[str, Any] = {
        "durable": numbers(reader.events("work")),
        "since": numbers(reader.events("work", since="earliest")),
        "pinned": numbers(reader.events("work", filter="correlation_id:c-1")),
        "group": numbers(agents("worker").events("work", group="workers")),
        "leased": numbers(leased := reader.events("work", ack="explicit", consumer="careful")),
        "done": reader.http.post(
            "/deliveries/ack", json={"ack_ids": [each["ack_id"] for each in leased]}
        ).status_code,
        "history": sorted(numbers(reader.history()["events"])),
        "held": numbers(reader.events("alone", count=2, timeout=1.5)),
        "retained": reader.http.get(f"{agents.url}/status").json()["events"]["retained"],
    }
    leaver = agents("leaver")
    with open_wait(agents.url, leaver, "alone?count=2&timeout=20000"):
        eventually(lambda: [s["ack_pending"] for s in leaver.subscriptions()] == [1], what="it")
    [again] = leaver.events("alone", timeout=10)
    seen["delivered again"] = again["delivery_count"] > 1
    [mine] = leaver.subscriptions()
    seen["deleted"] = leaver.http.delete(f"/subscriptions/{mine['name']}").status_code
    return seen


def as_operator(server: NatsServer) -> str:
    """Give a server's URL with the operator's login."""
    user, password = OPERATOR_LOGIN["nats_user"], OPERATOR_LOGIN["nats_password"]
    return server.url.replace("//", f"//{user}:{password}@")


def services(server: NatsServer) -> dict[str, Any]:
    """Ask for services, as the nats CLI does for a person who may only look."""
    url = as_operator(server)
    [one] = asked(url, "$SRV.PING")
    return {
        "services": [
            [answer["name"] for answer in asked(url, "$SRV.INFO.agent-event-bridge")],
            [answer["id"] == one["id"] for answer in asked(url, _of("STATS", one["id"]))],
            [answer["requests"] > 0 for answer in asked(url, _of("HTTP", "publish"))],
        ]
    }


def two_bridges(agents: Agents, second: BridgeProcess) -> dict[str, Any]:
    here, there = agents("both"), agents("both", url=second.url)
    seen = {"over the other": numbers(there.events("work"))}
    [found] = eventually(here.subscriptions, what="the advisory of its creation")
    assert there.http.delete(f"/subscriptions/{found['name']}").status_code == 204
    eventually(lambda: not here.subscriptions(), what="the advisory of its deletion")
    return seen


def revoking(server: NatsServer, agents: Agents, second: BridgeProcess) -> dict[str, Any]:
    boss = agents("boss", permissions=["spawn_agents"])
    leaked = agents("leaked", url=second.url, jti="leaked")
    wish = {"jti": "leaked"}
    seen = {"revoked": boss.http.post("/tokens/revoked", json=wish).status_code}
    eventually(lambda: leaked.http.get("/events").status_code == 401, what="the revocation")
    seen["restored"] = boss.http.request("DELETE", "/tokens/revoked", json=wish).status_code
    eventually(lambda: leaked.http.get("/events").status_code == 200, what="the token")
    on_jetstream(server.url, _spoil_bucket)
    eventually(lambda: on_jetstream(server.url, _bucket_age) == 0, what="the mended bucket")
    return seen


async def _spoil_bucket(jetstream: JetStreamContext) -> None:
    config = (await jetstream.stream_info(BUCKET)).config
    await jetstream.update_stream(config.evolve(max_age=3600))


async def _bucket_age(jetstream: JetStreamContext) -> float | None:
    return (await jetstream.stream_info(BUCKET)).config.max_age


def _of(verb: str, last: str) -> str:
    return f"$SRV.{verb}.agent-event-bridge.{last}"


async def _max_messages(jetstream: JetStreamContext) -> int | None:
    return (await jetstream.stream_info("EVENTS")).config.max_msgs


def test_the_bridge_does_everything_with_it(run: Run) -> None:
    assert run.seen == {
        "durable": [0, 1],
        "since": [0, 1],
        "pinned": [0],
        "group": [0, 1],
        "leased": [0, 1],
        "done": 200,
        "history": [0, 1, 2],
        "held": [2],
        "retained": 3,
        "delivered again": True,
        "deleted": 204,
        "services": [["agent-event-bridge"], [True], [True]],
        "over the other": [0, 1],
        "revoked": 201,
        "restored": 204,
        "stream updated": 500,
        "after a restart": [9],
        "ends": [0, 0],
    }


@pytest.mark.parametrize(("kind", "permission"), ALLOWED)
def test_the_bridge_needs_each_permission(run: Run, kind: str, permission: str) -> None:
    """Something that the bridge did is allowed by this one alone: without it that is refused."""
    if permission == SECOND_FORM and server_version() < (2, 14):
        pytest.skip("nats-server before 2.14 has no acknowledgements of the second form")
    others = [each for each in permissions("bridge", kind) if each != permission]
    allowed = {subject for subject in run.used[kind] if allows(permission, subject)}
    assert {s for s in allowed if not any(allows(other, s) for other in others)}


def test_beyond_its_permissions_the_bridge_only_answers(run: Run) -> None:
    """It shows as well that the log was read right: nothing else was allowed or used."""

    def beyond(kind: str) -> set[str]:
        allowed = permissions("bridge", kind)
        return {s for s in run.used[kind] if not any(allows(each, s) for each in allowed)}

    answers = beyond("publish")
    assert len(answers) == 4, "to PING, INFO, STATS and an endpoint"
    assert all(subject.startswith("_INBOX.") for subject in answers)
    assert beyond("subscribe") == set()


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server with an event in EVENTS, another in a stream that is none of the bridge's, and a
    revocation."""

    async def stock(jetstream: JetStreamContext) -> None:
        await jetstream.add_stream(name=BUCKET, subjects=["$KV.revoked-EVENTS.>"])
        await jetstream.publish("$KV.revoked-EVENTS.a.jti.b", b"{}")
        for name in ("EVENTS", "OTHER"):
            await jetstream.add_stream(name=name, subjects=[f"{name.lower()}.>"])
            await jetstream.add_consumer(name, durable_name="c", ack_policy=api.AckPolicy.EXPLICIT)
            await jetstream.publish(f"{name.lower()}.a.b.c._", b"{}")

    server = restricted(tmp_path_factory.mktemp("stocked") / "nats")
    on_jetstream(server.url, stock)
    yield server
    server.stop()


def stock_of(server: NatsServer) -> list[int]:
    async def count(jetstream: JetStreamContext) -> list[int]:
        infos = [await jetstream.stream_info(name) for name in ("EVENTS", "OTHER", BUCKET)]
        return [info.state.messages for info in infos]

    return on_jetstream(server.url, count)


# What the bridge may not do, and then the operator: the right to look is not a right to change.
FORBIDDEN = [
    *((BRIDGE_LOGIN, operation) for operation in (
        "PUB other.a", "PUB events", "PUB _INBOX.somebody", "PUB $SRV.PING",
        "PUB $JS.API.STREAM.DELETE.EVENTS", "PUB $JS.API.STREAM.PURGE.EVENTS",
        "PUB $JS.API.STREAM.MSG.DELETE.EVENTS", "PUB $JS.API.STREAM.MSG.GET.EVENTS",
        "PUB $JS.API.STREAM.LIST", "PUB $JS.API.STREAM.INFO.OTHER",
        "PUB $JS.API.STREAM.CREATE.OTHER", "PUB $JS.API.STREAM.UPDATE.OTHER",
        "PUB $JS.API.STREAM.DELETE.OTHER", "PUB $JS.API.STREAM.MSG.GET.OTHER",
        "PUB $JS.API.DIRECT.GET.OTHER", "PUB $JS.API.CONSUMER.CREATE.OTHER.c",
        "PUB $JS.API.CONSUMER.DELETE.OTHER.c", "PUB $JS.API.CONSUMER.MSG.NEXT.OTHER.c",
        "PUB $JS.API.STREAM.DELETE.KV_revoked-EVENTS", "PUB $KV.revoked-OTHER.a",
        "PUB $JS.API.STREAM.PURGE.KV_revoked-EVENTS", "PUB $JS.API.STREAM.CREATE.KV_other",
        "PUB $JS.API.CONSUMER.CREATE.KV_revoked-EVENTS.c", "SUB $KV.>",
        "PUB $JS.ACK.OTHER.c.1.1.1.1.0", "SUB >", "SUB events.>", "SUB other.>", "SUB _INBOX.>",
        "SUB $SRV.>", "SUB $SRV.PING.other", "SUB $JS.ACK.>",
    )),
    *((OPERATOR_LOGIN, operation) for operation in (
        "PUB events.a.b.c._", "PUB $JS.API.STREAM.DELETE.EVENTS", "PUB $JS.API.STREAM.PURGE.EVENTS",
        "PUB $JS.API.STREAM.UPDATE.EVENTS", "PUB $JS.API.STREAM.MSG.DELETE.EVENTS",
        "PUB $JS.API.CONSUMER.CREATE.EVENTS.c", "PUB $JS.API.CONSUMER.DELETE.EVENTS.c",
        "PUB $JS.API.CONSUMER.MSG.NEXT.EVENTS.c", "PUB $JS.ACK.EVENTS.c.1.1.1.1.0",
        "PUB $JS.API.STREAM.MSG.GET.OTHER", "SUB >", "SUB other.>", "SUB _INBOX_bridge.>",
        "PUB $KV.revoked-EVENTS.a.jti.b", "PUB $JS.API.STREAM.DELETE.KV_revoked-EVENTS",
        "PUB $JS.API.STREAM.UPDATE.KV_revoked-EVENTS",
    )),
]  # fmt: skip


@pytest.mark.parametrize(("login", "operation"), FORBIDDEN)
def test_the_server_refuses_everything_else(
    stocked: NatsServer, login: dict[str, str], operation: str
) -> None:
    verb, subject = operation.split()
    word = "Publish" if verb == "PUB" else "Subscription"
    told = stocked.refusals(login, f"{operation} 2\r\n{{}}" if verb == "PUB" else f"{operation} 1")
    assert told == [f'Permissions Violation for {word} to "{subject}"']
    assert stocked.violations() == [f"{word} {subject}"]
    assert stock_of(stocked) == [1, 1, 1]


@pytest.mark.parametrize("permission", sorted(set(permissions("operator", "publish")) - {"$SRV.>"}))
def test_the_operator_is_answered(stocked: NatsServer, permission: str) -> None:
    """Asked as the nats CLI asks; services are asked where bridges run."""
    body = b'{"seq": 1}' if "MSG.GET" in permission else b""

    async def ask() -> Any:
        client = await nats.connect(as_operator(stocked))
        try:
            return json.loads((await client.request(permission.replace("*", "c"), body)).data)
        finally:
            await client.close()

    assert "error" not in asyncio.run(ask())


def test_the_operator_hears_advisories_as_the_file_says(
    stocked: NatsServer, tmp_path: Path
) -> None:
    if shutil.which("nats") is None:
        pytest.skip("NOT RUN, not on PATH: nats")
    [command] = re.findall(r"# (nats events .*)", NATS_USER.read_text())
    heard = tmp_path / "heard.log"

    async def make(jetstream: JetStreamContext) -> None:
        await jetstream.add_consumer("EVENTS", name="heard", inactive_threshold=0.1)

    def hears() -> bool:
        on_jetstream(stocked.url, make)
        return "Consumer Create Action" in heard.read_text()

    with heard.open("wb") as log:
        arguments = [*shlex.split(command), "--server", as_operator(stocked)]
        listening = subprocess.Popen(arguments, stdout=log, stderr=log)
    try:
        eventually(hears, what="an advisory")
    finally:
        listening.send_signal(signal.SIGINT)
        listening.wait(10)
    assert stocked.violations() == []


def test_the_file_is_included_as_it_stands(tmp_path: Path, start_bridge: Start) -> None:
    (tmp_path / "nats").mkdir()
    shutil.copy(NATS_USER, tmp_path / "nats")
    server = NatsServer(tmp_path / "nats", config='include "nats-user.conf"').start()
    assert start_bridge(server.url, **BRIDGE_LOGIN).stop() == 0
    for user in ("bridge", "operator"):
        with pytest.raises(AssertionError, match="Authorization Violation"):
            server.refusals({"nats_user": user, "nats_password": "of somebody else"})
    server.stop()


def test_the_file_is_made_for_another_stream_as_it_says(
    tmp_path: Path, start_bridge: Start, agents_on: AgentsOn
) -> None:
    [command] = re.findall(r"sed '.*' nats-user\.conf", NATS_USER.read_text())
    assert "\\" not in command, "BSD and macOS know fewer escapes than GNU"
    made = subprocess.run(
        shlex.split(command), cwd=NATS_USER.parent, capture_output=True, text=True, check=True
    ).stdout
    assert made == re.sub(r"\bEVENTS\b", "ORDERS", NATS_USER.read_text()), "as the chart makes it"
    (tmp_path / "nats").mkdir()
    (tmp_path / "nats" / NATS_USER.name).write_text(made)
    server = NatsServer(tmp_path / "nats", config=f'include "{NATS_USER.name}"').start()
    agents = agents_on(start_bridge(server.url, stream="ORDERS", **BRIDGE_LOGIN))
    agents("publisher").publish("work", {"n": 1})
    assert numbers(agents("reader").events("work")) == [1]
    server.stop()
    assert server.violations() == []


def test_a_stream_that_others_manage_takes_four_permissions_less(
    tmp_path: Path, start_bridge: Start, agents_on: AgentsOn
) -> None:
    streams = ("EVENTS", BUCKET)
    verbs = ("CREATE", "UPDATE")
    without = tuple(f"$JS.API.STREAM.{verb}.{name}" for verb in verbs for name in streams)
    server = restricted(tmp_path / "nats", without=without)
    shape = api.StreamConfig(name="EVENTS", subjects=["events.>"], allow_msg_ttl=True)
    on_jetstream(server.url, lambda jetstream: jetstream.add_stream(shape))
    agents = agents_on(start_bridge(server.url, stream_manage="false"))
    agents("publisher").publish("work", {"n": 1})
    assert numbers(agents("reader").events("work")) == [1]
    server.stop()


def test_each_permission_is_named_when_it_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    """Once on each connection, whatever it was that was not allowed."""
    verbs = {"publish": "Publish", "subscribe": "Subscription"}

    async def refuse() -> None:
        refusals = Refusals("_INBOX_bridge")
        for last in "01":
            for kind, permission in ALLOWED:
                subject = permission.replace("*", f"Name{last}").replace(">", f"C.1.1.1.1.{last}")
                assert refusals.note(f"'Permissions Violation for {verbs[kind]} to \"{subject}\"'")
        assert not refusals.note("nats: 'Authorization Violation'")

    asyncio.run(refuse())
    granted = _GRANT.findall("\n".join(caplog.messages))
    assert [(kind, listed or subject) for kind, subject, listed in granted] == ALLOWED


@pytest.mark.parametrize(
    ("permission", "told"),
    [
        ("$JS.API.STREAM.CREATE.EVENTS", 'publish to "$JS.API.STREAM.CREATE.EVENTS"; grant it ('),
        ("_INBOX_bridge.>", 'grant "_INBOX_bridge.>" (helm/nats-user.conf has the whole list)'),
    ],
)
def test_without_a_permission_to_start_everything_names_it(
    tmp_path: Path, start_bridge: Start, agents_on: AgentsOn, permission: str, told: str
) -> None:
    server = restricted(tmp_path / "nats", without=(permission,))
    bridge = start_bridge(server.url, ready=False)
    agent = agents_on(bridge)()
    eventually(lambda: told in reason(bridge), what="the reason")
    assert reason(bridge).startswith("NATS refuses the bridge's user: ")
    assert told in refusal(agent.http.post("/events/work", json={"data": {}}))
    assert told in refusal(agent.http.get("/events/wait/work?timeout=0"))
    server.stop()
    assert {allows(permission, tried.split()[1]) for tried in server.violations()} == {True}
    least_privilege(tmp_path / "nats")
    server.start()
    eventually(bridge.ready, what="readiness")
    agent.publish("work")
    server.stop()


def test_without_a_permission_the_answer_and_the_log_name_it(
    tmp_path: Path, start_bridge: Start, agents_on: AgentsOn
) -> None:
    delete = "$JS.API.CONSUMER.DELETE.EVENTS"
    server = restricted(tmp_path / "nats", without=("events.>", f"{delete}.*"))
    bridge = start_bridge(server.url)
    agent = agents_on(bridge)()
    agent.events("work")
    [mine] = agent.subscriptions()
    event, consumer = f"events.{agent.project}.coordination.Work._", f"{delete}.{mine['name']}"
    for _ in range(2):
        told = refusal(agent.http.post("/events/Work", json={"data": {}}))
        assert f'user: publish to "{event}"; grant "events.>"' in told
        told = refusal(agent.http.delete(f"/subscriptions/{mine['name']}"))
        assert f'user: publish to "{consumer}"; grant "{delete}.*"' in told
    lines = [json.loads(line)["message"] for line in bridge.log.splitlines()]
    logged = _GRANT.findall("\n".join(line for line in lines if line.startswith("NATS refuses")))
    assert sorted(logged) == [("publish", consumer, f"{delete}.*"), ("publish", event, "events.>")]
    assert set(server.violations()) == {f"Publish {event}", f"Publish {consumer}"}
    bridge.kill()
    server.stop()


def test_the_bridge_of_all_tests_logs_in_as_that_user(
    request: pytest.FixtureRequest, bridge: BridgeProcess
) -> None:
    own_server = request.config.getoption("--nats") == "binary"
    assert ("nats_user=bridge" in bridge.log) is own_server


def refusal(answer: httpx.Response) -> str:
    assert answer.status_code == 503, answer.text
    told: str = answer.json()["message"]
    return told
