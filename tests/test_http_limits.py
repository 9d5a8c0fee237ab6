"""Limits over HTTP: sizes, the rate limit, other origins, and connections that go on after errors.

Bridges with other settings are started here, once for all tests of this file.
"""

import http.client
import json
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.support import Agent, Agents, BridgeProcess
from tests.support.answers import RawConnection, assert_problem, common

MEGABYTE = 1_048_576
PAGE = "https://app.example.org"


@pytest.fixture(scope="module")
def small(nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BridgeProcess]:
    """A bridge that takes little, any publisher's name, and requests from pages."""
    settings = {
        "max_event_bytes": "2048",
        "max_batch_bytes": "8192",
        "publisher_policy": "stamp",
        "cors_origins": PAGE,
        "rate_limit": "1000",
    }
    process = BridgeProcess(tmp_path_factory.mktemp("small"), nats_url, **settings)
    yield process.start()
    assert process.stop() == 0


@pytest.fixture(scope="module")
def wide(nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BridgeProcess]:
    """A bridge that is to take more than NATS does."""
    process = BridgeProcess(tmp_path_factory.mktemp("wide"), nats_url, max_event_bytes="2000000")
    yield process.start()
    assert process.stop() == 0


@pytest.fixture(scope="module")
def strict(nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BridgeProcess]:
    """A bridge that takes five requests at once of each agent, and then one in ten seconds."""
    settings = {"rate_limit": "0.1", "rate_burst": "5"}
    process = BridgeProcess(tmp_path_factory.mktemp("strict"), nats_url, **settings)
    yield process.start()
    assert process.stop() == 0


def body_of(size: int) -> bytes:
    """Write an event of exactly so many bytes."""
    empty = len(json.dumps({"data": {"text": ""}}))
    return json.dumps({"data": {"text": "x" * (size - empty)}}).encode()


