"""Revoked tokens: void on every bridge within seconds, and for as long as JetStream says so."""

import asyncio
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.js import JetStreamContext, api

from bridge.errors import TokenInvalid, Unavailable
from bridge.tokens import KeyConfig, Principal, Revocation, Revocations, TokenAuthority
from tests.support import Agent, Agents, BridgeProcess, NatsServer, eventually, on_jetstream
from tests.support.answers import assert_problem, common
from tests.support.bridges import HASTY
from tests.support.natsservers import least_privilege
from tests.test_streams import items

Json = dict[str, Any]
Start = Callable[..., BridgeProcess]
AgentsOn = Callable[[BridgeProcess], Agents]

BUCKET = "KV_revoked-EVENTS"
VALID_KEY = re.compile(r"[-/_=.a-zA-Z0-9]+")
"""As NATS ADR-8 and the nats CLI want them."""

BOSS = ["publish_events", "spawn_agents"]


class Pair:
    """Two bridges of one NATS, with agents of one project on the first."""

    def __init__(self, server: NatsServer, first: BridgeProcess, second: BridgeProcess) -> None:
        self.server, self.first, self.second = server, first, second
        self.agents = Agents(first.url)
        self.boss = self.agents("boss", permissions=BOSS)

    def there(self, name: str = "worker", **claims: Any) -> Agent:
        """Make an agent of the project on the other bridge."""
        return self.agents(name, url=self.second.url, **claims)

    def revoke(self, **what: Any) -> Json:
        answer = common(self.boss.http.post("/tokens/revoked", json=what))
        assert answer.status_code == 201, answer.text
        revoked: Json = answer.json()
        return revoked

    def restore(self, **what: Any) -> None:
        answer = common(self.boss.http.request("DELETE", "/tokens/revoked", json=what))
        assert (answer.status_code, answer.content) == (204, b"")

    def listed(self) -> list[Json]:
        answer = common(self.boss.http.get("/tokens/revoked"))
        assert answer.status_code == 200, answer.text
        found: list[Json] = answer.json()["revoked"]
        return found

    def key(self, *parts: str) -> str:
        return ".".join(("$KV.revoked-EVENTS", self.boss.project, *parts))

    def close(self) -> None:
        self.agents.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("revoked")
    (folder / "nats").mkdir()
    server = NatsServer(folder / "nats").start()
    bridges = [BridgeProcess(folder / name, server.url) for name in ("first", "second")]
    made = Pair(server, *(bridge.start() for bridge in bridges))
    yield made
    made.close()
    assert [bridge.stop() for bridge in bridges] == [0, 0]
    server.end()


@pytest.fixture
def pair(world: Pair) -> Iterator[Pair]:
    """The two bridges, and a project that no other test uses."""
    made = Pair(world.server, world.first, world.second)
    yield made
    made.close()


def is_void(agent: Agent) -> bool:
    return agent.http.get("/events?limit=1").status_code == 401


def void(agent: Agent, says: str = "") -> Json:
    """Wait until an agent's token is refused as revoked, and give what is told of it."""
    eventually(lambda: is_void(agent), what="the revocation")
    answer = agent.http.get("/events?limit=1")
    told = assert_problem(answer, "AUTH_001", says=says)
    assert answer.headers["www-authenticate"]
    revocation: Json = told["details"]["revocation"]
    return revocation


def good(agent: Agent) -> None:
    eventually(lambda: not is_void(agent), what="the token to be good again")


