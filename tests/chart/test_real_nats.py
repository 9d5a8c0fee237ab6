"""With the NATS chart itself, of which the others see a stand-in; NATS_CHART names its folder."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.test_helm_test import OWN, hooks
from tests.chart.test_manifests import CHECKS
from tests.chart.test_nats_tls import ON, SECRET, box, taken
from tests.chart.valuesets import SETS, ValueSet, in_turn
from tests.support.helm import CHART, HELM, HELMS, text_of
from tests.support.manifests import (
    Object,
    at,
    faults,
    of_kind,
    pods,
    references,
    schemas,
    where,
    workloads,
)

SERVERS = "StatefulSet/demo-nats"
HELD_TO = [check for check in CHECKS if check is not workloads.disruption]
"""A budget before a single server is one that lets it go."""


def the(objects: list[Object], name: str) -> Any:
    (found,) = [one for one in objects if where(one) == name]
    return found


def test_it_is_the_one_that_the_chart_depends_on(real_chart: Path) -> None:
    (wanted,) = yaml.safe_load((CHART / "Chart.yaml").read_text())["dependencies"]
    found = yaml.safe_load((real_chart / "charts" / "nats" / "Chart.yaml").read_text())
    assert (found["name"], found["version"]) == (wanted["name"], wanted["version"])


@pytest.mark.parametrize(("values", "helm"), in_turn(SETS, HELMS), ids=str)
def test_it_runs_well(values: ValueSet, helm: str, real_chart: Path) -> None:
    objects = HELMS[helm].template(real_chart, values.text)
    assert faults(HELD_TO, objects) == {}
    assert list(references.resolved(values.external, objects)) == []
    for version in schemas.versions():
        assert list(schemas.valid(version, objects)) == []


@pytest.mark.parametrize("values", SETS, ids=str)
def test_helm_has_nothing_to_say(values: ValueSet, real_chart: Path) -> None:
    """Where a map stands in the place of a list, it warns at each render."""
    told = subprocess.run(
        [HELM, "template", "demo", str(real_chart), "-f", "-"],
        input=values.text, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stderr == ""


@pytest.mark.parametrize("helm", HELMS)
def test_a_restart_by_hand_outlives_the_next_upgrade(helm: str, real_chart: Path) -> None:
    """`annotations: null` takes away what `kubectl rollout restart` has put there."""
    servers = the(HELMS[helm].template(real_chart), SERVERS)
    assert servers["spec"]["template"]["metadata"]["annotations"] == {}


@pytest.mark.parametrize("helm", HELMS)
def test_its_own_test_is_left_out(helm: str, real_chart: Path) -> None:
    assert hooks(HELMS[helm].template(real_chart)) == [OWN]


@pytest.mark.parametrize("helm", HELMS)
def test_it_serves_tls(helm: str, real_chart: Path) -> None:
    objects = HELMS[helm].template(real_chart, ON)
    configuration = the(objects, "ConfigMap/demo-nats-config")["data"]["nats.conf"]
    assert '"cert_file": "/etc/nats-certs/nats/tls.crt"' in configuration
    (servers,) = [pod for pod in pods(objects) if pod.where == SERVERS]
    assert taken(servers) == {"*"}
    assert taken(box(objects)) == {"ca.crt"}
    contexts = the(objects, "Secret/demo-nats-box-contexts")["stringData"]
    mounted = at(box(objects).spec["containers"][0], "volumeMounts", [])
    (folder,) = [one["mountPath"] for one in mounted if one["name"] == "ca"]
    assert json.loads(contexts["default.json"])["ca"] == f"{folder}/ca.crt"
    assert SECRET not in str(HELMS[helm].template(real_chart))


@pytest.mark.parametrize("helm", HELMS)
def test_all_images_come_from_one_mirror(helm: str, real_chart: Path) -> None:
    shared = {"imageRegistry": "mirror.example.org/all", "imagePullSecrets": [{"name": "mirror"}]}
    values = {"global": shared, "nats": {"promExporter": {"enabled": True}}}
    found = list(pods(HELMS[helm].template(real_chart, text_of(values))))
    images = [one["image"] for pod in found for one in pod.containers]
    assert len(images) >= 6
    assert [one for one in images if not one.startswith("mirror.example.org/all/")] == []
    assert {str(pod.spec["imagePullSecrets"]) for pod in found} == {"[{'name': 'mirror'}]"}


def test_it_still_has_a_mirror_of_its_own(real_chart: Path) -> None:
    values = text_of(
        {"global": {"image": {"registry": "nats.example.org", "pullSecretNames": ["n"]}}}
    )
    (servers,) = of_kind(HELMS["helm3"].template(real_chart, values), "StatefulSet")
    spec = servers["spec"]["template"]["spec"]
    assert {one["image"].partition("/")[0] for one in spec["containers"]} == {"nats.example.org"}
    assert spec["imagePullSecrets"] == [{"name": "n"}]
