"""Objects of kinds that others add to Kubernetes: the Gateway API, the Prometheus operator."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.chart.spoiling import GONE, sample, spoilt
from tests.support.manifests import Check, Object, added, faults

VALID = partial(added.valid, Path(__file__).with_name("crds"))
CHECKS: list[Check] = [added.well_formed, added.scraped, VALID]
SPOILT: list[tuple[Check, str, str, Any, str]] = [
    (added.well_formed, "HTTPRoute/shop", "apiVersion", "gateway.networking.k8s.io/v1beta1", "not"),
    (added.well_formed, "HTTPRoute/shop", "spec/parentRefs", [], "no spec.parentRefs"),
    (added.well_formed, "HTTPRoute/shop", "spec/hosts", [], "there is no spec.hosts"),
    (added.well_formed, "ServiceMonitor/shop", "spec/endpoints", GONE, "no spec.endpoints"),
    (added.well_formed, "PrometheusRule/shop", "spec/rules", [], "there is no spec.rules"),
    (added.scraped, "ServiceMonitor/shop", "spec/endpoints/0/port", "web", "no port 'web'"),
    (added.scraped, "ServiceMonitor/shop", "spec/selector", {}, "selects no Service"),
    (added.scraped, "Service/shop", "metadata/labels", {}, "selects no Service"),
]


def test_they_are_well_formed_and_what_their_schemas_say(objects: list[Object]) -> None:
    assert faults(CHECKS, objects) == {}


def test_good_ones_pass() -> None:
    assert faults(CHECKS, sample()) == {}


@pytest.mark.parametrize(("check", "name", "path", "value", "said"), SPOILT)
def test_spoilt_ones_are_refused(check: Check, name: str, path: str, value: Any, said: str) -> None:
    problems = list(check(spoilt(name, path, value)))
    assert any(said in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("name", "path", "value", "said"),
    [
        ("HTTPRoute/shop", "spec/rules/0/backendRefs/0/port", "http", "$.spec.rules[0]"),
        ("ServiceMonitor/shop", "spec/endpoints/0/intervall", "5s", "intervall"),
        ("ServiceMonitor/shop", "specs", {}, "specs"),
        ("PrometheusRule/shop", "spec/groups/0/rules/0/exp", "1", "exp"),
    ],
)
def test_schemas_refuse_more(name: str, path: str, value: Any, said: str) -> None:
    problems = list(VALID(spoilt(name, path, value)))
    assert any(said in problem for problem in problems), problems
