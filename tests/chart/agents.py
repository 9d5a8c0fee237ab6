"""A pod of an agent, as its people would write it: what gets a bridge as a sidecar."""

import copy
from typing import Any

from tests.support.manifests import Object

AGENT: Object = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "agent",
        "labels": {"app.kubernetes.io/name": "agent", "agent-event-bridge/inject": "true"},
    },
    "spec": {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [
            {
                "name": "agent",
                "image": "registry.example.org/agent:1",
                "securityContext": {
                    "runAsNonRoot": True,
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
            }
        ],
    },
}


def agent(**spec: Any) -> Object:
    """Give the agent's pod with more in its spec."""
    pod = copy.deepcopy(AGENT)
    pod["spec"] |= spec
    return pod
