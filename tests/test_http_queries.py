"""Query strings of waits and of the history: what they select, and what is refused."""

import time
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.support import Agent, Agents
from tests.support.answers import RawConnection, assert_problem, common

BOTH = ["/events/wait/checkpoint", "/events"]
"""A wait and the history, which read many fields alike."""

WAYS: list[dict[str, Any]] = [{}, {"since": "earliest"}]
"""The two kinds of wait."""


def get(agent: Agent, path: str, query: str) -> httpx.Response:
    """Ask with a query string exactly as given."""
    raw = f"/api{path}?{query}".encode()
    return agent.http.get(httpx.URL(agent.http.base_url, raw_path=raw))


class TestAnswers:
    def test_an_answer_without_events_has_every_field(self, agent: Agent) -> None:
        answer = common(agent.http.get("/events/wait/checkpoint", params={"timeout": 0}))
        assert answer.status_code == 200
        batch = answer.json()
        assert list(batch) == [
            "events",
            "more_available",
            "next_cursor",
            "timeout",
            "ended_by",
            "timestamp",
            "hints",
        ]
        assert (batch["events"], batch["more_available"], batch["timeout"]) == ([], False, True)
        assert batch["next_cursor"]

    def test_an_event_has_every_field(self, agent: Agent) -> None:
        agent.publish("checkpoint")
        batch = agent.wait("checkpoint")
        assert batch["timeout"] is False
        (event,) = batch["events"]
        assert list(event) == [
            "event_id",
            "event_type",
            "publisher",
            "agent_id",
            "agent_type",
            "topic",
            "data",
            "correlation_id",
            "priority",
            "timestamp",
            "ttl_seconds",
            "cursor",
            "delivery_count",
        ]
        assert event["delivery_count"] == 1

    def test_the_timeout_is_in_milliseconds(self, agent: Agent) -> None:
        before = time.monotonic()
        assert get(agent, "/events/wait/checkpoint", "timeout=300").json()["timeout"] is True
        assert 0.25 < time.monotonic() - before < 5

    @pytest.mark.parametrize(
        ("query", "allowed"),
        [
            ("timeout=1", "0.001 s; 1 s is timeout=1000"),
            ("timeout=30", "0.03 s; 30 s is timeout=30000"),
            ("timeout=30&since=now", "0.03 s; 30 s is timeout=30000"),
            ("timeout=300", "0.3 s; 300 s is timeout=300000"),
            ("timeout=301", None),
            ("timeout=0", None),
        ],
    )
    def test_a_timeout_that_looks_like_seconds_is_warned_of(
        self, agent: Agent, query: str, allowed: str | None
    ) -> None:
        batch = get(agent, "/events/wait/checkpoint", query).json()
        said = [f"`timeout` is in milliseconds: this wait was allowed {allowed}"]
        assert batch.get("warnings") == (said if allowed else None)

    def test_a_shared_project_sees_nothing_of_another(self, agents: Agents, agent: Agent) -> None:
        cursor = agent.publish("checkpoint", event_id="mine", correlation_id="c")["cursor"]
        stranger = agents("stranger", project_id=f"{agents.project}-other")
        queries: list[dict[str, Any]] = [{}, {"since": "earliest"}, {"filter": "correlation_id:c"}]
        for query in queries:
            assert stranger.events("checkpoint", **query) == []
        assert stranger.history()["events"] == []
        assert stranger.history(correlation_id="c")["events"] == []
        assert stranger.history(until=cursor)["events"] == []
        for path in BOTH:
            answer = stranger.http.get(path, params={"since": "mine"})
            assert_problem(answer, "EVT_004", says="no retained event of this project")


