"""Publishing over HTTP: what an answer says, what is stored, and how a repeat is told."""

import json
import time
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.support import Agent, Agents
from tests.support.answers import assert_problem, common

COMPLETE = {"coverage": 91.5, "duration_ms": 800}
"""What a `tests_passing` event is documented to carry."""


FIELDS = (
    "event_type",
    "publisher",
    "topic",
    "data",
    "correlation_id",
    "ttl_seconds",
    "priority",
    "event_id",
)


def stored(agent: Agent) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = agent.history(order="asc", limit=1000)["events"]
    return events


def test_an_answer_has_every_field(agent: Agent) -> None:
    answer = common(agent.http.post("/events/tests_passing", json={"data": COMPLETE}))
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/json"
    receipt = answer.json()
    assert list(receipt) == [
        "event_id",
        "published",
        "duplicate",
        "topic",
        "ttl_seconds",
        "timestamp",
        "cursor",
        "subscribers_notified",
        "subscriber_count",
    ]
    assert (receipt["published"], receipt["duplicate"]) == (True, False)
    assert (receipt["topic"], receipt["ttl_seconds"]) == ("testing", 86_400)
    assert (receipt["subscribers_notified"], receipt["subscriber_count"]) == ([], 0)
    assert datetime.fromisoformat(receipt["timestamp"]).utcoffset() == timedelta(0)


def test_everything_given_is_read_back(agents: Agents) -> None:
    agent = agents("coder", agent_type="python-specialist")
    given = {
        "event_type": "build_done",
        "publisher": "coder",
        "topic": "project_specific",
        "data": {"deep": {"list": [1, 2.5, None, True, "é😀", ""]}, "n\0ul": "\0"},
        "correlation_id": "build 7.1 > *",
        "ttl_seconds": 3600,
        "priority": "high",
        "event_id": "build/7 é",
    }
    receipt = agent.http.post("/events/build_done", json=given).json()
    (event,) = stored(agent)
    assert event == {
        **given,
        "agent_id": "coder",
        "agent_type": "python-specialist",
        "timestamp": receipt["timestamp"],
        "cursor": receipt["cursor"],
        "delivery_count": 1,
    }
    assert "warnings" not in receipt


def test_what_is_left_out_has_its_default(agent: Agent) -> None:
    answer = agent.http.post("/events/checkpoint")
    assert answer.status_code == 202
    (event,) = stored(agent)
    assert (event["publisher"], event["agent_id"], event["agent_type"]) == (
        agent.name,
        agent.name,
        None,
    )
    assert (event["topic"], event["data"], event["priority"]) == ("coordination", {}, "normal")
    assert (event["correlation_id"], event["ttl_seconds"]) == (None, 86_400)
    assert len(event["event_id"]) > 20


def test_null_counts_as_left_out(agent: Agent) -> None:
    answer = agent.http.post("/events/tests_passing", json=dict.fromkeys((*FIELDS, "colour")))
    assert answer.status_code == 202, answer.text
    assert answer.json()["topic"] == "testing"
    assert (stored(agent)[0]["data"], stored(agent)[0]["priority"]) == ({}, "normal")


@pytest.mark.parametrize("publisher", ["coder-1", "python-specialist"])
def test_a_publisher_may_be_the_agent_or_its_type(agents: Agents, publisher: str) -> None:
    agent = agents("coder-1", agent_type="python-specialist")
    agent.publish("checkpoint", publisher=publisher)
    (event,) = stored(agent)
    assert event["publisher"] == publisher
    assert (event["agent_id"], event["agent_type"]) == ("coder-1", "python-specialist")


@pytest.mark.parametrize(
    "name",
    [
        *("a", "A9", "0", "with-dash_and_underscore", "x" * 128, "all"),
        *("build.finished", "a:b", "v1.2.:x", "a..b", "a.", "a" + ".:" * 63),
    ],
)
def test_names_may_be_anything_of_their_alphabet(agent: Agent, name: str) -> None:
    agent.publish("decoy", topic="decoy")
    (receipt,) = agent.publish_many([{"event_type": name, "topic": name}])
    agent.publish(name, topic=name)
    assert receipt["topic"] == name
    read = [
        agent.events(name, topic=name, group=name, filter=f"event_type:{name}", count=2),
        agent.events(name, since="earliest"),
        agent.history(type=name, topic=name)["events"],
    ]
    for events in read:
        assert [(event["event_type"], event["topic"]) for event in events] == [(name, name)] * 2
    (subscription,) = agent.subscriptions()
    assert (subscription["types"], subscription["group"]) == ([name], name)
    path = f"/subscriptions/{quote(subscription['name'])}"
    assert agent.http.delete(path).status_code == 204


