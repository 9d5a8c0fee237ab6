"""Operations over HTTP: probes, status, metrics, the API's description, and what all answers share.

Most of it needs no token.
"""

import asyncio
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bridge import __version__
from bridge.http.app import HttpOptions, create_app
from bridge.request_counts import RequestCounts
from tests.support import Agent, Agents, BridgeProcess
from tests.support.answers import RawConnection, assert_problem, common

Json = dict[str, Any]


@pytest.fixture(scope="module")
def client(bridge: BridgeProcess) -> Iterator[httpx.Client]:
    """A client without a token."""
    with httpx.Client(base_url=bridge.url) as made:
        yield made


class TestProbes:
    def test_alive(self, client: httpx.Client) -> None:
        answer = common(client.get("/livez"))
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})

    def test_ready(self, client: httpx.Client) -> None:
        answer = common(client.get("/readyz"))
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})

    def test_health(self, client: httpx.Client) -> None:
        answer = common(client.get("/health"))
        assert answer.status_code == 200
        health = answer.json()
        assert list(health) == ["status", "service", "version", "uptime_seconds", "checks"]
        assert (health["status"], health["version"]) == ("ok", __version__)
        assert health["uptime_seconds"] > 0
        assert health["checks"] == {"nats": "ok", "stream": "ok", "draining": "no"}


class TestStatus:
    def test_it_needs_a_token(self, client: httpx.Client) -> None:
        assert_problem(client.get("/status"), "AUTH_001", says="Authorization: Bearer")

    def test_it_sums_up_the_project(self, agents: Agents, bridge: BridgeProcess) -> None:
        coder = agents("coder", agent_type="python-specialist")
        reader = agents("reader", agent_type="test-engineer")
        stranger = agents("stranger", project_id=f"{agents.project}-other")
        stranger.publish("a")
        stranger.wait("a")
        reader.wait("a")
        first = coder.publish("a", topic="one")
        last = coder.publish_many([{"event_type": "a"}, {"event_type": "b"}])[-1]
        coder.history()
        answer = common(coder.http.get(f"{bridge.url}/status"))
        assert answer.status_code == 200
        status = answer.json()
        assert (status["version"], status["project"]) == (__version__, agents.project)
        assert status["events"] == {
            "retained": 3,
            "by_topic": {"one": 1, "coordination": 2},
            "by_type": {"a": 2, "b": 1},
            "oldest": first["timestamp"],
            "newest": last["timestamp"],
        }
        assert status["queue"] == {"depth": 3, "capacity": 10_000}
        assert status["subscriptions"] == 1
        assert status["agents"] == {
            "total": 2,
            "by_type": {"python-specialist": 1, "test-engineer": 1},
        }
        assert {"publish", "wait"} <= status["latencies"].keys()
        assert status["latencies"]["publish"].keys() == {"count", "p50_ms", "p95_ms", "p99_ms"}


class TestMetrics:
    def test_they_are_prometheus_text(self, client: httpx.Client) -> None:
        answer = common(client.get("/metrics"))
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        assert len(answer.headers.get_list("content-type")) == 1
        families = {family.name: family for family in text_string_to_metric_families(answer.text)}
        assert families["bridge_ready"].samples[0].value == 1
        assert families["bridge_nats_connected"].samples[0].value == 1

    def test_requests_are_counted_by_endpoint_and_status(
        self, client: httpx.Client, agent: Agent
    ) -> None:
        def counted(**labels: str) -> float:
            families = text_string_to_metric_families(client.get("/metrics").text)
            samples = [sample for family in families for sample in family.samples]
            return sum(
                sample.value
                for sample in samples
                if sample.name == "bridge_http_requests_total" and sample.labels == labels
            )

        taken = counted(route="publish", status="202")
        refused = counted(route="publish", status="400")
        agent.publish("a")
        agent.http.post("/events/-a", json={})
        assert counted(route="publish", status="202") == taken + 1
        assert counted(route="publish", status="400") == refused + 1

    def test_they_say_how_much_the_stream_holds_and_may_hold(
        self, client: httpx.Client, agent: Agent
    ) -> None:
        agent.publish("a")
        agent.wait("a")
        families = text_string_to_metric_families(client.get("/metrics").text)
        found = {family.name: family.samples[0].value for family in families if family.samples}
        assert found["bridge_events_capacity"] == 10_000
        assert 0 < found["bridge_events_retained"] <= 10_000
        assert found["bridge_stream_max_bytes"] == 134_217_728
        assert 100 < found["bridge_stream_bytes"] <= 134_217_728

    def test_no_path_of_a_client_becomes_a_label(self, client: httpx.Client) -> None:
        client.get("/nobody-asked-for-this")
        assert "nobody-asked" not in client.get("/metrics").text


