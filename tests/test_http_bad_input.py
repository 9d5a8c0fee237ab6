"""What is wrong with a publish is told, nothing of it is stored, and the bridge stays well."""

import base64
import gzip
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support import Agent, Agents, BridgeProcess
from tests.support.agents import make_token
from tests.support.answers import assert_problem
from tests.support.bridges import SECRET

PublishAs = Callable[[str], httpx.Response]

PATHS = [
    ("POST", "/events/checkpoint"),
    ("POST", "/events"),
    ("GET", "/events"),
    ("GET", "/events/wait"),
    ("GET", "/events/wait/checkpoint"),
    ("GET", "/subscriptions"),
    ("DELETE", "/subscriptions/some-name"),
    ("POST", "/tokens"),
    ("POST", "/tokens/refresh"),
]


@pytest.fixture(autouse=True)
def nothing_stored(agent: Agent, bridge: BridgeProcess) -> Iterator[None]:
    """Look, after each test, that its project has no event and the bridge still serves."""
    yield
    assert agent.history()["events"] == []
    assert agent.publish("afterwards")["published"] is True
    assert agent.http.get(f"{bridge.url}/readyz").status_code == 200


def segment(content: Any) -> str:
    raw = json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(**others: Any) -> dict[str, Any]:
    return {"sub": "agent-1", "exp": int(time.time()) + 600, **others}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """A client that is no agent."""
    with httpx.Client() as made:
        yield made


@pytest.fixture
def publish_as(bridge: BridgeProcess, client: httpx.Client) -> PublishAs:
    """Publishes with any Authorization header."""
    url = f"{bridge.api}/events/checkpoint"
    return lambda header: client.post(url, json={}, headers={"Authorization": header})


