"""The client for agents, blocking and async, on a real bridge."""

import ast
import asyncio
import doctest
import inspect
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, assert_type

import httpx
import pytest

import bridge.client
from bridge import errors
from bridge.client import (
    AsyncEventClient,
    Batch,
    Event,
    EventClient,
    Gap,
    Published,
    UnexpectedAnswer,
    Unreachable,
    patterns,
    polling,
)
from tests.support import Agents, BridgeProcess, eventually
from tests.support.agents import make_token
from tests.support.clients import KINDS, Either

Make = Callable[..., Either]

PACKAGE = Path(bridge.client.__file__).parent
OTHER_STREAM = "c0000000000000001-000000000001"


@pytest.fixture
def make(bridge: BridgeProcess, agents: Agents) -> Iterator[Callable[..., Either]]:
    """Makes clients of agents of the test's own project, and closes them."""
    made: list[Either] = []

    def client(kind: str = "blocking", name: str = "agent-1", **options: Any) -> Either:
        claims = options.pop("claims", {})
        token = options.pop("token", make_token(name, project_id=agents.project, **claims))
        found = KINDS[kind](options.pop("url", bridge.api), token, **options)
        made.append(found)
        return found

    yield client
    for each in made:
        each.close()


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, make: Make) -> Either:
    """A client of either kind."""
    return make(request.param)


def examples() -> Iterator[doctest.DocTest]:
    """Find the examples in every docstring of the package, whatever wraps what it describes."""
    parser = doctest.DocTestParser()
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(
                node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            ):
                continue
            text = ast.get_docstring(node) or ""
            assert "```" not in text, "examples are doctests, which are run"
            name = f"{path.relative_to(PACKAGE)}:{getattr(node, 'name', '')}"
            found = parser.get_doctest(text, {}, name, str(path), 0)
            if found.examples:
                yield found


