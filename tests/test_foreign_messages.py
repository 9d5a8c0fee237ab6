"""Messages that another NATS client put on the stream, and correlation IDs in every place."""

import asyncio
import base64
import json
from collections.abc import Callable, Sequence
from typing import Any

import nats
import pytest

from bridge.subjects import encode_token
from tests.support import Agent, Agents, BridgeProcess, NatsServer, eventually

Json = dict[str, Any]
Start = Callable[..., BridgeProcess]
AgentsOn = Callable[[BridgeProcess], Agents]
EARLIEST = "earliest"


def put(url: str, messages: Sequence[tuple[str, bytes]], **headers: str) -> list[int]:
    """Publish plain messages with a plain client and give their sequences."""

    async def main() -> list[int]:
        client = await nats.connect(url)
        try:
            js = client.jetstream()
            acks = [await js.publish(*message, headers=headers or None) for message in messages]
            return [ack.seq for ack in acks]
        finally:
            await client.close()

    return asyncio.run(main())


def everything(agent: Agent, count: int) -> list[list[Json]]:
    """Read all of a project in each way there is: durable, since and history."""
    return [
        agent.events("*", timeout=10, count=count),
        agent.events("*", timeout=10, count=count, since=EARLIEST),
        agent.history(order="asc", limit=1000)["events"],
    ]


DEEP = b'{"a":' * 300 + b"1" + b"}" * 300
"""More levels than can be written into an answer."""

PAYLOADS: list[tuple[bytes, Json]] = [
    (b"", {"base64": ""}),
    (b"plain text", {"base64": base64.b64encode(b"plain text").decode()}),
    (b"\x00\xff\xfe", {"base64": "AP/+"}),
    (b"[1, 2]", {"value": [1, 2]}),
    (b'{"status": "done"}', {"status": "done"}),
    (b"null", {"value": None}),
    (b"3.5", {"value": 3.5}),
    (b'"text"', {"value": "text"}),
    (b'{"cut": ', {"base64": base64.b64encode(b'{"cut": ').decode()}),
    (DEEP, {"base64": base64.b64encode(DEEP).decode()}),
    (b"[" * 20_000, {"base64": base64.b64encode(b"[" * 20_000).decode()}),
]


def test_any_payload_is_wrapped_and_wedges_nothing(nats_url: str, agents: Agents) -> None:
    """The events before and after it arrive, in order, however they are read."""
    agent = agents()
    before = agent.publish("report", {"n": 1})["event_id"]
    subject = f"events.{agent.project}.testing.report"
    sequences = put(nats_url, [(subject, payload) for payload, _ in PAYLOADS])
    after = agent.publish("report", {"n": 2})["event_id"]

    for found in everything(agent, len(PAYLOADS) + 2):
        assert (found[0]["event_id"], found[-1]["event_id"]) == (before, after)
        assert [event["data"] for event in found[1:-1]] == [data for _, data in PAYLOADS]
        for event, sequence in zip(found[1:-1], sequences, strict=True):
            assert event["event_id"] == f"nats-{sequence}"
            assert (event["event_type"], event["topic"]) == ("report", "testing")
            assert (event["agent_id"], event["agent_type"]) == (None, None)
            assert event["publisher"] == "nats"
            assert event["correlation_id"] is None
            assert event["priority"] == "normal"
            assert event["timestamp"].endswith("Z")
    assert agent.events("*") == []
    assert [each["ack_pending"] for each in agent.subscriptions()] == [0]


GOOD: Json = {
    "event_id": "forged",
    "event_type": "report",
    "publisher": "somebody",
    "agent_id": None,
    "agent_type": None,
    "topic": "testing",
    "data": {"n": 1},
    "correlation_id": None,
    "priority": "normal",
    "timestamp": "2026-01-01T00:00:00Z",
    "ttl_seconds": 60,
}
WRONG: list[Json] = [
    {"event_id": 7},
    {"event_type": ["report"]},
    {"event_type": "another_type"},
    {"publisher": None},
    {"agent_id": 3},
    {"data": [1]},
    {"data": "text"},
    {"correlation_id": {"a": 1}},
    {"priority": 1},
    {"timestamp": 12345},
    {"ttl_seconds": "soon"},
    {"ttl_seconds": None},
]


