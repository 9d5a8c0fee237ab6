"""What `helm install` prints in the end is so."""

import re
from pathlib import Path

from tests.chart.conftest import Render
from tests.support.helm import notes
from tests.support.manifests import where


def test_the_test_that_is_named_is_there(chart: Path, render: Render) -> None:
    """It is named because the NATS chart has one too, which fails with this one's users."""
    [name] = re.findall(r"helm -n agents test demo --filter name=(\S+)", notes(chart))
    assert f"Pod/{name}" in {where(one) for one in render("")}