EXAMPLES = list(examples())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_the_examples_do_what_they_say(
    example: doctest.DocTest, bridge: BridgeProcess, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIDECAR_URL", bridge.api)
    monkeypatch.setenv("JWT_TOKEN", make_token("agent-1", project_id=agents.project))
    globs = {"__name__": "example"}
    if ":" in example.name and not example.examples[0].source.startswith(("from", "import")):
        module = inspect.getmodulename(example.filename or "")
        folder = Path(example.filename or "").parent.relative_to(PACKAGE.parent.parent)
        exec(f"from {'.'.join(folder.parts)}.{module} import *", globs)
    example.globs = globs
    told: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    assert runner.run(example, out=told.append).failed == 0, "".join(told)


def test_every_pattern_and_call_has_an_example() -> None:
    named = {example.name.rpartition(":")[2] for example in EXAMPLES}
    functions = {
        name
        for name, value in vars(patterns).items()
        if callable(value) and (not inspect.isclass(value) or "Breaker" in name)
    }
    assert functions - named == {"BreakerOpen"}
    assert {"publish", "publish_many", "wait", "feed", "on", "history"} <= named


def test_importing_the_client_imports_nothing_of_the_server() -> None:
    code = (
        "import sys, bridge.client, bridge.client.patterns\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
        "print(*sorted(name for name in sys.modules if name.startswith('bridge.')))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    top, ours = (line.split() for line in ran.stdout.splitlines())
    assert {"fastapi", "starlette", "uvicorn", "nats", "pydantic"} & set(top) == set()
    rest = {name for name in ours if not name.startswith("bridge.client")}
    assert rest <= {"bridge.errors", "bridge.events", "bridge.suggest"}


def test_the_types_are_those_of_the_results(bridge: BridgeProcess, agents: Agents) -> None:
    """What a type checker sees is what comes; this test is checked as well as run."""
    token = make_token(project_id=agents.project)
    with EventClient(bridge.api, token) as client:
        assert isinstance(assert_type(client.publish("work"), Published), Published)
        assert isinstance(assert_type(client.wait("work", timeout=5), Batch), Batch)
        reply = patterns.request_response(client, "ask", "answer", timeout=0)
        assert assert_type(reply, Event | None) is None

    async def main() -> None:
        async with AsyncEventClient(bridge.api, token) as client:
            assert isinstance(assert_type(await client.publish("work"), Published), Published)
            reply = await patterns.request_response(client, "ask", "answer", timeout=0)
            assert assert_type(reply, Event | None) is None
            async with client.subscribe("work") as events:
                async for event in events:
                    assert_type(event, Event)
                    break

    asyncio.run(main())


def test_help_shows_what_the_methods_take_and_give() -> None:
    shown = inspect.signature(EventClient.publish)
    assert shown.return_annotation is Published
    assert list(shown.parameters)[:3] == ["self", "event_type", "data"]
    assert "Publish an event" in (inspect.getdoc(AsyncEventClient.publish) or "")
    assert inspect.iscoroutinefunction(AsyncEventClient.publish)
    for name in ("publish", "publish_many", "wait", "subscribe", "on", "history"):
        calls = [inspect.signature(getattr(kind, name)) for kind in (EventClient, AsyncEventClient)]
        assert calls[0].parameters == calls[1].parameters


def test_the_environment_says_where_and_who(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SIDECAR_URL", "JWT_TOKEN", "AGENT_ID", "AGENT_TYPE"):
        monkeypatch.delenv(name, raising=False)
    with EventClient() as bare:
        assert bare.url == "http://localhost:3001/api"
        assert (bare.token, bare.agent_id, bare.agent_type) == (None, None, None)
    token = make_token("coder-1", agent_type="qa")
    monkeypatch.setenv("SIDECAR_URL", "http://bridge:3001/api/")
    monkeypatch.setenv("JWT_TOKEN", f"{token}\n")
    with EventClient() as client:
        assert client.url == "http://bridge:3001/api"
        assert (client.token, client.agent_id, client.agent_type) == (token, "coder-1", "qa")
        assert token not in repr(client)
    monkeypatch.setenv("AGENT_ID", "coder-2")
    monkeypatch.setenv("AGENT_TYPE", "coder")
    with EventClient("https://other/prefix") as client:
        assert client.url == "https://other/prefix/api"
        assert (client.agent_id, client.agent_type) == ("coder-2", "coder")


@pytest.mark.parametrize("url", ["localhost:3001", "ftp://host/api", "http://", "http://h/?a=1"])
def test_a_url_that_is_none_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ValueError, match=r"should be like http://localhost:3001/api"):
        EventClient(url)


def test_the_agent_id_is_the_publisher(make: Make) -> None:
    """So a wrong one is told, and not passed over."""
    assert make(agent_id="agent-1").call("publish", "work").duplicate is False
    with pytest.raises(errors.Forbidden, match="someone"):
        make(agent_id="someone").call("publish", "work")


def test_every_call_gives_its_value(client: Either) -> None:
    stored = client.call(
        "publish",
        "tests_passing",
        {"coverage": 92, "duration_ms": 1},
        correlation_id="c-1",
        ttl_seconds=600,
        priority="high",
        event_id="e-1",
        publisher="agent-1",
    )
    assert (stored.event_id, stored.topic, stored.ttl_seconds) == ("e-1", "testing", 600)
    assert (stored.duplicate, stored.warnings) == (False, ())
    assert client.call("publish", "tests_passing", event_id="e-1").duplicate is True
    batch = client.call("wait", "tests_passing", "other", filter="coverage:>90", timeout=5)
    (event,) = batch.events
    assert (event.data, event.priority) == ({"coverage": 92, "duration_ms": 1}, "high")
    assert event.as_json()["cursor"] == stored.cursor
    assert (batch.timeout, batch.gap) == (False, None)
    assert client.call("wait", "tests_passing", topic=["security", "error"], timeout=0).timeout
    (subscription, _) = client.call("subscriptions")
    assert (subscription.types, subscription.agent) == (["other", "tests_passing"], "agent-1")
    page = client.call("history", type=["tests_passing"], topic="testing", order="asc", limit=5)
    assert page.events == [event]
    client.call("delete_subscription", subscription.name)
    with pytest.raises(errors.NotFound):
        client.call("delete_subscription", subscription.name)
    assert client.call("status")["events"]["retained"] == 1
    assert client.call("health")["status"] == "ok"


def test_a_renewed_token_is_used_from_then_on(make: Make) -> None:
    client = make(claims={"iat": int(time.time()) - 10})
    before = client.client.token
    token = client.call("refresh_token")
    assert (token.agent_id, client.client.token) == ("agent-1", token.token)
    assert token.token != before
    assert token.token not in repr(token)
    client.call("publish", "work")


def test_many_events_go_in_as_few_requests_as_they_can(client: Either) -> None:
    given = [{"event_type": "work", "data": {"n": n}} for n in range(1005)]
    given[3]["event_id"] = "mine"
    stored = client.call("publish_many", (dict(each) for each in given))
    assert len({each.event_id for each in stored}) == 1005
    assert stored[3].event_id == "mine"
    cursors = [each.cursor for each in stored]
    assert cursors == sorted(cursors)
    found = client.call("wait", "work", count=1005, timeout=20)
    assert [event.data["n"] for event in found.events] == list(range(1005))
    assert client.call("publish_many", []) == []


def test_the_types_of_its_agent_type_are_heard_without_naming_any(make: Make) -> None:
    client = make(claims={"agent_type": "test-engineer"})
    client.call("publish_many", [{"event_type": "a", "topic": t} for t in ("security", "error")])
    assert [event.topic for event in client.call("wait", timeout=5).events] == ["error"]


@pytest.mark.parametrize(
    ("call", "kind", "details"),
    [
        (("wait", "work", {"filter": "a==b"}), errors.FilterInvalid, {"column": 2}),
        (("wait", "work", {"since": "yesterday"}), errors.CursorInvalid, {"given": "yesterday"}),
        (("wait", "work", {"count": 0}), errors.RequestInvalid, {"field": "count"}),
        (("publish", "no spaces", {}), errors.EventInvalid, {"field": "event_type"}),
        (("publish", "a/b", {}), errors.BridgeError, {}),
        (("publish", "work", {"publisher": "x"}), errors.Forbidden, {"allowed": ["agent-1"]}),
        (("publish", "work", {"data": {"x": "y" * 600_000}}), errors.EventTooLarge, {}),
        (("history", {"order": "up"}), errors.RequestInvalid, {"field": "order"}),
    ],
)
def test_what_the_bridge_refuses_is_raised_as_its_own_error(
    make: Make, call: tuple[Any, ...], kind: type[errors.BridgeError], details: dict[str, Any]
) -> None:
    with pytest.raises(kind) as raised:
        make().call(*call[:-1], **call[-1])
    assert details.items() <= raised.value.details.items()
    assert raised.value.message
    assert any("request_id" in note for note in raised.value.__notes__)


def test_what_is_no_json_is_refused_before_it_is_sent(make: Make) -> None:
    client = make()
    with pytest.raises(TypeError, match="not JSON serializable"):
        client.call("publish", "work", {"when": object()})
    with pytest.raises(ValueError, match="not JSON compliant"):
        client.call("publish", "work", {"n": float("nan")})


def answering(*answers: httpx.Response) -> tuple[EventClient, list[float]]:
    """Make a client that gets these answers, the last for ever; and what it sleeps."""
    left = list(answers)
    sleeps: list[float] = []

    def handle(request: httpx.Request) -> httpx.Response:
        answer = left.pop(0) if len(left) > 1 else left[0]
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    client = EventClient(
        "http://bridge:3001/api",
        "opaque",
        retry_for=20,
        transport=httpx.MockTransport(handle),
        clock=lambda: sum(sleeps),
        sleep=sleeps.append,
    )
    return client, sleeps


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (500, {"code": "INT_001", "message": "it failed"}, UnexpectedAnswer, "INT_001"),
        (418, {"code": "NEW_001", "message": "new"}, UnexpectedAnswer, "NEW_001"),
        (404, {"detail": "Not Found"}, UnexpectedAnswer, "UNEXPECTED"),
        (404, "<html>nginx</html>", UnexpectedAnswer, "UNEXPECTED"),
        (200, "<html>a home page</html>", UnexpectedAnswer, "UNEXPECTED"),
        (200, {"hello": "world"}, UnexpectedAnswer, "UNEXPECTED"),
        (200, [], UnexpectedAnswer, "UNEXPECTED"),
        (301, "", UnexpectedAnswer, "UNEXPECTED"),
        (401, {"code": "AUTH_002", "message": "expired"}, errors.TokenExpired, "AUTH_002"),
        (405, {"code": "REQ_003", "message": "no"}, errors.MethodNotAllowed, "REQ_003"),
        (400, {"code": "EVT_002", "message": "no", "details": [1]}, errors.EventInvalid, "EVT_002"),
    ],
)
def test_answers_that_will_not_get_better_are_told_at_once(
    status: int, body: Any, kind: type[errors.BridgeError], code: str
) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    client, sleeps = answering(httpx.Response(status, text=text))
    with pytest.raises(kind) as raised:
        client.publish("work")
    assert (raised.value.code, sleeps) == (code, [])
    if isinstance(raised.value, UnexpectedAnswer):
        assert raised.value.status == status


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxys_page_for_an_absent_bridge_is_tried_again(status: int) -> None:
    page = httpx.Response(status, html="<h1>Bad Gateway</h1>")
    client, sleeps = answering(page, page, httpx.Response(200, json={"fine": True}))
    assert client.status() == {"fine": True}
    assert len(sleeps) == 2
    client, sleeps = answering(page)
    with pytest.raises(errors.Unavailable, match="Bad Gateway") as raised:
        client.publish("work")
    assert sum(sleeps) == pytest.approx(20)
    assert max(sleeps) <= 5
    assert raised.value.details["event_id"]


