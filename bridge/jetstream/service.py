"""The bridge as a NATS micro service, for `nats service ls`, `info` and `stats`.

What it serves is HTTP; the service protocol (NATS ADR-32) makes each bridge findable over NATS, and
its statistics are those of the HTTP endpoints. Every endpoint also answers a request itself, with
the same numbers, under `$SRV.HTTP.agent-event-bridge.<endpoint>`: control subjects, so that the
bridge's NATS user needs no right but to hear `$SRV.PING`, `$SRV.INFO`, `$SRV.STATS`,
`$SRV.*.agent-event-bridge` and `$SRV.*.agent-event-bridge.*`, and to answer (helm/nats-user.conf).
"""

import json
from dataclasses import dataclass, field
from typing import Any

from nats.aio.client import Client
from nats.micro import add_service
from nats.micro.request import Request
from nats.micro.service import EndpointStats

from bridge import __version__
from bridge.request_counts import ENDPOINTS, RequestCounts

NAME = "agent-event-bridge"
_SUBJECT = f"$SRV.HTTP.{NAME}"
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class Registration:
    """What NATS is told of this bridge: its traffic, and a few words on where and what it is."""

    traffic: RequestCounts
    metadata: dict[str, str] = field(default_factory=dict)

    async def attach(self, client: Client) -> None:
        """Register on a new connection; the registration ends with it."""
        service = await add_service(
            client,
            name=NAME,
            version=__version__,
            description="Agents publish events and wait for them over HTTP",
            metadata=self.metadata,
            stats_handler=self._fill,
        )
        for endpoint in ENDPOINTS:
            await service.add_endpoint(
                name=endpoint, subject=f"{_SUBJECT}.{endpoint}", handler=self._answer
            )

    def _fill(self, stats: EndpointStats) -> dict[str, Any]:
        """Put an endpoint's HTTP numbers in place of NATS's own; give those that have no place."""
        served = self.traffic.served(stats.name)
        stats.num_requests, stats.num_errors = served.requests, served.failed
        stats.processing_time = round(served.seconds * _NANOSECONDS)
        stats.average_processing_time = stats.processing_time // max(served.requests, 1)
        return {"by_status": served.by_status}

    async def _answer(self, request: Request) -> None:
        served = self.traffic.served(request.subject.rpartition(".")[2])
        await request.respond(json.dumps(served._asdict()).encode())