class TestTypesAndTopics:
    @pytest.mark.parametrize(
        ("types", "expected"),
        [
            ("a", ["a"]),
            ("a,b", ["a", "b"]),
            ("b,a,b", ["a", "b"]),
            ("a%2Cb", ["a", "b"]),
            ("a,%20b,", ["a", "b"]),
            ("*", ["a", "b", "all", "c"]),
            ("all", ["all"]),
            ("a,*", ["a", "b", "all", "c"]),
        ],
    )
    def test_types_are_one_or_several_or_any(
        self, agent: Agent, types: str, expected: list[str]
    ) -> None:
        agent.publish_many([{"event_type": name} for name in ("a", "b", "all", "c")])
        events = get(agent, f"/events/wait/{types}", "timeout=0").json()["events"]
        assert [event["event_type"] for event in events] == expected

    @pytest.mark.parametrize("path", ["/events/wait", "/events/wait/"])
    @pytest.mark.parametrize(
        ("agent_type", "expected"),
        [
            (None, ["coordination", "error"]),
            ("unheard-of", ["coordination", "error"]),
            ("python-specialist", ["architecture", "coordination", "error"]),
            ("chief-architect", ["architecture", "coordination", "error", "mine", "testing"]),
        ],
    )
    def test_without_types_the_agents_own_topics_count(
        self, agents: Agents, path: str, agent_type: str | None, expected: list[str]
    ) -> None:
        agent = agents("reader", agent_type=agent_type)
        agent.publish_many(
            {"event_type": "a", "topic": topic}
            for topic in ("architecture", "testing", "coordination", "error", "mine")
        )
        for query in ("timeout=0", "timeout=0&since=earliest"):
            events = get(agent, path, query).json()["events"]
            assert sorted(event["topic"] for event in events) == expected

    @pytest.mark.parametrize(
        ("topic", "expected"),
        [
            ("mine", ["mine"]),
            ("mine,testing", ["mine", "testing"]),
            ("*", ["error", "mine", "testing"]),
            ("all", ["error", "mine", "testing"]),
        ],
    )
    def test_topics_narrow_or_widen(self, agent: Agent, topic: str, expected: list[str]) -> None:
        agent.publish_many(
            {"event_type": "a", "topic": name} for name in ("error", "mine", "testing")
        )
        for path in ("/events/wait", "/events/wait/a", "/events/wait/*", "/events"):
            query = f"topic={topic}" + ("" if path == "/events" else "&since=earliest&timeout=0")
            events = get(agent, path, query).json()["events"]
            assert sorted(event["topic"] for event in events) == expected

    @pytest.mark.parametrize(
        "types", [".b", "a%20b", "%3E", "-a", "caf%C3%A9", "%FF", "a/b", "x" * 129, ",", "a%00"]
    )
    def test_what_cannot_be_a_type_is_refused(self, agent: Agent, types: str) -> None:
        answer = get(agent, f"/events/wait/{types}", "timeout=0")
        told = assert_problem(answer, "REQ_001", says="event type")
        assert " a event" not in told["message"]
        says = "UTF-8" if types == "%FF" else "letters, digits" if types != "," else "at least one"
        assert_problem(get(agent, "/events", f"type={types}"), "REQ_001", says=says)
        for path in BOTH:
            assert_problem(get(agent, path, f"topic={types}"), "REQ_001", says=says)

    def test_too_many_names_are_refused(self, agent: Agent) -> None:
        names = ",".join(f"n{number}" for number in range(65))
        assert_problem(
            get(agent, f"/events/wait/{names}", "timeout=0"), "REQ_001", says="at most 64"
        )
        assert_problem(get(agent, "/events", f"topic={names}"), "REQ_001", says="at most 64")

    def test_as_many_names_as_are_allowed_are_taken(self, agent: Agent) -> None:
        names = ",".join(f"{'n' * 60}{number}" for number in range(64))
        query = f"timeout=0&topic={names}&filter=a:{'z' * 4000}"
        answer = get(agent, f"/events/wait/{names}", query)
        assert answer.status_code == 200, answer.text


BAD_NUMBERS = ["-1", "abc", "1.5", "1e3", "0x10", "%2B5", "%205", "NaN", "9" * 30, "٣", "true"]