def test_an_envelope_of_wrong_types_is_data_like_any_other(nats_url: str, agents: Agents) -> None:
    agent = agents()
    subject = f"events.{agent.project}.testing.report._"
    contents = [GOOD | wrong for wrong in WRONG]
    put(nats_url, [(subject, json.dumps(content).encode()) for content in contents])
    after = agent.publish("report")["event_id"]

    for found in everything(agent, len(WRONG) + 1):
        assert [event["data"] for event in found[:-1]] == contents
        assert found[-1]["event_id"] == after


def test_a_whole_envelope_from_elsewhere_is_an_event(nats_url: str, agents: Agents) -> None:
    """Its address is what the subject says, not what it claims."""
    agent = agents()
    content = GOOD | {"topic": "claimed", "project": "claimed", "correlation_id": "c-1"}
    subject = f"events.{agent.project}.testing.report.c-1"
    put(nats_url, [(subject, json.dumps(content).encode())])

    for found in everything(agent, 1):
        (event,) = found
        assert event["data"] == {"n": 1}
        assert event["event_id"] == "forged"
        assert event["topic"] == "testing"
        assert event["correlation_id"] == "c-1"
        assert event["delivery_count"] == 1


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        (".testing", ("testing", "message", None)),
        (".testing.report", ("testing", "report", None)),
        (".testing.report._", ("testing", "report", None)),
        (".testing.report.c-1", ("testing", "report", "c-1")),
        (".testing.report.c-1.c-2", ("testing", "report", "c-1")),
        (".testing.report.a.b.c.d", ("testing", "report", "a")),
        (".my%2Etopic.my%20type.build%207%2E1", ("my.topic", "my type", "build 7.1")),
        (".%2A.%3E.%25", ("*", ">", "%")),
        (".50%.%zz.%", ("50%", "%zz", "%")),
        (".%FF.%C3%A9.ü", ("%FF", "é", "ü")),
        ("._._._", ("_", "_", None)),
        (".testing.report." + "x" * 300, ("testing", "report", "x" * 300)),
    ],
)
def test_the_address_is_read_from_any_subject(
    nats_url: str, agents: Agents, rest: str, expected: tuple[str, str, str | None]
) -> None:
    agent = agents()
    before = agent.publish("report")["event_id"]
    put(nats_url, [(f"events.{agent.project}{rest}", b'{"n": 1}')])
    after = agent.publish("report")["event_id"]

    for found in everything(agent, 3):
        assert [event["event_id"] for event in (found[0], found[-1])] == [before, after]
        foreign = found[1]
        assert foreign["data"] == {"n": 1}
        address = (foreign["topic"], foreign["event_type"], foreign["correlation_id"])
        assert address == expected


def test_a_subject_that_names_only_a_project_is_seen_without_a_subscription(
    nats_url: str, agents: Agents
) -> None:
    agent = agents()
    put(nats_url, [(f"events.{agent.project}", b'{"n": 1}')])
    [event] = agent.events("*", since="earliest", timeout=5)
    assert (event["topic"], event["event_type"]) == ("coordination", "message")


def test_a_foreign_message_is_found_by_type_topic_and_correlation(
    nats_url: str, agents: Agents
) -> None:
    agent = agents()
    base = f"events.{agent.project}"
    put(nats_url, [(f"{base}.testing.report.c-1", b'{"n": 1}'), (f"{base}.other.noise", b"x")])

    queries: list[tuple[str, Json]] = [
        ("report", {}),
        ("*", {"topic": "testing"}),
        ("report", {"filter": "correlation_id:c-1"}),
        ("*", {"filter": "n:1"}),
        ("*", {"filter": "publisher:nats,topic:testing"}),
    ]
    for types, query in queries:
        for position in ({}, {"since": EARLIEST}):
            found = agent.events(types, timeout=5, **query, **position)
            assert [event["data"] for event in found] == [{"n": 1}], (types, query, position)


