"""The bridge in its container: hardened as in a cluster, started, used, refused and drained."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest

import bridge
from tests.image.containers import BridgeContainer, command
from tests.support import Agents, asking, eventually
from tests.support.bridges import SECRET

pytestmark = pytest.mark.timeout(1200)

Run = Callable[..., BridgeContainer]
UNREACHED = "nats://127.0.0.1:1"
PROCESS_ONE = """
from pathlib import Path
print(Path("/proc/1/cmdline").read_bytes().decode().replace(chr(0), " "))
print(Path("/proc/1/status").read_text())
"""


def waiting(container: BridgeContainer) -> bool:
    return asking.open_waits(container.url) == 1


def test_an_event_goes_in_and_comes_out(run_bridge: Run) -> None:
    agents = Agents(run_bridge().url)
    published = agents("publisher").publish("tests_passing", {"coverage": 93})
    (event,) = agents("reader").events("tests_passing", timeout=20)
    assert event["event_id"] == published["event_id"]
    assert event["data"] == {"coverage": 93}
    agents.close()


def test_it_is_process_1_with_a_users_id_and_no_privilege(run_bridge: Run) -> None:
    line, *status = run_bridge().python(PROCESS_ONE).splitlines()
    assert line.split() == ["/opt/bridge/bin/python", "/opt/bridge/bin/bridge", "serve"]
    said = dict(each.split(":\t", 1) for each in status if ":\t" in each)
    assert said["Uid"].split() == ["65532"] * 4
    assert said["Gid"].split() == ["65532"] * 4
    assert {said[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {"0" * 16}
    assert said["NoNewPrivs"] == "1"


def test_sigterm_drains(run_bridge: Run) -> None:
    """Readiness goes first, an open wait is answered and not cut, and the exit status is 0."""
    container = run_bridge(drain_seconds="5")
    agents = Agents(container.url)
    with ThreadPoolExecutor() as pool:
        wait = pool.submit(agents().wait, "never", timeout=300)
        eventually(lambda: waiting(container), what="the open wait")
        with container.stopping() as stopping:
            eventually(lambda: container.readiness() == 503, what="readiness going")
            assert wait.result(30)["timeout"] is True
        assert stopping.returncode == 0
    assert container.wait() == 0, container.log
    assert '"stopped"' in container.log.splitlines()[-1]
    agents.close()


def test_nothing_is_written_where_it_could_be(run_bridge: Run) -> None:
    """As root with a writable root, no file or folder is made or touched from start to end."""
    container = run_bridge(options=("--user", "0"))
    agents = Agents(container.url)
    agents().publish("tests_passing")
    assert agents().events("tests_passing", timeout=20)
    agents.close()
    container.stopping().wait(60)
    assert container.wait() == 0
    assert container.changes() == ""


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"nats_url": UNREACHED}, "BRIDGE_JWT_SECRET"),
        ({"jwt_secret": SECRET}, "BRIDGE_NATS_URL"),
        ({"jwt_secret": SECRET, "nats_url": UNREACHED, "prot": "1"}, "did you mean `port`?"),
        ({"host": "127.0.0.1", "nats_url": UNREACHED}, "Read-only file system"),
    ],
    ids=["no-key", "no-nats", "misspelt", "no-key-on-loopback"],
)
def test_a_wrong_setting_ends_it_with_one_clear_line(
    image: str, settings: dict[str, str], says: str
) -> None:
    printed, said = command(image, status=1, port="0", **settings)
    (line,) = [each for each in said.splitlines() if not each.startswith("{")]
    assert line.startswith("bridge: ")
    assert says in line
    assert printed == ""


def test_its_version_is_the_packages(image: str) -> None:
    assert command(image, "--version") == (f"{bridge.__version__}\n", "")


def test_it_makes_tokens(image: str) -> None:
    token, said = command(image, "token", "--agent", "coder-1", jwt_secret=SECRET)
    assert said.startswith("bridge: made a token for agent 'coder-1'")
    assert jwt.decode(token.strip(), SECRET, algorithms=["HS256"])["sub"] == "coder-1"