def rfc3339(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()


def test_one_token_is_void_on_every_bridge_and_no_other_is(pair: Pair) -> None:
    worker, other = pair.there(jti="leaked-1"), pair.there(jti="kept-1")
    assert not is_void(worker)
    revoked = pair.revoke(jti="leaked-1")
    assert list(revoked) == ["project_id", "jti", "revoked_by", "revoked_at"]
    assert (revoked["project_id"], revoked["revoked_by"]) == (pair.boss.project, "boss")
    says = f"this token was revoked at {revoked['revoked_at']} by 'boss'; get a new one"
    assert void(worker, says) == revoked
    assert pair.listed() == [revoked]
    assert not is_void(other)
    assert not is_void(pair.there())
    for method, path in (("POST", "/events/a"), ("POST", "/tokens/refresh"), ("GET", "/catalog")):
        answer = worker.http.request(method, path, json={} if "events" in path else None)
        assert_problem(answer, "AUTH_001", says="revoked")
    assert httpx.get(f"{pair.second.url}/status", headers=worker.http.headers).status_code == 401
    assert worker.http.post(f"{pair.second.url}/mcp", json={}).status_code == 401
    pair.restore(jti="leaked-1")
    good(worker)
    assert pair.listed() == []


def test_what_a_receipt_names_revokes_its_token(pair: Pair) -> None:
    minted = pair.boss.http.post("/tokens", json={"agent_id": "coder"}).json()
    renewed = httpx.post(
        f"{pair.first.api}/tokens/refresh", headers={"Authorization": f"Bearer {minted['token']}"}
    ).json()
    assert minted["jti"] != renewed["jti"]
    coder = pair.there()
    coder.http.headers["Authorization"] = f"Bearer {minted['token']}"
    pair.revoke(jti=minted["jti"], expires_at=minted["expires_at"])
    void(coder)
    coder.http.headers["Authorization"] = f"Bearer {renewed['token']}"
    assert not is_void(coder)


def test_an_agents_tokens_are_void_up_to_now_and_a_new_one_is_good(pair: Pair) -> None:
    now = int(time.time())
    old, timeless = pair.there("coder", iat=now - 100), pair.there("coder", iat=None)
    fresh, other = pair.there("coder", iat=now), pair.there("tester", iat=now - 100)
    revoked = pair.revoke(agent_id="coder")
    assert list(revoked) == ["project_id", "agent_id", "issued_before", "revoked_by", "revoked_at"]
    before = f"all of agent 'coder' that were issued before {revoked['issued_before']}"
    assert void(old, before) == revoked
    void(timeless, "it does not say when it was")
    void(fresh, "it was issued at")
    assert not is_void(other)
    renewed = pair.boss.http.post("/tokens", json={"agent_id": "coder"}).json()
    old.http.headers["Authorization"] = f"Bearer {renewed['token']}"
    assert not is_void(old)
    pair.restore(agent_id="coder", issued_before=revoked["issued_before"])
    good(fresh)


def test_an_agents_tokens_from_before_a_time_are_void(pair: Pair) -> None:
    now = int(time.time())
    old, young = pair.there("coder", iat=now - 100), pair.there("coder", iat=now - 50)
    assert pair.revoke(agent_id="coder", issued_before=rfc3339(now - 70))["issued_before"]
    void(old)
    assert not is_void(young)
    pair.revoke(agent_id="coder", issued_before=rfc3339(now - 20))
    void(young)
    kept = pair.revoke(agent_id="coder", issued_before=rfc3339(now - 90))
    assert pair.listed() == [kept], "an earlier time makes nothing good again"
    assert is_void(young)
    wrong = {"agent_id": "coder", "issued_before": rfc3339(now - 90)}
    answer = pair.boss.http.request("DELETE", "/tokens/revoked", params=wrong)
    assert_problem(answer, "REQ_002", says=kept["issued_before"])
    answer = pair.boss.http.delete("/tokens/revoked", params={"agent_id": "coder"})
    assert answer.status_code == 204
    good(old)


def test_bridges_that_revoke_at_one_moment_take_nothing_back(pair: Pair) -> None:
    now = int(time.time())
    boss = pair.there("boss-2", permissions=BOSS)
    for number in range(10):
        name = f"coder-{number}"
        wishes = [{"agent_id": name, "issued_before": rfc3339(now - age)} for age in (10, 20)]
        with ThreadPoolExecutor(2) as pool:
            posts = [agent.http.post for agent in (pair.boss, boss)]
            sent = [
                pool.submit(post, "/tokens/revoked", json=wish)
                for post, wish in zip(posts, wishes, strict=True)
            ]
            assert [each.result().status_code for each in sent] == [201, 201]
    latest = {datetime.fromisoformat(each["issued_before"]).timestamp() for each in pair.listed()}
    assert latest == {now - 10}


def test_a_project_voids_no_token_of_another(pair: Pair, world: Pair) -> None:
    mine, theirs = pair.there("a", jti="same"), world.there("a", jti="same")
    pair.revoke(jti="same")
    pair.revoke(agent_id="a")
    void(mine)
    assert not is_void(theirs)
    assert [each["project_id"] for each in pair.listed()] == [pair.boss.project] * 2
    foreign = world.boss.http.request("DELETE", "/tokens/revoked", json={"jti": "same"})
    assert_problem(foreign, "REQ_002", says="no such revocation of jti 'same'")
    assert is_void(mine)


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({}, "`jti` is one token, `agent_id` all"),
        ({"jti": "a", "agent_id": "b"}, "`jti` is one token, `agent_id` all"),
        ({"jti": ""}, "1 to 256 characters"),
        ({"agent_id": "x" * 257}, "1 to 256 characters"),
        ({"jti": 7}, "`jti` must be a text"),
        ({"jti": "a", "issued_before": "now"}, None),
        ({"jti": "a", "issued_before": "2026-01-31T12:00:00Z"}, "goes with `agent_id`"),
        ({"agent_id": "a", "issued_before": "yesterday"}, "like 2026-01-31T12:00:00Z"),
        ({"agent_id": "a", "issued_before": 1767225600000}, "`issued_before` must be a text"),
        ({"jti": "a", "expires_at": "now"}, "`expires_at` is 'now'; it must be"),
        ({"jti": "a", "expires_at": "2020-01-31T12:00:00Z"}, "need not be revoked"),
        ({"token_id": "a"}, "did you mean `jti`?"),
        ({"agent": "a"}, "did you mean `agent_id`?"),
        ([], "must be a JSON object"),
    ],
    ids=str,
)
def test_a_bad_wish_is_told(pair: Pair, wish: Any, says: str | None) -> None:
    answer = pair.boss.http.post("/tokens/revoked", json=wish)
    if says is None:
        assert answer.status_code == 201
    else:
        assert_problem(answer, "REQ_001", says=says)
        assert pair.listed() == []


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("permissions", [None, [], ["publish_events"]])
def test_it_takes_the_permission(pair: Pair, method: str, permissions: list[str] | None) -> None:
    agent = pair.agents("plain", permissions=permissions)
    answer = agent.http.request(method, "/tokens/revoked", json={"jti": "a"})
    assert_problem(answer, "AUTH_003", says="--permission spawn_agents` makes a token that has it")