class TestTokens:
    @pytest.mark.parametrize(("method", "path"), PATHS)
    def test_every_path_wants_a_token(
        self, bridge: BridgeProcess, client: httpx.Client, method: str, path: str
    ) -> None:
        answer = client.request(method, f"{bridge.api}{path}")
        assert_problem(answer, "AUTH_001", says="Authorization: Bearer")
        assert answer.headers["www-authenticate"].startswith("Bearer")

    @pytest.mark.parametrize(("method", "path"), PATHS)
    def test_an_expired_token_is_told_apart(
        self, bridge: BridgeProcess, client: httpx.Client, method: str, path: str
    ) -> None:
        token = make_token(exp=int(time.time()) - 60)
        headers = {"Authorization": f"Bearer {token}"}
        answer = client.request(method, f"{bridge.api}{path}", headers=headers)
        assert_problem(answer, "AUTH_002", says="expired")
        assert answer.headers["www-authenticate"].startswith("Bearer")

    @pytest.mark.parametrize(
        "header",
        [
            "",
            "Bearer",
            "Bearer nonsense",
            "Bearer a.b.c",
            "Bearer ..",
            "Basic YTpi",
            f"Token {make_token()}",
            make_token(),
            f"Bearer {make_token()[:-4]}AAAA",
            f"Bearer {make_token()} {make_token()}",
            f"Bearer Bearer {make_token()}",
            f'Bearer "{make_token()}"',
            "Bearer " + "x" * 20_000,
        ],
        ids=range(13),
    )
    def test_a_garbled_one_is_refused(self, publish_as: PublishAs, header: str) -> None:
        answer = publish_as(header)
        assert_problem(
            answer, "AUTH_001", says="Authorization: Bearer" if "A" * 4 not in header else ""
        )
        assert header[-40:] not in answer.text or len(header) < 20

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({"secret": "another secret that is quite long enough too"}, "signature"),
            ({"sub": None}, "sub"),
            ({"sub": 7}, "sub"),
            ({"sub": ""}, "sub"),
            ({"sub": "a\nb"}, "sub"),
            ({"exp": None}, "exp"),
            ({"exp": "soon"}, "exp"),
            ({"exp": 4_000_000_000_000}, "exp"),
            ({"project_id": "a.b > *"}, "project_id"),
            ({"permissions": "x" * 2000}, "permissions"),
            ({"permissions": {"publish_events": True}}, "permissions"),
            ({"nbf": 4_000_000_000}, "nbf"),
            ({"aud": "another"}, "aud"),
            ({"algorithm": "HS384"}, "HS256"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_a_wrong_one_is_refused(
        self, publish_as: PublishAs, given: dict[str, Any], says: str
    ) -> None:
        token = make_token(**{"agent": "agent-1", **given}) if "sub" not in given else sub(given)
        assert_problem(publish_as(f"Bearer {token}"), "AUTH_001", says=says)

    @pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE"])
    def test_an_unsigned_one_is_refused(self, publish_as: PublishAs, algorithm: str) -> None:
        token = f"{segment({'alg': algorithm, 'typ': 'JWT'})}.{segment(claims())}."
        assert_problem(publish_as(f"Bearer {token}"), "AUTH_001", says="HS256")

    def test_a_public_key_algorithm_is_refused_where_a_secret_is_shared(
        self, publish_as: PublishAs
    ) -> None:
        key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
        token = make_token(secret=key, algorithm="RS256")  # type: ignore[arg-type]
        assert_problem(publish_as(f"Bearer {token}"), "AUTH_001", says="HS256")

    def test_the_secret_is_never_told(self, bridge: BridgeProcess, publish_as: PublishAs) -> None:
        answer = publish_as(f"Bearer {make_token()[:-4]}AAAA")
        assert SECRET not in answer.text
        assert SECRET not in bridge.log


def sub(given: dict[str, Any]) -> str:
    return make_token(given["sub"]) if given["sub"] != 7 else unchecked({"sub": 7})


def unchecked(wrong: dict[str, Any]) -> str:
    text = f"{segment({'alg': 'HS256'})}.{segment(claims(**wrong))}"
    mac = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


class TestPermissions:
    @pytest.mark.parametrize("permissions", [[], ["spawn_agents"], ["publish"], ""])
    def test_publishing_needs_its_permission(self, agents: Agents, permissions: Any) -> None:
        reader = agents("reader", permissions=permissions)
        for path, body in (("/events/a", {}), ("/events", [{"event_type": "a"}])):
            told = assert_problem(
                reader.http.post(path, json=body), "AUTH_003", says="publish_events"
            )
            assert told["details"] == {"missing": "publish_events"}
            assert "bridge token --agent NAME --permission publish_events`" in told["message"]
        assert reader.events("a") == []

    @pytest.mark.parametrize("publisher", ["somebody-else", "Agent-1", "agent-1 ", "None"])
    def test_nobody_publishes_as_somebody_else(self, agents: Agents, publisher: str) -> None:
        coder = agents("agent-1", agent_type="python-specialist")
        answer = coder.http.post("/events/a", json={"publisher": publisher})
        told = assert_problem(answer, "AUTH_003", says="leave `publisher` out")
        assert told["details"]["allowed"] == ["agent-1", "python-specialist"]

    def test_one_foreign_publisher_refuses_the_whole_array(self, agent: Agent) -> None:
        events = [{"event_type": "a"}, {"event_type": "a", "publisher": "somebody-else"}]
        assert_problem(agent.http.post("/events", json=events), "AUTH_003", says="somebody-else")


FORM = "application/x-www-form-urlencoded"
NOT_JSON = [
    (b"{", "line 1, column 2"),
    (b"nonsense", "not valid JSON"),
    (b"{'data': {}}", "double quotes"),
    (b'{"data": {"n": NaN}}', "NaN"),
    (b'{"data": {"n": Infinity}}', "Infinity"),
    (b'{"data": {"n": -Infinity}}', "Infinity"),
    (b'{"data": {"n": 1e400}}', "not valid JSON"),
    (b'{"data": {},}', "not valid JSON"),
    (b'{"data": {}} {}', "not valid JSON"),
    (b'{"data": {"t": "\xff"}}', "not valid UTF-8, as JSON must be: byte 17 of it is 0xff;"),
    ('{"data": {"t": "é"}}'.encode("latin-1"), "byte 17 of it is 0xe9"),
    (b'{"data": {"t": "\\ud800"}}', "surrogate"),
    (b'{"data": {"\\udfff": 1}}', "surrogate"),
    ('{"data": {}}'.encode("utf-16"), "byte 1 of it is 0xff"),
    (b"\0", "not valid JSON"),
    (b"data=1&topic=x", "not valid JSON"),
    (b'{"data": {"n": ' + b"[" * 150 + b"]" * 150 + b"}}", "100 levels"),
    (b'{"data": ' + b'{"n": ' * 3000 + b"1" + b"}" * 3000 + b"}", "100 levels"),
    (b"[" * 200_000, "100 levels"),
    (b'{"data": {"n": 18446744073709551616}}', "64 bits"),
    (b'{"data": {"n": -9223372036854775809}}', "64 bits"),
    (b'{"data": {"n": [' + b"9" * 300 + b"]}}", "as a text"),
]

BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"event_type": "another"}, "'another'"),
    ({"event_type": 7}, "`event_type`"),
    ({"event_type": ""}, "`event_type`"),
    ({"topic": 7}, "`topic`"),
    ({"topic": ["testing"]}, "`topic`"),
    ({"topic": ""}, "`topic`"),
    ({"topic": ".b"}, "beginning with a letter or digit"),
    ({"topic": "*"}, "letters, digits"),
    ({"topic": ">"}, "letters, digits"),
    ({"topic": "_hidden"}, "beginning with a letter or digit"),
    ({"topic": "two words"}, "letters, digits"),
    ({"topic": "line\n"}, "letters, digits"),
    ({"topic": "x" * 129}, "1 to 128"),
    ({"topic": "tést"}, "letters, digits"),
    ({"data": []}, "JSON object"),
    ({"data": "text"}, "a text"),
    ({"data": 1}, "a number"),
    ({"data": False}, "true or false"),
    ({"publisher": 7}, "`publisher`"),
    ({"publisher": ""}, "`publisher`"),
    ({"publisher": {"name": "agent-1"}}, "`publisher`"),
    ({"correlation_id": ""}, "1 to 256"),
    ({"correlation_id": "x" * 257}, "257 characters"),
    ({"correlation_id": 7}, "a number"),
    ({"correlation_id": ["a"]}, "a list"),
    ({"ttl_seconds": 0}, "1 to 86400"),
    ({"ttl_seconds": -1}, "1 to 86400"),
    ({"ttl_seconds": 86_401}, "1 to 86400"),
    ({"ttl_seconds": 1.5}, "whole number"),
    ({"ttl_seconds": True}, "whole number"),
    ({"ttl_seconds": "60"}, "a text"),
    ({"ttl_seconds": 1e300}, "1 to 86400"),
    ({"ttl_seconds": [60]}, "a list"),
    ({"priority": "urgent"}, "low, normal, high"),
    ({"priority": "High"}, "low, normal, high"),
    ({"priority": 1}, "low, normal, high"),
    ({"priority": ["high"]}, "low, normal, high"),
    ({"priority": {}}, "low, normal, high"),
    ({"event_id": ""}, "1 to 128"),
    ({"event_id": "x" * 129}, "129 characters"),
    ({"event_id": 7}, "a number"),
    ({"event_id": "a\nb"}, "control characters"),
    ({"event_id": "a\0"}, "control characters"),
    ({"event_id": " a"}, "spaces at its ends"),
]


