"""The catalogue: the Event System Guide's tables, an operator's overlay, and what goes wrong."""

from pathlib import Path
from typing import Any

import pytest

from bridge.catalog import AgentType, EventType, Topic, load_catalog
from bridge.errors import StartError

STANDARD_EVENT_TYPES = {
    "architecture": {
        "architecture_defined": "design rationale components",
        "design_updated": "changes reason",
        "technology_selected": "technologies rationale",
    },
    "implementation": {
        "implementation_started": "agent_type estimated_duration_ms",
        "implementation_complete": "files_changed next_phase",
        "code_review_requested": "files priority",
    },
    "testing": {
        "tests_written": "test_count coverage",
        "tests_passing": "coverage duration_ms",
        "tests_failing": "failures errors",
    },
    "security": {
        "security_audit_started": "scope",
        "security_audit_complete": "issues severity",
        "vulnerability_found": "vulnerability severity remediation",
    },
    "deployment": {
        "deployment_started": "environment version",
        "deployment_complete": "environment url",
        "deployment_failed": "error rollback_status",
    },
    "error": {
        "error_encountered": "error severity retryable",
        "agent_failed": "agent_type error",
    },
    "coordination": {
        "agent_spawned": "agent_type task",
        "agent_completed": "agent_type status",
        "phase_complete": "phase next_phase",
        "review_requested": "reviewer target",
        "review_complete": "findings approved",
    },
}


def test_the_eight_topics_of_the_guide_are_there() -> None:
    assert load_catalog().topics == {
        "architecture": Topic(
            "Design decisions", ("Chief Architect", "Backend Architect"), ("All coding agents",)
        ),
        "implementation": Topic(
            "Code completed", ("Coding specialists",), ("QA", "Security", "DevOps")
        ),
        "testing": Topic("Test results", ("QA agents",), ("DevOps", "Architect")),
        "security": Topic("Security findings", ("Security auditor",), ("Architect", "DevOps")),
        "deployment": Topic("Deployment status", ("DevOps",), ("All agents",)),
        "documentation": Topic("Docs updated", ("Doc agents",), ("Architect",)),
        "error": Topic("Error reporting", ("All agents",), ("Architect", "DevOps")),
        "coordination": Topic("Agent coordination", ("All agents",), ("All agents",)),
    }


def test_the_standard_event_types_of_the_guide_are_there_with_topic_and_data_fields() -> None:
    catalog = load_catalog()
    found: dict[str, dict[str, str]] = {}
    for name, kind in catalog.event_types.items():
        found.setdefault(kind.topic, {})[name] = " ".join(kind.data_fields)
        assert kind.description
    assert found == STANDARD_EVENT_TYPES


def test_the_agent_types_of_the_guide_hear_their_topics() -> None:
    catalog = load_catalog()
    assert {name: catalog.topics_of(name) for name in catalog.agent_types} == {
        "python-specialist": ("architecture", "coordination", "error"),
        "test-engineer": ("implementation", "coordination", "error"),
        "security-auditor": ("implementation", "coordination", "error"),
        "devops-engineer": ("testing", "security", "coordination", "error"),
        "chief-architect": None,
    }


@pytest.mark.parametrize("agent_type", [None, "gardener"])
def test_an_unknown_or_missing_agent_type_hears_coordination_and_error(
    agent_type: str | None,
) -> None:
    assert load_catalog().topics_of(agent_type) == ("coordination", "error")


def test_only_a_standard_type_has_a_default_topic() -> None:
    catalog = load_catalog()
    assert catalog.topic_of("tests_passing") == "testing"
    assert catalog.topic_of("custom_checkpoint") is None


