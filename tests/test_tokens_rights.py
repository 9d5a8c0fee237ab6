"""What a token with permissions of its own may see and publish, through every door there is."""

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from bridge.scopes import Scope
from tests.support import Agent, Agents, BridgeProcess, eventually
from tests.support.answers import assert_problem
from tests.test_streams import streaming

Json = dict[str, Any]
SECRETS = ("payroll", "finance", "s3cret")
"""None of these may be in an answer, unless the request had it."""

CLOUD = "application/cloudevents+json"
CLOUDS = "application/cloudevents-batch+json"


@contextmanager
def in_background(
    call: Callable[..., Any], *args: Any, **named: Any
) -> Iterator[Callable[[], Any]]:
    """Give what gives the answer once it has come."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(call, *args, **named).result


class World:
    """A project with events and waits of which `reader` may see those on the topic testing."""

    def __init__(self, agents: Agents, bridge: BridgeProcess, scope: str) -> None:
        self.bridge, self.scope = bridge, scope
        may = ["publish_events", "spawn_agents", f"wait:{scope}"]
        self.all = agents("hr", permissions=["publish_events", "spawn_agents"])
        self.reader = agents("reader", agent_type="qa", permissions=may)
        self.all.publish("tests_passing", {"n": 1}, topic="testing", event_id="seen-1")
        secret = {"topic": "finance", "correlation_id": "c-1"}
        self.all.publish("payroll_run", {"note": "s3cret"}, event_id="payroll-1", **secret)
        self.all.publish("tests_passing", {"note": "s3cret"}, **secret)
        self.all.publish("tests_passing", {"n": 2}, topic="testing", correlation_id="c-1")
        self.all.publish("payroll_run", {"note": "s3cret"}, event_id="payroll-9", **secret)

    def get(self, path: str, **query: Any) -> httpx.Response:
        return self.reader.http.get(path, params=query)

    def streamed(self, types: str, **query: str) -> str:
        told = []
        with streaming(self.reader, types, since="earliest", **query) as items:
            for item in items:
                told.append(item["data"])
                if '"n":2' in item["data"]:
                    return "\n".join(told)
        raise AssertionError("the stream ended")

    def asked(self) -> httpx.Response:
        """Ask for replies of any type: one comes that it may not see, and then one that it may."""
        path = "/events/question?reply=*&count=1&timeout=20000"
        body = {"correlation_id": "c-9", "topic": "testing"}
        with in_background(self.reader.http.post, path, json=body) as answer:
            eventually(lambda: self.all.history(type="question")["events"], what="the question")
            self.all.publish("payroll_run", topic="finance", correlation_id="c-9")
            self.all.publish("answer", {"n": 3}, topic="testing", correlation_id="c-9")
            found: httpx.Response = answer()
        assert [event["data"] for event in found.json()["reply"]["events"]] == [{"n": 3}]
        return found

    def subscription(self) -> str:
        self.reader.events("tests_passing")
        [mine] = self.reader.subscriptions()
        return str(mine["name"])

    def redriven(self, event_id: str) -> str:
        path = f"/subscriptions/{self.subscription()}/redrive"
        answer = self.reader.http.post(path, json={"event_ids": [event_id]})
        assert_problem(answer, "REQ_002")
        return answer.text.replace(event_id, "")

    def settled(self, verb: str) -> str:
        """Try to settle what an agent was leased that may see everything."""
        [event, _] = self.all.events("payroll_run", ack="explicit")
        answer = self.reader.http.post(f"/deliveries/{verb}", json={"ack_ids": [event["ack_id"]]})
        return answer.text.replace(event["ack_id"], "")

    def minted(self, permissions: list[str]) -> httpx.Response:
        wish = {"agent_id": "other", "permissions": permissions}
        return self.reader.http.post("/tokens", json=wish)


@pytest.fixture(params=["testing.*", "test*.*"])
def world(request: pytest.FixtureRequest, agents: Agents, bridge: BridgeProcess) -> World:
    """With topics that are named, which NATS selects by, and with topics that are not."""
    return World(agents, bridge, request.param)


def texts(*answers: httpx.Response) -> str:
    assert all(answer.status_code < 300 for answer in answers), [a.text for a in answers]
    return "\n".join(answer.text for answer in answers)


def denied(world: World, path: str, **query: Any) -> None:
    told = assert_problem(world.get(path, **query), "AUTH_003", says=f"`{world.scope}` alone")
    assert told["details"]["allowed"] == [world.scope]


def history(world: World) -> str:
    whole = texts(
        world.get("/events"),
        world.get("/events", order="asc", latest="true"),
        world.get("/events", deliveries="true", filter="n:>0"),
        world.get("/events", correlation_id="c-1"),
        world.get("/events", type="tests_passing"),
        world.reader.http.get("/events", headers={"Accept": CLOUDS}),
    )
    found = world.get("/events").json()["events"]
    assert [event["data"] for event in found] == [{"n": 2}, {"n": 1}]
    denied(world, "/events", type="tests_passing", topic="finance")
    assert_problem(world.get("/events", since="payroll-1"), "EVT_004")
    assert_problem(world.get("/events", since="payroll-1", topic="testing"), "EVT_004")
    assert world.get("/events", since="seen-1").json()["events"] == found[:1]
    return whole


def one(world: World) -> str:
    assert world.get("/events/seen-1").json()["data"] == {"n": 1}
    unknown, hidden = world.get("/events/payroll-2"), world.get("/events/payroll-1")
    same = assert_problem(unknown, "REQ_002")["message"].replace("payroll-2", "payroll-1")
    assert assert_problem(hidden, "REQ_002")["message"] == same
    return texts(world.get("/events/seen-1"))


def waits(world: World) -> str:
    answers = [
        world.get("/events/wait", topic="testing", timeout="0"),
        world.get("/events/wait/*", timeout="0", consumer="a"),
        world.get("/events/wait/*", timeout="0", consumer="b", limit="1"),
        world.get("/events/wait/*", timeout="0", ack="explicit", consumer="c"),
        world.get("/events/wait/*", timeout="0", deliver="last", consumer="d"),
        world.get("/events/wait/tests_passing", timeout="0", since="earliest"),
        world.get("/events/wait/tests_passing", timeout="0", group="g", max_bytes="9999"),
        world.get("/events/wait/*", timeout="0", correlation_id="c-1", since="earliest"),
    ]
    counts = [len(answer.json()["events"]) for answer in answers]
    assert counts == [2, 2, 1, 2, 2, 2, 2, 1]
    second = world.get("/events/wait/*", timeout="0", consumer="b", limit="1").json()
    assert (len(second["events"]), second["more_available"]) == (1, False)
    denied(world, "/events/wait/payroll_run", topic="finance", timeout="0")
    denied(world, "/events/wait/tests_passing", topic="finance,testing", timeout="0")
    assert_problem(world.get("/events/wait/*", since="payroll-1", timeout="0"), "EVT_004")
    return texts(*answers)


def hints(world: World) -> str:
    """A wait that gets nothing is told of nothing that it might not get."""
    answers = [
        world.get("/events/wait/payrol_run", timeout="0"),
        world.get("/events/wait/payrol_run", timeout="0", since="earliest"),
        world.get("/events/wait/xyz", timeout="0"),
        world.get("/events/wait/tests_passing", filter="note:x", timeout="0"),
        world.get("/events/wait/tests_passing", topic="testing", filter="n:7", timeout="0"),
        world.get("/events/wait/*", filter="correlation_id:c-7", timeout="0"),
    ]
    for answer in answers:
        *_, last = answer.json()["hints"]
        assert (last["about"], last["allowed"]) == ("permissions", [world.scope])
    return texts(*answers).replace("payrol_run", "")


def explained(world: World) -> str:
    explain = "/events/explain"
    found = world.get(f"{explain}/tests_passing").json()
    assert (found["retained"], found["of_types"], found["matching"]) == (2, 2, 2)
    found = world.get(f"{explain}/tests_passing", topic="testing", filter="n:7").json()
    assert (found["retained"], found["of_types"], found["matching"]) == (2, 2, 0)
    denied(world, f"{explain}/*", topic="finance")
    return texts(
        world.get(explain, topic="testing"),
        world.get(f"{explain}/*"),
        world.get(f"{explain}/tests_passing", filter="note:x"),
        world.get(f"{explain}/payrol_run"),
    ).replace("payrol_run", "")


def status(world: World) -> str:
    answer = httpx.get(f"{world.bridge.url}/status", headers=world.reader.http.headers)
    assert answer.json()["events"]["by_type"] == {"tests_passing": 2}
    return texts(answer)


def catalog(world: World) -> str:
    found = world.get("/catalog").json()
    [counted] = [each for each in found["event_types"] if each["name"] == "tests_passing"]
    assert counted["retained"] == 2
    assert world.all.http.get("/catalog").json()["other_event_types"] == [
        {"name": "payroll_run", "retained": 2}
    ]
    return texts(world.get("/catalog"))


def agents_there(world: World) -> str:
    path = "/events/wait/payroll_run?timeout=20000&consumer=other"
    world.all.events("payroll_run", consumer="other")
    with in_background(world.all.http.get, path):

        def waiting(agent: Agent) -> list[Json]:
            found = agent.http.get("/agents").json()["agents"]
            return [wait for each in found for wait in each["waiting"]]

        eventually(lambda: waiting(world.all), what="the wait of another")
        assert waiting(world.reader) == []
        told = texts(world.get("/agents"))
        world.all.publish("payroll_run", topic="finance")
    return told


def subscriptions(world: World) -> str:
    world.all.events("payroll_run")
    mine = world.subscription()
    assert len(world.all.subscriptions()) == 2
    assert [each["name"] for each in world.reader.subscriptions()] == [mine]
    return texts(world.get("/subscriptions"))


def deleted(world: World) -> str:
    world.all.events("payroll_run")
    [hidden] = world.all.subscriptions()
    answer = world.reader.http.delete(f"/subscriptions/{hidden['name']}")
    assert_problem(answer, "REQ_002")
    return answer.text.replace(hidden["name"], "")


def published(world: World) -> str:
    """A slip in a type's name leads to no other type than the catalogue's."""
    answer = world.reader.http.post("/events/payrol_run", json={"data": {}})
    assert "did you mean" in str(world.all.publish("payrol_rum")["warnings"])
    caught = world.reader.http.post("/events/test_passing", json={"topic": "testing"})
    assert "did you mean `tests_passing`?" in caught.text
    refused = "/events/a?reply=tests_passing,payroll_run&timeout=0"
    before = len(world.all.history(limit=1000)["events"])
    narrow = world.minted(["publish_events", "wait:testing.tests_passing"]).json()["token"]
    headers = {"Authorization": f"Bearer {narrow}"}
    told = world.reader.http.post(refused, json={}, headers=headers)
    assert_problem(told, "AUTH_003", says="`testing.tests_passing` alone")
    assert len(world.all.history(limit=1000)["events"]) == before, "refused before it is stored"
    return texts(answer).replace("payrol_run", "") + texts(world.asked())


def published_many(world: World) -> str:
    answer = world.reader.http.post("/events", json=[{"event_type": "payrol_run"}])
    return texts(answer).replace("payrol_run", "")


def minted(world: World) -> str:
    told = assert_problem(world.minted(["wait:*"]), "AUTH_003", says="do not have: wait:*")
    assert told["details"]["extra"] == ["wait:*"]
    assert_problem(world.minted(["publish_events"]), "AUTH_003", says="give it yours as well")
    return looked(world, world.minted([f"wait:{world.scope}"]))


def refreshed(world: World) -> str:
    return looked(world, world.reader.http.post("/tokens/refresh"))


def looked(world: World, token: httpx.Response) -> str:
    headers = {"Authorization": f"Bearer {token.json()['token']}"}
    answer = world.reader.http.get("/events", headers=headers)
    assert len(answer.json()["events"]) == 2
    return texts(answer)


def revoked(world: World) -> str:
    """Who may see less may revoke all the same: tokens are no events."""
    return texts(world.get("/tokens/revoked"))


def no_revoking(world: World, method: str) -> str:
    narrow = world.minted(["publish_events", "wait:testing"]).json()["token"]
    headers = {"Authorization": f"Bearer {narrow}"}
    path = "/tokens/revoked"
    answer = world.reader.http.request(method, path, json={"jti": "x"}, headers=headers)
    assert_problem(answer, "AUTH_003", says="spawn_agents")
    return answer.text


Door = Callable[[World], str]
DOORS: dict[tuple[str, str], Door] = {
    ("get", "/api/events"): history,
    ("post", "/api/events"): published_many,
    ("get", "/api/events/{event_id}"): one,
    ("post", "/api/events/{event_type}"): published,
    ("get", "/api/events/wait"): waits,
    ("get", "/api/events/wait/{event_types}"): hints,
    ("get", "/api/events/stream"): lambda world: world.streamed("", topic="testing"),
    ("get", "/api/events/stream/{event_types}"): lambda world: world.streamed("*"),
    ("get", "/api/events/explain"): explained,
    ("get", "/api/events/explain/{event_types}"): explained,
    ("get", "/api/catalog"): catalog,
    ("get", "/api/agents"): agents_there,
    ("get", "/api/subscriptions"): subscriptions,
    ("delete", "/api/subscriptions/{name}"): deleted,
    ("post", "/api/subscriptions/{name}/redrive"): lambda world: world.redriven("payroll-1"),
    ("post", "/api/deliveries/ack"): lambda world: world.settled("ack"),
    ("post", "/api/deliveries/extend"): lambda world: world.settled("extend"),
    ("post", "/api/deliveries/release"): lambda world: world.settled("release"),
    ("post", "/api/deliveries/reject"): lambda world: world.settled("reject"),
    ("post", "/api/tokens"): minted,
    ("post", "/api/tokens/refresh"): refreshed,
    ("get", "/api/tokens/revoked"): revoked,
    ("post", "/api/tokens/revoked"): lambda world: no_revoking(world, "POST"),
    ("delete", "/api/tokens/revoked"): lambda world: no_revoking(world, "DELETE"),
    ("get", "/status"): status,
}
OPEN = {"/livez", "/readyz", "/health", "/metrics", "/llms.txt"}
"""Those that take no token and tell of no project."""


def test_every_door_is_tried(bridge: BridgeProcess) -> None:
    paths = httpx.get(f"{bridge.url}/openapi.json").json()["paths"]
    there = {(method, path) for path in paths.keys() - OPEN for method in paths[path]}
    assert there == DOORS.keys()


@pytest.mark.parametrize("door", DOORS, ids=" ".join)
def test_through_no_door_is_seen_what_may_not_be_read(world: World, door: tuple[str, str]) -> None:
    told = DOORS[door](world)
    assert [secret for secret in SECRETS if secret in told] == []


def test_what_a_model_is_given_is_no_more(world: World) -> None:
    async def shown() -> str:
        headers = dict(world.reader.http.headers)
        async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
            transport = streamable_http_client(f"{world.bridge.url}/mcp", http_client=http)
            async with Client(transport) as client:
                told = [
                    await client.call_tool("list_events", {}),
                    await client.call_tool("wait_for_events", {"event_types": ["*"], "timeout": 0}),
                    await client.call_tool("explain_wait", {"event_types": ["*"]}),
                    await client.call_tool("describe_events", {}),
                    await client.call_tool("who_is_there", {}),
                    await client.read_resource("events://workflow/c-1"),
                    await client.read_resource("events://catalog/other_event_types"),
                ]
        return "\n".join(map(repr, told))

    told = asyncio.run(shown())
    assert "seen-1" in told
    assert [secret for secret in SECRETS if secret in told] == []


@pytest.mark.parametrize(
    ("permissions", "topics"),
    [
        (["wait:testing.*", "wait:ops"], ["ops", "testing"]),
        (["wait:testing.done", "wait:ops"], ["ops", "testing"]),
        (["wait:test*.*", "wait:ops"], ["*"]),
        (["wait:*.done"], ["*"]),
    ],
)
def test_whoever_may_read_less_has_a_subscription_of_its_own(
    agents: Agents, permissions: list[str], topics: list[str]
) -> None:
    """It takes nothing from others, and where topics are named NATS gives it nothing else."""
    whole, less = agents("a"), agents("a", permissions=permissions)
    whole.publish_many(
        {"event_type": kind, "topic": topic}
        for topic in ("testing", "ops", "finance")
        for kind in ("done", "begun")
    )
    scope = Scope.read(each.removeprefix("wait:") for each in permissions)

    def readable(event: Json) -> bool:
        return scope.takes(event["topic"], event["event_type"])

    found = less.events("*")
    assert len(found) == len([e for e in whole.history()["events"] if readable(e)])
    assert all(map(readable, found))
    [mine] = less.subscriptions()
    assert (mine["types"], mine["topics"]) == (["*"], topics)
    assert len(whole.events("*")) == 6
    assert len(whole.events("*", consumer="b", topic="testing")) == 2


def test_an_event_is_told_to_be_for_those_alone_that_may_read_it(agents: Agents) -> None:
    publisher, less = agents("publisher"), agents("less", permissions=["wait:testing.*"])
    less.events("done")
    assert publisher.publish("done", topic="testing")["subscribers_notified"] == ["less"]
    assert publisher.publish("done", topic="ops")["subscribers_notified"] == []


def test_an_agents_topics_are_narrowed_to_what_it_may_read(agents: Agents) -> None:
    """A wait without types names nothing: its topics are the catalogue's for its type."""
    publisher = agents("publisher")
    publisher.publish("tests_passing")
    publisher.publish("done", topic="coordination")
    less = agents("ops", agent_type="devops-engineer", permissions=["wait:testing", "wait:ops"])
    assert [event["event_type"] for event in less.events()] == ["tests_passing"]
    none = agents("ops", agent_type="devops-engineer", permissions=["wait:ops"])
    assert_problem(none.http.get("/events/wait?timeout=0"), "AUTH_003", says="`ops.*` alone")


