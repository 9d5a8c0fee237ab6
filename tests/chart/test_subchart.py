"""The chart as a part of another: switched on and off, and as a sidecar in its parent's pods."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import bridge
from tests.chart.starting import Load, bridges
from tests.chart.valuesets import in_turn
from tests.support.helm import HELMS, Helm, HelmRefused, text_of
from tests.support.manifests import (
    Check,
    Object,
    faults,
    mounts,
    names,
    ports,
    references,
    resources,
    restricted,
    schemas,
    selectors,
    where,
)

NAME = "agent-event-bridge"
DEPENDENCY = {
    "name": NAME,
    "version": bridge.__version__,
    "repository": f"file://../{NAME}",
    "condition": f"{NAME}.enabled",
}
AGENTS = """
{{- with (index .Subcharts "agent-event-bridge") }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $.Release.Name }}-agents
  labels: &labels
    app.kubernetes.io/name: agents
    app.kubernetes.io/instance: {{ $.Release.Name }}
    app.kubernetes.io/managed-by: Helm
spec:
  selector:
    matchLabels: *labels
  template:
    metadata:
      labels: *labels
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      initContainers:
        {{- include "agent-event-bridge.sidecar" . | nindent 8 }}
      containers:
        - name: agent
          image: registry.example.org/agent:1
          resources:
            requests: {cpu: 10m, memory: 16Mi}
            limits: {memory: 16Mi}
          securityContext:
            runAsNonRoot: true
            allowPrivilegeEscalation: false
            capabilities: {drop: [ALL]}
            seccompProfile: {type: RuntimeDefault}
      volumes:
        {{- include "agent-event-bridge.volumes" . | nindent 8 }}
{{- end }}
"""
SIDECARS_ONLY = {NAME: {"deployment": {"enabled": False}}, "global": {"team": "agents"}}


@pytest.fixture(scope="module", params=in_turn(("folder", "archive"), HELMS), ids="-".join)
def form(request: pytest.FixtureRequest) -> tuple[str, str]:
    """How the chart is in its parent, and which Helm reads it."""
    found: tuple[str, str] = request.param
    return found


@pytest.fixture(scope="module")
def parent(form: tuple[str, str], chart: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chart of somebody else's that depends on this one, as a folder or packaged."""
    folder = tmp_path_factory.mktemp("parent")
    (folder / "charts").mkdir()
    (folder / "templates").mkdir()
    (folder / "templates" / "agents.yaml").write_text(AGENTS)
    about: dict[str, Any] = {"apiVersion": "v2", "name": "parent", "version": "1.0.0"}
    (folder / "Chart.yaml").write_text(yaml.safe_dump(about | {"dependencies": [DEPENDENCY]}))
    if form[0] == "folder":
        shutil.copytree(chart, folder / "charts" / NAME)
    else:
        HELMS["helm3"].package(chart, folder / "charts")
    return folder


@pytest.fixture(scope="module")
def helm(form: tuple[str, str]) -> Helm:
    return HELMS[form[1]]


@pytest.fixture(scope="module")
def objects(parent: Path, helm: Helm) -> list[Object]:
    """What the parent renders where there are sidecars alone; not to be changed."""
    return helm.template(parent, text_of(SIDECARS_ONLY))


def test_it_lints_within_its_parent(parent: Path, helm: Helm) -> None:
    assert helm.lint(parent, text_of({"global": {"team": "agents"}})) == []


def test_it_can_be_switched_off(parent: Path, helm: Helm) -> None:
    assert helm.template(parent, text_of({NAME: {"enabled": False}})) == []
    switched_on = helm.template(parent, text_of({NAME: {"enabled": True}}))
    assert "Deployment/demo-agent-event-bridge" in {where(one) for one in switched_on}


def test_it_takes_global_values(parent: Path, helm: Helm) -> None:
    objects = helm.template(parent, text_of({"global": {"imageRegistry": "registry.example.org"}}))
    (deployed,) = [one for one in objects if where(one) == "Deployment/demo-agent-event-bridge"]
    (container,) = deployed["spec"]["template"]["spec"]["containers"]
    assert container["image"].startswith("registry.example.org/agent-event-bridge:")


def test_its_own_values_are_still_checked(parent: Path, helm: Helm) -> None:
    with pytest.raises(HelmRefused, match="replicas"):
        helm.template(parent, text_of({NAME: {"replicas": 3}}))


def test_for_sidecars_alone_it_makes_what_they_mount(objects: list[Object]) -> None:
    found = {where(one) for one in objects}
    assert "ConfigMap/demo-agent-event-bridge" in found
    assert f"Service/demo-{NAME}" not in found
    assert f"Deployment/demo-{NAME}" not in found
    kinds = {name.partition("/")[0] for name in found}
    assert kinds & {"HorizontalPodAutoscaler", "PodDisruptionBudget", "Ingress", "Pod"} == set()


def test_a_pod_with_a_sidecar_runs_well(objects: list[Object]) -> None:
    checks: list[Check] = [
        names.unique, names.environment, names.nulls, ports.of_containers, ports.of_probes,
        resources.of_containers, selectors.of_workloads, mounts.of_pods, mounts.rotated,
        restricted.restricted,
    ]  # fmt: skip
    assert faults(checks, objects) == {}


def test_kubernetes_takes_a_pod_with_a_sidecar(objects: list[Object]) -> None:
    for version in schemas.versions():
        assert list(schemas.valid(version, objects)) == []


def test_a_sidecar_would_start(objects: list[Object], load: Load) -> None:
    (pod,) = bridges(objects)
    settings = load(objects, pod)
    assert where(pod.owner) == "Deployment/demo-agents"
    assert list(references.resolved(frozenset(), objects)) == []
    assert settings.nats_servers == ["nats://demo-nats.agents:4222"]
    assert settings.key_configured


def test_a_sidecar_starts_before_its_agent_and_ends_after(objects: list[Object]) -> None:
    (pod,) = bridges(objects)
    (sidecar,) = pod.spec["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert "startupProbe" in sidecar
    assert "readinessProbe" not in sidecar, "a bridge must not take its agent out of service"