@pytest.mark.parametrize(
    ("header", "least"), [("2", 2.0), ("Fri, 01 Jan 1999 00:00:00 GMT", 0.0), ("soon", 0.0)]
)
def test_retry_after_is_honoured(header: str, least: float) -> None:
    busy = httpx.Response(429, headers={"retry-after": header}, text="slow down")
    client, sleeps = answering(busy, httpx.Response(200, json={}))
    assert client.status() == {}
    assert least <= sleeps[0] <= least + 0.1


def test_a_pause_longer_than_there_is_time_for_is_not_begun() -> None:
    told = {"code": "RATE_001", "message": "slow down", "details": {"retry_after": 59.5}}
    client, sleeps = answering(httpx.Response(429, headers={"retry-after": "60"}, json=told))
    with pytest.raises(errors.RateLimited) as raised:
        client.publish_many([{"event_type": "work", "event_id": "e-1"}])
    assert (raised.value.retry_after, sleeps) == (60, [])
    assert raised.value.details["event_ids"] == ["e-1"]


def test_a_bridge_that_is_not_there_is_told_with_its_address(make: Make) -> None:
    client = make(url="http://127.0.0.1:1/api", retry_for=0.3)
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1/api.*bridge serve") as raised:
        client.call("publish", "work", event_id="e-1")
    assert raised.value.details == {"event_id": "e-1"}
    with pytest.raises(Unreachable):
        client.call("wait", "work", timeout=0)
    with pytest.raises(Unreachable):
        client.call("health")


