"""The client through outages: bridges killed and restarted, NATS gone, tokens that end, limits."""

import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from bridge import errors
from bridge.client import Event, EventClient, polling
from tests.support import BridgeProcess, NatsServer, asking, eventually
from tests.support.agents import make_token
from tests.support.clients import KINDS, Either
from tests.support.proxy import Proxy

Start = Callable[..., BridgeProcess]
Make = Callable[..., Either]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes clients, and closes them."""
    with contextlib.ExitStack() as made:

        def client(url: str, kind: str = "blocking", name: str = "agent-1", **given: Any) -> Either:
            token = given.pop("token", None) or make_token(name)
            return made.enter_context(KINDS[kind](url, token, **given))

        yield client


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as made:
        yield made


def open_waits(bridge: BridgeProcess) -> int:
    return asking.open_waits(bridge.url)


@pytest.mark.parametrize(("kind", "how"), [("blocking", signal.SIGKILL), ("async", signal.SIGTERM)])
def test_a_wait_goes_on_at_the_other_replica(
    own_nats: NatsServer,
    start_bridge: Start,
    proxy: Proxy,
    make: Make,
    kind: str,
    how: signal.Signals,
) -> None:
    """Two replicas behind one address; the one that holds the wait ends in the middle of it."""
    replicas = [start_bridge(own_nats.url, ack_wait_seconds="2") for _ in range(2)]
    proxy.backends[:] = replicas
    reader, publisher = make(proxy.api, kind, "reader"), make(proxy.api, name="publisher")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(reader.call, "wait", "work", count=2, timeout=100)
        eventually(lambda: sum(map(open_waits, replicas)) == 1, what="the wait")
        publisher.call("publish", "work", {"n": 0})
        (holder,) = [each for each in replicas if open_waits(each)]
        holder.stop(how)
        publisher.call("publish", "work", {"n": 1})
        batch = waiting.result()
    assert sorted(event.data["n"] for event in batch.events) == [0, 1]
    assert batch.timeout is False


@pytest.mark.parametrize(
    ("kind", "position"),
    [
        ("blocking", {"lease": None}),
        ("async", {"lease": 2}),
        ("blocking", {"since": "earliest"}),
        ("async", {"lease": None, "limit": 20}),
        ("blocking", {"lease": 2, "limit": 20}),
    ],
)
def test_a_subscription_repeats_and_skips_nothing_when_the_bridge_restarts(
    own_nats: NatsServer,
    start_bridge: Start,
    proxy: Proxy,
    make: Make,
    kind: str,
    position: dict[str, Any],
) -> None:
    """It restarts twice while events come, politely and not."""
    total = 90
    bridge = start_bridge(own_nats.url, ack_wait_seconds="2", drain_seconds="0.2")
    proxy.backends[:] = [bridge]
    reader, publisher = make(proxy.api, kind, "reader"), make(proxy.api, name="publisher")
    seen: list[int] = []

    def subscribe() -> None:
        for event in reader.subscribe("work", **position):
            if event.delivery_count > 1 and event.data["n"] in seen:
                continue  # it says of itself that it may be a repeat
            seen.append(event.data["n"])
            if len(seen) == total:
                return

    def publish() -> None:
        for number in range(total):
            publisher.call("publish", "work", {"n": number})

    with ThreadPoolExecutor() as pool:
        tasks = [pool.submit(subscribe), pool.submit(publish)]
        for count, how in ((10, signal.SIGTERM), (40, signal.SIGKILL)):
            eventually(lambda: len(seen) >= count, what="events")  # noqa: B023
            bridge.stop(how)
            bridge.start()
        for task in tasks:
            task.result(60)
    assert Counter(seen) == Counter(range(total))
    if "since" in position:
        assert seen == list(range(total)), "a position is in the stream's order"
    else:
        assert reader.call("wait", "work", timeout=0).events == []


@pytest.mark.parametrize("kind", ["async"])
def test_a_publish_while_the_bridge_restarts_is_stored_once(
    own_nats: NatsServer, start_bridge: Start, proxy: Proxy, make: Make, kind: str
) -> None:
    """Connections break after the request was sent, too; the same ID goes out again."""
    bridge = start_bridge(own_nats.url)
    proxy.backends[:] = [bridge]
    publisher = make(proxy.api, kind)
    ids: list[str] = []
    done = threading.Event()

    def publish() -> None:
        while not done.is_set():
            stored = publisher.call("publish", "work")
            assert stored.duplicate is False
            ids.append(stored.event_id)
            many = publisher.call("publish_many", [{"event_type": "work"}] * 3)
            ids.extend(each.event_id for each in many)

    with ThreadPoolExecutor() as pool:
        task = pool.submit(publish)
        for _ in range(10):
            before = len(ids)
            eventually(lambda: len(ids) > before or task.done(), what="a publish")  # noqa: B023
            proxy.cut()
        bridge.kill()
        bridge.start()
        before = len(ids)
        eventually(lambda: len(ids) > before or task.done(), what="a publish")
        done.set()
        task.result(30)
    found = publisher.call("history", type="work", limit=1000).events
    assert Counter(event.event_id for event in found) == Counter(ids)


def test_a_publish_while_nats_is_away_is_confirmed_when_it_is_back(
    own_nats: NatsServer, start_bridge: Start, make: Make
) -> None:
    bridge = start_bridge(own_nats.url, publish_timeout_seconds="0.3")
    client, hasty = make(bridge.api), make(bridge.api, retry_for=0.5)
    own_nats.stop()
    with pytest.raises(errors.Unavailable) as raised:
        hasty.call("publish", "work", event_id="e-1")
    assert raised.value.details["event_id"] == "e-1"
    with ThreadPoolExecutor() as pool:
        stored = pool.submit(client.call, "publish", "work", {"n": 1})
        many = pool.submit(client.call, "publish_many", [{"event_type": "work"}] * 2)
        waiting = pool.submit(client.call, "wait", "work", count=3, timeout=100)
        own_nats.start()
        ids = [stored.result().event_id, *(each.event_id for each in many.result())]
        batch = waiting.result()
    assert Counter(event.event_id for event in batch.events) == Counter(ids)


def test_a_wait_that_ends_in_an_outage_says_so_unless_it_has_something(
    own_nats: NatsServer, start_bridge: Start, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "POLL_SECONDS", 0.2)
    bridge = start_bridge(own_nats.url)
    client = make(bridge.api)
    client.call("publish", "work", {"n": 0})
    with ThreadPoolExecutor() as pool:
        short = pool.submit(client.call, "wait", "work", count=2, timeout=4)
        none = pool.submit(client.call, "wait", "other", timeout=4)
        eventually(
            lambda: asking.metric(bridge.url, "bridge_events_delivered_total") == 1,
            what="the first event",
        )
        bridge.kill()
        batch = short.result()
        assert ([event.data["n"] for event in batch.events], batch.timeout) == ([0], True)
        with pytest.raises(Exception, match="bridge") as raised:
            none.result()
    assert type(raised.value).__name__ == "Unreachable"


@pytest.mark.parametrize("kind", KINDS)
def test_a_listener_survives_the_bridge_and_can_be_stopped_without_it(
    own_nats: NatsServer, start_bridge: Start, proxy: Proxy, make: Make, kind: str
) -> None:
    bridge = start_bridge(own_nats.url, ack_wait_seconds="2")
    proxy.backends[:] = [bridge]
    client, publisher = make(proxy.api, kind), make(proxy.api, name="publisher")
    seen: list[int] = []
    restarted = threading.Event()

    def handle(event: Event) -> None:
        seen.append(event.data["n"])
        restarted.wait(30)

    listener = client.on("work", handle)
    publisher.call("publish", "work", {"n": 0})
    eventually(lambda: seen == [0], what="the first event")
    bridge.kill()
    bridge.start()
    restarted.set()  # so the connection that it polls on is made by an acknowledgement
    publisher.call("publish", "work", {"n": 1})
    eventually(lambda: seen == [0, 1], what="the second event")
    bridge.send(signal.SIGSTOP)
    began = time.monotonic()
    client.stop(listener)
    assert time.monotonic() - began < 10, "the stop waited for a bridge that hangs"
    assert not listener.running
    second = client.on("work", print)
    bridge.kill()
    client.stop(second)
    assert not second.running


@pytest.mark.parametrize("kind", ["blocking"])
def test_a_token_is_renewed_before_it_ends(
    own_nats: NatsServer, start_bridge: Start, make: Make, kind: str
) -> None:
    """Also in the middle of a wait that is longer than the token's life."""
    bridge = start_bridge(own_nats.url, jwt_leeway_seconds="0")
    now = int(time.time())
    token = make_token("reader", iat=now, exp=now + 5)
    reader, publisher = make(bridge.api, kind, token=token), make(bridge.api, name="publisher")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(reader.call, "wait", "work", timeout=100)
        eventually(lambda: time.time() > now + 6, what="the end of the first token")
        publisher.call("publish", "work")
        assert len(waiting.result().events) == 1
    reader.call("publish", "work")