def test_what_nats_would_end_the_connection_for_is_refused(agent: Agent) -> None:
    """Its line of 4,096 bytes holds the subject, and an emoji is twelve characters there."""
    longest = {"topic": "t" + "." * 127, "correlation_id": "😀" * 256}
    type_ = "a" + ":" * 127
    answer = agent.http.post(f"/events/{type_}", json=longest)
    assert_problem(answer, "EVT_002", says="shorten the correlation ID")
    many = [{"event_type": "fine"}, {"event_type": type_, **longest}]
    assert_problem(agent.http.post("/events", json=many), "EVT_002", says="shorten")
    assert stored(agent) == []
    agent.publish("x" * 128, topic="y" * 128, correlation_id="😀" * 256)
    assert len(agent.events("x" * 128, filter=f"correlation_id:{'😀' * 256}")) == 1


def test_an_event_type_may_be_called_wait(agent: Agent) -> None:
    (said,) = agent.publish("wait", {"n": 1})["warnings"]
    assert "GET /api/events/wait/{event_types}" in said
    (receipt,) = agent.publish_many([{"event_type": "wait", "data": {"n": 2}}])
    assert "warnings" not in receipt
    assert [event["data"]["n"] for event in agent.events("wait")] == [1, 2]


@pytest.mark.parametrize("ttl", [1, 60, 60.0, 86_400])
def test_a_ttl_may_be_any_whole_number_of_seconds_up_to_a_day(agent: Agent, ttl: float) -> None:
    assert agent.publish("checkpoint", ttl_seconds=ttl)["ttl_seconds"] == int(ttl)


def test_numbers_come_back_as_they_were(agent: Agent) -> None:
    numbers = {
        "lowest": -(2**63),
        "highest": 2**64 - 1,
        "beyond_doubles": 2**53 + 1,
        "tiny": 5e-324,
        "huge": 1.7976931348623157e308,
        "text": "123456789012345678901234567890",
    }
    agent.publish("checkpoint", numbers)
    assert stored(agent)[0]["data"] == numbers


def test_a_byte_order_mark_is_passed_over(agent: Agent) -> None:
    body = b'\xef\xbb\xbf{"data": {"n": 1}}'
    assert agent.http.post("/events/checkpoint", content=body).status_code == 202
    assert stored(agent)[0]["data"] == {"n": 1}


