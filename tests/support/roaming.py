"""An agent that knows several bridges, and goes to the next when one cannot serve it."""

from collections import Counter
from typing import Any, Self

import httpx

from tests.support.agents import make_token

READ_SECONDS = 15.0


class RoamingAgent:
    """One agent of a project at several bridges: it stays where it is served."""

    def __init__(self, urls: list[str], name: str, project: str, first: int = 0) -> None:
        self.troubles: Counter[str] = Counter()
        """What went wrong, for which it went to the next one."""
        self._at = first % len(urls)
        token = make_token(name, project_id=project)
        self._bridges = [
            httpx.Client(
                base_url=f"{url}/api",
                headers={"Authorization": f"Bearer {token}"},
                timeout=httpx.Timeout(READ_SECONDS, connect=3),
            )
            for url in urls
        ]

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response | None:
        """Post once; None if this bridge does not serve now, and the next one is to be tried."""
        return self._try("POST", path, json=body)

    def get(self, path: str, query: dict[str, Any]) -> httpx.Response | None:
        """Get once, as `post`."""
        return self._try("GET", path, params=query)

    def _try(self, method: str, path: str, **content: Any) -> httpx.Response | None:
        try:
            answer = self._bridges[self._at].request(method, path, **content)
        except httpx.TransportError as error:
            trouble = type(error).__name__
        else:
            if answer.status_code != 503:
                return answer
            trouble = "503"
        self.troubles[trouble] += 1
        self._at = (self._at + 1) % len(self._bridges)
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for bridge in self._bridges:
            bridge.close()
