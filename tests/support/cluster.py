"""A NATS cluster of real servers, each of which a test may stop, kill, pause or cut off."""

import asyncio
import json
import signal
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import nats
import nats.errors

from tests.support import asking
from tests.support.natsservers import NatsServer, free_port, least_privilege
from tests.support.waiting import eventually

T = TypeVar("T")
Json = dict[str, Any]

SETTLE_SECONDS = 60.0
_ASK_SECONDS = 2.0
_CONSUMER_NOT_FOUND = 10014
_SYSTEM = "SYS { users: [ { user: sys, password: sys } ] }"
_LOGINS = {False: "", True: "sys:sys@"}

# Servers that are lame ducks must take 30 s or more to send their clients away, but wait no longer
# than a second between two of them, so with few clients they are gone in seconds.
_CONFIG = """
server_name: {name}
listen: "{place.client_host}:{port}"
http: "{place.client_host}:{monitor_port}"
cluster {{ name: {cluster}, listen: "{place.cluster_host}:{route_port}", routes: [{routes}] }}
system_account: SYS
lame_duck_grace_period: "1s"
lame_duck_duration: "30s"
"""


class NoAnswer(Exception):
    """NATS refused a request of a test, with JetStream's code, or did not answer it (0)."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Place:
    """Where a server runs: the addresses that it listens on, and the program that starts it."""

    client_host: str = "127.0.0.1"
    cluster_host: str = "127.0.0.1"
    binary: str | None = None


class ClusterServer(NatsServer):
    """One server of a cluster."""

    def __init__(self, name: str, folder: Path, place: Place, **cluster: Any) -> None:
        self.name = name
        super().__init__(folder, binary=place.binary)
        self.url = f"nats://{place.client_host}:{self.port}"
        store = f'jetstream {{ store_dir: "{folder / "store"}" }}\n'
        monitor_port = free_port()
        self._monitor = f"http://{place.client_host}:{monitor_port}"
        settings = _CONFIG.format(
            name=name, place=place, port=self.port, monitor_port=monitor_port, **cluster
        )
        self._config.write_text(store + settings + least_privilege(folder, accounts=_SYSTEM))

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def healthy(self) -> bool:
        """Whether it says so itself, as the probe of a pod asks it: everything is caught up."""
        return asking.answers(f"{self._monitor}/healthz")

    def lame_duck(self) -> None:
        """Let it send its clients away and end by itself, as the preStop hook of a pod does."""
        self.stop(signal.SIGUSR2)


class NatsCluster:
    """Servers `n1`, `n2`, … with a store each, and the users of helm/nats-user.conf.

    Whoever does not log in may do everything in their account; `sys:sys` logs in to the system's.
    """

    def __init__(
        self, folder: Path, servers: int = 3, places: Sequence[Place] | None = None
    ) -> None:
        self.name = f"c-{uuid.uuid4().hex[:8]}"
        self.servers: dict[str, ClusterServer] = {}
        self._deaf: set[str] = set()
        places = places or [Place()] * servers
        ports = [free_port() for _ in places]
        routes = ", ".join(
            f'"nats://{place.cluster_host}:{port}"'
            for place, port in zip(places, ports, strict=True)
        )
        for number, (place, port) in enumerate(zip(places, ports, strict=True), start=1):
            name = f"n{number}"
            (folder / name).mkdir(parents=True)
            self.servers[name] = ClusterServer(
                name, folder / name, place, cluster=self.name, route_port=port, routes=routes
            )

    @property
    def url(self) -> str:
        """The addresses of all servers, as the bridge's setting wants them."""
        return ",".join(server.url for server in self.servers.values())

    def __getitem__(self, name: str) -> ClusterServer:
        return self.servers[name]

    def others(self, *names: str) -> list[str]:
        """Name the servers that are not among these."""
        return [name for name in self.servers if name not in names]

    def name_at(self, port: int) -> str:
        """Name the server with this port for clients."""
        [name] = [server.name for server in self.servers.values() if server.port == port]
        return name

    def start(self) -> "NatsCluster":
        """Start the servers that do not run, and wait until they have a leader."""
        for server in self.servers.values():
            if not server.running:
                server.start()
        self.await_meta_leader()
        return self

    def stop(self) -> None:
        """Kill what still runs: nothing here is worth a proper end."""
        for server in self.servers.values():
            if server.running:
                server.kill()

    def heal(self, stream: str = "") -> None:
        """Resume and start everything, and wait until every replica is current."""
        for name in list(self._deaf):
            self.resume(name)
        self.start()
        eventually(
            lambda: self.is_current(stream), within=SETTLE_SECONDS, what="a whole NATS cluster"
        )

    def pause(self, name: str) -> None:
        """Let a server hang, as a machine does that is cut off: its connections stay open."""
        self.servers[name].pause()
        self.forget(name)

    def resume(self, name: str) -> None:
        self.servers[name].resume()
        self.remember(name)

    def forget(self, name: str) -> None:
        """Ask this server nothing: it cannot answer for the cluster now."""
        self._deaf.add(name)

    def remember(self, name: str) -> None:
        self._deaf.discard(name)

    def meta_leader(self) -> str:
        """Name the leader of JetStream's own group, empty if the servers know of none."""
        return str(self._meta().get("leader") or "")

    def await_meta_leader(self) -> str:
        return eventually(
            lambda: self._try(self.meta_leader) or "", within=SETTLE_SECONDS, what="a meta leader"
        )

    def stream_leader(self, stream: str) -> str:
        """Name the stream's leader, empty while there is none."""
        return self._leader(f"STREAM.INFO.{stream}")

    def consumer_leader(self, stream: str, consumer: str) -> str:
        """Name the consumer's leader, empty while there is none."""
        return self._leader(f"CONSUMER.INFO.{stream}.{consumer}")

    def move_stream(self, stream: str, to: str = "") -> str:
        """Let the stream's leader step down, if need be until it is `to`, and name the new one."""
        before = eventually(
            lambda: self.stream_leader(stream), within=SETTLE_SECONDS, what="a leader to move"
        )

        def moved() -> str:
            now = self.stream_leader(stream)
            if now and (now == to or (not to and now != before)):
                return now
            placement = {"placement": {"preferred": to}} if to else {}
            self._try(lambda: self.api(f"STREAM.LEADER.STEPDOWN.{stream}", placement))
            return ""

        return eventually(moved, within=SETTLE_SECONDS, what="another leader of the stream")

    def move_meta(self) -> str:
        """Let the meta leader step down and name the new one."""
        before = self.await_meta_leader()

        def moved() -> str:
            now = self._try(self.meta_leader) or ""
            if now == before:
                self._try(lambda: self.ask("$JS.API.META.LEADER.STEPDOWN", {}, system=True))
            return now if now != before else ""

        return eventually(moved, within=SETTLE_SECONDS, what="another meta leader")

    def consumers(self, stream: str) -> list[str]:
        """Name every consumer of a stream, which JetStream lists a page at a time."""
        names: list[str] = []
        while True:
            page = self._answer(f"CONSUMER.NAMES.{stream}", {"offset": len(names)})
            names += page["consumers"]
            if not page["consumers"] or len(names) >= page["total"]:
                return names

    def delete_consumer(self, stream: str, name: str) -> None:
        """Delete a consumer, unless it goes by itself first."""

        def gone() -> bool:
            try:
                self.api(f"CONSUMER.DELETE.{stream}.{name}")
            except NoAnswer as error:
                return error.code == _CONSUMER_NOT_FOUND
            return True

        eventually(gone, within=SETTLE_SECONDS, what=f"the end of {name}")

    def is_current(self, stream: str = "") -> bool:
        """Tell whether all servers are in the meta group, and the stream's replicas up to date."""
        groups = [self._try(self._meta)]
        if stream:
            groups.append(self._try(lambda: self.api(f"STREAM.INFO.{stream}")["cluster"]))
        return all(map(self._whole, groups)) and all(
            server.healthy for server in self.servers.values()
        )

    def api(self, request: str, body: Json | None = None) -> Json:
        """Ask JetStream's API. Raises NoAnswer."""
        return self.ask(f"$JS.API.{request}", body)

    def ask(self, subject: str, body: Json | None = None, *, system: bool = False) -> Json:
        """Ask through any server that can answer. Raises NoAnswer."""
        urls = [
            server.url.replace("://", f"://{_LOGINS[system]}")
            for server in self.servers.values()
            if server.running and server.name not in self._deaf
        ]
        payload = json.dumps(body).encode() if body is not None else b""
        try:
            answer: Json = json.loads(asyncio.run(_request(urls, subject, payload)))
        except (OSError, nats.errors.Error, TimeoutError) as error:
            raise NoAnswer(f"{subject}: {error!r}") from error
        if "error" in answer:
            raise NoAnswer(f"{subject}: {answer['error']}", answer["error"].get("err_code", 0))
        return answer

    def _meta(self) -> Json:
        told: Json = self.ask("$SYS.REQ.SERVER.PING.JSZ", system=True)["data"]
        found: Json = told.get("meta_cluster") or {}
        return found

    def _answer(self, request: str, body: Json | None = None) -> Json:
        """Ask JetStream's API until it answers."""

        def told() -> Json | None:
            return self._try(lambda: self.api(request, body))

        return eventually(told, within=SETTLE_SECONDS, what=f"an answer to {request}") or {}

    def _leader(self, request: str) -> str:
        info = self._try(lambda: self.api(request)) or {}
        return str(info.get("cluster", {}).get("leader") or "")

    def _whole(self, group: Json | None) -> bool:
        replicas = (group or {}).get("replicas") or []
        current = [each for each in replicas if each["current"] and not each.get("offline")]
        return len(current) == len(self.servers) - 1

    @staticmethod
    def _try(look: Callable[[], T]) -> T | None:
        """Look, and give None where NATS does not answer yet."""
        try:
            return look()
        except NoAnswer:
            return None


async def _request(urls: list[str], subject: str, payload: bytes) -> bytes:
    async def quiet(_: Exception) -> None:
        """Errors of one server are nothing while another can be asked."""

    client = await nats.connect(
        urls, allow_reconnect=False, connect_timeout=2, max_reconnect_attempts=1, error_cb=quiet
    )
    try:
        return (await client.request(subject, payload, timeout=_ASK_SECONDS)).data
    finally:
        await client.close()