def test_an_open_wait_ends_and_takes_no_event_with_it(pair: Pair) -> None:
    worker = pair.there(jti="leaked-2")
    asks = ["?timeout=60000", "?timeout=60000&since=now", "?timeout=60000&count=2&consumer=b"]
    with ThreadPoolExecutor(4) as pool:
        waits = [pool.submit(worker.http.get, f"/events/wait/work{ask}") for ask in asks]
        waits.append(
            pool.submit(worker.http.post, "/events/q?reply=work&timeout=60000", json={"data": {}})
        )

        def open_waits() -> int:
            agents = pair.boss.http.get("/agents").json()["agents"]
            return sum(len(each["waiting"]) for each in agents)

        eventually(lambda: open_waits() == 3, what="the waits")
        eventually(lambda: pair.boss.history(type="q")["events"], what="the question")
        pair.revoke(jti="leaked-2")
        for wait in waits:
            assert_problem(wait.result(), "AUTH_001", says="this token was revoked")
    pair.boss.publish("work", {"n": 2})
    again = pair.there(jti="another")
    [event] = again.events("work", timeout=20)
    assert event["data"] == {"n": 2}


def test_what_an_ended_wait_had_in_hand_goes_to_the_next(pair: Pair) -> None:
    worker = pair.there(jti="leaked-3")
    with ThreadPoolExecutor(1) as pool:
        wait = pool.submit(worker.http.get, "/events/wait/work?timeout=60000&count=2")
        eventually(pair.there().subscriptions, what="the subscription")
        pair.boss.publish("work", {"n": 1})
        eventually(
            lambda: [each["ack_pending"] for each in pair.there().subscriptions()] == [1],
            what="the first of two",
        )
        pair.revoke(jti="leaked-3")
        assert_problem(wait.result(), "AUTH_001", says="revoked")
    [event] = pair.there().events("work", timeout=20)
    assert event["data"] == {"n": 1}


def test_an_open_stream_ends_and_says_why(pair: Pair) -> None:
    worker = pair.there(jti="leaked-4")
    with worker.http.stream("GET", "/events/stream/*", timeout=60) as answer:
        told = items(answer)
        assert next(told)["event"] == "cursor"
        pair.revoke(jti="leaked-4")
        ended, retry = list(told)
    problem = json.loads(ended["data"])
    assert (ended["event"], problem["code"]) == ("problem", "AUTH_001")
    assert "this token was revoked" in problem["message"]
    assert retry == {"retry": "1000"}