def test_a_wait_outlasts_its_polls_and_keeps_what_they_bring(
    client: Either, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "POLL_SECONDS", 0.15)
    found: list[Batch] = []
    waiting = threading.Thread(
        target=lambda: found.append(client.call("wait", "work", count=3, timeout=None))
    )
    waiting.start()
    with EventClient(client_url(client), client_token(client)) as other:
        for number in range(3):
            eventually(lambda: polls(other) >= (number + 1) * 2, what="two more polls")  # noqa: B023
            other.publish("work", {"n": number})
    waiting.join(20)
    (batch,) = found
    assert [event.data["n"] for event in batch.events] == [0, 1, 2]
    assert batch.timeout is False


def polls(client: EventClient) -> int:
    """How many waits the bridge has answered, to anybody."""
    return int(client.status()["latencies"].get("wait", {"count": 0})["count"])


def client_url(client: Either) -> str:
    return str(inner(client).url)


def client_token(client: Either) -> str:
    return str(inner(client).token)


def inner(client: Either) -> Any:
    return vars(client).get("client") or vars(client)["_client"]


def test_a_wait_that_times_out_has_what_there_is(client: Either) -> None:
    client.call("publish", "work")
    batch = client.call("wait", "work", count=2, timeout=0.3)
    assert (len(batch.events), batch.timeout) == (1, True)
    again = client.call("wait", "work", since=batch.next_cursor, timeout=0)
    assert (again.events, again.timeout) == ([], True)


