"""CloudEvents 1.0: the examples of the specification go in and come out as they were."""

import base64
import json
from typing import Any

import httpx
import pytest

from tests.support import Agent, Agents
from tests.support.answers import assert_problem

Json = dict[str, Any]
ONE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

# From the JSON Event Format 1.0.2, sections 3.2 and 4.2, and the specification's example, 5.
JSON_OBJECT: Json = {
    "specversion": "1.0",
    "type": "com.example.someevent",
    "source": "/mycontext",
    "subject": None,
    "id": "C234-1234-1234",
    "time": "2018-04-05T17:31:00Z",
    "comexampleextension1": "value",
    "comexampleothervalue": 5,
    "datacontenttype": "application/json",
    "data": {"appinfoA": "abc", "appinfoB": 123, "appinfoC": True},
}
BINARY_DATA: Json = {
    "specversion": "1.0",
    "type": "com.example.someevent",
    "source": "/mycontext",
    "id": "A234-1234-1234",
    "time": "2018-04-05T17:31:00Z",
    "comexampleextension1": "value",
    "comexampleothervalue": 5,
    "datacontenttype": "application/vnd.apache.thrift.binary",
    "data_base64": base64.b64encode(b"\x80\x01\x00").decode(),
}
TEXT: Json = {
    "specversion": "1.0",
    "type": "com.github.pull_request.opened",
    "source": "https://github.com/cloudevents/spec/pull",
    "subject": "123",
    "id": "A234-1234-1235",
    "time": "2018-04-05T17:31:00Z",
    "datacontenttype": "text/xml",
    "data": '<much wow="xml"/>',
}
ARRAY: Json = {
    "specversion": "1.0",
    "type": "com.example.list",
    "source": "/mycontext/4",
    "id": "B234-1234-1234",
    "datacontenttype": "application/json",
    "data": [1, "two", None],
}
NO_DATA: Json = {
    "specversion": "1.0",
    "type": "com.example.bare",
    "source": "urn:event:from:myapi/resource/123",
    "id": "D234-1234-1234",
}
EXAMPLES = [JSON_OBJECT, BINARY_DATA, TEXT, ARRAY, NO_DATA]


@pytest.fixture
def agent(agents: Agents) -> Agent:
    return agents()


def send(agent: Agent, content: Any, kind: str = ONE, path: str = "/events") -> httpx.Response:
    headers = {"content-type": f"{kind}; charset=utf-8"}
    return agent.http.post(path, content=json.dumps(content), headers=headers)


def out(agent: Agent, types: str, kind: str = BATCH, **query: Any) -> httpx.Response:
    return agent.http.get(f"/events/wait/{types}", params=query, headers={"accept": kind})


def unharmed(sent: Json, came: Json) -> bool:
    expected = {name: value for name, value in sent.items() if value is not None}
    return expected.items() <= came.items()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example["type"]))
@pytest.mark.parametrize("since", [{}, {"since": "earliest"}], ids=["durable", "since"])
def test_a_structured_event_comes_out_as_it_went_in(
    agent: Agent, example: Json, since: Json
) -> None:
    stored = send(agent, example)
    assert stored.status_code == 202
    assert stored.json()["event_id"] == example["id"]
    answer = out(agent, example["type"], timeout=5000, **since)
    assert answer.headers["content-type"] == BATCH
    assert answer.headers["x-next-cursor"] == stored.json()["cursor"]
    assert (answer.headers["x-ended-by"], answer.headers["x-more-available"]) == ("events", "false")
    [came] = answer.json()
    assert unharmed(example, came)
    assert came["publisher"] == agent.name


def test_a_batch_goes_in_and_comes_out(agent: Agent) -> None:
    assert send(agent, EXAMPLES, BATCH).status_code == 202
    came = out(agent, "*", since="earliest").json()
    assert len(came) == len(EXAMPLES)
    assert all(unharmed(*pair) for pair in zip(EXAMPLES, came, strict=True))
    page = agent.http.get("/events", params={"order": "asc"}, headers={"accept": BATCH})
    assert page.headers["content-type"] == BATCH
    assert all(unharmed(*pair) for pair in zip(EXAMPLES, page.json(), strict=True))