def test_what_a_body_is_called_does_not_matter_if_it_is_json(agent: Agent) -> None:
    """curl calls every body a form."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "identity"}
    answer = agent.http.post("/events/checkpoint", content=b'{"data": {"n": 1}}', headers=headers)
    assert answer.status_code == 202


def test_unknown_fields_are_named_with_their_nearest_neighbour(agent: Agent) -> None:
    receipt = agent.publish("checkpoint", ttl_second=60, corelation_id="x", mood="good")
    warnings = receipt["warnings"]
    assert len(warnings) == 3
    assert any("`ttl_second`" in said and "`ttl_seconds`" in said for said in warnings)
    assert any("`corelation_id`" in said and "`correlation_id`" in said for said in warnings)
    assert any("`mood`" in said and "`data`" in said for said in warnings)
    assert stored(agent)[0]["ttl_seconds"] == 86_400


@pytest.mark.parametrize(
    ("field", "advice"),
    [
        ("agent_id", "the token says who you are; leave it out"),
        ("agent_type", "the token says who you are"),
        ("project_id", "the token says who you are"),
        ("projectId", "the token says who you are"),
        ("ttl", "`ttl_seconds`"),
        ("ttlSeconds", "`ttl_seconds`"),
        ("type", "`event_type`"),
        ("event", "`event_type`"),
        ("name", "`event_type`"),
        ("eventType", "`event_type`"),
        ("id", "`event_id`"),
        ("idempotency_key", "`event_id`"),
        ("Idempotency-Key", "`event_id`"),
        ("eventId", "`event_id`"),
        ("evnt_id", "`event_id`"),
        ("payload", "`data`"),
        ("body", "`data`"),
        ("message", "`data`"),
        ("agent", "`publisher`"),
        ("sender", "`publisher`"),
        ("source", "`publisher`"),
        ("from", "`publisher`"),
        ("correlation", "`correlation_id`"),
        ("correlationId", "`correlation_id`"),
        ("topics", "`topic`"),
        ("parent_id", "inside `data`"),
        ("user_id", "inside `data`"),
        ("tenant_id", "inside `data`"),
        ("event_kind", "`event_type`"),
        ("x" * 10_000, "inside `data`"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_said_of_an_unknown_field_does_not_mislead(
    agent: Agent, field: str, advice: str
) -> None:
    """Nobody's own ID is to become the event's: all events but the first would be duplicates."""
    body = {field: "x", "data": {}}
    (said,) = agent.http.post("/events/checkpoint", json=body).json()["warnings"]
    assert f"`{field[:80]}`" in said
    assert advice in said
    assert said.count("`event_id`") == advice.count("`event_id`")


def test_very_many_unknown_fields_keep_nobody_waiting(agent: Agent) -> None:
    body = {f"event_{n:05d}": 1 for n in range(20_000)}
    began = time.perf_counter()
    receipt = agent.http.post("/events/checkpoint", json={**body, "data": {}}).json()
    told = assert_problem(agent.http.post("/events/checkpoint", json=body), "EVT_002")
    assert time.perf_counter() - began < 1
    assert len(receipt["warnings"]) == 20_000
    assert len(told["message"]) < 1500


@pytest.mark.parametrize(
    ("body", "meant"),
    [
        ({"coverage": 91}, {"data": {"coverage": 91}}),
        ({"id": 7, "name": "x", "n": None}, {"data": {"id": 7, "name": "x", "n": None}}),
        ({"payload": {"a": 1}, "b": 2}, {"data": {"a": 1, "b": 2}}),
        ({"payload": "text"}, {"data": {"payload": "text"}}),
        ({"Data": {"a": 1}}, {"data": {"a": 1}}),
        ({"Data": [1]}, {"data": {"Data": [1]}}),
        (
            {"correlationId": "c", "ttl_second": 60, "a": 1},
            {"correlation_id": "c", "ttl_seconds": 60, "data": {"a": 1}},
        ),
        ({"agent_id": "me", "eventType": "checkpoint"}, {}),
    ],
)
def test_a_body_without_any_known_field_is_refused_with_what_it_should_have_been(
    agent: Agent, body: dict[str, Any], meant: dict[str, Any]
) -> None:
    told = assert_problem(agent.http.post("/events/checkpoint", json=body), "EVT_002", says="data")
    assert json.loads(told["message"].partition("`data`: ")[2]) == meant
    assert agent.http.post("/events/checkpoint", json=meant).status_code == 202
    many = agent.http.post("/events", json=[{"event_type": "a"}, body])
    told = assert_problem(many, "EVT_002", says="event 1 of the array")
    written = json.loads(told["message"].partition("`data`: ")[2])
    assert written == {"event_type": written["event_type"], **meant}
    agent.publish_many([written])
    assert len(stored(agent)) == 2


def test_a_standard_type_on_an_unusual_topic_is_warned_of(agent: Agent) -> None:
    receipt = agent.publish("tests_passing", COMPLETE, topic="deployment")
    assert receipt["topic"] == "deployment"
    (said,) = receipt["warnings"]
    assert "`testing`" in said


def test_documented_data_that_is_left_out_is_warned_of(agent: Agent) -> None:
    (said,) = agent.publish("tests_passing", {"coverage": 91.5})["warnings"]
    assert "`duration_ms`" in said
    assert "`coverage`" not in said


def test_a_correlation_id_that_is_none_is_warned_of(agent: Agent) -> None:
    useless: list[Any] = [[], {"a": "b"}, True, "", "x" * 257, [[], {}, None]]
    for nothing in useless:
        (said,) = agent.publish("checkpoint", {"correlation_id": nothing})["warnings"]
        assert "data.correlation_id" in said
    assert "warnings" not in agent.publish("checkpoint", {"correlation_id": ["a"]})


def test_more_correlation_ids_than_can_be_kept_are_refused(agent: Agent) -> None:
    ids = [f"job-{n}" for n in range(8)]
    agent.publish("checkpoint", {"correlation_id": ids}, correlation_id="job-0")
    body = {"data": {"correlation_id": ids}, "correlation_id": "job-8"}
    told = assert_problem(agent.http.post("/events/checkpoint", json=body), "EVT_002", says="8")
    assert told["details"]["field"] == "data.correlation_id"
    assert len(stored(agent)) == 1


def test_both_correlation_ids_may_be_as_long_as_can_be(agent: Agent) -> None:
    beside, inside = "\U0001f600" * 256, "\U0001f601" * 256
    agent.publish("checkpoint", {"correlation_id": inside}, correlation_id=beside)
    for each in (beside, inside):
        assert len(agent.events("checkpoint", filter=f"correlation_id:{each}")) == 1
        assert len(agent.history(correlation_id=each)["events"]) == 1


class TestSubscribers:
    def test_those_whose_subscription_matches_are_named(self, agents: Agents) -> None:
        publisher, quick, slow = agents("publisher"), agents("quick"), agents("slow")
        quick.wait("checkpoint", filter="speed:>5")
        slow.wait("checkpoint,other", filter="speed:<=5")
        publisher.wait("other")
        receipt = publisher.publish("checkpoint", {"speed": 9})
        assert (receipt["subscribers_notified"], receipt["subscriber_count"]) == (["quick"], 1)

    def test_an_agent_with_two_matching_subscriptions_counts_once(self, agent: Agent) -> None:
        agent.wait("checkpoint")
        agent.wait("*")
        assert agent.publish("checkpoint")["subscriber_count"] == 1

    def test_another_projects_subscriptions_do_not_count(
        self, agents: Agents, agent: Agent
    ) -> None:
        agents("stranger", project_id=f"{agents.project}-other").wait("*")
        receipt = agent.publish("checkpoint")
        assert (receipt["subscribers_notified"], receipt["subscriber_count"]) == ([], 0)

    def test_at_most_a_hundred_are_named(self, agent: Agent) -> None:
        for number in range(101):
            agent.wait("checkpoint", group=f"g{number}")
        receipt = agent.publish("checkpoint")
        assert receipt["subscriber_count"] == 101
        assert len(receipt["subscribers_notified"]) == 100


class TestRepeats:
    def test_the_answer_is_the_first_ones_and_nothing_is_stored(self, agent: Agent) -> None:
        given = {"data": {"n": 1}, "event_id": "once", "ttl_seconds": 60, "topic": "custom"}
        first = agent.http.post("/events/checkpoint", json=given).json()
        again = agent.http.post("/events/checkpoint", json=given).json()
        assert again == {**first, "duplicate": True}
        assert len(stored(agent)) == 1

    def test_the_header_does_the_same_as_the_field(self, agent: Agent) -> None:
        headers = {"Idempotency-Key": "once"}
        first = agent.http.post("/events/checkpoint", json={}, headers=headers).json()
        assert (first["event_id"], first["duplicate"]) == ("once", False)
        assert agent.publish("checkpoint", event_id="once")["duplicate"] is True
        both = agent.http.post("/events/checkpoint", json={"event_id": "once"}, headers=headers)
        assert both.json()["duplicate"] is True
        assert len(stored(agent)) == 1

    @pytest.mark.parametrize("raw", ["é-\U0001f600".encode(), "é".encode("latin-1")])
    def test_the_header_is_utf_8_or_else_latin_1(self, agent: Agent, raw: bytes) -> None:
        meant = "é" if len(raw) == 1 else "é-\U0001f600"
        headers = {b"Idempotency-Key": raw}
        answer = agent.http.post("/events/checkpoint", json={"event_id": meant}, headers=headers)
        assert (answer.status_code, answer.json()["event_id"]) == (202, meant)

    def test_a_header_that_differs_from_the_field_is_refused(self, agent: Agent) -> None:
        answer = agent.http.post(
            "/events/checkpoint", json={"event_id": "one"}, headers={"Idempotency-Key": "two"}
        )
        assert_problem(answer, "EVT_002", says="Idempotency-Key")
        assert stored(agent) == []

    def test_a_header_with_an_array_is_refused(self, agent: Agent) -> None:
        """It cannot name them all, and a repeat that looks safe would store them twice."""
        answer = agent.http.post(
            "/events", json=[{"event_type": "a"}], headers={"Idempotency-Key": "one"}
        )
        assert_problem(answer, "REQ_001", says="event_id")
        assert stored(agent) == []

    @pytest.mark.parametrize(
        "other",
        [
            {"data": {"n": 2}},
            {"topic": "custom"},
            {"priority": "high"},
            {"correlation_id": "c"},
        ],
        ids=lambda other: next(iter(other)),
    )
    def test_other_content_under_the_same_id_is_warned_of(
        self, agent: Agent, other: dict[str, Any]
    ) -> None:
        first = agent.publish("checkpoint", {"n": 1}, event_id="once")
        again = agent.http.post(
            "/events/checkpoint", json={"data": {"n": 1}, "event_id": "once", **other}
        ).json()
        assert (again["duplicate"], again["topic"]) == (True, first["topic"])
        (said,) = again["warnings"]
        assert "once" in said
        assert "nothing was stored" in said
        assert [event["data"] for event in stored(agent)] == [{"n": 1}]

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (("a", "same"), ("b", "same")),
            (("a", "b/c"), ("a/b", "c")),
        ],
    )
    def test_agents_do_not_collide(
        self, agents: Agents, one: tuple[str, str], other: tuple[str, str]
    ) -> None:
        for name, event_id in (one, other):
            assert agents(name).publish("checkpoint", event_id=event_id)["duplicate"] is False

    def test_the_alias_of_an_event_takes_no_id_from_another(self, agent: Agent) -> None:
        agent.publish("a", {"correlation_id": "inside"}, correlation_id="beside", event_id="x")
        assert agent.publish("a", {"n": 2}, event_id="x#alias")["duplicate"] is False
        assert len(stored(agent)) == 2

    def test_projects_do_not_collide(self, agents: Agents, agent: Agent) -> None:
        agent.publish("checkpoint", event_id="once")
        stranger = agents(agent.name, project_id=f"{agents.project}-other")
        assert stranger.publish("checkpoint", event_id="once")["duplicate"] is False


class TestArrays:
    def test_answers_and_events_come_in_the_arrays_order(self, agent: Agent) -> None:
        given = [{"event_type": f"type{n % 3}", "data": {"n": n}} for n in range(1000)]
        receipts = agent.publish_many(given)
        cursors = [receipt["cursor"] for receipt in receipts]
        assert len(receipts) == 1000
        assert cursors == sorted(set(cursors))
        events = stored(agent)
        assert [event["data"]["n"] for event in events] == list(range(1000))
        assert [event["cursor"] for event in events] == cursors

    def test_each_event_has_its_own_answer(self, agent: Agent) -> None:
        agent.wait("tests_passing")
        first, second = agent.publish_many(
            [
                {"event_type": "tests_passing", "data": COMPLETE, "ttl_seconds": 5},
                {"event_type": "custom", "topic": "mine", "event_id": "own", "colour": "red"},
            ]
        )
        assert (first["topic"], first["ttl_seconds"]) == ("testing", 5)
        assert first["subscribers_notified"] == [agent.name]
        assert "warnings" not in first
        assert (second["topic"], second["event_id"]) == ("mine", "own")
        assert "colour" in second["warnings"][0]

    def test_a_repeated_array_stores_nothing_again(self, agent: Agent) -> None:
        given = [{"event_type": "a", "event_id": f"e{n}"} for n in range(3)]
        first, again = agent.publish_many(given), agent.publish_many(given)
        assert again == [{**receipt, "duplicate": True} for receipt in first]
        assert len(stored(agent)) == 3

    def test_an_id_twice_in_one_array_is_stored_once(self, agent: Agent) -> None:
        given = [{"event_type": "a", "event_id": "once", "data": {"n": n}} for n in (1, 2)]
        receipts = agent.publish_many(given)
        assert [receipt["duplicate"] for receipt in receipts] == [False, True]
        assert receipts[1]["warnings"]
        assert [event["data"]["n"] for event in stored(agent)] == [1]