def test_a_position_is_the_callers(client: Either) -> None:
    client.call("publish_many", [{"event_type": "work", "data": {"n": n}} for n in range(3)])
    first = client.call("wait", "work", since="earliest", limit=2, timeout=5)
    assert [event.data["n"] for event in first.events] == [0, 1]
    second = client.call("wait", "work", since=first.events[0].cursor, timeout=5)
    assert [event.data["n"] for event in second.events] == [1, 2]
    assert client.call("subscriptions") == []


def test_now_is_when_the_wait_begins_whatever_happens_after(make: Make) -> None:
    """It must become a position before a request that hangs can be lost."""
    client = make().client
    asked: list[dict[str, str]] = []
    ask = client.calls._channel.once

    def once(request: Any) -> Any:
        asked.append(dict(request.params))
        return ask(request)

    client.calls._channel.once = once  # type: ignore[method-assign]
    client.publish("work")
    assert client.wait("work", since="now", timeout=0.1).events == []
    assert (asked[-2]["since"], asked[-2]["timeout"]) == ("now", "0")
    assert asked[-1]["since"].startswith("c")


def test_a_subscription_goes_on_where_it_was_left(make: Make) -> None:
    """In the same process and in the next: what was not looked at is not skipped."""
    client = make()
    client.call("publish_many", [{"event_type": "work", "data": {"n": n}} for n in range(5)])
    seen = []
    for _ in range(2):
        with client.subscribe("work") as events:
            for event in events:
                seen.append(event.data["n"])
                if len(seen) % 2 == 0:
                    break
    with make("async").subscribe("work") as events:
        seen.append(next(events).data["n"])
    assert seen == [0, 1, 2, 3, 4]


def test_subscribing_with_a_position_reads_on_from_it_and_tells_of_gaps(
    client: Either, caplog: pytest.LogCaptureFixture
) -> None:
    client.call("publish_many", [{"event_type": "work", "data": {"n": n}} for n in range(3)])
    gaps: list[Gap] = []
    events = client.subscribe("work", since=OTHER_STREAM, limit=2, on_gap=gaps.append)
    assert [next(events).data["n"] for _ in range(3)] == [0, 1, 2]
    assert gaps == [Gap("stream_recreated", None)]
    assert next(client.subscribe("work", since=OTHER_STREAM)).data["n"] == 0
    assert "an unknown number of events" in caplog.text


def test_a_subscription_ends_with_what_will_not_get_better(client: Either) -> None:
    with pytest.raises(errors.FilterInvalid):
        next(client.subscribe("work", filter="a=b"))


def test_a_group_shares_what_comes(make: Make) -> None:
    clients = [make(name=f"agent-{n}") for n in range(2)]
    clients[0].call("publish_many", [{"event_type": "work", "data": {"n": n}} for n in range(4)])
    readers = [client.subscribe("work", group="workers") for client in clients]
    assert sorted(next(readers[n % 2]).data["n"] for n in range(4)) == [0, 1, 2, 3]


def test_without_leases_a_redelivery_of_what_was_seen_is_not_shown_again() -> None:
    """As after a bridge was killed before it could note that its answer was read."""

    def event(n: int, delivery: int) -> dict[str, Any]:
        names = ("event_id", "event_type", "publisher", "topic", "priority", "timestamp")
        rest = {"agent_id": None, "agent_type": None, "correlation_id": None, "ttl_seconds": 9}
        place = {"cursor": f"c-{n}", "delivery_count": delivery, "data": {"n": n}}
        return dict.fromkeys(names, "x") | rest | place

    def batch(*events: dict[str, Any]) -> httpx.Response:
        content = {"events": events, "more_available": False, "next_cursor": "c", "timeout": False}
        return httpx.Response(200, json=content)

    answers = [
        batch(event(1, 1)),
        batch(event(1, 2), event(2, 2)),
        batch(event(2, 3), event(1, 3)),
        batch(event(3, 1)),
        batch(event(1, 1)),
        batch(event(4, 1)),
    ]
    client, _ = answering(*answers)
    events = client.subscribe("work", lease=None)
    assert [next(events).data["n"] for _ in range(4)] == [1, 2, 3, 4]