@pytest.mark.parametrize(
    ("event_type", "topic", "data", "expected"),
    [
        ("tests_passing", "testing", {"coverage": 95, "duration_ms": None}, []),
        ("custom_checkpoint", "project_specific", {}, []),
        (
            "tests_passing",
            "security",
            {"coverage": 95, "duration_ms": 1},
            ["`tests_passing` usually goes to topic `testing`, not `security`"],
        ),
        (
            "vulnerability_found",
            "security",
            {"severity": "high"},
            ["`vulnerability_found` usually carries `vulnerability`, `remediation` in `data`"],
        ),
        (
            "deployment_started",
            "testing",
            {},
            [
                "`deployment_started` usually goes to topic `deployment`, not `testing`",
                "`deployment_started` usually carries `environment`, `version` in `data`",
            ],
        ),
    ],
)
def test_warnings_name_an_unusual_topic_and_missing_data_fields(
    event_type: str, topic: str, data: dict[str, Any], expected: list[str]
) -> None:
    assert list(load_catalog().warnings(event_type, topic, data)) == expected


@pytest.mark.parametrize(
    ("event_type", "topic"),
    [("review_requested", "implementation"), ("architecture_defined", "coordination")],
)
def test_a_topic_on_which_the_guide_shows_the_type_draws_no_warning(
    event_type: str, topic: str
) -> None:
    catalog = load_catalog()
    data = dict.fromkeys(catalog.event_types[event_type].data_fields, "x")
    assert not catalog.warnings(event_type, topic, data)


def test_an_event_without_warnings_makes_no_new_object() -> None:
    catalog = load_catalog()
    assert catalog.warnings("a", "b", {}) is catalog.warnings("c", "d", {})


def test_an_overlay_adds_entries_and_replaces_whole_ones(tmp_path: Path) -> None:
    (tmp_path / "topics.yaml").write_text("research:\n  purpose: Papers\n")
    (tmp_path / "event_types.yaml").write_text(
        "paper_read: {topic: research, data_fields: [title], also_on: [documentation]}\n"
        "tests_passing:\n  topic: research\n  description: green\n"
    )
    (tmp_path / "agent_types.yaml").write_text(
        "reader: {subscribes_to: [research, error], description: Reads}\n"
        "test-engineer: {subscribes_to: all}\n"
    )
    catalog = load_catalog(tmp_path)
    assert catalog.topics["research"] == Topic("Papers", (), ())
    assert catalog.event_types["paper_read"] == EventType(
        "research", "", ("title",), ("documentation",)
    )
    assert catalog.event_types["tests_passing"] == EventType("research", "green", ())
    assert catalog.agent_types["reader"] == AgentType(("research", "error"), "Reads")
    assert catalog.topics_of("test-engineer") is None
    assert len(catalog.topics) == 9
    assert catalog.topic_of("tests_failing") == "testing"


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "~\n"])
def test_an_overlay_may_be_empty_and_its_files_missing(tmp_path: Path, text: str) -> None:
    (tmp_path / "topics.yaml").write_text(text)
    assert load_catalog(tmp_path).topics == load_catalog().topics


def test_names_are_the_text_that_stands_there_and_not_what_yaml_makes_of_it(tmp_path: Path) -> None:
    (tmp_path / "topics.yaml").write_text("on: {purpose: 1.10}\n2025: {}\n")
    topics = load_catalog(tmp_path).topics
    assert topics["on"].purpose == "1.10"
    assert "2025" in topics


