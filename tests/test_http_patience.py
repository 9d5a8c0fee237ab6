"""Clients that are slow or silent: none holds a connection for longer than the settings allow."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Agents, BridgeProcess, asking, eventually
from tests.support.answers import RawConnection, assert_problem

SILENT = 600
"""As many clients at once as a test may have connections, on many a machine."""

SOON = {"header_timeout_seconds": "1", "body_timeout_seconds": "1", "answer_timeout_seconds": "1"}
HALF_A_HEADER = b"GET /livez HTTP/1.1\r\nHost: b\r\nX-Half:"
NO_BODY = b"POST /api/tokens HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\n"


@pytest.fixture(scope="module")
def hasty(nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BridgeProcess]:
    """A bridge that waits a second for its clients."""
    process = BridgeProcess(tmp_path_factory.mktemp("hasty"), nats_url, **SOON)
    yield process.start()
    assert process.stop() == 0


def is_held(connection: RawConnection) -> bool:
    """Tell whether the bridge has its end of a connection open, as the kernel lists it."""
    port = f"{connection.port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(there.endswith(f":{port}") and state == "01" for _, _, there, state, *_ in lines)


def half_a_publish(token: str) -> bytes:
    return (
        b"POST /api/events/a HTTP/1.1\r\nHost: b\r\nContent-Length: 50\r\n"
        + f"Authorization: Bearer {token}\r\n\r\n".encode()
        + b'{"data": '
    )


def test_a_client_that_sends_nothing_is_hung_up_on(hasty: BridgeProcess) -> None:
    with RawConnection(hasty.url) as connection:
        assert connection.ended()


def test_half_a_header_is_told(hasty: BridgeProcess) -> None:
    with RawConnection(hasty.url) as connection:
        connection.send(HALF_A_HEADER)
        assert_problem(connection.answer(), "REQ_005", says="headers did not come within 1 s")
        assert connection.ended()


def test_half_a_body_is_told_and_stores_nothing(hasty: BridgeProcess) -> None:
    agents = Agents(hasty.url)
    agent = agents()
    with RawConnection(hasty.url) as connection:
        connection.send(half_a_publish(agent.token))
        assert_problem(connection.answer(), "REQ_005", says="body did not come within 1 s")
        assert connection.ended()
    assert agent.history()["events"] == []
    agents.close()


@pytest.mark.parametrize("next_bytes", [b"\r\n", HALF_A_HEADER])
def test_an_answer_before_makes_no_difference(hasty: BridgeProcess, next_bytes: bytes) -> None:
    """Empty lines between requests are passed over (RFC 9112 section 2.2), and are no request."""
    with RawConnection(hasty.url) as connection:
        connection.send(b"GET /livez HTTP/1.1\r\nHost: b\r\n\r\n")
        assert connection.answer().status_code == 200
        connection.send(next_bytes)
        if next_bytes == HALF_A_HEADER:
            assert_problem(connection.answer(), "REQ_005")
        assert connection.ended()


def test_a_wait_lasts_longer_than_a_client_may_take_to_send(hasty: BridgeProcess) -> None:
    """Also with the next request half sent behind it, which has to wait for the answer."""
    agents = Agents(hasty.url)
    path = "/api/events/wait/a?timeout=2500"
    with RawConnection(hasty.url) as connection:
        headers = f"Host: b\r\nAuthorization: Bearer {agents().token}"
        connection.send(f"GET {path} HTTP/1.1\r\n{headers}\r\n\r\n".encode() + HALF_A_HEADER)
        assert connection.answer().json()["timeout"] is True
        connection.send(b" 1\r\n\r\n")
        assert connection.answer().status_code == 200
    agents.close()


def test_who_does_not_take_an_answer_is_cut_off(hasty: BridgeProcess) -> None:
    agents = Agents(hasty.url)
    agent = agents()
    for _ in range(16):
        agent.publish("large", {"text": "x" * 500_000})
    request = (
        "GET /api/events?limit=100 HTTP/1.1\r\nHost: b\r\n"
        f"Authorization: Bearer {agent.token}\r\n\r\n"
    )
    agents.close()
    with RawConnection(hasty.url) as connection:
        connection.send(request.encode())
        eventually(lambda: is_held(connection), what="the request")
        eventually(lambda: not is_held(connection), what="the end of the connection")


def test_hundreds_of_them_do_no_harm(hasty: BridgeProcess) -> None:
    agents = Agents(hasty.url)
    agent = agents()
    beginnings = [b"", HALF_A_HEADER, NO_BODY, half_a_publish(agent.token)]
    host, port = hasty.url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as opened:
        silent = []
        for number in range(SILENT):
            connection = opened.enter_context(socket.create_connection((host, int(port)), 20))
            connection.sendall(beginnings[number % len(beginnings)])
            silent.append(connection)
        agent.publish("in_between")
        assert len(agent.events("in_between", timeout=5)) == 1
        for connection in silent:
            while connection.recv(65_536):
                pass
    assert asking.answers(f"{hasty.url}/readyz")
    agents.close()
