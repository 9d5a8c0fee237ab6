#!/usr/bin/env python3
# ruff: noqa: T201 - this is the guide's program, which prints
"""The Event System Guide's "Complete Workflow Example", with httpx for requests."""

import os
import uuid
from typing import Any

import httpx


class AgentCoordinator:
    """Leads one workflow; every event of it carries the same correlation ID."""

    def __init__(self, sidecar_url: str, jwt_token: str) -> None:
        self.sidecar_url = sidecar_url
        self.headers = {"Authorization": f"Bearer {jwt_token}"}
        self.correlation_id = str(uuid.uuid4())

    def publish_event(self, event_type: str, topic: str, data: dict[str, Any]) -> str:
        """Publish event."""
        event_data = {
            "event_type": event_type,
            "publisher": "coordinator",
            "topic": topic,
            "correlation_id": self.correlation_id,
            "data": data,
        }
        response = httpx.post(
            f"{self.sidecar_url}/events/{event_type}", json=event_data, headers=self.headers
        )
        response.raise_for_status()
        event_id: str = response.json()["event_id"]
        return event_id

    def wait_for_event(
        self, event_type: str, filter_expr: str | None = None, timeout: int = 30000
    ) -> list[dict[str, Any]]:
        """Wait for event, `timeout` in milliseconds."""
        params: dict[str, str | int] = {"timeout": timeout}
        if filter_expr:
            params["filter"] = filter_expr
        response = httpx.get(
            f"{self.sidecar_url}/events/wait/{event_type}",
            params=params,
            headers=self.headers,
            timeout=timeout / 1000 + 5,
        )
        events: list[dict[str, Any]] = response.json().get("events", [])
        for event in events:
            print(f"Seen: {event['event_id']} {event['event_type']} {event['delivery_count']}")
        return events

    def coordinate_workflow(self) -> None:
        """Coordinate complete workflow."""
        print("Starting workflow...")

        print("\n=== Phase 1: Architecture ===")
        self.publish_event(
            "architecture_defined",
            "architecture",
            {"design": "microservices", "services": ["api", "worker", "database"]},
        )
        events = self.wait_for_event(
            "agent_completed",
            filter_expr=f"agent_type:python-specialist,correlation_id:{self.correlation_id}",
        )
        if not events:
            print("Architecture phase timeout")
            return

        print("\n=== Phase 2: Implementation ===")
        self.publish_event(
            "implementation_complete",
            "implementation",
            {"files_changed": 5, "next_phase": "testing"},
        )
        events = self.wait_for_event(
            "tests_passing", filter_expr=f"correlation_id:{self.correlation_id}", timeout=60000
        )
        if not events:
            print("Testing phase timeout")
            return
        test_results = events[0]["data"]
        print(f"Tests passing: {test_results['coverage']}% coverage")

        print("\n=== Phase 3: Security ===")
        events = self.wait_for_event(
            "security_audit_complete",
            filter_expr=f"correlation_id:{self.correlation_id}",
            timeout=60000,
        )
        if not events:
            print("Security phase timeout")
            return
        security_results = events[0]["data"]
        if security_results["issues"]:
            print(f"Security issues found: {security_results['issues']}")
            return

        print("\n=== Phase 4: Deployment ===")
        self.publish_event("deployment_started", "deployment", {"environment": "production"})
        events = self.wait_for_event(
            "deployment_complete",
            filter_expr=f"correlation_id:{self.correlation_id}",
            timeout=120000,
        )
        if events:
            print("Workflow complete!")
        else:
            print("Deployment timeout")


if __name__ == "__main__":
    AgentCoordinator(
        sidecar_url=os.environ["SIDECAR_URL"], jwt_token=os.environ["JWT_TOKEN"]
    ).coordinate_workflow()