class TestNumbers:
    @pytest.mark.parametrize("value", [*BAD_NUMBERS, "300001"])
    def test_a_timeout_is_0_to_300000(self, agent: Agent, value: str) -> None:
        answer = get(agent, "/events/wait/checkpoint", f"timeout={quote(value, safe='%')}")
        told = assert_problem(answer, "REQ_001", says="whole number from 0 to 300000 milliseconds")
        assert told["details"] == {"field": "timeout"}

    @pytest.mark.parametrize("value", [*BAD_NUMBERS, "0", "1001"])
    def test_limit_and_count_are_1_to_1000(self, agent: Agent, value: str) -> None:
        value = quote(value, safe="%")
        for path, name in (
            ("/events/wait/checkpoint", "limit"),
            ("/events/wait/checkpoint", "count"),
            ("/events", "limit"),
        ):
            answer = get(agent, path, f"{name}={value}")
            told = assert_problem(answer, "REQ_001", says=f"`{name}`")
            assert "whole number from 1 to 1000" in told["message"]
            assert told["details"] == {"field": name}

    def test_a_count_above_the_limit_is_refused(self, agent: Agent) -> None:
        answer = get(agent, "/events/wait/checkpoint", "count=11&limit=10&timeout=0")
        assert_problem(answer, "REQ_001", says="`count` is 11 and `limit` 10")

    def test_a_count_raises_the_limit_that_nobody_gave(self, agent: Agent) -> None:
        agent.publish_many([{"event_type": "a"}] * 150)
        batch = agent.wait("a", count=150)
        assert (len(batch["events"]), batch["timeout"]) == (150, False)

    def test_the_limit_holds(self, agent: Agent) -> None:
        agent.publish_many([{"event_type": "a"}] * 150)
        for query in WAYS:
            batch = agent.wait("a", **query)
            assert (len(batch["events"]), batch["more_available"]) == (100, True)
        batch = agent.wait("a")
        assert (len(batch["events"]), batch["more_available"]) == (50, False)
        assert len(agent.events("a", limit=3, since="earliest")) == 3
        assert len(agent.history()["events"]) == 20
        assert len(agent.history(limit=150)["events"]) == 150

    def test_fewer_than_the_count_is_a_timeout(self, agent: Agent) -> None:
        agent.publish("a")
        for query in WAYS:
            batch = agent.wait("a", count=2, **query)
            assert (len(batch["events"]), batch["timeout"]) == (1, True)


BAD_FILTERS: list[tuple[str, int, str | None]] = [
    ("status", 7, "status:*"),
    ("status=success", 7, "status:success"),
    ("status==success", 7, "status:success"),
    ("status != 'failed'", 8, "!status:failed"),
    ("coverage>90", 9, "coverage:>90"),
    ("coverage:>many", 11, "coverage:>90"),
    ("a:1,,b:2", 5, "a:1,b:2"),
    (",a:1", 1, "a:1"),
    ("a:1,", 5, "a:1"),
    ("a:1|", 5, "a:1"),
    ("status:a|b", 11, "status:a|status:b"),
    ("!!a:1", 2, "a:1"),
    (":value", 1, None),
    ("a:", 3, "a:*"),
    ("a*:1", 1, None),
    ("(a:1|b:2),c:3", 1, "a:1|b:2,c:3"),
    ("a:1 AND b:2", 4, "a:1,b:2"),
    ("not a:1", 1, "!a:1"),
    ('{"a": 1}', 1, "a:1"),
    ('a:"open', 3, 'a:"open"'),
    ("x" * 4097, 4097, None),
    (",".join(["a:1"] * 65), 257, None),
]