@pytest.mark.parametrize(
    ("name", "text", "line", "message"),
    [
        ("topics.yaml", "a:\n  purpos: x\n", 2, "unknown key `purpos`; did you mean `purpose`?"),
        ("topics.yaml", "a:\n  zzz: x\n", 2, "known are `purpose`, `publishers`, `subscribers`"),
        ("topics.yaml", "a: {}\nb: {}\na: {}\n", 3, "the file has `a` twice, first on line 1"),
        ("topics.yaml", "a:\n  purpose: x\n  purpose: y\n", 3, "topic `a` has `purpose` twice"),
        ("topics.yaml", "\nmy topic: {}\n", 2, "`my topic` is not a name"),
        ("topics.yaml", f"{'x' * 129}: {{}}\n", 1, "is not a name: use 1 to 128"),
        ("topics.yaml", "all: {}\n", 1, "`all` means every topic"),
        ("topics.yaml", "a: text\n", 1, "topic `a` must be a mapping"),
        ("topics.yaml", "a:\n", 1, "topic `a` must be a mapping"),
        ("topics.yaml", "- a\n", 1, "the file must be a mapping"),
        ("topics.yaml", "? [a]\n: {}\n", 1, "the file must have plain names as keys"),
        ("topics.yaml", "a:\n  purpose: [x]\n", 2, "`purpose` of topic `a` must be a text"),
        ("topics.yaml", "a:\n  publishers: x\n", 2, "`publishers` of topic `a` must be a list"),
        ("topics.yaml", "a:\n  publishers:\n  - {}\n", 3, "must be a list of texts"),
        ("topics.yaml", "a: {}\nb: [\n", 3, "not valid YAML"),
        ("topics.yaml", "a: {}\n\tb: {}\n", 2, "not valid YAML"),
        ("topics.yaml", "a: {}\n--- \nb: {}\n", 2, "not valid YAML"),
        ("topics.yaml", "a: {}\nb: \x07\n", 2, "not valid YAML"),
        (
            "event_types.yaml",
            "x:\n  topic: testin\n",
            2,
            "`x` names the topic `testin`, which does not exist; did you mean `testing`?",
        ),
        ("event_types.yaml", "x:\n  topic: all\n", 2, "only in `subscribes_to`"),
        ("event_types.yaml", "x:\n  description: y\n", 2, "event type `x` needs `topic`"),
        ("event_types.yaml", "x:\n  topic:\n", 2, "event type `x` needs `topic`"),
        (
            "event_types.yaml",
            "x:\n  topic: error\n  also_on: [\n    eror]\n",
            4,
            "the topic `eror`, which does not exist; did you mean `error`?",
        ),
        (
            "agent_types.yaml",
            "x:\n  subscribes_to:\n  - error\n  - nowhere\n",
            4,
            "agent type `x` names the topic `nowhere`, which does not exist; known are",
        ),
        ("agent_types.yaml", "x: {subscribes_to: [all, error]}\n", 1, "`all` stands alone"),
        ("agent_types.yaml", "x: {subscribes_to: []}\n", 1, "at least one topic"),
        ("agent_types.yaml", "x: {subscribes_to: error}\n", 1, "must be a list"),
        ("agent_types.yaml", "x: {}\n", 1, "agent type `x` needs `subscribes_to`"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_with_file_and_line(
    tmp_path: Path, name: str, text: str, line: int, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(StartError) as caught:
        load_catalog(tmp_path)
    told = str(caught.value)
    assert told.startswith(f"{tmp_path / name} line {line}: ")
    assert message in told
    assert "\n" not in told


def test_a_file_that_is_not_utf8_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "topics.yaml").write_bytes(b"a: {}\nb: {purpose: \xff}\n")
    with pytest.raises(StartError, match=r"topics\.yaml line 2: not UTF-8 text"):
        load_catalog(tmp_path)


def test_a_config_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="gone does not exist"):
        load_catalog(tmp_path / "gone")


@pytest.mark.parametrize(
    ("name", "meant"), [("topics.yml", "topics.yaml"), ("event-types.yaml", "event_types.yaml")]
)
def test_a_file_that_would_go_unread_by_a_slip_is_an_error(
    tmp_path: Path, name: str, meant: str
) -> None:
    (tmp_path / name).write_text("a: {}\n")
    with pytest.raises(StartError, match=f"{name} is not read: did you mean `{meant}`"):
        load_catalog(tmp_path)


def test_other_files_in_the_config_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("a: [\n")
    (tmp_path / "notes.txt").write_text("x")
    assert load_catalog(tmp_path).topics == load_catalog().topics
