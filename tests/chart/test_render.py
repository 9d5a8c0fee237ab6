"""The chart lints, renders and packages, with Helm 3 and with Helm 4, which agree."""

import copy
import tarfile
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

import bridge
from tests.chart.conftest import Render
from tests.chart.valuesets import FILES, SETS, ValueSet, in_turn
from tests.support.helm import CHART, HELMS, text_of
from tests.support.manifests import Object, at, pods, where

MADE_UP = "made up anew at each render"


def settled(one: Object) -> Object:
    """Give an object without what differs: a secret is made up, a hook is for its Helm."""
    one = copy.deepcopy(one)
    at(one, "metadata.annotations", {}).pop("helm.sh/hook-delete-policy", None)
    if one["kind"] == "Secret":
        one["data"] = dict.fromkeys(one.get("data") or {}, MADE_UP)
    for pod in pods([one]):
        annotations: dict[str, Any] = at(pod.metadata, "annotations", {})
        if "checksum/secret" in annotations:
            annotations["checksum/secret"] = MADE_UP
    return one


def test_there_are_sets_of_values() -> None:
    assert len(FILES) >= 3, f"there are hardly any *-values.yaml in {CHART / 'ci'}"


@pytest.mark.parametrize(("values", "helm"), in_turn(SETS, HELMS), ids=str)
def test_it_lints(chart: Path, values: ValueSet, helm: str) -> None:
    """One Helm for each set is enough, since both render them alike (below)."""
    assert HELMS[helm].lint(chart, values.text) == []


@pytest.mark.parametrize("helm", HELMS)
def test_lint_finds_faults(chart: Path, helm: str) -> None:
    found = HELMS[helm].lint(chart, text_of({"nonsense": True}))
    assert "nonsense" in "".join(found)


@pytest.mark.parametrize("helm", HELMS)
def test_it_packages(chart: Path, helm: str, tmp_path: Path) -> None:
    archive = HELMS[helm].package(chart, tmp_path)
    with tarfile.open(archive) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert archive.name == f"agent-event-bridge-{bridge.__version__}.tgz"
    assert {"Chart.yaml", "values.yaml", "values.schema.json", "README.md"} <= names
    assert not [name for name in names if name.startswith("ci/")]


def test_both_helms_agree(values: ValueSet, render: Render) -> None:
    three, four = render(values.text), render(values.text, helm="helm4")
    assert {where(one): settled(one) for one in three} == {where(one): settled(one) for one in four}


def test_it_renders_something(objects: list[Object]) -> None:
    kinds = {one["kind"] for one in objects}
    assert "ConfigMap" in kinds


def test_no_template_is_dead(chart: Path) -> None:
    alive: set[str] = set()
    with helm_python.Chart.load(chart) as loaded:
        for values in SETS:
            given = helm_python.values_from_yaml(values.text)
            files = loaded.render(given, name="demo", namespace="agents")
            alive |= {path for path, text in files.items() if text.strip()}
        templates = {f"{loaded.name}/{one['name']}" for one in loaded.templates}
    rendering = {path for path in templates if path.endswith(".yaml")}
    assert rendering - alive == set(), "no file in helm/ci makes these render anything"


def test_versions_fit_together() -> None:
    metadata = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert metadata["version"] == metadata["appVersion"] == bridge.__version__


def test_the_test_runs_where_bridges_run(render: Render) -> None:
    given = {
        "nodeSelector": {"agents": "yes"},
        "tolerations": [{"key": "agents", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
    }
    found = [pod for pod in pods(render(text_of(given))) if "agent-event-bridge" in pod.where]
    assert len(found) == 2
    for pod in found:
        assert {name: pod.spec[name] for name in given} == given, pod.where