def test_a_token_that_the_bridge_cannot_renew_is_kept(
    own_nats: NatsServer, start_bridge: Start, make: Make
) -> None:
    """It asks once, not at every call; and tells of the end when it comes."""
    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    bridge = start_bridge(
        own_nats.url,
        jwt_secret="",
        jwt_algorithm="EdDSA",
        jwt_public_key=public.decode().replace("\n", "\\n"),
        jwt_leeway_seconds="0",
    )
    now = int(time.time())
    token = jwt.encode({"sub": "a", "iat": now - 100, "exp": now + 4}, key, algorithm="EdDSA")
    client = make(bridge.api, token=token)
    for _ in range(3):
        client.call("publish", "work")
    assert client.client.token == token
    assert asking.metric(bridge.url, 'bridge_http_requests_total{route="tokens"') == 1
    with pytest.raises(errors.RequestInvalid):
        client.call("refresh_token")
    eventually(lambda: time.time() > now + 4, what="the token's end")
    with pytest.raises(errors.TokenExpired):
        client.call("wait", "other", timeout=20)


def test_a_rate_limit_is_kept_to(own_nats: NatsServer, start_bridge: Start) -> None:
    bridge = start_bridge(own_nats.url, rate_limit="2", rate_burst="2")
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        time.sleep(seconds)

    with EventClient(bridge.api, make_token(), sleep=sleep) as client:
        for _ in range(4):
            client.publish("work")
        assert len(client.wait("work", count=4, timeout=20).events) == 4
    assert pauses
    assert min(pauses) >= 1, "the bridge said one second"


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_token_is_told_at_once(bridge: BridgeProcess, make: Make, kind: str) -> None:
    wrong = make_token(secret="another secret that is long enough to sign with")
    client = make(bridge.api, kind, token=wrong)
    began = time.monotonic()
    for call, *arguments in (("publish", "work"), ("wait", "work"), ("history",)):
        with pytest.raises(errors.TokenInvalid):
            client.call(call, *arguments)
    with pytest.raises(errors.TokenInvalid):
        next(client.subscribe("work"))
    ended = make_token(exp=int(time.time()) - 60)
    with pytest.raises(errors.TokenExpired):
        make(bridge.api, kind, token=ended).call("publish", "work")
    assert time.monotonic() - began < 10
    with pytest.raises(errors.TokenInvalid, match="JWT_TOKEN"):
        EventClient(bridge.api, "Bearer abc")
