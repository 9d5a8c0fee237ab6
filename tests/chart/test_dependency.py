"""The NATS chart, which Helm wants to find even where it is not to be installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.helm import CHART, HELM, HELMS, Helm3, HelmRefused, text_of
from tests.support.manifests import where
from tests.support.readme import blocks

NATS = {"enabled": False}
OWN = text_of({"nats": NATS, "externalNats": {"urls": "nats://one"}})


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The chart as it is in a checkout, with nothing in charts/."""
    ignored = shutil.ignore_patterns("charts", "Chart.lock")
    return Path(shutil.copytree(CHART, tmp_path / "helm", ignore=ignored))


@pytest.mark.parametrize("command", ["install", "upgrade", "template", "package"])
def test_the_option_that_fetches_it_is_one_of_every_command(command: str) -> None:
    told = subprocess.run([HELM, command, "--help"], capture_output=True, text=True, check=True)
    assert "--dependency-update" in told.stdout


def test_helm_refuses_the_chart_without_it(bare: Path) -> None:
    """Before it reads any value; if this fails some day, README.md can be shorter."""
    with pytest.raises(HelmRefused, match="missing in charts/ directory: nats"):
        Helm3().template(bare, OWN)


def test_an_empty_chart_does_for_a_nats_of_ones_own(bare: Path) -> None:
    (block,) = [one for one in blocks(CHART / "README.md") if "helm/charts/nats" in one.text]
    subprocess.run(["bash", "-euc", block.text], check=True, cwd=bare.parent)
    for helm in HELMS.values():
        made = {where(one) for one in helm.template(bare, OWN)}
        assert "Deployment/demo-agent-event-bridge" in made
        with pytest.raises(HelmRefused, match=r"charts/nats is an empty chart.*nats\.enabled"):
            helm.template(bare)