class TestSizes:
    def test_an_event_of_exactly_the_limit_is_taken(self, agent: Agent) -> None:
        assert agent.http.post("/events/a", content=body_of(524_288)).status_code == 202
        (event,) = agent.events("a")
        assert len(event["data"]["text"]) > 524_000

    def test_one_byte_more_is_refused(self, agent: Agent) -> None:
        told = assert_problem(
            agent.http.post("/events/a", content=body_of(524_289)), "EVT_005", says="reference"
        )
        assert told["details"] == {"limit_bytes": 524_288}
        assert agent.events("a") == []

    @pytest.mark.parametrize("chunked", [False, True])
    def test_ten_megabytes_are_refused_and_the_connection_goes_on(
        self, agent: Agent, chunked: bool
    ) -> None:
        body = body_of(10 * MEGABYTE)
        pieces = (body[start : start + 65_536] for start in range(0, len(body), 65_536))
        answer = agent.http.post("/events/a", content=pieces if chunked else body)
        assert_problem(answer, "EVT_005", says="524288")
        assert "connection" not in answer.headers
        assert agent.history()["events"] == []

    def test_a_client_that_writes_first_and_reads_later_is_told_too(
        self, bridge: BridgeProcess, agent: Agent
    ) -> None:
        """As the standard library does: a reset would be all that it sees."""
        connection = http.client.HTTPConnection(bridge.url.removeprefix("http://"), timeout=20)
        headers = {"Authorization": f"Bearer {agent.token}"}
        for _ in range(2):
            connection.request("POST", "/api/events/a", body_of(10 * MEGABYTE), headers)
            answer = connection.getresponse()
            assert json.load(answer)["code"] == "EVT_005"
        connection.close()

    def test_beyond_all_measure_the_connection_ends(
        self, bridge: BridgeProcess, agent: Agent
    ) -> None:
        with RawConnection(bridge.url) as connection:
            connection.send(
                b"POST /api/events/a HTTP/1.1\r\nHost: b\r\n"
                + f"Authorization: Bearer {agent.token}\r\n".encode()
                + b"Content-Length: 100000000000\r\n\r\n{"
            )
            answer = connection.answer()
            assert_problem(answer, "EVT_005")
            assert answer.headers["connection"] == "close"
            assert connection.ended()

    def test_who_asks_before_it_sends_need_not_send(
        self, bridge: BridgeProcess, agent: Agent
    ) -> None:
        """A final answer in the place of `100 Continue` (RFC 9110 section 10.1.1)."""
        with RawConnection(bridge.url) as connection:
            connection.send(
                b"POST /api/events/a HTTP/1.1\r\nHost: b\r\nExpect: 100-continue\r\n"
                + f"Authorization: Bearer {agent.token}\r\n".encode()
                + b"Content-Length: 10000000\r\n\r\n"
            )
            answer = connection.answer()
            assert_problem(answer, "EVT_005")
            assert answer.headers["connection"] == "close"

    def test_an_array_with_one_that_grows_too_large_stores_nothing(self, agent: Agent) -> None:
        large = '{"event_type": "a", "data": {"n": [' + ",".join(["1e15"] * 90_000) + "]}}"
        body = f'[{{"event_type": "a"}}, {large}, {{"event_type": "a"}}]'
        told = assert_problem(agent.http.post("/events", content=body), "EVT_005", says="event 1 ")
        assert told["details"]["index"] == 1
        assert agent.history()["events"] == []

    def test_a_limit_beyond_what_nats_takes_is_lowered(
        self, wide: BridgeProcess, agents: Agents
    ) -> None:
        agent = agents(url=wide.url)
        assert "BRIDGE_MAX_EVENT_BYTES=2000000" in wide.log
        lowered = MEGABYTE - 8192
        assert agent.http.post("/events/a", content=body_of(lowered)).status_code == 202
        told = assert_problem(
            agent.http.post("/events/a", content=body_of(lowered + 1)), "EVT_005", says="reference"
        )
        assert told["details"] == {"limit_bytes": lowered}
        large = {"event_type": "large", "data": {"text": "x" * (MEGABYTE - 60)}}
        many = [{"event_type": "small"}, large, {"event_type": "small"}]
        told = assert_problem(agent.http.post("/events", json=many), "EVT_005", says="event 1 ")
        assert told["details"]["index"] == 1
        assert agent.events("small,large") == []

    def test_an_event_that_only_grows_when_stored_is_refused(self, agent: Agent) -> None:
        """`1e15` is four bytes as it is sent and eighteen as it is kept."""
        body = b'{"data": {"n": [' + b",".join([b"1e15"] * 90_000) + b"]}}"
        assert_problem(agent.http.post("/events/a", content=body), "EVT_005", says="NATS")
        assert agent.history()["events"] == []

    @pytest.mark.parametrize("spare", [90, 60, 30, 0])
    def test_an_event_that_fills_a_nats_message_is_taken_or_refused(
        self, agent: Agent, spare: int
    ) -> None:
        """The server counts headers as well; one byte too many ends the bridge's connection."""
        agent.publish("b", {"n": [], "text": ""}, event_id="e" * 36)
        (event,) = agent.events("b")
        del event["cursor"], event["delivery_count"]
        overhead = len(json.dumps(event, separators=(",", ":")))
        numbers = len(b",".join([b"1000000000000000.0"] * 52_000))
        text = "x" * (MEGABYTE - spare - overhead - numbers)
        body = b'{"event_id": "%s", "data": {"n": [' % (b"f" * 36)
        body += b",".join([b"1e15"] * 52_000) + b'], "text": "%s"}}' % text.encode()
        before = time.monotonic()
        answer = agent.http.post("/events/b", content=body)
        if answer.status_code != 202:
            assert_problem(answer, "EVT_005")
        assert time.monotonic() - before < 3

    def test_limits_are_settings(self, small: BridgeProcess, agents: Agents) -> None:
        agent = agents(url=small.url)
        assert agent.http.post("/events/a", content=body_of(2048)).status_code == 202
        assert_problem(agent.http.post("/events/a", content=body_of(2049)), "EVT_005", says="2048")

    def test_an_array_has_a_limit_of_its_own(self, small: BridgeProcess, agents: Agents) -> None:
        agent = agents(url=small.url)
        event = {"event_type": "a", "data": {"text": "x" * 1900}}
        assert len(agent.publish_many([event] * 4)) == 4
        told = assert_problem(agent.http.post("/events", json=[event] * 5), "EVT_005", says="8192")
        assert told["message"].endswith("send fewer events at once")
        large = {"event_type": "a", "data": {"text": "x" * 2100}}
        told = assert_problem(
            agent.http.post("/events", json=[event, large]), "EVT_005", says="event 1"
        )
        assert told["details"] == {"limit_bytes": 2048, "index": 1}
        assert len(agent.history()["events"]) == 4

    def test_a_wait_has_no_use_for_a_body(self, agent: Agent) -> None:
        query = {"timeout": "0"}
        for size, status in ((100, 200), (70_000, 413)):
            answer = agent.http.request("GET", "/events/wait/a", params=query, content=b"x" * size)
            assert common(answer).status_code == status


