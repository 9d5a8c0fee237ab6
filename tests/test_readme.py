"""The README: every block is run, in order, and what its tables say is so.

What CONTRIBUTING.md tells to type is run likewise, in a copy of the repository.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge import filters
from bridge.catalog import load_catalog
from bridge.cli.endings import Status
from bridge.http.problem import INTERNAL, STATUS
from bridge.settings import Settings
from tests.support import BridgeProcess, asking
from tests.support.checkout import copied
from tests.support.natsservers import free_port
from tests.support.readme import Block, Tour, blocks, shape

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BLOCKS = [block for block in blocks(README) if block.language != "console"]
"""Those of the language `console` need a cluster; tests/chart/test_documents.py looks at them."""

CONTRIBUTING = ROOT / "CONTRIBUTING.md"
STEPS = [block for block in blocks(CONTRIBUTING) if block.language != "console"]
"""Those of the language `console` take too long here, or need more than is installed."""

SECURITY = ROOT / "SECURITY.md"
DOCUMENTS = [README, CONTRIBUTING, SECURITY]

KNOWN = {*Settings.model_fields, "test_base_image", "test_debootstrap"}
"""The bridge's settings, and what the image's tests read."""


def tour_of(
    folder: Path, nats_url: str, installed: Path | None, steps: list[Block] = BLOCKS
) -> Tour:
    port = free_port()
    replaced = {"localhost:3001": f"localhost:{port}", "nats://nats.internal:4222": nats_url}
    return Tour(folder, steps, port=port, replaced=replaced, installed=installed)


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory, nats_url: str) -> Iterator[Tour]:
    """A reader for whom the installation is already done."""
    folder = tmp_path_factory.mktemp("readme")
    made = tour_of(folder, nats_url, Path(sys.prefix))
    yield made
    made.end()


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_each_block_does_what_the_readme_says(tour: Tour, block: Block) -> None:
    if block.runs_the_tests:
        pytest.skip("the command that runs the tests is run by .ci/run, not by a test")
    if block.missing:
        pytest.skip(f"NOT RUN, not on PATH: {', '.join(block.missing)}")
    tour.reach(block)


@pytest.fixture(scope="module")
def contributor(tmp_path_factory: pytest.TempPathFactory, nats_url: str) -> Tour:
    """One who has a checkout and has set it up."""
    folder = copied(tmp_path_factory.mktemp("contributing") / "checkout")
    return tour_of(folder, nats_url, Path(sys.prefix), STEPS)


@pytest.mark.parametrize("block", STEPS, ids=str)
def test_each_block_does_what_a_contributor_is_told(contributor: Tour, block: Block) -> None:
    contributor.reach(block)


def test_a_contributor_checks_something(contributor: Tour) -> None:
    shown = contributor.reach(STEPS[-1])
    for text in ("All checks passed!", "already formatted", "0 broken", " passed"):
        assert text in shown


def test_what_contributors_are_sent_to_is_there() -> None:
    text = CONTRIBUTING.read_text()
    paths = set(re.findall(r"(?<![\w/.])(?:tests|bridge|\.ci)/[\w/.]*\w", text))
    assert {".ci/run", ".ci/release", "tests/faults", "tests/image"} <= paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
    programs = set(re.findall(r"\.venv/bin/([\w-]+)", text))
    assert [name for name in programs if not (Path(sys.prefix) / "bin" / name).exists()] == []
    sources = [ROOT / ".ci" / "release", *(ROOT / "tests").rglob("*.py")]
    read = "".join(path.read_text() for path in sources if path != Path(__file__))
    named = set(re.findall(r"\b([A-Z][A-Z_]+)=", text))
    assert {"FAULTS", "BASE"} <= named
    assert [name for name in named if not re.search(rf"\b{name}\b", read)] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_setting_that_is_named_is_one(path: Path) -> None:
    named = set(re.findall(r"\bBRIDGE_([A-Z]\w*)", path.read_text()))
    assert named, "names no setting"
    assert sorted(name for name in named if name.lower() not in KNOWN) == []


def test_what_needs_a_token_is_what_security_says(bridge: BridgeProcess) -> None:
    """Of all paths there are, and of those that the API's description leaves out."""
    [cells] = re.findall(r"^\| no token \|(.*)\|(.*)\|$", SECURITY.read_text(), re.MULTILINE)
    free, closed = (re.findall(r"`(/[\w.]+)`", cell) for cell in cells)
    described = asking.get(f"{bridge.url}/openapi.json").json()["paths"]
    for path in {*described, *free, "/mcp", "/status"}:
        status = asking.get(f"{bridge.url}{re.sub('{.*?}', 'x', path)}").status_code
        if path in free:
            assert status < 400, path
        else:
            assert path.startswith(tuple(closed)), f"{path} is not spoken of"
            assert status in {401, 405}, path


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_new_user_gets_from_the_first_command_to_the_last(tmp_path: Path, nats_url: str) -> None:
    """In a copy of the repository, the installation included."""
    made = tour_of(copied(tmp_path / "checkout"), nats_url, installed=None)
    try:
        made.reach(BLOCKS[-1])
    finally:
        made.end()