CONTRACT = {
    "/api/events": {"get", "post"},
    "/api/events/{event_type}": {"post"},
    "/api/events/{event_id}": {"get"},
    "/api/events/explain": {"get"},
    "/api/events/explain/{event_types}": {"get"},
    "/api/events/stream": {"get"},
    "/api/events/stream/{event_types}": {"get"},
    "/api/catalog": {"get"},
    "/api/agents": {"get"},
    "/api/events/wait": {"get"},
    "/api/events/wait/{event_types}": {"get"},
    "/api/subscriptions": {"get"},
    "/api/subscriptions/{name}": {"delete"},
    "/api/subscriptions/{name}/redrive": {"post"},
    "/api/deliveries/ack": {"post"},
    "/api/deliveries/extend": {"post"},
    "/api/deliveries/release": {"post"},
    "/api/deliveries/reject": {"post"},
    "/api/tokens": {"post"},
    "/api/tokens/refresh": {"post"},
    "/api/tokens/revoked": {"get", "post", "delete"},
    "/livez": {"get"},
    "/readyz": {"get"},
    "/health": {"get"},
    "/status": {"get"},
    "/metrics": {"get"},
    "/llms.txt": {"get"},
}


class TestDescription:
    @pytest.fixture(scope="class")
    @staticmethod
    def document(client: httpx.Client) -> Json:
        answer = common(client.get("/openapi.json"))
        assert answer.status_code == 200
        found: Json = answer.json()
        return found

    def test_it_has_the_contracts_paths_and_no_other(self, document: Json) -> None:
        assert document["openapi"].startswith("3.")
        assert document["info"]["version"] == __version__
        described = {path: set(methods) for path, methods in document["paths"].items()}
        assert described == CONTRACT

    def test_the_page_for_models_tells_of_paths_that_there_are(
        self, client: httpx.Client, document: Json
    ) -> None:
        text = client.get("/llms.txt").text
        assert 300 < len(text.split()) < 1500
        told = re.findall(r"\b(GET|POST|DELETE) (/[\w/{}.]*)(\?[\w=&{}.]*)?", text)
        assert len(told) > 15
        for method, path, query in told:
            operation = document["paths"][path.rstrip(".")][method.lower()]
            known = {each["name"] for each in operation.get("parameters", [])}
            assert set(re.findall(r"[?&](\w+)=", query)) <= known, path

    def test_every_reference_leads_somewhere(self, document: Json) -> None:
        references = set(
            re.findall(r'"\$ref": ?"([^"]+)"', httpx.Response(200, json=document).text)
        )
        assert references
        for reference in references:
            place: Any = document
            for part in reference.removeprefix("#/").split("/"):
                place = place[part]
            assert place

    @pytest.mark.parametrize(
        ("path", "method", "statuses"),
        [
            ("/api/events", "get", "200 400 401 403 429 503"),
            ("/api/events", "post", "202 400 401 403 413 429 503"),
            ("/api/events/{event_type}", "post", "200 202 400 401 403 413 429 503"),
            ("/api/events/wait", "get", "200 400 401 403 404 413 429 503"),
            ("/api/events/wait/{event_types}", "get", "200 400 401 403 404 413 429 503"),
            ("/api/events/stream", "get", "200 400 401 403 429 503"),
            ("/api/events/explain", "get", "200 400 401 403 429 503"),
            ("/api/subscriptions", "get", "200 401 429 503"),
            ("/api/subscriptions/{name}", "delete", "204 401 404 429 503"),
            ("/api/deliveries/ack", "post", "200 400 401 403 409 413 429 503"),
            ("/api/subscriptions/{name}/redrive", "post", "200 400 401 404 413 429 503"),
            ("/api/tokens", "post", "201 400 401 403 413 429 503"),
            ("/api/tokens/refresh", "post", "201 400 401 429 503"),
            ("/api/tokens/revoked", "get", "200 401 403 429 503"),
            ("/api/tokens/revoked", "post", "201 400 401 403 413 429 503"),
            ("/api/tokens/revoked", "delete", "204 400 401 403 404 413 429 503"),
            ("/readyz", "get", "200 503"),
            ("/health", "get", "200 503"),
            ("/status", "get", "200 401 429 503"),
        ],
    )
    def test_every_operation_names_its_answers(
        self, document: Json, path: str, method: str, statuses: str
    ) -> None:
        operation = document["paths"][path][method]
        assert sorted(operation["responses"]) == statuses.split()
        wants_token = path.startswith("/api") or path == "/status"
        assert operation.get("security") == ([{"token": []}] if wants_token else None)
        for status, response in operation["responses"].items():
            assert response["description"]
            if status[0] == "4" or (wants_token and status == "503"):
                schema = response["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}

    def test_every_parameter_of_a_path_is_described(self, document: Json) -> None:
        for path, methods in document["paths"].items():
            for operation in methods.values():
                described = operation.get("parameters", [])
                named = {one["name"] for one in described if one["in"] == "path"}
                assert named == set(re.findall(r"{(\w+)}", path))
                assert operation["operationId"]
                assert operation.get("summary") or operation.get("description")
        ids = [one["operationId"] for some in document["paths"].values() for one in some.values()]
        assert len(ids) == len(set(ids))

    def test_its_examples_are_taken(self, document: Json, agent: Agent) -> None:
        """What the description shows as a request works when it is sent."""
        for path in ("/api/events", "/api/events/{event_type}"):
            content = document["paths"][path]["post"]["requestBody"]["content"]
            example = content["application/json"]["example"]
            address = path.removeprefix("/api").replace("{event_type}", "tests_passing")
            assert agent.http.post(address, json=example).status_code == 202
        for path in ("/api/events", "/api/events/wait"):
            for parameter in document["paths"][path]["get"]["parameters"]:
                if "example" in parameter:
                    query = {parameter["name"]: parameter["example"]}
                    query |= {} if path == "/api/events" else {"timeout": "0"}
                    assert agent.http.get(path[4:], params=query).status_code == 200

    def test_its_limits_are_the_bridges(self, document: Json, agent: Agent) -> None:
        for path in ("/api/events", "/api/events/wait"):
            for parameter in document["paths"][path]["get"]["parameters"]:
                schema = parameter["schema"]
                for bound, step in (("minimum", -1), ("maximum", 1)):
                    if bound in schema:
                        query = {parameter["name"]: schema[bound] + step}
                        assert_problem(agent.http.get(path[4:], params=query), "REQ_001")

    def test_answers_are_as_described(self, document: Json, agent: Agent) -> None:
        schemas = document["components"]["schemas"]

        def check(name: str, content: Json) -> None:
            assert content.keys() <= schemas[name]["properties"].keys()
            assert set(schemas[name]["required"]) <= content.keys()

        receipt = agent.publish("a")
        check("PublishAnswer", receipt)
        waited = agent.wait("a")
        check("WaitAnswer", waited)
        check("EventOut", waited["events"][0])
        check("HistoryAnswer", agent.history())
        check("SubscriptionAnswer", agent.subscriptions()[0])
        check("TokenAnswer", agent.http.post("/tokens/refresh").json())
        check("Problem", agent.http.post("/events/-a").json())

    def test_its_page_needs_no_other_host(self, client: httpx.Client) -> None:
        answer = common(client.get("/docs"))
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        assets = re.findall(r"(?:src|href)=[\"']([^\"']+)", answer.text)
        assert len(assets) >= 2
        for asset in assets:
            assert asset.startswith("/"), asset
            assert not asset.startswith("//"), asset
            assert common(client.get(asset)).status_code == 200
        assert "http://" not in answer.text
        assert "https://" not in answer.text


class TestEveryAnswer:
    @pytest.mark.parametrize(
        "path",
        ["/", "/api", "/api/", "/api/nothing", "/api/eventsandmore", "/nothing/", "//", "/%2e"],
    )
    def test_what_is_nowhere_is_told(self, client: httpx.Client, path: str) -> None:
        url = httpx.URL(client.base_url, raw_path=path.encode())
        told = assert_problem(client.get(url), "REQ_002", says="/openapi.json")
        assert "did you mean" not in told["message"]

    @pytest.mark.parametrize("path", ["/", "/api", "/api/", "/v1"])
    def test_the_root_says_where_things_are(self, client: httpx.Client, path: str) -> None:
        told = assert_problem(client.get(path), "REQ_002", says="POST /api/events/{event_type}")
        assert "GET /api/events/wait/{event_types}" in told["message"]
        assert "/health" in told["message"]

    @pytest.mark.parametrize(
        ("path", "meant"),
        [
            ("/events", "/api/events"),
            ("/events/tests_passing", "/api/events/tests_passing"),
            ("/events/wait/a,b", "/api/events/wait/a,b"),
            ("/subscriptions", "/api/subscriptions"),
            ("/tokens/refresh", "/api/tokens/refresh"),
            ("/api/api/events/a", "/api/events/a"),
            ("/api/v1/events/a", "/api/events/a"),
            ("/v1/events", "/api/events"),
            ("/api/publish/a", "/api/events/a"),
            ("/api/wait/a", "/api/events/wait/a"),
            ("/api/health", "/health"),
            ("/api/status/", "/status"),
            ("/api/metrics", "/metrics"),
            ("/api/livez", "/livez"),
            ("/api/readyz", "/readyz"),
            ("/healthz", "/health"),
            ("/health/", "/health"),
            ("//metrics", "/metrics"),
        ],
    )
    def test_what_was_meant_is_told(self, client: httpx.Client, path: str, meant: str) -> None:
        url = httpx.URL(client.base_url, raw_path=path.encode())
        assert_problem(client.get(url), "REQ_002", says=f"did you mean {meant}? ")

    def test_slashes_may_be_doubled_or_stand_at_the_end(
        self, agents: Agents, bridge: BridgeProcess
    ) -> None:
        """Base URLs that end in a slash bring them in."""
        agent = agents("spawner", permissions=["publish_events", "spawn_agents"])

        def ask(method: str, path: str, **given: Any) -> Any:
            url = httpx.URL(bridge.url, raw_path=path.encode())
            answer = common(agent.http.request(method, url, **given))
            assert answer.is_success, answer.text
            return answer.json() if answer.content else None

        for path in ("//api/events/a", "/api//events/a", "/api/events/a/", "//api///events//a//"):
            ask("POST", path, json={})
        ask("POST", "/api/events/", json=[{"event_type": "a"}])
        assert len(ask("GET", "/api/events/")["events"]) == 5
        assert len(ask("GET", "/api//events/wait/a/?timeout=0")["events"]) == 5
        (found,) = ask("GET", "/api/subscriptions/")["subscriptions"]
        ask("DELETE", f"//api/subscriptions/{found['name']}/")
        assert agent.subscriptions() == []
        assert ask("POST", "/api/tokens/", json={"agent_id": "coder-1"})["token"]
        assert ask("POST", "/api/tokens//refresh/")["token"]

    @pytest.mark.parametrize("path", ["/api/nothing/%C3%A9%FF", "/" + "x" * 60_000])
    def test_odd_paths_are_told_of_in_short(self, client: httpx.Client, path: str) -> None:
        answer = client.get(httpx.URL(client.base_url, raw_path=path.encode()))
        assert_problem(answer, "REQ_002")
        assert len(answer.content) < 1500

    @pytest.mark.parametrize(
        ("path", "allowed"),
        [
            ("/api/events", "GET, POST"),
            ("/api/events/a", "GET, POST"),
            ("/api/events/wait", "GET, POST"),
            ("/api/events/wait/a", "GET"),
            ("/api/subscriptions", "GET"),
            ("/api/subscriptions/a", "DELETE"),
            ("/api/tokens", "POST"),
            ("/api/tokens/refresh", "POST"),
            ("/livez", "GET, HEAD"),
            ("/readyz", "GET, HEAD"),
            ("/health", "GET, HEAD"),
            ("/status", "GET"),
            ("/metrics", "GET"),
        ],
    )
    def test_other_methods_are_told_which_there_are(
        self, client: httpx.Client, path: str, allowed: str
    ) -> None:
        methods = {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"}
        for method in methods - set(allowed.split(", ")):
            answer = client.request(method, path)
            told = assert_problem(answer, "REQ_003", says=method)
            assert answer.headers["allow"] == allowed
            assert told["details"] == {"allowed": allowed.split(", ")}
        head = common(client.head(path))
        assert (head.status_code, head.content) == (200 if "HEAD" in allowed else 405, b"")
        assert head.headers.get("allow") == (None if "HEAD" in allowed else allowed)

    @pytest.mark.parametrize(
        ("method", "path", "says"),
        [
            ("POST", "/events/wait/a", "POST /api/events/a publishes"),
            ("POST", "/events/wait/a,b", "POST /api/events/{event_type} publishes"),
            ("DELETE", "/subscriptions", "DELETE /api/subscriptions/{name}"),
            ("GET", "/subscriptions/a", "GET /api/subscriptions lists"),
        ],
    )
    def test_a_wrong_method_is_told_what_does_it(
        self, agent: Agent, method: str, path: str, says: str
    ) -> None:
        assert_problem(agent.http.request(method, path, json={}), "REQ_003", says=says)

    @pytest.mark.parametrize(
        ("path", "says"),
        [
            ("/events/tests_passing", "GET /api/events/wait/tests_passing waits"),
            ("/events/tests_passing", "GET /api/events?type=tests_passing shows"),
            ("/events/-a/c", "GET /api/events/wait/{event_type} waits"),
        ],
    )
    def test_an_event_that_is_not_there_may_be_a_type(
        self, agent: Agent, path: str, says: str
    ) -> None:
        assert_problem(agent.http.get(path), "REQ_002", says=says)

    @pytest.mark.parametrize("given", ["abc-123", "a b", "x" * 128, '"quoted"', "{}"])
    def test_a_request_id_is_echoed(self, agent: Agent, bridge: BridgeProcess, given: str) -> None:
        headers = {"X-Request-ID": given}
        for method, path in (
            ("GET", f"{bridge.url}/livez"),
            ("GET", "/events"),
            ("POST", "/events/a"),
            ("POST", "/events/-a"),
            ("GET", "/events/wait/a?timeout=0"),
            ("GET", "/nothing"),
            ("PUT", "/events"),
        ):
            answer = common(agent.http.request(method, path, headers=headers))
            assert answer.headers["x-request-id"] == given
            if answer.status_code >= 400:
                assert answer.json()["request_id"] == given

    @pytest.mark.parametrize("given", [b"", b"x" * 129, b"a\tb", "é".encode(), b"\x80"])
    def test_one_that_is_odd_is_made_anew(self, client: httpx.Client, given: bytes) -> None:
        for path in ("/livez", "/nothing"):
            answer = common(client.get(path, headers={b"X-Request-ID": given}))
            made = answer.headers["x-request-id"]
            assert re.fullmatch("[0-9a-f]{32}", made)

    def test_each_request_has_an_id_of_its_own(self, client: httpx.Client) -> None:
        made = {client.get("/livez").headers["x-request-id"] for _ in range(10)}
        assert len(made) == 10

    def test_repeated_headers_count_once(self, bridge: BridgeProcess, agent: Agent) -> None:
        with RawConnection(bridge.url) as connection:
            connection.send(
                b"GET /api/events HTTP/1.1\r\nHost: b\r\n"
                b"X-Request-ID: first\r\nX-Request-ID: second\r\n"
                + f"Authorization: Bearer {agent.token}\r\n".encode()
                + b"Authorization: Bearer nonsense\r\n\r\n"
            )
            answer = connection.answer()
            assert answer.status_code == 200
            assert answer.headers["x-request-id"] == "first"


@pytest.mark.parametrize("path", ["/health", "/readyz", "/metrics"])
def test_a_failure_of_the_bridge_is_told_without_its_cause(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Here the application has no bus at all, which no endpoint expects."""
    bus, authority = cast("Any", _NoBus()), cast("Any", None)
    transport = httpx.ASGITransport(create_app(bus, authority, HttpOptions(), RequestCounts()))

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://bridge") as made:
            return await made.get(path)

    answer = common(asyncio.run(ask()))
    assert answer.status_code == 500
    told = answer.json()
    assert (told["error"], told["code"]) == ("internal_error", "INT_001")
    assert told["request_id"] == answer.headers["x-request-id"]
    assert "secret cause" not in answer.text
    assert "secret cause" in caplog.text


class _NoBus:
    draining = False
    presence = SimpleNamespace(note=None)

    def health(self) -> Any:
        raise RuntimeError("secret cause")