def test_a_permission_that_names_nothing_gives_nothing(agents: Agents) -> None:
    blind = agents("blind", permissions=["publish_events", "wait:"])
    blind.publish("done")
    for path in ("/events", "/events/wait/*?timeout=0", "/events/stream/*", "/events/explain/*"):
        assert_problem(blind.http.get(path), "AUTH_003", says="may read nothing")
    assert blind.http.get("/catalog").json()["other_event_types"] == []
    mute = agents("mute", permissions=["publish:"])
    assert_problem(mute.http.post("/events/done", json={}), "AUTH_003", says="may not publish")


MAY_PUBLISH = ["publish:testing.tests_*", "publish:ops%2Eeu.restart"]
FINE = {"event_type": "tests_failing"}


def ways(event: Json) -> Iterator[tuple[str, Any, dict[str, str]]]:
    """Give every way to publish an event: path, body and headers. A CloudEvent names no topic."""
    kind = event["event_type"]
    plain = {"Content-Type": "application/json"}
    yield f"/events/{kind}", event, plain
    yield f"/events/{kind}?reply=answer&timeout=0", event, plain
    yield "/events", [FINE, event], plain
    if "topic" not in event:
        cloud = {"specversion": "1.0", "id": "1", "source": "/s", "type": kind, "data": {}}
        binary = {f"ce-{name}": str(value) for name, value in cloud.items() if name != "data"}
        yield f"/events/{kind}", cloud, {"Content-Type": CLOUD}
        yield "/events", cloud, {"Content-Type": CLOUD}
        yield "/events", {}, plain | binary
        yield "/events", [cloud], {"Content-Type": CLOUDS}


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ({"event_type": "tests_passing", "topic": "ops"}, "`tests_passing` on topic `ops`"),
        ({"event_type": "build", "topic": "testing"}, "and not `build` on topic `testing`"),
        ({"event_type": "build"}, "on topic `coordination`, where it goes if `topic` is left out"),
        ({"event_type": "task_assigned"}, "where it goes if `topic` is left out"),
        ({"event_type": "restart", "topic": "ops"}, "on topic `ops`"),
    ],
    ids=str,
)
def test_what_may_not_be_published_is_not_in_any_way(
    agents: Agents, event: Json, says: str
) -> None:
    narrow = agents("narrow", permissions=MAY_PUBLISH)
    for path, body, headers in ways(event):
        answer = narrow.http.post(path, content=json.dumps(body), headers=headers)
        told = assert_problem(answer, "AUTH_003", says=says)
        assert "may publish `ops%2Eeu.restart`, `testing.tests_*` alone" in told["message"]
        assert told["details"]["allowed"] == ["ops%2Eeu.restart", "testing.tests_*"]
    assert agents("all").history()["events"] == []


def test_what_may_be_published_is_in_every_way(agents: Agents) -> None:
    narrow = agents("narrow", permissions=MAY_PUBLISH)
    for event in ({"event_type": "tests_passing"}, {"event_type": "tests_b", "topic": "testing"}):
        for path, body, headers in ways(event):
            answer = narrow.http.post(path, content=json.dumps(body), headers=headers)
            assert answer.status_code in (200, 202), answer.text
    narrow.publish("restart", topic="ops.eu")
