"""Asking servers over HTTP, as often as a test looks: each client of httpx reads the CAs first."""

import httpx

_CLIENT = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0), timeout=20)


def get(url: str) -> httpx.Response:
    """Get it on a connection of its own. Raises httpx.TransportError."""
    return _CLIENT.get(url)


def answers(url: str) -> bool:
    """Whether it can be got, with the status 200."""
    try:
        return get(url).status_code == 200
    except httpx.TransportError:
        return False


def metric(url: str, beginning: str) -> int:
    """Sum up the metrics of the bridge there whose line begins so."""
    lines = get(f"{url}/metrics").text.splitlines()
    found = [float(line.split()[-1]) for line in lines if line.startswith(beginning)]
    assert found, f"{url} has no metric {beginning}"
    return int(sum(found))


def open_waits(url: str) -> int:
    """How many waits are open at the bridge there."""
    return metric(url, "bridge_waiting_polls ")