class TestRate:
    def test_what_is_too_much_is_told_with_when_to_try_again(
        self, strict: BridgeProcess, agents: Agents
    ) -> None:
        agent = agents(url=strict.url)
        for left in (4, 3, 2, 1, 0):
            answer = agent.http.post("/events/a", json={})
            assert answer.status_code == 202
            assert answer.headers["x-ratelimit-limit"] == "5"
            assert answer.headers["x-ratelimit-remaining"] == str(left)
            assert 0 < int(answer.headers["x-ratelimit-reset"]) <= 50
        for method, path in (
            ("POST", "/events/a"),
            ("POST", "/tokens/refresh"),
            ("GET", "/events"),
            ("GET", "/events/wait/a"),
            ("GET", "/subscriptions"),
            ("DELETE", "/subscriptions/a"),
            ("GET", f"{strict.url}/status"),
        ):
            answer = agent.http.request(method, path)
            told = assert_problem(answer, "RATE_001", says="try again in")
            assert 1 <= int(answer.headers["retry-after"]) <= 10
            assert answer.headers["x-ratelimit-limit"] == "5"
            assert answer.headers["x-ratelimit-remaining"] == "0"
            assert 1 <= int(answer.headers["x-ratelimit-reset"]) <= 10
            seconds = answer.headers["retry-after"]
            assert f"try again in {seconds} s " in told["message"]
            assert str(told["details"]["retry_after"]) == seconds
        reader = agents("reader", url=strict.url)
        assert len(reader.history()["events"]) == 5

    def test_every_event_of_an_array_counts(self, strict: BridgeProcess, agents: Agents) -> None:
        agent = agents(url=strict.url)
        events = [{"event_type": "a"}] * 3
        assert agent.http.post("/events", json=events).headers["x-ratelimit-remaining"] == "2"
        assert_problem(agent.http.post("/events", json=events), "RATE_001")
        assert agents("reader", url=strict.url).history()["events"].__len__() == 3

    def test_an_array_beyond_the_burst_needs_all_of_it(
        self, strict: BridgeProcess, agents: Agents
    ) -> None:
        agent = agents(url=strict.url)
        answer = agent.http.post("/events", json=[{"event_type": "a"}] * 50)
        assert (answer.status_code, answer.headers["x-ratelimit-remaining"]) == (202, "0")

    def test_agents_do_not_spend_anothers(self, strict: BridgeProcess, agents: Agents) -> None:
        one, other = agents("one", url=strict.url), agents("other", url=strict.url)
        namesake = agents("one", url=strict.url, project_id=f"{agents.project}-other")
        for _ in range(5):
            one.publish("a")
        assert_problem(one.http.post("/events/a", json={}), "RATE_001")
        other.publish("a")
        namesake.publish("a")

    def test_refused_requests_count_and_bad_tokens_do_not(
        self, strict: BridgeProcess, agents: Agents
    ) -> None:
        agent = agents(url=strict.url)
        bad = {"Authorization": f"Bearer {agent.token[:-4]}AAAA"}
        for _ in range(6):
            assert_problem(agent.http.get("/events", headers=bad), "AUTH_001")
        answer = agent.http.post("/events/-a", json={})
        assert_problem(answer, "EVT_002")
        assert answer.headers["x-ratelimit-remaining"] == "4"

    def test_probes_are_not_counted(self, strict: BridgeProcess) -> None:
        with httpx.Client(base_url=strict.url) as client:
            for path in ("/livez", "/readyz", "/health", "/metrics") * 3:
                answer = common(client.get(path))
                assert answer.status_code == 200
                assert "x-ratelimit-limit" not in answer.headers

    def test_without_a_limit_nothing_is_said_of_one(self, agent: Agent) -> None:
        answer = agent.http.post("/events/a", json={})
        assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