def test_a_foreign_message_keeps_its_own_message_id(nats_url: str, agents: Agents) -> None:
    agent = agents()
    message = (f"events.{agent.project}.testing.report", b"{}")
    put(nats_url, [message], **{"Nats-Msg-Id": f"{agent.project}-mine", "Nats-TTL": "90"})
    (event,) = agent.events("report", timeout=5)
    assert event["event_id"] == f"{agent.project}-mine"
    assert event["ttl_seconds"] == 90


@pytest.mark.parametrize(
    ("ttl", "seconds"), [("1m0s", 60), ("90.5s", 90), ("24h0m0s", 86_400), ("never", 86_400)]
)
def test_a_ttl_is_read_in_any_form_that_nats_takes(
    nats_url: str, agents: Agents, ttl: str, seconds: int
) -> None:
    agent = agents()
    put(nats_url, [(f"events.{agent.project}.testing.report", b"{}")], **{"Nats-TTL": ttl})
    after = agent.publish("report")["event_id"]
    for found in everything(agent, 2):
        assert found[0]["ttl_seconds"] == seconds
        assert found[1]["event_id"] == after


def test_what_ran_out_is_forgotten_at_its_time(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn
) -> None:
    """The mirror need not find out from the stream that it has too much, and be read anew."""
    bridge = start_bridge(own_nats.url, stream_max_age_seconds="2", duplicate_window_seconds="1")
    agent = agents_on(bridge)()
    subject = f"events.{agent.project}.testing.report"
    for ttl in ("1.5s", "1h0m0s", "never"):
        put(own_nats.url, [(subject, ttl.encode())], **{"Nats-TTL": ttl})
    kept = [event["data"] for event in agent.history()["events"]]
    assert len(kept) >= 2
    eventually(lambda: len(agent.history()["events"]) == 1, what="the end of the others")
    (left,) = agent.history()["events"]
    assert base64.b64decode(left["data"]["base64"]) == b"never"
    agent.publish("report")
    assert "reading it anew" not in bridge.log


def test_a_huge_message_is_delivered(nats_url: str, agents: Agents) -> None:
    """900 kB is more than the bridge takes over HTTP, and less than NATS does."""
    agent = agents()
    subject = f"events.{agent.project}.testing.report"
    binary, text = b"\xff" * 900_000, "x" * 899_000
    put(nats_url, [(subject, binary), (subject, json.dumps({"text": text}).encode())])
    after = agent.publish("report")["event_id"]

    for found in everything(agent, 3):
        assert len(base64.b64decode(found[0]["data"]["base64"])) == 900_000
        assert found[1]["data"] == {"text": text}
        assert found[2]["event_id"] == after


def test_many_huge_messages_come_in_several_answers(nats_url: str, agents: Agents) -> None:
    agent = agents()
    subject = f"events.{agent.project}.testing.report"
    contents = [json.dumps({"n": n, "text": "x" * 899_000}).encode() for n in range(20)]
    put(nats_url, [(subject, content) for content in contents])

    seen: list[int] = []
    while len(seen) < 20:
        batch = agent.wait("report", timeout=5)
        assert batch["events"], seen
        seen += [event["data"]["n"] for event in batch["events"]]
    assert seen == list(range(20))