def test_the_nats_cli_shows_the_event_and_its_waiter(tour: Tour) -> None:
    (block,) = [one for one in BLOCKS if re.search("^nats ", one.text, re.MULTILINE)]
    if missing := {name for one in BLOCKS for name in one.missing}:
        pytest.skip(f"NOT RUN, not on PATH: {', '.join(sorted(missing))}")
    shown = tour.reach(block)
    assert "events.default.testing.tests_passing.issue-123" in shown
    assert '"coverage":92' in shown
    assert "default--coder-1--tests_passing--" in shown


@pytest.mark.parametrize(
    ("call", "printed"),
    [
        ("bridge events list --correlation-id", ["no JWT_TOKEN is set", "testing", "issue-124"]),
        ("bridge doctor", ["the bridge takes this token"]),
        ("--fail-on", ["issue-126: {", "deploy", "ended with 124"]),
        ("attempt $DELIVERY_COUNT", ["given back", "attempt 2 of issue-130"]),
        ("client.work(", ["cli"]),
        ('client.wait("tests_passing"', ["{'coverage': 97}"]),
        ("client.subscribe(", ["issue-124 {", "issue-125 {'coverage': 97}"]),
        ("request_response(", ["{'approved': True}"]),
    ],
)
def test_what_an_example_prints(tour: Tour, call: str, printed: list[str]) -> None:
    (block,) = [one for one in BLOCKS if call in one.text]
    shown = tour.reach(block)
    assert [text for text in printed if text not in shown] == []


def test_the_opening_is_two_commands_that_install_for_themselves() -> None:
    serve, test = BLOCKS[:2]
    assert serve.serves
    assert test.runs_the_tests
    for block in (serve, test):
        assert block.text.count("\n") == 1
        assert "-c constraints.txt" in block.text


def test_every_filter_in_the_table_is_one() -> None:
    shown = cells("Filter")
    assert len(shown) > 5
    for text in shown:
        assert filters.canonical(filters.parse(text))


def test_the_table_of_errors_is_the_bridges() -> None:
    written = set(zip(cells("Status"), cells("Status", column=1), strict=True))
    known = {(str(status), error.code) for error, status in STATUS.items()}
    assert written == known | {("500", str(INTERNAL["code"]))}


def test_the_table_of_exit_statuses_is_the_command_lines() -> None:
    """What a signal ends counts as every shell counts it, and is left out."""
    assert {int(text) for text in cells("Exit status")} == {0} | {s for s in Status if s < 128}


def test_the_list_of_types_is_the_catalogues() -> None:
    written = dict(zip(cells("Topic"), cells("Topic", column=1), strict=True))
    known: dict[str, list[str]] = {}
    for name, kind in load_catalog().event_types.items():
        known.setdefault(kind.topic, []).append(name)
    assert {topic: re.findall(r"[\w.]+", types) for topic, types in written.items()} == known


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_is_linked_exists(path: Path) -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", path.read_text())
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_shapes_tell_keys_and_types_but_not_values() -> None:
    assert shape({"a": [{"b": 1}], "c": None}) == shape({"a": [{"b": 2.5}, {}], "c": None})
    assert shape({"a": 1}) != shape({"a": "1"})
    assert shape({"a": True}) != shape({"a": 1})
    assert shape({"a": 1}) != shape({"b": 1})


def cells(heading: str, column: int = 0) -> list[str]:
    """Give a column of the table whose first heading is this, without backticks."""
    rows = re.split(rf"^\| {heading} \|.*\n\|-.*\n", README.read_text(), flags=re.MULTILINE)[1]
    table = re.match(r"(?:\|.*\n)+", rows)
    assert table
    split = [re.split(r"(?<!\\)\|", row)[1:] for row in table[0].splitlines()]
    return [row[column].strip().strip("`").replace("\\|", "|") for row in split]