def test_it_lives_through_restarts_of_everything(pair: Pair, tmp_path: Path) -> None:
    """And a bridge that has yet to read it lets nobody in."""
    worker, kept = pair.agents("worker", jti="leaked-5"), pair.agents("worker", jti="kept-5")
    (tmp_path / "nats").mkdir()
    server = NatsServer(tmp_path / "nats").start()
    first = BridgeProcess(tmp_path / "first", server.url).start()
    try:
        agents = Agents(first.url)
        boss = agents("boss", permissions=BOSS, project_id=pair.boss.project)
        assert boss.http.post("/tokens/revoked", json={"jti": "leaked-5"}).status_code == 201
        agents.close()
        first.kill()
        server.stop()
        late = BridgeProcess(tmp_path / "late", server.url).start(ready=False)

        def refresh(agent: Agent) -> httpx.Response:
            """Renew a token, for which a bridge asks nothing of NATS."""
            return httpx.post(f"{late.api}/tokens/refresh", headers=agent.http.headers)

        for agent in (worker, kept):
            told = assert_problem(refresh(agent), "EVT_001", says="cannot be reached right now")
            assert told["details"]["retry_after"] > 0
        assert_problem(httpx.post(f"{late.api}/tokens/refresh"), "AUTH_001", says="no token")
        server.start()
        eventually(lambda: refresh(kept).status_code == 201, what="the list")
        assert_problem(refresh(worker), "AUTH_001", says="revoked")
        eventually(late.ready, what="readiness")
        server.kill()
        eventually(lambda: not late.ready(), what="the loss of NATS")
        assert_problem(refresh(worker), "AUTH_001", says="revoked")
        assert refresh(kept).status_code == 201, "what is known counts while NATS is away"
        late.kill()
    finally:
        first.kill()
        server.end()


def put(server: NatsServer, subject: str, content: Json | bytes, **headers: str) -> None:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()

    async def publish(jetstream: JetStreamContext) -> None:
        await jetstream.publish(subject, data, headers=headers or None)

    on_jetstream(server.url, publish)


def entry(pair: Pair, **what: Any) -> Json:
    told = {"project_id": pair.boss.project, "revoked_by": "a person"}
    return told | {"revoked_at": "2026-01-31T12:00:00Z"} | what


def test_what_somebody_writes_or_deletes_in_the_bucket_counts(pair: Pair) -> None:
    """Which no bridge tells the others of."""
    worker, other = pair.there(jti="by-hand"), pair.there(jti="soon")
    pair.revoke(jti="by-bridge")
    put(pair.server, pair.key("jti", "by-hand"), entry(pair, jti="by-hand"))
    void(worker, "revoked at 2026-01-31T12:00:00.000000Z by 'a person'")
    for wrong in (b"", b"no JSON", b"[]", b"{}", json.dumps({**entry(pair), "jti": 7}).encode()):
        put(pair.server, pair.key("jti", "wrong"), wrong)
    put(pair.server, pair.key("jti", "soon"), entry(pair, jti="soon"), **{"Nats-TTL": "3"})
    void(other)
    good(other)
    eventually(lambda: len(pair.listed()) == 2, what="the same at the other bridge")
    assert {each["jti"] for each in pair.listed()} == {"by-hand", "by-bridge"}
    assert "jti.wrong voids no token" in pair.second.log
    on_jetstream(pair.server.url, lambda jetstream: jetstream.purge_stream(BUCKET))
    good(worker)
    eventually(lambda: pair.listed() == [], what="the end of the list")
    pair.revoke(jti="by-hand")
    void(worker)
    on_jetstream(pair.server.url, lambda jetstream: jetstream.delete_stream(BUCKET))
    good(worker)
    pair.revoke(jti="by-hand")
    void(worker)

    async def make_again(jetstream: JetStreamContext) -> None:
        """Make another that looks like it: as many messages, as many keys."""
        config = (await jetstream.stream_info(BUCKET)).config
        await jetstream.delete_stream(BUCKET)
        await jetstream.add_stream(config)
        await jetstream.publish(
            pair.key("jti", "soon"), json.dumps(entry(pair, jti="soon")).encode()
        )

    on_jetstream(pair.server.url, make_again)
    void(other)
    good(worker)


