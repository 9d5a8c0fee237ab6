"""helm/OPERATIONS.md: what it tells operators to type is run, and what it shows is what comes.

Lines for `kubectl` need a cluster: of these the tests check that what they name is in the chart.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.jetstream.log.stream_check import ANSWER_SECONDS, LOOK_SECONDS, TROUBLE_SECONDS
from bridge.jetstream.subscriptions.failover import ABANDONED_SECONDS, UNKNOWN_SECONDS
from bridge.request_counts import ENDPOINTS
from tests.support import Agent, BridgeProcess, NatsServer, eventually, natscli
from tests.support.guide import Reading, typed
from tests.support.helm import CHART, HELMS, with_stubbed_dependencies
from tests.support.manifests import Object, at, of_kind, pods
from tests.support.natsservers import NATS_USER, nats_binary, server_version
from tests.support.operations import World
from tests.support.readme import Block, blocks
from tests.support.shown import missing
from tests.test_least_privilege import permissions

ROOT = CHART.parent
GUIDE = CHART / "OPERATIONS.md"
TEXT = GUIDE.read_text()
OWN_NATS = "## A bridge with its own NATS"
"""The chapter of another world: tests/test_own_nats_guide.py follows it."""

ALL_BLOCKS = blocks(GUIDE)
BLOCKS = [block for block in ALL_BLOCKS if block.line < TEXT.splitlines().index(OWN_NATS)]
LINK = re.compile(r"\[([^\]]+)\]\(#([\w-]+)\)")
NAMES = {"name": "bridge", "namespace": "agents"}
NATS_STUB = Path(__file__).parent / "chart" / "nats-stub.yaml"
USERS = "bridge-nats-auth"
OBJECTS = {
    **dict.fromkeys(("stream info", "stream state", "stream subjects"), "EVENTS"),
    **dict.fromkeys(("consumer ls", "consumer report"), "EVENTS"),
    **dict.fromkeys(("service info", "service stats"), "agent-event-bridge"),
    "stream get": "EVENTS 4",
    "consumer info": "EVENTS shop--deployer-1--tests_passing--c78a41e03875b481",
}
"""What commands of the `nats` CLI need to know, by the command."""

KINDS = {
    "deploy/": "Deployment",
    "statefulset/": "StatefulSet",
    "svc/": "Service",
    "secret ": "Secret",
}


def of_language(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


def table(heading: str) -> list[list[str]]:
    """Give the rows, without backticks and links, of the table whose first heading is this."""
    _, rest = re.split(rf"^\| {heading} \|.*\n\|-.*\n", TEXT, flags=re.MULTILINE)
    rows = LINK.sub(r"\1", rest.split("\n\n")[0]).splitlines()
    return [[cell.strip(" `") for cell in row.split("|")[1:-1]] for row in rows]


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chart")
    return with_stubbed_dependencies(CHART, folder, {"nats": NATS_STUB})


@pytest.fixture(scope="module")
def release(chart: Path) -> list[Object]:
    """What the chart installs under the names of the guide."""
    return HELMS["helm3"].template(chart, **NAMES)


@pytest.fixture(scope="module")
def programs() -> None:
    if absent := [program for program in ("nats", "jq", "curl") if shutil.which(program) is None]:
        pytest.skip(f"NOT RUN, not on PATH: {', '.join(absent)}")


@pytest.fixture(scope="module")
def reading(
    release: list[Object], tmp_path_factory: pytest.TempPathFactory, programs: None
) -> Iterator[Reading]:
    world = World(tmp_path_factory.mktemp("operations"), release)
    try:
        yield Reading(world.start(), BLOCKS)
    finally:
        world.stop()


def the(release: list[Object], kind: str, name: str) -> Object:
    [found] = [o for o in of_kind(release, kind) if o["metadata"]["name"] == name]
    return found


@pytest.mark.parametrize("block", of_language("bash", "text"), ids=str)
def test_commands_print_what_the_guide_shows(reading: Reading, block: Block) -> None:
    if block.language == "bash":
        assert list(natscli.errors(reading.reach(block))) == []
    else:
        printed = reading.before(block)
        assert missing(block.text, printed) == [], printed


@pytest.mark.parametrize(
    ("command", "printed"),
    [
        ("nats stream info EVENTS\n", ["bridge_subjects: events.<project>.<topic>", "1d0h0m0s"]),
        (
            "nats consumer ls EVENTS\n",
            ["reads what everybody publishes", "where correlation_id:build-7", "group:reviewers"],
        ),
        (
            "nats consumer info EVENTS shop--coder-1",
            ["build-7", "Replicas: 1", "1h0m0s", "agent: coder-1", "project: shop"],
        ),
        ("nats service info", [f"Name: {endpoint}" for endpoint in ENDPOINTS]),
        ("server report connections", ["bridge\tBRIDGE"]),
        ("nats consumer report EVENTS", ["Ack Pending", "Redelivered", "Unprocessed"]),
        ("--no-srv-advisory", ["[Consumer Delete]"]),
    ],
)
def test_what_the_text_speaks_of_is_printed(
    reading: Reading, command: str, printed: list[str]
) -> None:
    shown = reading.reach(next(one for one in of_language("bash") if command in one.text))
    assert [text for text in printed if text not in shown] == [], shown


def test_a_deleted_subscription_begins_with_everything_again(reading: Reading) -> None:
    reading.finish()
    heard = [event["correlation_id"] for event in reading.heard["subscriptions delete"]]
    assert heard == ["build-5", "build-6", "build-7"]


def test_one_that_was_deleted_by_hand_goes_on(reading: Reading) -> None:
    reading.finish()
    assert reading.heard["consumer rm"] == []


def test_a_backup_is_validated_as_the_guide_says(reading: Reading) -> None:
    if not natscli.has_backup() or server_version() < (2, 15):
        pytest.skip("NOT RUN, needs nats 0.5 and nats-server 2.15")
    reading.reach(next(one for one in of_language("bash") if "backup stream" in one.text))
    [command] = re.findall(r"`(nats backup validate [^`]+)`", TEXT)
    assert "OK: " in typed(reading.world, command)


def operators_commands() -> list[str]:
    """Give what helm/nats-user.conf says that its operator may do, with what they do it to."""
    [_, comments] = NATS_USER.read_text().split("user: operator")
    told = re.findall(
        r"# nats (account|stream|consumer|service) ([\w, ]+)$", comments, re.MULTILINE
    )
    commands = [f"{kind} {verb}" for kind, verbs in told for verb in re.split(", | and ", verbs)]
    assert len(commands) > 10
    return [f"nats {command} {OBJECTS.get(command, '')}".strip() for command in commands]


@pytest.mark.parametrize("command", operators_commands())
def test_the_operator_may_do_what_nats_user_conf_says(reading: Reading, command: str) -> None:
    reading.reach(next(one for one in of_language("bash") if "nats service stats" in one.text))
    assert list(natscli.errors(typed(reading.world, command))) == []


def test_the_guide_is_for_the_versions_of_nats_that_it_is_followed_with() -> None:
    [pinned] = re.findall(r"^nats_clis=\((.+)\)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    told = re.findall(r"those of\s+([\d.]+) and hold for ([\d.]+),", TEXT)
    assert told == [tuple(pinned.split())]
    assert all(f" {today} " in TEXT for today in natscli.older_forms())
    assert natscli.older_forms()


def test_cursors_go_on_over_a_restore_as_far_as_the_backup_goes(reading: Reading) -> None:
    reader = reading.finish().agent("reader")
    before, after = reading.cursors
    answer = reader.wait("tests_failing,tests_passing", since=before)
    assert ("gap" in answer, answer["events"]) == (False, [])
    answer = reader.wait("tests_passing", since=after)
    assert answer["gap"]["reason"] == "stream_recreated"
    assert [event["correlation_id"] for event in answer["events"]] == ["build-7"]


def test_restored_subscriptions_give_what_they_had_not_given(reading: Reading) -> None:
    """Whether one on a single server is in the backup depends on which server wrote that."""
    world = reading.finish()
    late = world.agent("deployer-1").events("tests_passing", filter="coverage:>=90", timeout=20)
    assert [event["data"] for event in late] == [{"coverage": 93}]
    types = "tests_failing,tests_passing"
    again = world.agent("coder-1").events(types, filter="correlation_id:build-7")
    assert {event["correlation_id"] for event in again} <= {"build-7"}


@pytest.mark.parametrize("block", of_language("console"), ids=str)
def test_what_kubectl_is_told_is_in_the_chart(release: list[Object], block: Block) -> None:
    commands = re.findall(r"\bkubectl (?!-n agents )", block.text)
    assert commands == [], "the namespace is missing"
    for prefix, name in re.findall(rf"(?<!create )\b({'|'.join(KINDS)})([\w-]+)", block.text):
        assert the(release, KINDS[prefix], name)
    for claim, server in re.findall(r"\bpvc ([\w-]+)-js-([\w-]+)-\d+", block.text):
        assert the(release, "StatefulSet", server)["metadata"]["name"] == claim
    assert not re.search(r"port-forward [^&]+?\n.", block.text), "nothing after it is run"
    for prefix, name, port in re.findall(r"(svc/|deploy/)(\S+) (\d+)\n", block.text):
        assert int(port) in ports(the(release, KINDS[prefix], name))
    for key, value in re.findall(r" -l ([\w./-]+)=(\w+)", block.text):
        assert value in {pod.labels.get(key) for pod in pods(release)}
    for key in re.findall(r"\$\(password (\w+)\)", block.text):
        assert key in the(release, "Secret", USERS)["data"]


def test_secrets_that_the_text_names_are_in_the_chart(release: list[Object]) -> None:
    named = re.findall(r"\bSecret `([\w-]+)`", TEXT)
    assert named
    assert all(the(release, "Secret", name) for name in named)


def ports(found: Object) -> set[int]:
    """Give the ports of a Service, or of the containers of a Deployment."""
    if found["kind"] == "Service":
        return {port["port"] for port in found["spec"]["ports"]}
    return {number for pod in pods([found]) for number in pod.port_numbers}


def test_nats_box_is_logged_in_as_the_guide_says(release: list[Object]) -> None:
    [pod] = pods([the(release, "Deployment", "bridge-nats-box")])
    env = {one["name"]: one for one in pod.containers[0]["env"]}
    assert env["NATS_USER"]["value"] == "operator"
    assert at(env["NATS_SYSTEM_PASSWORD"], "valueFrom.secretKeyRef.name") == USERS


def test_every_user_of_nats_is_explained(release: list[Object]) -> None:
    users = the(release, "ConfigMap", USERS)["data"]["users.conf"]
    assert {row[0] for row in table("User")} == set(re.findall(r"\buser: (\w+)", users))


@pytest.mark.parametrize("block", of_language("yaml"), ids=str)
def test_values_are_the_charts(chart: Path, block: Block) -> None:
    assert of_kind(HELMS["helm3"].template(chart, block.text, **NAMES), "Deployment")


def test_nats_server_takes_what_makes_it_sync_each_write(tmp_path: Path) -> None:
    [block] = [one for one in of_language("yaml") if "sync_interval" in one.text]
    merged = yaml.safe_load(block.text)["nats"]["config"]["jetstream"]["merge"]
    settings = "\n".join(f"{key}: {value}" for key, value in merged.items())
    config = tmp_path / "nats.conf"
    config.write_text(f'jetstream {{ store_dir: "{tmp_path}"\n{settings} }}\n')
    tried = subprocess.run([nats_binary(), "-t", "-c", config], capture_output=True, check=False)
    assert tried.returncode == 0, tried.stderr


def test_pods_have_the_time_to_end_that_the_guide_gives_them(release: list[Object]) -> None:
    [pod] = pods([the(release, "Deployment", "bridge-agent-event-bridge")])
    [patience] = re.findall(r"--for=delete .* --timeout=(\d+)s", TEXT)
    assert int(patience) > pod.spec["terminationGracePeriodSeconds"]
    waits, grace = re.findall(r"waits (\d+) s for load|grace period, (\d+) s", TEXT)
    assert int(waits[0]) == at(pod.containers[0], "lifecycle.preStop.sleep.seconds")
    assert int(grace[1]) == pod.spec["terminationGracePeriodSeconds"]


def test_bridges_take_the_time_that_the_guide_says() -> None:
    [known, unknown] = re.findall(r"After (\d+) s without that server|waits (\d+) s for the", TEXT)
    assert (float(known[0]), float(unknown[1])) == (ABANDONED_SECONDS, UNKNOWN_SECONDS)
    [cut_off] = re.findall(r"tries the next one\s+within (\d+) s", TEXT)
    # It has just looked; it looks in vain; that goes on for too long; the last look ends.
    assert float(cut_off) == LOOK_SECONDS + ANSWER_SECONDS + TROUBLE_SECONDS + ANSWER_SECONDS


@pytest.mark.parametrize(("limited", "which"), [("server", 0), ("account", 1)])
def test_publishes_without_room_are_answered_as_the_guide_says(
    tmp_path: Path, start_bridge: Callable[..., BridgeProcess], limited: str, which: int
) -> None:
    server = NatsServer(tmp_path, config=_with_little_room(limited, tmp_path)).start()
    bridge = start_bridge(server.url)
    with Agent(bridge.url, "tester-1", "shop") as agent:
        big = {"data": {"log": "x" * 100_000}}
        answers = (agent.http.post("/events/work", json=big) for _ in range(20))
        refused = next(answer for answer in answers if answer.status_code != 202)
    told = re.findall(r"`(JetStream does not take the event: [^`]+)`", TEXT)
    assert refused.status_code == 503
    assert refused.json()["message"].startswith(f"{told[which]};")
    assert bridge.ready()
    assert start_bridge(server.url, stream_max_bytes="600000").ready()
    with Agent(bridge.url, "tester-1", "shop") as agent:
        agent.publish("work", big["data"])
    bridge.kill()
    server.stop()


def _with_little_room(limited: str, store: Path) -> str:
    """Give configuration that limits what a server or an account stores to 1 MB."""
    if limited == "server":
        return f'jetstream {{ store_dir: "{store}", max_file_store: 1MB }}'
    account = "jetstream: { max_file: 1MB }, users: [{ user: tests, password: tests }]"
    return f"accounts {{ TESTS {{ {account} }} }}\nno_auth_user: tests"


def test_a_server_that_went_is_removed_by_its_id(
    release: list[Object], tmp_path: Path, programs: None
) -> None:
    [functions] = [block.text for block in of_language("bash") if "system() {" in block.text]
    [block] = [block for block in of_language("console") if "peer-remove" in block.text]
    report, remove, _ = block.text.splitlines()
    world = World(tmp_path, release, servers=4)
    try:
        world.start_servers()
        world.shrink()
        told = typed(world, report, functions)
        assert re.findall(r"`(Server name unknown [^`]+)`", TEXT)[0] in told
        [gone] = re.findall(r"│ (\w{8}) +│[^│]*│ \w+ +│ false +│", told)
        typed(world, remove.replace("C7B8kAbl", gone), functions)
        eventually(lambda: gone not in typed(world, report, functions), what="its removal")
    finally:
        world.stop()


def test_every_alert_has_its_section() -> None:
    rules: list[Any] = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())
    told = {rule["alert"]: rule["annotations"]["runbook"].split(": ")[1] for rule in rules}
    assert {row[0]: row[1] for row in table("Alert")} == told


def test_every_section_is_in_the_contents_in_its_order() -> None:
    contents = re.findall(r"^- (?:.+\n)(?:  .+\n)*", TEXT, re.MULTILINE)
    listed = [name for line in contents for name, _ in LINK.findall(line)]
    assert ["Where to look", *listed] == re.findall(r"^## (.+)$", TEXT, re.MULTILINE)


def test_every_link_leads_to_a_section() -> None:
    sections = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    assert {name: name for name, _ in LINK.findall(TEXT)}.keys() <= set(sections)
    for name, anchor in LINK.findall(TEXT):
        assert anchor == re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-")
    assert set(re.findall(r'(?:see|\()"([A-Z][^"]+)"', TEXT)) <= set(sections)


@pytest.mark.parametrize(("option", "kind"), [("pub", "publish"), ("sub", "subscribe")])
def test_nsc_gives_the_bridge_the_same_rights(option: str, kind: str) -> None:
    [given] = re.findall(rf"--allow-{option} '(.*)'", TEXT)
    assert given.split(",") == permissions("bridge", kind)


def test_shown_output_may_leave_out_but_not_differ() -> None:
    printed = "│ Name   │ Created             │ Count │\n│ EVENTS │ 2026-01-31 12:00:00 │ 6     │"
    assert missing("│ Name │ … │ Count │\n├──────┼───┤\n…\n│ EVENTS │ … │ 6 │", printed) == []
    assert missing("│ EVENTS │ … │ 7 │", printed) == ["│ EVENTS │ … │ 7 │"]
    assert missing("│ EVENTS │ 2027-01-01 00:00:00 │ 6 │", printed) == []
    assert missing("Leader: bridge-nats-2 (1m2s)", "Leader: bridge-nats-0 (450ms)") == []
    assert missing("agent: coder-1", "agent: coder-2") == ["agent: coder-1"]
