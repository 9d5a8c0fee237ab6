#!/usr/bin/env python3
# ruff: noqa: T201 - what it saw is its output
"""One of the agents that the guide's coordinator works with; its role is the argument.

It answers each event of the type that its role hears with the role's own, under the same
correlation ID, until the deployment is complete (a second argument says how many are awaited).
"""

import os
import sys
from typing import Any

import httpx

LAST = "deployment_complete"

Reply = tuple[str, str, dict[str, Any]]
ROLES: dict[str, tuple[str, Reply]] = {
    "python-specialist": (
        "architecture_defined",
        (
            "agent_completed",
            "coordination",
            {"agent_type": "python-specialist", "status": "success"},
        ),
    ),
    "test-engineer": (
        "implementation_complete",
        ("tests_passing", "testing", {"coverage": 94.5, "duration_ms": 1200}),
    ),
    "security-auditor": (
        "implementation_complete",
        ("security_audit_complete", "security", {"issues": [], "severity": "none"}),
    ),
    "devops-engineer": (
        "deployment_started",
        (LAST, "deployment", {"environment": "production", "url": "https://example.com"}),
    ),
}


def main(role: str, deployments: int = 1) -> None:
    """Work until so many deployments are complete."""
    hears, (event_type, topic, data) = ROLES[role]
    url = os.environ["SIDECAR_URL"]
    headers = {"Authorization": f"Bearer {os.environ['JWT_TOKEN']}"}
    complete: set[str] = set()
    while len(complete) < deployments:
        answer = httpx.get(
            f"{url}/events/wait/{hears},{LAST}",
            params={"timeout": 30000},
            headers=headers,
            timeout=35,
        )
        answer.raise_for_status()
        for event in answer.json()["events"]:
            print(f"Seen: {event['event_id']} {event['event_type']} {event['delivery_count']}")
            if event["event_type"] == hears:
                body = {"topic": topic, "correlation_id": event["correlation_id"], "data": data}
                httpx.post(
                    f"{url}/events/{event_type}", json=body, headers=headers
                ).raise_for_status()
            if event["event_type"] == LAST:
                complete.add(event["event_id"])


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