def test_a_bucket_that_differs_is_mended(pair: Pair) -> None:
    pair.revoke(jti="any")

    async def spoil(jetstream: JetStreamContext) -> None:
        config = (await jetstream.stream_info(BUCKET)).config
        await jetstream.update_stream(config.evolve(max_age=3600, max_msgs_per_subject=5))

    async def shape(jetstream: JetStreamContext) -> tuple[Any, ...]:
        config = (await jetstream.stream_info(BUCKET)).config
        return config.max_age, config.max_msgs_per_subject

    for _ in range(2):
        on_jetstream(pair.server.url, spoil)
        eventually(lambda: on_jetstream(pair.server.url, shape) == (0, 1), what="the mending")


def test_it_is_kept_for_as_long_as_its_token_may_live(pair: Pair) -> None:
    life = 5000
    pair.revoke(jti="long")
    pair.revoke(jti="short", expires_at=rfc3339(int(time.time()) + life))
    assert [each.get("expires_at") is None for each in pair.listed()] == [False, True]

    def ttl(jti: str) -> str | None:
        async def get(jetstream: JetStreamContext) -> str | None:
            found = await jetstream.get_last_msg(BUCKET, pair.key("jti", jti))
            return (found.headers or {}).get("Nats-TTL")

        return on_jetstream(pair.server.url, get)

    assert ttl("long") is None
    assert life < int(ttl("short") or 0) <= life + 3601, "bridges give tokens some leeway"
    pair.revoke(jti="short")
    assert ttl("short") is None, "to be on the safe side"


def test_names_that_no_key_can_hold_are_revoked_as_well(pair: Pair) -> None:
    names = ("a b", "ä.*>", "=", "%", "_", "a/b", "x" * 256, "日本")
    for name in names:
        pair.revoke(jti=name)
        void(pair.there(jti=name))
    assert {each["jti"] for each in pair.listed()} == set(names)

    async def keys(jetstream: JetStreamContext) -> list[str]:
        return await (await jetstream.key_value("revoked-EVENTS")).keys()

    mine = [key for key in on_jetstream(pair.server.url, keys) if pair.boss.project in key]
    assert len(mine) == len(names)
    assert all(map(VALID_KEY.fullmatch, mine))
    for name in names:
        pair.restore(jti=name)
    assert pair.listed() == []


def test_a_project_has_room_for_so_many(pair: Pair) -> None:
    async def fill(jetstream: JetStreamContext) -> None:
        for number in range(1000):
            told = json.dumps(entry(pair, jti=f"n-{number}")).encode()
            await jetstream.publish(pair.key("jti", f"n-{number}"), told)

    pair.revoke(jti="n-0")
    on_jetstream(pair.server.url, fill)
    eventually(lambda: len(pair.listed()) == 1000, what="all of them")
    refused = pair.boss.http.post("/tokens/revoked", json={"jti": "one more"})
    assert_problem(refused, "REQ_001", says="1000 revocations of this project are kept")
    assert pair.boss.http.post("/tokens/revoked", json={"jti": "n-7"}).status_code == 201
    pair.restore(jti="n-7")
    pair.revoke(jti="one more")


def test_where_others_manage_streams_the_bucket_is_theirs_to_make(
    tmp_path: Path, start_bridge: Start, agents_on: AgentsOn
) -> None:
    verbs = ("CREATE", "UPDATE")
    without = tuple(f"$JS.API.STREAM.{verb}.KV_revoked-EVENTS" for verb in verbs)
    server = NatsServer(tmp_path, config=least_privilege(tmp_path, without=without)).start()
    shape = api.StreamConfig(name="EVENTS", subjects=["events.>"], allow_msg_ttl=True)
    on_jetstream(server.url, lambda jetstream: jetstream.add_stream(shape))
    agents = agents_on(start_bridge(server.url, stream_manage="false"))
    boss, worker = agents("boss", permissions=BOSS), agents("worker", jti="leaked")
    wish = {"jti": "leaked", "expires_at": rfc3339(time.time() + 60)}
    refused = boss.http.post("/tokens/revoked", json=wish)
    assert_problem(
        refused, "EVT_001", says="make it with `nats kv add revoked-EVENTS --replicas 1`"
    )
    assert not is_void(worker)
    config = api.KeyValueConfig(bucket="revoked-EVENTS")
    on_jetstream(server.url, lambda jetstream: jetstream.create_key_value(config))
    assert boss.http.post("/tokens/revoked", json=wish).status_code == 201
    void(worker)
    server.stop()