def test_projects_are_apart_by_subject(nats_url: str, agents: Agents) -> None:
    """Neither a longer name nor what a message claims crosses the border."""
    agent, other = agents(), agents("other", project_id=f"{agents.project}-2")
    put(
        nats_url,
        [
            (f"events.{agent.project}.testing.report", b'{"for": "one"}'),
            (f"events.{agent.project}-2.testing.report", b'{"for": "two"}'),
            (
                f"events.{agent.project}-2.testing.report._",
                json.dumps(GOOD | {"project": agent.project}).encode(),
            ),
        ],
    )
    for found in everything(agent, 1):
        assert [event["data"] for event in found] == [{"for": "one"}]
    for found in everything(other, 2):
        assert [event["data"] for event in found] == [{"for": "two"}, {"n": 1}]


def readings(agent: Agent, correlation: str) -> list[list[str]]:
    """Read by correlation ID in every way there is, as event IDs."""
    text = correlation.replace("\\", "\\\\").replace('"', '\\"')
    chosen = f'correlation_id:"{text}"'
    ways = [
        agent.events("report", timeout=5, filter=chosen),
        agent.events("*", timeout=5, filter=chosen),
        agent.events("report", timeout=5, filter=chosen, since=EARLIEST),
        agent.events("*", timeout=5, filter=chosen, since=EARLIEST),
        agent.history(filter=chosen)["events"],
        agent.history(correlation_id=correlation)["events"],
    ]
    return [[event["event_id"] for event in way] for way in ways]


def test_two_different_correlation_ids_are_both_found(agents: Agents) -> None:
    agent = agents()
    agent.publish("report", correlation_id="neither")
    event_id = agent.publish("report", {"correlation_id": "inside"}, correlation_id="beside")[
        "event_id"
    ]
    for correlation in ("inside", "beside"):
        assert readings(agent, correlation) == [[event_id]] * 6


def test_a_wait_for_either_of_two_correlation_ids_is_woken(agents: Agents) -> None:
    """Both in one event that comes while the waits are open, each filter a subscription."""
    agent = agents()
    first = [agent.wait("report", filter=f"correlation_id:{one}") for one in ("inside", "beside")]
    assert [batch["events"] for batch in first] == [[], []]
    event_id = agent.publish("report", {"correlation_id": "inside"}, correlation_id="beside")[
        "event_id"
    ]
    for one in ("inside", "beside"):
        found = agent.events("report", timeout=5, filter=f"correlation_id:{one}")
        assert [event["event_id"] for event in found] == [event_id]
        batch = agent.wait(
            "report", timeout=5, filter=f"correlation_id:{one}", since=first[0]["next_cursor"]
        )
        assert [event["event_id"] for event in batch["events"]] == [event_id]


@pytest.mark.parametrize(
    "correlation",
    [
        "a.b.c",
        "two words",
        "*",
        ">",
        "a.*.>",
        "_",
        "%",
        "%2E",
        "naïve-ü-日本語-🚀",
        "comma,colon:bar|bang!",
        'quote"back\\slash',
        "tab\tand\nnewline",
        "null",
        "true",
        "007",
        "1e3",
        "12345678901234567890",
        "x" * 256,
        "é" * 256,
        "🚀" * 256,
    ],
)
@pytest.mark.parametrize("place", ["beside", "inside"])
def test_any_text_is_a_correlation_id(agents: Agents, correlation: str, place: str) -> None:
    agent = agents()
    for decoy in ("decoy", "a.x.c", "x"):
        agent.publish("report", correlation_id=decoy)
    if place == "beside":
        receipt = agent.publish("report", correlation_id=correlation)
    else:
        receipt = agent.publish("report", {"correlation_id": correlation})
    assert readings(agent, correlation) == [[receipt["event_id"]]] * 6