class TestBodies:
    @pytest.mark.parametrize(("body", "says"), NOT_JSON, ids=range(len(NOT_JSON)))
    def test_a_body_that_is_no_json_is_refused(self, agent: Agent, body: bytes, says: str) -> None:
        for path in ("/events/checkpoint", "/events"):
            assert_problem(agent.http.post(path, content=body), "REQ_001", says=says)

    @pytest.mark.parametrize(
        ("headers", "body", "says"),
        [
            ({"Content-Encoding": "gzip"}, gzip.compress(b"{}"), "no Content-Encoding"),
            ({"Content-Encoding": "br"}, b"[" * 200, "'br'"),
            ({"Content-Type": FORM}, b"data=1&topic=x", "send JSON"),
            ({"Content-Type": f"{FORM}; charset=utf-8"}, b"data=" + b"[" * 200, "send JSON"),
            ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x\r\n\r\n", "send JSON"),
            ({"Content-Type": FORM}, b'{"data": {},}', "not valid JSON"),
        ],
        ids=range(6),
    )
    def test_a_body_of_another_kind_is_told_what_to_send(
        self, agent: Agent, headers: dict[str, str], body: bytes, says: str
    ) -> None:
        for path in ("/events/checkpoint", "/events"):
            answer = agent.http.post(path, content=body, headers=headers)
            assert_problem(answer, "REQ_001", says=says)

    @pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"7", b"true", b"[{}]"])
    def test_an_event_that_is_no_object_is_refused(self, agent: Agent, body: bytes) -> None:
        assert_problem(
            agent.http.post("/events/checkpoint", content=body), "EVT_002", says="JSON object"
        )

    @pytest.mark.parametrize(("fields", "says"), BAD_FIELDS, ids=lambda value: str(value)[:30])
    def test_a_field_that_breaks_a_rule_is_named(
        self, agent: Agent, fields: dict[str, Any], says: str
    ) -> None:
        told = assert_problem(
            agent.http.post("/events/checkpoint", json=fields), "EVT_002", says=says
        )
        assert told["details"]["field"] == next(iter(fields))
        event = {"event_type": "checkpoint", **fields}
        if fields.get("event_type") != "another":
            answer = agent.http.post("/events", json=[{"event_type": "a"}, event])
            assert assert_problem(answer, "EVT_002", says="event 1")["details"]["index"] == 1

    @pytest.mark.parametrize(
        "path",
        [
            ".b",
            "a%2Fb",
            "a/b",
            "a%2F/b",
            "*",
            "%3E",
            "_private",
            "-dash",
            "caf%C3%A9",
            "%FF",
            "two%20words",
            "a%00",
            "a%0A",
            "a,b",
            "x" * 129,
            "x" * 20_000,
            "%2e%2e%2fhealth",
        ],
        ids=lambda path: path[:20],
    )
    def test_a_path_that_is_no_event_type_is_refused(self, agent: Agent, path: str) -> None:
        url = httpx.URL(agent.http.base_url, raw_path=f"/api/events/{path}".encode())
        answer = agent.http.post(url, json={})
        told = assert_problem(answer, "EVT_002", says="such as `tests_passing`")
        assert len(answer.content) < 1000
        assert told["details"]["field"] == "event_type"

    @pytest.mark.parametrize("key", ["", "x" * 129, "a\tb"])
    def test_a_bad_idempotency_key_is_refused(self, agent: Agent, key: str) -> None:
        answer = agent.http.post("/events/checkpoint", json={}, headers={"Idempotency-Key": key})
        assert_problem(answer, "EVT_002")