class TestOrigins:
    def test_a_preflight_is_answered(self, small: BridgeProcess) -> None:
        headers = {
            "Origin": PAGE,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, content-type, idempotency-key",
        }
        answer = httpx.options(f"{small.api}/events/a", headers=headers)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "POST" in answer.headers["access-control-allow-methods"]
        allowed = answer.headers["access-control-allow-headers"].lower()
        for name in ("authorization", "content-type", "idempotency-key", "x-request-id"):
            assert name in allowed
        assert answer.headers["cache-control"] == "no-store"

    def test_answers_may_be_read_errors_included(
        self, small: BridgeProcess, agents: Agents
    ) -> None:
        agent = agents(url=small.url)
        for method, path, status in (
            ("POST", "/events/a", 202),
            ("POST", "/events/-a", 400),
            ("GET", "/events", 200),
            ("GET", "/events/wait/a?timeout=0", 200),
            ("GET", "/nothing", 404),
            ("PUT", "/events", 405),
        ):
            answer = common(agent.http.request(method, path, headers={"Origin": PAGE}))
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == PAGE
            exposed = answer.headers["access-control-expose-headers"].lower()
            for name in ("x-request-id", "retry-after", "x-ratelimit-remaining"):
                assert name in exposed

    def test_other_origins_get_no_leave(self, small: BridgeProcess, agents: Agents) -> None:
        agent = agents(url=small.url)
        other = {"Origin": "https://evil.example.org"}
        assert "access-control-allow-origin" not in agent.http.get("/events", headers=other).headers
        preflight = other | {"Access-Control-Request-Method": "POST"}
        answer = agent.http.options("/events/a", headers=preflight)
        assert answer.status_code == 400
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["cache-control"] == "no-store"

    def test_by_default_no_origin_gets_leave(self, agent: Agent) -> None:
        headers = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
        answer = agent.http.options("/events/a", headers=headers)
        assert_problem(answer, "REQ_003", says="OPTIONS")
        assert not [name for name in answer.headers if name.startswith("access-control")]


class TestPublishers:
    def test_a_lenient_bridge_takes_any_name_and_stamps_the_token(
        self, small: BridgeProcess, agents: Agents
    ) -> None:
        agent = agents("coder-1", url=small.url, agent_type="python-specialist")
        for name in ("code-reviewer", "Somebody Else é", "x" * 256):
            agent.publish("a", publisher=name)
            (event,) = agent.events("a")
            assert event["publisher"] == name
            assert (event["agent_id"], event["agent_type"]) == ("coder-1", "python-specialist")

    def test_permissions_hold_all_the_same(self, small: BridgeProcess, agents: Agents) -> None:
        reader = agents("reader", url=small.url, permissions=[])
        assert_problem(reader.http.post("/events/a", json={"publisher": "x"}), "AUTH_003")
        for name in ("", "x" * 257, 7):
            answer = agents("coder", url=small.url).http.post("/events/a", json={"publisher": name})
            assert_problem(answer, "EVT_002", says="`publisher`")


def request(token: str, path: str, body: bytes, *, method: str = "POST", length: int = -1) -> bytes:
    size = len(body) if length < 0 else length
    return (
        f"{method} {path} HTTP/1.1\r\nHost: bridge\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Length: {size}\r\n\r\n"
    ).encode() + body


