"""NetworkPolicies let through what the chart's pods need, and nobody who is not named."""

from typing import Any

import pytest

from tests.chart.conftest import Render
from tests.support.helm import text_of
from tests.support.manifests import Object, of_kind
from tests.support.manifests.selectors import selects

JWKS: dict[str, Any] = {"settings": {"jwt_algorithm": "RS256"}}


def policies(render: Render, values: dict[str, Any], **policy: Any) -> list[Object]:
    on = {"networkPolicy": {"enabled": True} | policy}
    return of_kind(render(text_of(values | on)), "NetworkPolicy")


def let_out(policy: Object) -> set[int]:
    """Give the ports that any host may be asked at."""
    rules = [rule for rule in policy["spec"]["egress"] if "to" not in rule]
    return {port["port"] for rule in rules for port in rule["ports"]} - {53}


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        (["nats://one"], {4222}),
        (["nats://one:4333/", "tls://[fd00::1]:4444", "two/"], {4333, 4444, 4222}),
        ("nats://one:4333/, nats://two:4334", {4333, 4334}),
    ],
)
def test_bridges_reach_nats(urls: Any, expected: set[int], render: Render) -> None:
    (policy,) = policies(render, {"nats": {"enabled": False}, "externalNats": {"urls": urls}})
    assert let_out(policy) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://id.example.org/jwks", 443),
        ("http://id.example.org/jwks", 80),
        ("https://id.example.org:8443/jwks:1", 8443),
    ],
)
def test_bridges_reach_the_keys_of_tokens(url: str, expected: int, render: Render) -> None:
    policy, _ = policies(render, JWKS | {"auth": {"jwks": {"url": url}}})
    assert let_out(policy) == {expected}


@pytest.mark.parametrize("admitted", [[], [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]])
def test_the_test_pod_and_who_is_named_may_call(admitted: list[Object], render: Render) -> None:
    """A rule with an empty list of peers is one for everybody."""
    policy, _ = policies(render, {}, **{"from": admitted})
    ((own, *others),) = [rule["from"] for rule in policy["spec"]["ingress"]]
    (test,) = of_kind(render(""), "Pod")
    assert selects(own["podSelector"], test["metadata"]["labels"])
    assert others == admitted


def test_more_of_nats_can_be_opened(render: Render) -> None:
    rule = {"from": [{"podSelector": {}}], "ports": [{"port": 7777}]}
    bridges, nats = policies(render, {}, natsExtraIngress=[rule])
    assert rule in nats["spec"]["ingress"]
    assert rule not in bridges["spec"]["ingress"]
