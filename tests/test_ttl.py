"""TTLs: every form that nats-server takes, as long as nats-server makes it."""

from math import inf

import pytest

from bridge.jetstream.message import TTL_HEADER, life, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("86400", 86_400),
        ("1m0s", 60),
        ("24h0m0s", 86_400),
        ("1h30m", 5400),
        ("1.5s", 1),
        ("2.3m", 138),
        (".5m", 30),
        ("2.s", 2),
        ("+2s", 2),
        ("2500ms", 2),
        ("1us1s", 1),
        ("3000000µs", 3),
        ("3000000μs", 3),
        ("5000000000ns", 5),
        ("never", inf),
        ("NEVER", inf),
        ("", None),
        ("soon", None),
        ("1 m", None),
        ("-1s", None),
        ("²", None),
        ("m", None),
        ("1.2.3s", None),
    ],
)
def test_a_header_says_how_long(text: str, expected: float | None) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    ("text", "max_age", "expected"),
    [
        ("5", 60, 5),
        ("1m0s", 5, 5),
        ("never", 5, inf),
        ("", 5, 5),
        ("", 0, inf),
        ("5", 0, 5),
        ("soon", 60, 60),
    ],
)
def test_a_message_goes_at_its_ttl_or_at_the_streams_age(
    text: str, max_age: float, expected: float
) -> None:
    assert life({TTL_HEADER: text}, max_age) == expected
