"""Values that are wrong are refused, in words that name what is wrong."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.chart.conftest import Render
from tests.chart.valuesets import in_turn
from tests.support.helm import CHART, HELMS, HelmRefused, text_of

NO_NATS: Any = {"enabled": False}

ONE_SERVER: Any = {"nats": {"config": {"cluster": {"enabled": False}}}}
ONE_MILLION: Any = {"nats": {"config": {"merge": {"max_payload": 1_000_000}}}}

NO_LABELS = {"agent-event-bridge/inject": None}
"""Takes the default away: the policy would be for every pod."""

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"nonsense": 1}, "nonsense"),
    ({"replicas": 3}, "replicas"),
    ({"replicaCount": "two"}, "replicaCount"),
    ({"replicaCount": -1}, "replicaCount"),
    ({"replicaCount": 1.5}, "replicaCount"),
    ({"image": {"repository": ""}}, "repository"),
    ({"ingress": {"hosts": [""]}}, "hosts"),
    ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    ({"image": {"digest": "abc"}}, "digest"),
    ({"image": {"tag": 1.0}}, "tag"),
    ({"image": {"name": "bridge"}}, "name"),
    ({"imagePullSecrets": ["registry"]}, "imagePullSecrets"),
    ({"containerPort": 0}, "containerPort"),
    ({"containerPort": 65_536}, "containerPort"),
    ({"service": {"port": 0}}, "port"),
    ({"service": {"port": "3001"}}, "port"),
    ({"service": {"type": "Public"}}, "type"),
    ({"settings": {"jwt_secret": "s" * 64}}, "auth.existingSecret"),
    ({"settings": {"nats_password": "secret"}}, "externalNats.passwordKey"),
    ({"settings": {"log_levle": "debug"}}, "log_levle"),
    ({"settings": {"logLevel": "debug"}}, "logLevel"),
    ({"settings": {"log_level": "loud"}}, "log_level"),
    ({"settings": {"max_event_bytes": 10}}, "max_event_bytes"),
    ({"settings": {"drain_seconds": "soon"}}, "drain_seconds"),
    ({"settings": {"stream_replicas": 6}}, "stream_replicas"),
    ({"settings": {"stream_replicas": 5}}, "nats.config.cluster.replicas"),
    ({"settings": {"stream_replicas": 3}} | ONE_SERVER, "nats.config.cluster.enabled"),
    ({"settings": {"max_event_bytes": 2_000_000}}, "nats.config.merge.max_payload"),
    ({"settings": {"max_event_bytes": 2_000_000}} | ONE_MILLION, "max_payload"),
    ({"settings": {"stream": "a.b"}}, "stream"),
    ({"settings": {"host": "127.0.0.1"}}, "host"),
    ({"settings": {"jwt_algorithm": "none"}}, "jwt_algorithm"),
    ({"settings": {"jwt_algorithm": "RS256"}}, "auth.publicKey"),
    ({"catalog": {"topic": {}}}, "topic"),
    ({"catalog": {"eventTypes": []}}, "eventTypes"),
    ({"catalog": {"topics": {"a b": {}}}}, "a b"),
    ({"settings": {"nats_nonsense": 1}}, "nats_nonsense"),
    ({"auth": {"secret": "s"}}, "secret"),
    ({"nats": NO_NATS}, "externalNats.urls"),
    ({"externalNats": {"urls": ["nats://one"]}}, "nats.enabled"),
    ({"nats": NO_NATS, "externalNats": {"urls": ["http://one"]}}, "urls"),
    (
        {"nats": NO_NATS, "externalNats": {"urls": ["nats://a:b@one"]}},
        "externalNats.existingSecret",
    ),
    ({"nats": {"enabled": "yes"}}, "enabled"),
    ({"nats": {"namespaceOverride": "elsewhere"}}, "externalNats.urls"),
    ({"ingress": {"enabled": True}}, "hosts"),
    ({"ingress": {"hosts": [{"hosts": "a.example.org"}]}}, "hosts"),
    ({"ingress": {"hosts": [{"host": "a", "paths": [{"type": "Prefix"}]}]}}, "hosts"),
    ({"ingress": {"paths": ["api"]}}, "paths"),
    ({"httpRoute": {"paths": []}}, "paths"),
    ({"image": {"registry": "registry.example.org/"}}, "registry"),
    ({"global": {"imageRegistry": " "}}, "imageRegistry"),
    ({"global": {"imagePullSecrets": ["registry"]}}, "imagePullSecrets"),
    ({"internalPort": -1}, "internalPort"),
    ({"internalPort": 3001}, "internalPort and containerPort are both 3001"),
    ({"service": {"nodePort": 30301}}, "set service.type"),
    ({"service": {"externalTrafficPolicy": "Local"}}, "set service.type"),
    ({"service": {"type": "NodePort", "loadBalancerIP": "192.0.2.1"}}, "set service.type"),
    ({"service": {"loadBalancerClass": "a/b"}}, "service.loadBalancerClass"),
    ({"service": {"loadBalancerSourceRanges": ["192.0.2.0/24"]}}, "to LoadBalancer"),
    ({"service": {"loadBalancerSourceRanges": ["192.0.2.1"]}}, "loadBalancerSourceRanges"),
    ({"service": {"externalTrafficPolicy": "local"}}, "externalTrafficPolicy"),
    ({"service": {"ipFamilies": ["ipv6"]}}, "ipFamilies"),
    ({"service": {"ipFamilyPolicy": "DualStack"}}, "ipFamilyPolicy"),
    ({"deployment": {"strategy": {"type": "Recreate"}}}, "deployment.strategy.rollingUpdate"),
    ({"deployment": {"strategy": {"maxSurge": 1}}}, "maxSurge"),
    ({"hostAliases": [{"hostnames": ["a"]}]}, "hostAliases"),
    ({"dnsPolicy": "none"}, "dnsPolicy"),
    ({"dnsConfig": {"nameserver": []}}, "nameserver"),
    ({"extraEnvFrom": [{"secret": {"name": "a"}}]}, "extraEnvFrom"),
    ({"initContainers": [{"image": "a"}]}, "initContainers"),
    ({"extraContainers": {"a": {}}}, "extraContainers"),
    ({"tests": {"hookDeletePolicy": "always"}}, "hookDeletePolicy"),
    ({"nats": {"config": {"nats": {"tls": {"enabled": True}}}}}, "nats.config.nats.tls.secretName"),
    ({"httpRoute": {"enabled": True}}, "parentRefs"),
    ({"autoscaling": {"enabled": True, "minReplicas": 5, "maxReplicas": 2}}, "maxReplicas"),
    ({"autoscaling": {"targetCPU": 5}}, "targetCPU"),
    (
        {"autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}}},
        "resources.requests.cpu",
    ),
    (
        {
            "autoscaling": {"enabled": True, "targetMemoryUtilizationPercentage": 80},
            "resources": {"requests": {"memory": None}, "limits": {"memory": None}},
        },
        "resources.requests.memory",
    ),
    (
        {"autoscaling": {"enabled": True, "targetCPUUtilizationPercentage": None}},
        "autoscaling.targetCPUUtilizationPercentage",
    ),
    ({"livenessProbe": {"successThreshold": 2}}, "successThreshold"),
    ({"startupProbe": {"successThreshold": 2}}, "successThreshold"),
    ({"startupProbe": {"periodSeconds": 0}}, "periodSeconds"),
    ({"livenessProbe": {"terminationGracePeriodSeconds": 0}}, "terminationGracePeriodSeconds"),
    ({"readinessProbe": {"terminationGracePeriodSeconds": 9}}, "terminationGracePeriodSeconds"),
    ({"podDisruptionBudget": {"minAvailable": 1}}, "minAvailable"),
    (
        {"podDisruptionBudget": {"unhealthyPodEvictionPolicy": "Never"}},
        "unhealthyPodEvictionPolicy",
    ),
    ({"securityContext": []}, "securityContext"),
    ({"preStopSeconds": -1}, "preStopSeconds"),
    ({"extraEnv": {"A": "b"}}, "extraEnv"),
    ({"extraEnv": [{"name": "BRIDGE_JWT_SECRET", "value": "s"}]}, "BRIDGE_JWT_SECRET"),
    ({"monitoring": {"serviceMonitor": {"enabled": "true"}}}, "enabled"),
    ({"monitoring": {"serviceMonitors": {}}}, "serviceMonitors"),
    ({"monitoring": {"prometheusRule": {"thresholds": {"errorRatio": "1%"}}}}, "errorRatio"),
    (
        {"deployment": {"enabled": False}, "ingress": {"enabled": True, "hosts": ["a"]}},
        "deployment",
    ),
    (
        {"deployment": {"enabled": False}, "monitoring": {"prometheusRule": {"enabled": True}}},
        "monitoring.prometheusRule.job",
    ),
    ({"mutatingAdmissionPolicy": {"enabled": True, "podLabels": NO_LABELS}}, "podLabels"),
    ({"tests": {"enabled": 1}}, "enabled"),
]


@pytest.mark.parametrize(
    ("helm", "values", "said"),
    [(helm, *wrong) for wrong, helm in in_turn(WRONG, HELMS)],
    ids=[json.dumps(one[0]) for one in WRONG],
)
def test_it_is_refused(helm: str, values: dict[str, Any], said: str, render: Render) -> None:
    """By one Helm each: every keyword of the schema, and `fail`, is tried with either."""
    with pytest.raises(HelmRefused) as refused:
        render(text_of(values), helm=helm)
    assert said in str(refused.value)


def test_the_schema_is_one() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert [error.message for error in kind(schema).iter_errors(values)] == []


def test_every_part_of_the_schema_is_closed_or_left_open_on_purpose() -> None:
    """A part that has `properties` and takes others too would let a slip of the pen pass."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    shared = (".nats", ".global")
    open_parts = [path for path in opened(schema, "") if not path.startswith(shared)]
    assert open_parts == []


def opened(schema: Any, path: str) -> list[str]:
    if not isinstance(schema, dict):
        return []
    found = []
    if "properties" in schema and schema.get("additionalProperties") is not False:
        found.append(path or ".")
    for name, part in (schema.get("properties") or {}).items():
        found += opened(part, f"{path}.{name}")
    return found


def test_the_schema_knows_every_value(chart: Path) -> None:
    schema = json.loads((chart / "values.schema.json").read_text())
    values = yaml.safe_load((chart / "values.yaml").read_text())
    assert set(values) <= set(schema["properties"])
