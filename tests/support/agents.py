"""Agents: clients of a bridge with a token of their own."""

import time
import uuid
from collections.abc import Iterable
from typing import Any, Self

import httpx
import jwt

from tests.support.bridges import SECRET

Json = dict[str, Any]

ANSWER_SECONDS = 60.0
"""How much longer than its own timeout a wait may take, on a busy machine."""


def make_token(
    agent: str = "agent-1", *, secret: str = SECRET, algorithm: str = "HS256", **claims: Any
) -> str:
    """Sign a token with the tests' secret; a claim given as None is left out."""
    given = {"sub": agent, "exp": int(time.time()) + 3600, "iat": int(time.time()), **claims}
    kept = {key: value for key, value in given.items() if value is not None}
    return jwt.encode(kept, secret, algorithm=algorithm)


class Agent:
    """One agent of a project, on one bridge."""

    def __init__(self, url: str, name: str, project: str, **claims: Any) -> None:
        self.name = name
        self.project = project
        self.token = make_token(name, project_id=project, **claims)
        self.http = httpx.Client(
            base_url=f"{url}/api",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=ANSWER_SECONDS,
        )

    def publish(self, event_type: str, data: Json | None = None, **fields: Any) -> Json:
        """Publish and expect it to be taken."""
        answer = self.http.post(f"/events/{event_type}", json={"data": data or {}, **fields})
        assert answer.status_code == 202, answer.text
        receipt: Json = answer.json()
        return receipt

    def publish_many(self, events: Iterable[Json]) -> list[Json]:
        answer = self.http.post("/events", json=list(events))
        assert answer.status_code == 202, answer.text
        receipts: list[Json] = answer.json()
        return receipts

    def wait(self, types: str = "", *, timeout: float = 0, **query: Any) -> Json:
        """Wait, with the timeout in seconds, and expect an answer."""
        path = f"/events/wait/{types}" if types else "/events/wait"
        asked = {"timeout": round(timeout * 1000), **query}
        answer = self.http.get(path, params=asked, timeout=timeout + ANSWER_SECONDS)
        assert answer.status_code == 200, answer.text
        batch: Json = answer.json()
        return batch

    def events(self, types: str = "", *, timeout: float = 0, **query: Any) -> list[Json]:
        found: list[Json] = self.wait(types, timeout=timeout, **query)["events"]
        return found

    def history(self, **query: Any) -> Json:
        answer = self.http.get("/events", params=query)
        assert answer.status_code == 200, answer.text
        page: Json = answer.json()
        return page

    def subscriptions(self) -> list[Json]:
        answer = self.http.get("/subscriptions")
        assert answer.status_code == 200, answer.text
        found: list[Json] = answer.json()["subscriptions"]
        return found

    def close(self) -> None:
        self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Agents:
    """Makes agents of one project that no other test uses, and closes them at the end."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.project = f"p-{uuid.uuid4().hex[:12]}"
        self._made: list[Agent] = []

    def __call__(self, name: str = "agent-1", *, url: str | None = None, **claims: Any) -> Agent:
        claims.setdefault("project_id", self.project)
        project = claims.pop("project_id")
        agent = Agent(url or self.url, name, project, **claims)
        self._made.append(agent)
        return agent

    def close(self) -> None:
        for agent in self._made:
            agent.close()