class TestFilters:
    @pytest.mark.parametrize(
        ("text", "column", "hint"), BAD_FILTERS, ids=[text[:20] for text, _, _ in BAD_FILTERS]
    )
    def test_a_bad_one_is_told_with_its_column_and_a_correct_form(
        self, agent: Agent, text: str, column: int, hint: str | None
    ) -> None:
        for path in BOTH:
            answer = agent.http.get(path, params={"filter": text})
            told = assert_problem(answer, "EVT_003", says=f"column {column}")
            assert told["details"]["column"] == column
            assert told["details"]["expected"]
            assert told["details"].get("hint") == hint
            if hint is not None:
                assert hint in told["message"]
                query = {"filter": hint} | ({} if path == "/events" else {"timeout": "0"})
                assert agent.http.get(path, params=query).status_code == 200

    @pytest.mark.parametrize(
        "text",
        ["a:\0", "a:x\ny", "é:ü", "a:\U0001f600*", "a:" + "z" * 4094, "a.b.c:1", "a:http://x"],
    )
    def test_any_text_may_be_looked_for(self, agent: Agent, text: str) -> None:
        for path in ("/events/wait/checkpoint", "/events"):
            query = {"filter": text} if path == "/events" else {"filter": text, "timeout": "0"}
            answer = agent.http.get(path, params=query)
            assert answer.status_code == 200, answer.text

    @pytest.mark.parametrize("types", ["one", ",".join(f"t{n}" for n in range(64)), "*"])
    @pytest.mark.parametrize(
        "characters",
        [256, 257, 4000],
    )
    def test_a_correlation_id_may_be_looked_for_however_long(
        self, agent: Agent, types: str, characters: int
    ) -> None:
        """It becomes part of what NATS is asked for, which must not end the connection to it."""
        pin = "\U0001f600" * characters
        answer = agent.http.get(
            f"/events/wait/{types}", params={"filter": f"correlation_id:{pin}", "timeout": 0}
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["timeout"] is True

    def test_a_lone_surrogate_in_what_was_meant_is_no_failure(self, agent: Agent) -> None:
        for path in BOTH:
            answer = agent.http.get(path, params={"filter": '{"a": "\\ud800"}'})
            assert_problem(answer, "EVT_003", says="JSON object")


class TestPositions:
    @pytest.mark.parametrize(
        "position",
        [
            "garbage",
            "c0000000000000000-",
            "c18d9f1a2b3c4d5e6-00000000002A",
            "cffffffffffffffff-fffffffffffff",
            "0",
            "-1",
            "EARLIEST",
            "2026-13-01T00:00:00Z",
            "2026-01-31T25:00:00Z",
            "2026-01-31 nonsense",
            "\0",
            "é",
            "x" * 5000,
        ],
        ids=lambda text: ascii(text)[:20],
    )
    def test_garbage_is_refused(self, agent: Agent, position: str) -> None:
        for path, name in (*((path, "since") for path in BOTH), ("/events", "until")):
            answer = agent.http.get(path, params={name: position})
            told = assert_problem(answer, "EVT_004", says="2026-01-31T12:00:00Z")
            assert told["details"] == {"given": position[:80]}

    def test_a_group_means_nothing_beside_since(self, agent: Agent) -> None:
        answer = get(agent, "/events/wait/a", "since=now&group=reviewers")
        told = assert_problem(answer, "REQ_001", says="`group`")
        assert told["details"] == {"field": "group"}

    def test_deliver_means_nothing_beside_since(self, agent: Agent) -> None:
        assert_problem(
            get(agent, "/events/wait/a", "since=now&deliver=new"), "REQ_001", says="`deliver`"
        )
        assert get(agent, "/events/wait/a", "since=now&deliver=all&timeout=0").status_code == 200

    @pytest.mark.parametrize("group", [".b", "a%20b", "*", "x" * 129, "-a"])
    def test_a_group_has_a_name(self, agent: Agent, group: str) -> None:
        assert_problem(get(agent, "/events/wait/a", f"group={group}"), "REQ_001", says="`group`")

    @pytest.mark.parametrize("value", ["latest", "ALL", "1"])
    def test_deliver_is_all_new_or_last(self, agent: Agent, value: str) -> None:
        answer = get(agent, "/events/wait/a", f"deliver={value}")
        assert_problem(answer, "REQ_001", says="all or new or last")

    @pytest.mark.parametrize("value", ["up", "ASC", "descending"])
    def test_order_is_asc_or_desc(self, agent: Agent, value: str) -> None:
        assert_problem(get(agent, "/events", f"order={value}"), "REQ_001", says="desc or asc")


class TestFields:
    @pytest.mark.parametrize(
        ("path", "field", "meant"),
        [
            ("/events/wait/a", "filer", "filter"),
            ("/events/wait/a", "timeout_ms", "timeout"),
            ("/events/wait/a", "cursor", "since"),
            ("/events/wait/a", "topics", "topic"),
            ("/events/wait/a", "consumer_group", "group"),
            ("/events", "event_type", "type"),
            ("/events", "types", "type"),
            ("/events", "after", "since"),
            ("/events", "corelation_id", "correlation_id"),
        ],
    )
    def test_an_unknown_one_is_refused_with_its_neighbour(
        self, agent: Agent, path: str, field: str, meant: str
    ) -> None:
        """A misspelt filter that were passed over would hand out other agents' events."""
        told = assert_problem(
            get(agent, path, f"{field}=x"), "REQ_001", says=f"did you mean `{meant}`?"
        )
        assert told["details"] == {"field": field}

    @pytest.mark.parametrize(
        ("path", "query", "says"),
        [
            ("/events", "publisher=qa-1", "use filter=publisher:qa-1"),
            ("/events/wait/a", "publisher=a%20b", "use filter=publisher:…"),
            ("/events", "agent_id=qa-1", "use filter=agent_id:qa-1"),
            ("/events/wait", "type=a", "into the path: GET /api/events/wait/a"),
            ("/events/wait", "types=a,b", "into the path: GET /api/events/wait/a,b"),
            ("/events/wait", "event_type=a/b", "GET /api/events/wait/{event_types}"),
            ("/events/wait/a", "timeout_seconds=30", "`timeout`? It is in milliseconds"),
            ("/events", "before=x", "did you mean `until`?"),
        ],
    )
    def test_what_another_endpoint_knows_is_told_how_it_is_done_here(
        self, agent: Agent, path: str, query: str, says: str
    ) -> None:
        assert_problem(get(agent, path, query), "REQ_001", says=says)

    def test_one_without_a_neighbour_gets_the_list(self, agent: Agent) -> None:
        answer = get(agent, "/events/wait/a", "zzzzzz=1")
        assert_problem(
            answer,
            "REQ_001",
            says="`timeout`, `filter`, `correlation_id`, `topic`, `limit`, `count`",
        )

    @pytest.mark.parametrize("query", ["topic=a&topic=b", "limit=1&limit=1", "filter=a:1&filter=b"])
    def test_a_repeated_one_is_refused(self, agent: Agent, query: str) -> None:
        for path in BOTH:
            assert_problem(get(agent, path, query), "REQ_001", says="twice")

    def test_blank_ones_count_as_left_out(self, agent: Agent) -> None:
        query = "filter=&topic=&limit=&count=&deliver=&timeout=0"
        assert get(agent, "/events/wait/a", query).status_code == 200
        query = "topic=&type=&filter=&until=&order=&limit="
        assert get(agent, "/events", query).status_code == 200

    @pytest.mark.parametrize(
        ("path", "field"),
        [
            ("/events/wait/a", "group"),
            ("/events/wait/a", "since"),
            ("/events", "since"),
            ("/events", "correlation_id"),
        ],
    )
    def test_a_blank_one_without_which_another_is_meant_is_refused(
        self, agent: Agent, path: str, field: str
    ) -> None:
        """A shell variable that is not set would show or take all others' events."""
        told = assert_problem(get(agent, path, f"{field}="), "REQ_001", says="leave it out")
        assert told["details"] == {"field": field}

    def test_a_correlation_id_is_at_most_256_characters(self, agent: Agent) -> None:
        answer = get(agent, "/events", f"correlation_id={'x' * 257}")
        assert_problem(answer, "REQ_001", says="256")

    @pytest.mark.parametrize("query", ["filter=a:%FF", "filter=a:%ED%A0%80", "%FF=1"])
    def test_what_is_not_utf_8_is_refused(self, agent: Agent, query: str) -> None:
        for path in BOTH:
            assert_problem(get(agent, path, query), "REQ_001", says="UTF-8")

    def test_a_long_url_is_told_of_as_well(self, agent: Agent) -> None:
        for path in BOTH:
            answer = get(agent, path, f"filter=a:{'z' * 60_000}")
            assert_problem(answer, "EVT_003", says="4096")
            assert len(answer.content) < 10_000
        answer = get(agent, f"/events/wait/{'x' * 60_000}", "")
        assert_problem(answer, "REQ_001", says="1 to 128")
        assert len(answer.content) < 1000

    def test_a_url_beyond_all_bounds_ends_only_its_connection(self, agent: Agent) -> None:
        with RawConnection(str(agent.http.base_url).removesuffix("/api/")) as connection:
            connection.send(b"GET /api/events?filter=a:" + b"z" * 100_000 + b" HTTP/1.1\r\n")
            connection.send(f"Authorization: Bearer {agent.token}\r\n\r\n".encode())
            assert connection.answer().status_code == 400
            assert connection.ended()
        assert agent.history()["events"] == []


def test_a_refused_query_makes_no_subscription(agent: Agent) -> None:
    bad: list[dict[str, Any]] = [
        {"filter": "a"},
        {"timeout": -1},
        {"since": "garbage"},
        {"since": "now", "group": "g"},
        {"topic": "a b"},
        {"zzz": 1},
    ]
    for query in bad:
        assert agent.http.get("/events/wait/a", params=query).status_code == 400
    assert agent.subscriptions() == []