class TestConnections:
    @pytest.mark.parametrize(
        ("token", "path", "size", "code"),
        [
            ("nonsense", "/api/events/a", 300_000, "AUTH_001"),
            ("nonsense", "/api/events", 300_000, "AUTH_001"),
            ("nonsense", "/api/tokens", 300_000, "AUTH_001"),
            ("nonsense", "/api/events/wait/a", 300_000, "REQ_003"),
            (None, "/api/events/a", 300_000, "REQ_001"),
            (None, "/api/events/a", 600_000, "EVT_005"),
            (None, "/api/nothing", 300_000, "REQ_002"),
            (None, "/api/subscriptions", 300_000, "REQ_003"),
            (None, "/api/tokens", 300_000, "EVT_005"),
        ],
    )
    def test_a_body_that_nobody_read_is_not_the_next_request(
        self,
        bridge: BridgeProcess,
        agent: Agent,
        token: str | None,
        path: str,
        size: int,
        code: str,
    ) -> None:
        """The body is a request itself, which must not be served."""
        smuggled = request(agent.token, "/api/events/smuggled", b"{}")
        body = (smuggled * (size // len(smuggled) + 1))[:size]
        with RawConnection(bridge.url) as connection:
            for _ in range(2):
                connection.send(request(token or agent.token, path, body))
                assert_problem(connection.answer(), code)
            connection.send(request(agent.token, "/api/events/honest", b"{}"))
            assert connection.answer().status_code == 202
        assert [event["event_type"] for event in agent.history()["events"]] == ["honest"]

    def test_requests_sent_at_once_are_answered_in_order(
        self, bridge: BridgeProcess, agent: Agent
    ) -> None:
        with RawConnection(bridge.url) as connection:
            connection.send(
                request("nonsense", "/api/events/a", b"{}")
                + request(agent.token, "/api/events/a", b"nonsense")
                + request(agent.token, "/api/events/a", b'{"event_id": "one"}')
                + request(agent.token, "/api/events/a", body_of(600_000))
                + request(agent.token, "/api/events/a", b'{"event_id": "two"}')
                + request(agent.token, "/api/events/wait/a?timeout=0", b"", method="GET")
            )
            statuses = [connection.answer() for _ in range(6)]
            assert [one.status_code for one in statuses] == [401, 400, 202, 413, 202, 200]
            ids = [event["event_id"] for event in statuses[-1].json()["events"]]
            assert ids == ["one", "two"]

    def test_half_a_request_stores_nothing(self, bridge: BridgeProcess, agent: Agent) -> None:
        with RawConnection(bridge.url) as connection:
            body = b'{"data": {}}'
            connection.send(request(agent.token, "/api/events/a", body, length=len(body) + 1))
        with RawConnection(bridge.url) as connection:
            connection.send(
                request(agent.token, "/api/events/a", b"", length=0).replace(
                    b"Content-Length: 0", b"Transfer-Encoding: chunked"
                )
                + b"5\r\n{}   \r\n"
            )
        agent.publish("b")
        assert [event["event_type"] for event in agent.history()["events"]] == ["b"]

    @pytest.mark.parametrize(
        "raw",
        [
            b"nonsense\r\n\r\n",
            b"\x00\x16\x03\x01\x02\x00\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"POST /api/events/a HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
            b"POST /api/events/a HTTP/1.1\r\nContent-Length: -2\r\n\r\n{}",
            b"POST / HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            b"GET /api/events?filter=a:\xc3\xa9 HTTP/1.1\r\nHost: b\r\n\r\n",
            b"GET /api/events/wait/\xff HTTP/1.1\r\nHost: b\r\n\r\n",
        ],
    )
    def test_what_is_not_http_ends_only_its_connection(
        self, bridge: BridgeProcess, agent: Agent, raw: bytes
    ) -> None:
        with RawConnection(bridge.url) as connection:
            connection.send(raw)
            assert connection.answer().status_code == 400
            assert connection.ended()
        agent.publish("a")

    def test_older_clients_are_served(self, bridge: BridgeProcess, agent: Agent) -> None:
        with RawConnection(bridge.url) as connection:
            asked = request(agent.token, "/api/events/a", b"{}").replace(b"HTTP/1.1", b"HTTP/1.0")
            connection.send(asked)
            assert common(connection.answer()).status_code == 202
            assert connection.ended()
