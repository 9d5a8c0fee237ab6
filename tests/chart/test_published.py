"""What an Ingress or a Gateway lets the world reach, and for how long."""

from typing import Any

import pytest

from tests.chart.conftest import Render
from tests.support.helm import text_of
from tests.support.manifests import at, of_kind

READ_TIMEOUT = "nginx.ingress.kubernetes.io/proxy-read-timeout"


@pytest.mark.parametrize(("values", "expected"), [({}, "/api"), ({"path": "/"}, "/")])
def test_metrics_are_published_only_if_asked_for(
    values: dict[str, Any], expected: str, render: Render
) -> None:
    ingress = values | {"enabled": True, "hosts": ["bridge.example.org"]}
    route = values | {"enabled": True, "parentRefs": [{"name": "public"}]}
    objects = render(text_of({"ingress": ingress, "httpRoute": route}))
    (made,) = of_kind(objects, "Ingress")
    assert [path["path"] for path in made["spec"]["rules"][0]["http"]["paths"]] == [expected]
    (made,) = of_kind(objects, "HTTPRoute")
    (match,) = made["spec"]["rules"][0]["matches"]
    assert match["path"] == {"type": "PathPrefix", "value": expected}


@pytest.mark.parametrize(("given", "expected"), [({}, "330"), ({READ_TIMEOUT: "60"}, "60")])
def test_a_wait_is_not_cut(given: dict[str, str], expected: str, render: Render) -> None:
    ingress = {"enabled": True, "hosts": ["bridge.example.org"], "annotations": given}
    (made,) = of_kind(render(text_of({"ingress": ingress})), "Ingress")
    assert at(made, "metadata.annotations") == {READ_TIMEOUT: expected}