def test_without_the_right_to_look_a_bridge_does_not_begin(
    tmp_path: Path, start_bridge: Start
) -> None:
    look = "$JS.API.STREAM.INFO.KV_revoked-EVENTS"
    server = NatsServer(tmp_path, config=least_privilege(tmp_path, without=(look,))).start()
    bridge = start_bridge(server.url, ready=False, times=HASTY)
    eventually(lambda: look in httpx.get(f"{bridge.url}/readyz").text, what="the reason")
    server.stop()
    assert set(server.violations()) == {f"Publish {look}"}


def test_what_is_made_is_logged_without_the_token(pair: Pair) -> None:
    wish = {"agent_id": "coder", "agent_type": "qa", "permissions": ["publish_events"]}
    minted = pair.boss.http.post("/tokens", json=wish).json()
    renewed = pair.boss.http.post("/tokens/refresh").json()
    [line] = [line for line in pair.first.log.splitlines() if minted["jti"] in line]
    told = json.loads(line)
    assert told["level"] == "info"
    assert told["message"] == (
        f"made a token for agent 'coder' (qa) of project {pair.boss.project!r}; permissions: "
        f"publish_events; expires {minted['expires_at']}; jti {minted['jti']}; asked for by agent "
        "'boss'"
    )
    assert f"jti {renewed['jti']}; asked for by agent 'boss' itself" in pair.first.log
    pair.revoke(jti=minted["jti"])
    pair.restore(jti=minted["jti"])
    whose = f"the token {minted['jti']!r}, of project {pair.boss.project!r}"
    assert f"agent 'boss' revoked {whose}" in pair.first.log
    assert f"agent 'boss' made good again {whose}" in pair.first.log
    assert minted["token"] not in pair.first.log
    assert renewed["token"] not in pair.first.log


SECRET = "0123456789abcdef0123456789abcdef"


def test_a_token_that_was_verified_before_is_looked_at_again() -> None:
    revoked = Revocations()
    authority = TokenAuthority(KeyConfig(secret=SECRET), revoked)
    minted = authority.mint(agent_id="a", project="p")
    with pytest.raises(Unavailable, match="which tokens are revoked"):
        asyncio.run(authority.verify(minted.token))
    assert authority.verify_cached(minted.token) is None
    revoked.take(())
    principal = asyncio.run(authority.verify(minted.token))
    assert authority.verify_cached(minted.token) == principal
    assert principal.jti == minted.jti == str(uuid.UUID(minted.jti))
    revoked.take([Revocation(project="p", jti=minted.jti, revoked_by="b", revoked_at=1.0)])
    assert authority.verify_cached(minted.token) is None
    with pytest.raises(TokenInvalid, match="revoked at 1970-01-01T00:00:01"):
        asyncio.run(authority.verify(minted.token))
    revoked.take(())
    assert asyncio.run(authority.verify(minted.token)) == principal


moments = st.integers(0, 10**9).map(float)
whose = st.fixed_dictionaries({"jti": st.just("j")}) | st.fixed_dictionaries(
    {"agent_id": st.just("a"), "issued_before": moments}
)


@st.composite
def revocations(draw: st.DrawFn) -> tuple[Revocation, Revocation]:
    """Give two of the same thing."""
    is_token = draw(st.booleans())

    def one() -> Revocation:
        return Revocation(
            project="p",
            jti="j" if is_token else None,
            agent_id=None if is_token else "a",
            issued_before=None if is_token else draw(moments),
            revoked_by=draw(st.text(min_size=1)),
            revoked_at=draw(moments),
            expires_at=draw(st.none() | moments),
        )

    return one(), one()


@given(revocations())
def test_a_revocation_is_read_as_it_is_written(two: tuple[Revocation, Revocation]) -> None:
    for each in two:
        assert Revocation.from_json(json.loads(json.dumps(each.as_json()))) == each


@given(revocations(), moments | st.none())
def test_two_together_void_what_either_does_for_as_long(
    two: tuple[Revocation, Revocation], issued_at: float | None
) -> None:
    new, earlier = two
    both = new.beside(earlier)
    principal = Principal("a", None, "p", None, 2e9, issued_at, "j")
    assert both.voids(principal) is (new.voids(principal) or earlier.voids(principal))
    ends = [each.expires_at for each in two]
    assert both.expires_at == (None if None in ends else max(filter(None, ends), default=0.0))
    assert both.beside(both) == both.beside(new).beside(earlier) == both
