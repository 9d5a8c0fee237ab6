"""`helm test` runs the chart's own test and no other, and its pod goes when it has been read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chart.conftest import Render
from tests.support import Agents
from tests.support.bridges import SECRET
from tests.support.helm import CHART, HELMS, text_of, with_dependency
from tests.support.manifests import Object, at, where

OTHER = Path("templates") / "tests" / "request-reply.yaml"
"""The NATS chart's file with a test of its own."""
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "other-test", "annotations": {"helm.sh/hook": "test"}},
}
OWN = "Pod/demo-agent-event-bridge-test"


def hooks(objects: list[Object]) -> list[str]:
    return [where(one) for one in objects if "helm.sh/hook" in at(one, "metadata.annotations", {})]


@pytest.mark.parametrize("helm", HELMS)
def test_that_of_nats_is_left_out(helm: str, chart: Path, tmp_path: Path) -> None:
    nats = tmp_path / "nats"
    (nats / OTHER).parent.mkdir(parents=True)
    (nats / OTHER).write_text(text_of(POD))
    copy = with_dependency(chart, tmp_path, "nats", nats)
    assert (copy / "charts" / "nats" / OTHER).exists()
    assert hooks(HELMS[helm].template(copy)) == [OWN]


@pytest.mark.parametrize(
    ("helm", "given", "expected"),
    [
        ("helm3", "", "before-hook-creation"),
        ("helm4", "", "before-hook-creation,hook-succeeded"),
        ("helm3", "hook-succeeded", "hook-succeeded"),
        ("helm4", "before-hook-creation", "before-hook-creation"),
    ],
)
def test_its_pod_is_deleted_once_helm_has_read_its_log(
    helm: str, given: str, expected: str, render: Render
) -> None:
    """Helm 3 deletes first: `helm test --logs` would fail, and there would be no log."""
    objects = render(text_of({"tests": {"hookDeletePolicy": given}}), helm=helm)
    (pod,) = [one for one in objects if where(one) == OWN]
    assert pod["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == expected


def test_what_it_runs_sends_an_event_and_gets_it_back(agents: Agents) -> None:
    """With a token that it signs itself, as in a release that has the secret."""
    script = CHART / "files" / "publish_and_wait.py"
    given = {"SIDECAR_URL": f"{agents.url}/api", "BRIDGE_JWT_SECRET": SECRET}
    ended = subprocess.run(
        [sys.executable, script],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("published and received ")