class TestArrays:
    @pytest.mark.parametrize(
        ("events", "says"),
        [
            ([], "0 events"),
            ([{"event_type": "a"}] * 1001, "1001 events"),
            ({"event_type": "a"}, "POST /api/events/{event_type}"),
            ("text", "array"),
            (None, "array"),
        ],
        ids=["none", "too many", "object", "text", "null"],
    )
    def test_its_length_and_kind_are_checked(self, agent: Agent, events: object, says: str) -> None:
        assert_problem(agent.http.post("/events", json=events), "REQ_001", says=says)

    def test_an_empty_body_is_refused(self, agent: Agent) -> None:
        assert_problem(agent.http.post("/events"), "REQ_001", says="array")

    @pytest.mark.parametrize(
        ("bad", "says"),
        [
            ({}, "needs its type"),
            ({"event_type": None}, "needs its type"),
            (None, "JSON object"),
            ([], "JSON object"),
            ("a", "JSON object"),
            ({"event_type": "a/b"}, "letters, digits"),
            ({"event_type": "a", "ttl_seconds": 0}, "1 to 86400"),
        ],
        ids=str,
    )
    def test_one_bad_event_refuses_them_all(self, agent: Agent, bad: object, says: str) -> None:
        events = [{"event_type": "a"}] * 999 + [bad]
        told = assert_problem(agent.http.post("/events", json=events), "EVT_002", says=says)
        assert told["message"].startswith("event 999 ")
        assert told["details"]["index"] == 999

    def test_one_that_is_too_large_refuses_them_all(self, agent: Agent) -> None:
        events = [{"event_type": "a"}, {"event_type": "a", "data": {"text": "x" * 524_288}}]
        told = assert_problem(agent.http.post("/events", json=events), "EVT_005", says="event 1")
        assert told["details"] == {"limit_bytes": 524_288, "index": 1}