def test_a_handler_in_the_background_is_given_each_event(
    client: Either, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raises is logged, and the next event comes all the same."""
    seen: list[int] = []

    def handle(event: Event) -> None:
        seen.append(event.data["n"])
        if event.data["n"] == 1:
            raise ValueError("one is too little")

    listener = client.on(["work", "other"], handle)
    make().call("publish_many", [{"event_type": "work", "data": {"n": n}} for n in range(3)])
    eventually(lambda: len(seen) == 3, what="the events")
    began = time.monotonic()
    client.stop(listener)
    assert time.monotonic() - began < 10, "the stop waited for the poll"
    assert (seen, listener.running) == ([0, 1, 2], False)
    assert "one is too little" in caplog.text
    assert "failed on" in caplog.text
    client.stop(listener)


def test_a_stop_loses_nothing(client: Either) -> None:
    """However often: what was not handled is there for the next listener, once."""
    total = 30
    seen: list[int] = []
    client.call("publish_many", [{"event_type": "work", "data": {"n": n}} for n in range(total)])
    while len(seen) < total:
        before = len(seen)
        listener = client.on("work", lambda event: seen.append(event.data["n"]))
        eventually(lambda: len(seen) > before, what="an event")  # noqa: B023
        client.stop(listener)
    assert seen == list(range(total))


def test_an_error_can_end_a_listener(client: Either) -> None:
    """The events behind the one that failed are still there."""

    def handle(event: Event) -> None:
        raise ValueError(f"cannot do {event.data['n']}")

    client.call("publish_many", [{"event_type": "work", "data": {"n": n}} for n in range(2)])
    listener = client.on("work", handle, stop_on_error=True)
    eventually(lambda: not listener.running, what="its end")
    with pytest.raises(ValueError, match="cannot do 0"):
        client.stop(listener)
    assert next(client.subscribe("work")).data["n"] == 1


def test_a_listener_that_cannot_listen_says_why(
    client: Either, caplog: pytest.LogCaptureFixture
) -> None:
    listener = client.on("work", print, filter="a=b")
    eventually(lambda: not listener.running, what="its end")
    with pytest.raises(errors.FilterInvalid):
        client.stop(listener)
    assert "the listener ends" in caplog.text


def test_a_listener_may_be_stopped_by_its_handler(make: Make) -> None:
    client = make().client
    stopped = threading.Event()

    def handle(_: Event) -> None:
        listener.stop()
        stopped.set()

    listener = client.on("work", handle)
    client.publish("work")
    assert stopped.wait(10)
    listener.join(10)
    assert not listener.running


def test_a_handler_that_does_not_return_is_told_of(make: Make) -> None:
    client = make().client
    busy, leave = threading.Event(), threading.Event()

    def handle(_: Event) -> None:
        busy.set()
        leave.wait()

    listener = client.on("work", handle)
    client.publish("work")
    assert busy.wait(10)
    with pytest.raises(TimeoutError, match="has not ended"):
        listener.stop(timeout=0.1)
    leave.set()
    listener.stop()


def test_closing_the_client_stops_its_listeners(client: Either) -> None:
    listener = client.on("work", print)
    eventually(lambda: client.call("subscriptions"), what="the subscription")
    began = time.monotonic()
    inner_close(client)
    assert time.monotonic() - began < 10
    assert not listener.running


def inner_close(client: Either) -> None:
    """Close the client and leave the rest of the test's own to its fixture."""
    if "_client" in vars(client):
        client.call("close")
    else:
        client.client.close()


def test_async_handlers_are_awaited_and_cancelled_when_they_do_not_end(
    bridge: BridgeProcess, agents: Agents
) -> None:
    async def main() -> None:
        busy, ended = asyncio.Event(), asyncio.Event()

        async def handle(event: Event) -> None:
            busy.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        token = make_token(project_id=agents.project)
        async with AsyncEventClient(bridge.api, token) as client:
            listener = client.on("work", handle)
            await client.publish("work")
            await asyncio.wait_for(busy.wait(), 10)
            with pytest.raises(TimeoutError, match="has not ended"):
                await listener.stop(timeout=0.1)
            assert ended.is_set()
            assert not listener.running
            async with client.on("work", lambda _: None):
                pass

    asyncio.run(main())
