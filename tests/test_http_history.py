"""The history over HTTP: what is retained, either way round, page by page."""

from datetime import datetime, timedelta, timezone
from itertools import chain
from typing import Any

import httpx
import pytest

from tests.support import Agent, eventually
from tests.support.answers import common

Json = dict[str, Any]


def publish(agent: Agent, count: int) -> list[Json]:
    return [agent.publish("step", {"n": number}) for number in range(1, count + 1)]


def numbers(page: Json) -> list[int]:
    return [event["data"]["n"] for event in page["events"]]


def pages(agent: Agent, onward: str, **query: Any) -> list[list[int]]:
    """Follow `next_cursor` until nothing more is available."""
    found = []
    while True:
        page = agent.history(**query)
        found.append(numbers(page))
        if not page["more_available"]:
            return found
        query[onward] = page["next_cursor"]
        assert len(found) < 50


def test_an_empty_one_has_every_field(agent: Agent) -> None:
    answer = common(agent.http.get("/events"))
    assert answer.headers["content-type"] == "application/json"
    page = answer.json()
    assert list(page) == ["events", "more_available", "next_cursor", "timestamp"]
    assert (page["events"], page["more_available"]) == ([], False)


def test_the_newest_twenty_come_first(agent: Agent) -> None:
    agent.publish_many({"event_type": "step", "data": {"n": n}} for n in range(1, 31))
    page = agent.history()
    assert numbers(page) == list(range(30, 10, -1))
    assert page["more_available"] is True
    assert page["events"][0].keys() >= {"event_id", "cursor", "delivery_count"}


def test_one_asks_for_the_oldest_first(agent: Agent) -> None:
    publish(agent, 3)
    assert numbers(agent.history(order="asc")) == [1, 2, 3]


@pytest.mark.parametrize(("order", "onward"), [("desc", "until"), ("asc", "since")])
@pytest.mark.parametrize("limit", [1, 3, 4, 6, 7, 8])
def test_pages_have_each_event_once(agent: Agent, order: str, onward: str, limit: int) -> None:
    publish(agent, 7)
    agent.publish("other", {"n": 0})
    found = pages(agent, onward, order=order, limit=limit, type="step")
    assert list(chain(*found)) == list(range(1, 8))[:: 1 if order == "asc" else -1]
    assert all(len(page) == limit for page in found[:-1])
    assert found[-1]


def test_the_cursor_after_the_newest_finds_what_comes_later(agent: Agent) -> None:
    publish(agent, 2)
    page = agent.history(order="asc")
    assert agent.history(order="asc", since=page["next_cursor"])["events"] == []
    agent.publish("step", {"n": 3})
    assert numbers(agent.history(order="asc", since=page["next_cursor"])) == [3]
    assert [event["data"]["n"] for event in agent.events("step", since=page["next_cursor"])] == [3]


def test_what_was_just_published_is_there(agent: Agent) -> None:
    for number in range(1, 21):
        agent.publish("step", {"n": number})
        assert numbers(agent.history(limit=1)) == [number]


class TestBounds:
    def test_since_is_behind_a_cursor_or_an_event(self, agent: Agent) -> None:
        receipts = publish(agent, 4)
        for position in (receipts[1]["cursor"], receipts[1]["event_id"]):
            assert numbers(agent.history(since=position, order="asc")) == [3, 4]
            assert numbers(agent.history(since=position)) == [4, 3]

    def test_until_is_up_to_a_cursor_or_an_event(self, agent: Agent) -> None:
        receipts = publish(agent, 4)
        for position in (receipts[1]["cursor"], receipts[1]["event_id"]):
            assert numbers(agent.history(until=position, order="asc")) == [1, 2]

    def test_both_together_cut_out_a_piece(self, agent: Agent) -> None:
        receipts = publish(agent, 5)
        since, until = receipts[0]["cursor"], receipts[3]["event_id"]
        assert numbers(agent.history(since=since, until=until)) == [4, 3, 2]
        assert agent.history(since=until, until=since)["events"] == []

    def test_earliest_and_now_are_the_ends(self, agent: Agent) -> None:
        publish(agent, 2)
        assert numbers(agent.history(since="earliest", until="now")) == [2, 1]
        assert agent.history(since="now")["events"] == []
        assert agent.history(until="earliest")["events"] == []

    @pytest.mark.parametrize(
        "write",
        [
            lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S.%f"),
            lambda moment: moment.strftime("%Y-%m-%d %H:%M:%S.%fZ"),
            lambda moment: moment.astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat(),
            lambda moment: moment.astimezone(timezone(-timedelta(hours=3))).isoformat(),
        ],
        ids=["Z", "no offset is UTC", "a space", "east", "west"],
    )
    def test_a_time_divides_before_from_after(self, agent: Agent, write: Any) -> None:
        receipts = publish(agent, 4)
        moment = write(datetime.fromisoformat(receipts[2]["timestamp"]))
        assert numbers(agent.history(since=moment, order="asc")) == [3, 4]
        assert numbers(agent.history(until=moment, order="asc")) == [1, 2]
        assert [e["data"]["n"] for e in agent.events("step", since=moment)] == [3, 4]

    def test_a_plus_that_nobody_encoded_still_is_an_offset(self, agent: Agent) -> None:
        receipts = publish(agent, 2)
        moment = receipts[1]["timestamp"].replace("Z", "+00:00")
        raw = f"/api/events?since={moment}".encode()
        answer = agent.http.get(httpx.URL(agent.http.base_url, raw_path=raw))
        assert numbers(answer.json()) == [2]

    @pytest.mark.parametrize(
        ("position", "expected"),
        [
            ("1970-01-01T00:00:00Z", [1]),
            ("0001-01-01T00:00:00+23:59", [1]),
            ("2020-02-29", [1]),
            ("9999-12-31T23:59:59-23:59", []),
        ],
    )
    def test_times_may_be_far_away(self, agent: Agent, position: str, expected: list[int]) -> None:
        publish(agent, 1)
        assert numbers(agent.history(since=position)) == expected
        assert numbers(agent.history(until=position)) == [n for n in [1] if n not in expected]