@pytest.mark.parametrize(
    "inside",
    [["job-1"], [["job-2"], "job-1"], ["job-1", "job-1"], [1, "job-1", None], "job-1", {}, [], 5],
    ids=repr,
)
@pytest.mark.parametrize("beside", [None, "wf-1"])
def test_who_is_named_gets_the_event_whatever_the_correlation_id_is(
    agents: Agents, inside: Any, beside: str | None
) -> None:
    """What a publish says of subscribers, what they get and what history shows agree."""
    filters = ["correlation_id:job-1", 'correlation_id:"5"', "correlation_id:5", "", "n:1"]
    waiters = {f"agent-{n}": text for n, text in enumerate(filters)}
    for name, text in waiters.items():
        agents(name).wait("report", filter=text)
    fields = {} if beside is None else {"correlation_id": beside}
    receipt = agents().publish("report", {"correlation_id": inside, "n": 1}, **fields)
    for name, text in waiters.items():
        ways = [
            agents(name).events("report", filter=text),
            agents(name).events("report", filter=text, since="earliest"),
            agents(name).history(filter=text)["events"],
        ]
        wanted = [receipt["event_id"]] if name in receipt["subscribers_notified"] else []
        assert [[event["event_id"] for event in way] for way in ways] == [wanted] * 3
        assert name != "agent-0" or bool(wanted) is ("job-1" in repr(inside))


@pytest.mark.parametrize(
    ("inside", "whole"), [("job-1", "job-1"), (5, "5"), (["job-1", "job-2"], "job-1"), ({}, None)]
)
def test_a_correlation_id_inside_data_is_delivered_beside_it_too(
    agents: Agents, inside: Any, whole: str | None
) -> None:
    """So that a reply that is made from either place finds its asker."""
    agent = agents()
    agent.publish("report", {"correlation_id": inside}, event_id="r-1")
    for found in everything(agent, 1):
        assert found[0]["correlation_id"] == whole
        assert found[0]["data"] == {"correlation_id": inside}
    again = agent.publish("report", {"correlation_id": inside}, event_id="r-1")
    assert again["duplicate"] is True
    assert not any("used a moment ago" in said for said in again.get("warnings", ()))


def test_a_request_as_the_guide_makes_it_is_answered_as_the_readme_does(agents: Agents) -> None:
    asker, responder = agents("asker"), agents("responder")
    asker.publish("review_requested", {"files": ["api.py"], "correlation_id": "c-1"})
    (request,) = responder.events("review_requested")
    responder.publish("review_complete", {"ok": True}, correlation_id=request["correlation_id"])
    (reply,) = asker.events("review_complete", timeout=5, filter="correlation_id:c-1")
    assert reply["data"] == {"ok": True}


def test_an_event_with_two_correlation_ids_is_one_event(agents: Agents) -> None:
    """Whoever does not ask for a correlation ID, or asks for both, sees it once."""
    agent = agents()
    agent.publish("report", {"correlation_id": "inside"}, correlation_id="beside")
    last = agent.publish("report", correlation_id="later")["event_id"]
    both = "correlation_id:inside,correlation_id:beside"
    either = "correlation_id:inside|correlation_id:beside"

    for found in everything(agent, 2):
        assert [event["correlation_id"] for event in found] == ["beside", "later"]
        assert found[1]["event_id"] == last
    for query in ({"filter": both}, {"filter": either}, {"filter": "!correlation_id:later"}):
        for position in ({}, {"since": EARLIEST}):
            assert len(agent.events("report", timeout=5, **query, **position)) == 1
            assert len(agent.events("*", timeout=5, **query, **position)) == 1
        assert len(agent.history(**query)["events"]) == 1


@pytest.mark.parametrize("correlation", ["be.side", "in side"])
def test_an_operator_finds_it_by_the_encoded_subject(
    nats_url: str, agents: Agents, correlation: str
) -> None:
    """What `nats stream view --subject` selects by."""
    agent = agents()
    data = {"correlation_id": "in side"}
    agent.publish("report", data, correlation_id="be.side", topic="testing")

    async def last() -> bytes:
        client = await nats.connect(nats_url)
        try:
            subject = f"events.{agent.project}.*.*.{encode_token(correlation)}"
            return (await client.jetstream().get_last_msg("EVENTS", subject)).data or b""
        finally:
            await client.close()

    assert json.loads(asyncio.run(last()))["data"] == data