def test_the_binary_form_has_its_attributes_in_headers(agent: Agent) -> None:
    """HTTP Protocol Binding 1.0.2, section 3.1, its example among them."""
    headers = {
        "ce-specversion": "1.0",
        "ce-type": "com.example.someevent",
        "ce-time": "2018-04-05T03:56:24Z",
        "ce-id": "1234-1234-1234",
        "ce-source": "/mycontext/subcontext",
        "ce-comexample": "Euro%20%E2%82%AC%20%F0%9F%98%80",
        "content-type": "application/json; charset=utf-8",
    }
    sent = agent.http.post("/events", content=b'{"a": 1}', headers=headers)
    assert sent.status_code == 202, sent.text
    plain = {**headers, "ce-id": "2", "content-type": "text/plain"}
    agent.http.post("/events/com.example.someevent", content=b"hello", headers=plain)
    first, second = out(agent, "com.example.someevent", timeout=5000, count=2).json()
    assert first["data"] == {"a": 1}
    assert first["comexample"] == "Euro \u20ac \U0001f600"
    assert first["source"] == "/mycontext/subcontext"
    assert base64.b64decode(second["data_base64"]) == b"hello"
    assert second["datacontenttype"] == "text/plain"


def test_to_others_it_is_an_event_like_any_other(agent: Agent) -> None:
    send(agent, {**JSON_OBJECT, "correlationid": "job-1"})
    where = {"filter": "appinfoB:>100", "correlation_id": "job-1"}
    [event] = agent.events("com.example.someevent", timeout=5, **where)
    assert event["data"] == JSON_OBJECT["data"]
    assert event["cloudevent"]["source"] == "/mycontext"
    assert event["cloudevent"]["comexampleothervalue"] == 5


def test_an_event_of_the_bridges_own_is_a_cloudevent_too(agent: Agent) -> None:
    stored = agent.publish("tests_passing", {"coverage": 93}, correlation_id="job-2")
    leased = out(agent, "tests_passing", ONE, timeout=5000, ack="explicit").json()
    [event] = leased["events"]
    assert event["specversion"] == "1.0"
    assert event["id"] == stored["event_id"]
    assert event["source"] == f"/agents/{agent.name}"
    assert (event["correlationid"], event["data"]) == ("job-2", {"coverage": 93})
    acked = agent.http.post("/deliveries/ack", json={"ack_ids": [event["ackid"]]})
    assert acked.status_code == 200


def test_a_stream_gives_them(agent: Agent) -> None:
    send(agent, TEXT)
    query = {"since": "earliest"}
    with agent.http.stream(
        "GET", "/events/stream/*", params=query, headers={"accept": f"text/event-stream, {ONE}"}
    ) as answer:
        lines = (line for line in answer.iter_lines() if line.startswith('data: {"spec'))
        assert unharmed(TEXT, json.loads(next(lines).removeprefix("data: ")))


def test_a_repeat_is_stored_once(agent: Agent) -> None:
    assert send(agent, JSON_OBJECT).json()["duplicate"] is False
    assert send(agent, JSON_OBJECT).json()["duplicate"] is True


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"specversion": "0.3"}, "reads CloudEvents 1.0"),
        ({"specversion": None}, "reads CloudEvents 1.0"),
        ({"id": ""}, "needs `id`"),
        ({"source": None}, "needs `source`"),
        ({"type": 5}, "needs `type`"),
        ({"time": "yesterday"}, "RFC 3339"),
        ({"time": "2018-04-05T17:31:00"}, "RFC 3339"),
        ({"Bad_Name": "x"}, "small letters and digits"),
        ({"nested": {"a": 1}}, "a text, a whole number or a boolean"),
        ({"data_base64": "aGk="}, "not both"),
        ({"data": None, "data_base64": "!"}, "no Base64"),
    ],
)
def test_what_is_no_cloudevent_is_refused(agent: Agent, wrong: Json, says: str) -> None:
    told = assert_problem(send(agent, {**JSON_OBJECT, **wrong}), "EVT_002")
    assert says in told["message"]


def test_the_path_and_the_type_agree(agent: Agent) -> None:
    assert send(agent, TEXT, path=f"/events/{TEXT['type']}").status_code == 202
    assert_problem(send(agent, TEXT, path="/events/other"), "EVT_002")
