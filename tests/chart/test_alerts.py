"""Alerts ask for what bridges serve, and tell people what is wrong and what to do."""

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.conftest import Render
from tests.chart.series import served_by, unknown
from tests.support import BridgeProcess
from tests.support.helm import CHART, HelmRefused, text_of
from tests.support.manifests import Object, of_kind
from tests.support.manifests.selectors import selects

ON = {"monitoring": {"prometheusRule": {"enabled": True}}}
SEVERITIES = {"info", "warning", "critical"}
CASES = "rules_test.yaml"
RUNBOOK = re.compile(r"OPERATIONS\.md: (.+)")


@pytest.fixture(scope="module")
def objects(render: Render) -> list[Object]:
    """What the chart renders with alerts; not to be changed."""
    return render(text_of(ON))


@pytest.fixture(scope="module")
def rules(objects: list[Object]) -> list[dict[str, Any]]:
    (rule,) = of_kind(objects, "PrometheusRule")
    return [one for group in rule["spec"]["groups"] for one in group["rules"]]


@pytest.fixture(scope="module")
def served(bridge: BridgeProcess) -> dict[str, set[str]]:
    return served_by(bridge.url)


def test_unknown_series_are_found(served: dict[str, set[str]]) -> None:
    assert unknown('sum(rate(bridge_publish_seconds_bucket{job="a=b"}[5m]))', served) == []
    assert unknown("bridge_publish_seconds > 1", served) == ["bridge_publish_seconds"]
    assert unknown("bridge_events_published", served) == ["bridge_events_published"]
    assert unknown('bridge_ready{route="wait"}', served) == ["bridge_ready{route}"]


def test_alerts_ask_for_what_bridges_serve(
    rules: list[dict[str, Any]], served: dict[str, set[str]]
) -> None:
    wrong = {one["alert"]: unknown(one["expr"], served) for one in rules}
    assert {name: found for name, found in wrong.items() if found} == {}
    speaking = [one for one in rules if re.search(r"bridge_|\bup\{", one["expr"])]
    assert speaking == rules


def test_every_alert_says_what_is_wrong_and_how_much_it_matters(
    rules: list[dict[str, Any]],
) -> None:
    assert len(rules) >= 5
    for one in rules:
        assert one["labels"]["severity"] in SEVERITIES, one["alert"]
        assert one["for"], one["alert"]
        for name in ("summary", "description"):
            assert one["annotations"][name].strip(), one["alert"]
        assert "@" not in one["expr"], f"{one['alert']}: a placeholder is left"
        assert one["expr"].count("(") == one["expr"].count(")"), one["alert"]
    names = Counter(one["alert"] for one in rules)
    assert [name for name, count in names.items() if count > 1] == []


def test_alerts_speak_of_labels_that_they_keep(rules: list[dict[str, Any]]) -> None:
    for one in rules:
        kept = {
            name for by in re.findall(r"by \(([^)]*)\)", one["expr"]) for name in by.split(", ")
        }
        used = set(re.findall(r"\$labels\.(\w+)", " ".join(one["annotations"].values())))
        assert not kept or used <= kept, f"{one['alert']}: {used - kept}"


def test_runbooks_are_there(rules: list[dict[str, Any]]) -> None:
    text = (CHART / "OPERATIONS.md").read_text()
    headings = set(re.findall(r"^#+ (.+)$", text, re.MULTILINE))
    named = [RUNBOOK.search(one["annotations"].get("runbook", "")) for one in rules]
    assert all(named), "every alert names its section of OPERATIONS.md"
    assert {found[1] for found in named if found} - headings == set()


def test_an_alert_can_be_left_out(render: Render, rules: list[dict[str, Any]]) -> None:
    name = rules[0]["alert"]
    values = {"monitoring": {"prometheusRule": {"enabled": True, "disabled": [name]}}}
    (rule,) = of_kind(render(text_of(values)), "PrometheusRule")
    left = [one["alert"] for one in rule["spec"]["groups"][0]["rules"]]
    assert left == [one["alert"] for one in rules[1:]]
    values["monitoring"]["prometheusRule"]["disabled"] = ["NoSuchAlert"]
    with pytest.raises(HelmRefused, match="NoSuchAlert"):
        render(text_of(values))


def test_alerts_can_be_labelled_and_be_for_sidecars(render: Render) -> None:
    rule = {"enabled": True, "job": "agents", "alertLabels": {"severity": "page", "team": "us"}}
    values = {"monitoring": {"prometheusRule": rule}, "deployment": {"enabled": False}}
    (made,) = of_kind(render(text_of(values)), "PrometheusRule")
    for one in made["spec"]["groups"][0]["rules"]:
        assert one["labels"] == {"severity": "page", "team": "us"}
        assert 'job="agents"' in one["expr"]


@pytest.mark.parametrize(("port", "job"), [(3002, "-internal"), (0, "")])
def test_alerts_are_for_the_service_that_is_scraped(port: int, job: str, render: Render) -> None:
    on = {"serviceMonitor": {"enabled": True}, **ON["monitoring"]}
    objects = render(text_of({"internalPort": port, "monitoring": on}))
    (rule,) = of_kind(objects, "PrometheusRule")
    name = f"demo-agent-event-bridge{job}"
    for one in rule["spec"]["groups"][0]["rules"]:
        assert f'job="{name}"' in one["expr"]
    (monitor,) = of_kind(objects, "ServiceMonitor")
    scraped = [
        one["metadata"]["name"]
        for one in of_kind(objects, "Service")
        if selects(monitor["spec"]["selector"], one["metadata"]["labels"])
    ]
    assert scraped == [name]


@pytest.mark.parametrize(
    ("threshold", "max_consumers", "expected"),
    [(5_000_000, 10_000_000, 5_000_000), (2000, 1000, 800)],
)
def test_the_alert_comes_before_subscriptions_run_out(
    threshold: int, max_consumers: int, expected: int, render: Render
) -> None:
    """Where the stream takes few subscriptions, the alert does not wait for more of them."""
    on = {"enabled": True, "thresholds": {"subscriptions": threshold}}
    values = {
        "monitoring": {"prometheusRule": on},
        "settings": {"max_consumers": max_consumers},
    }
    (rule,) = of_kind(render(text_of(values)), "PrometheusRule")
    asked = [one["expr"] for one in rule["spec"]["groups"][0]["rules"]]
    (found,) = [expr for expr in asked if "bridge_subscriptions{" in expr]
    assert found.endswith(f"> {expected}")


@pytest.mark.parametrize("arguments", [("check", "rules", "rules.yaml"), ("test", "rules", CASES)])
def test_prometheus_reads_the_rules_and_each_fires_when_it_should(
    arguments: tuple[str, ...], render: Render, tmp_path: Path
) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not on PATH: nobody has parsed the PromQL")
    values = text_of({"monitoring": {"prometheusRule": {"enabled": True, "job": "bridge"}}})
    (rule,) = of_kind(render(values, namespace="agents"), "PrometheusRule")
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rule["spec"]))
    shutil.copy(Path(__file__).with_name(CASES), tmp_path)
    found = subprocess.run(
        [promtool, *arguments], check=False, capture_output=True, text=True, cwd=tmp_path
    )
    assert found.returncode == 0, found.stdout + found.stderr