class TestSelection:
    def test_by_type_topic_and_filter(self, agent: Agent) -> None:
        agent.publish("a", {"n": 1}, topic="one")
        agent.publish("a", {"n": 2}, topic="two")
        agent.publish("b", {"n": 3}, topic="one", priority="high")
        assert numbers(agent.history(type="a")) == [2, 1]
        assert numbers(agent.history(type="a,b", topic="one")) == [3, 1]
        assert numbers(agent.history(topic="one,two", filter="n:<3")) == [2, 1]
        assert numbers(agent.history(filter="priority:high")) == [3]
        assert numbers(agent.history(type="*", filter="!n:2")) == [3, 1]

    @pytest.mark.parametrize("correlation", ["plain", 'q"uo\\te', "a,b|c:*", "1", "naïve 😀", "_"])
    def test_by_correlation_id_wherever_it_is(self, agent: Agent, correlation: str) -> None:
        agent.publish("a", {"n": 1}, correlation_id=correlation)
        agent.publish("b", {"n": 2, "correlation_id": correlation})
        agent.publish("c", {"n": 3, "correlation_id": correlation}, correlation_id="other")
        agent.publish("d", {"n": 4}, correlation_id="other")
        assert numbers(agent.history(correlation_id=correlation)) == [3, 2, 1]
        assert numbers(agent.history(correlation_id=correlation, filter="n:>1")) == [3, 2]
        assert numbers(agent.history(correlation_id=correlation, type="b")) == [2]

    def test_nothing_of_it_touches_a_subscription(self, agent: Agent) -> None:
        publish(agent, 2)
        assert len(agent.events("step", limit=1)) == 1
        eventually(lambda: [s["ack_pending"] for s in agent.subscriptions()] == [0], what="its ack")
        before = agent.subscriptions()
        agent.history(type="step", filter="n:>0")
        assert agent.subscriptions() == before
        assert [event["data"]["n"] for event in agent.events("step")] == [2]


@pytest.fixture
def large(agent: Agent) -> Agent:
    """An agent in whose project are more bytes than one answer takes, large and small mixed."""
    for number in range(1, 25):
        text = "x" * (500_000 if number % 4 else 10)
        agent.publish("step", {"n": number, "text": text})
    return agent


@pytest.mark.parametrize(("order", "onward"), [("desc", "until"), ("asc", "since")])
def test_pages_end_before_they_grow_too_large_and_lose_nothing(
    large: Agent, order: str, onward: str
) -> None:
    found = pages(large, onward, order=order, limit=1000)
    numbered = list(range(1, 25))
    assert list(chain(*found)) == (numbered if order == "asc" else numbered[::-1])
    assert len(found) == 2
    answer = large.http.get("/events", params={"order": order, "limit": 1000})
    assert 6_000_000 < len(answer.content) < 8_500_000


def test_waits_from_a_position_end_before_they_grow_too_large_and_lose_nothing(
    large: Agent,
) -> None:
    """One that counts on more events than there is room for ends as well."""
    since, found = "earliest", list[int]()
    while True:
        answer = large.wait("step", since=since, limit=1000, count=24 - len(found), timeout=100)
        found += numbers(answer)
        since = answer["next_cursor"]
        assert answer["timeout"] is False
        if not answer["more_available"]:
            break
        assert len(found) < 24
    assert found == list(range(1, 25))


def test_a_durable_wait_that_counts_ends_before_it_grows_too_large(large: Agent) -> None:
    first = large.wait("step", count=24, timeout=100)
    assert len(first["events"]) < 24
    assert (first["timeout"], first["more_available"]) == (False, True)
    rest = large.wait("step", count=24 - len(first["events"]), timeout=100)
    assert numbers(first) + numbers(rest) == list(range(1, 25))
