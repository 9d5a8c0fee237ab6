"""What helm/OPERATIONS.md is tried on: the chart's NATS, bridges as processes, agents at work."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import nats.errors
import nats.js.errors
from nats.js import JetStreamContext, api

from tests.support import asking
from tests.support.agents import Agent, make_token
from tests.support.bridges import BRIDGE, BridgeProcess
from tests.support.jetstream import on_jetstream
from tests.support.manifests import Object, Pod, at, of_kind, pods
from tests.support.natsservers import BRIDGE_LOGIN, OPERATOR_LOGIN, NatsServer, free_port
from tests.support.waiting import eventually

PROJECT = "shop"
REPLICAS = ("6d9f7c5b8-k2xwq", "6d9f7c5b8-p8d4z")
_PASSWORDS = {"SYSTEM_NATS_PASSWORD": "letmesee4tests", "ADMIN_NATS_PASSWORD": "letmechange4tests"}
_PERMISSIONS = ["publish_events", "spawn_agents"]
_COMPONENT = "app.kubernetes.io/component"
_SETTLE_SECONDS = 60.0


class World:
    """A release's NATS servers and bridges, under the names and logins that the chart gives.

    A single server is no cluster.
    """

    def __init__(self, folder: Path, release: Sequence[Object], *, servers: int = 3) -> None:
        self.folder = folder
        self._release = release
        self._bridges: list[BridgeProcess] = []
        self._ending: list[BridgeProcess] = []
        self._outdated = False
        self._agents: list[Agent] = []
        self._waiting: subprocess.Popen[bytes] | None = None
        self._ports = [free_port() for _ in REPLICAS]
        [nats] = of_kind(release, "StatefulSet")
        self._monitors: list[str] = []
        self._servers = self._cluster(nats["metadata"]["name"], servers)

    @property
    def address(self) -> str:
        """Where the first bridge is or will be, whose port a person forwards."""
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the shell in nats-box."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("NATS_")}
        return kept | {
            "HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "NATS_URL": self._url,
            "NATS_USER": OPERATOR_LOGIN["nats_user"],
            "NATS_PASSWORD": OPERATOR_LOGIN["nats_password"],
            "NATS_SYSTEM_PASSWORD": _PASSWORDS["SYSTEM_NATS_PASSWORD"],
            "NATS_ADMIN_PASSWORD": _PASSWORDS["ADMIN_NATS_PASSWORD"],
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "SIDECAR_URL": f"{self.address}/api",
            "JWT_TOKEN": make_token("operator", project_id=PROJECT, permissions=_PERMISSIONS),
            "LEAKED": make_token("packer-2", project_id=PROJECT, jti="0b1c5f0e"),
            "COLUMNS": "160",
        }

    @property
    def logs(self) -> dict[str, str]:
        """What the bridges that run now have logged, by their pods."""
        pods = map(self._pod_name, range(len(self._bridges)))
        return {pod: bridge.log for pod, bridge in zip(pods, self._bridges, strict=True)}

    def start_servers(self) -> None:
        for server in self._servers:
            server.start()
        self._settle()

    def start(self) -> "World":
        self.start_servers()
        self.scale(len(REPLICAS))
        self._stock()
        return self

    def stop(self) -> None:
        self._end_waiting()
        for agent in self._agents:
            agent.close()
        for bridge in self._bridges + self._ending:
            bridge.kill()
        for server in self._servers:
            server.stop(signal.SIGKILL)

    def agent(self, name: str, agent_type: str = "worker", *, bridge: int = 0) -> Agent:
        made = Agent(self._bridges[bridge].url, name, PROJECT, agent_type=agent_type)
        self._agents.append(made)
        return made

    def work(self) -> None:
        """Let something happen that `nats sub` and `nats events` show."""
        with Agent(self.address, "tester-1", PROJECT, agent_type="test-runner") as tester:
            tester.publish("tests_failing", {"failures": 3}, correlation_id="build-8")
            tester.wait("review_complete")
            [made] = tester.subscriptions()
            tester.http.delete(f"/subscriptions/{made['name']}").raise_for_status()

    @contextmanager
    def with_a_waiter(self) -> Iterator[None]:
        """Let an agent wait for something that does not come."""
        token = make_token("deployer-1", project_id=PROJECT, agent_type="deployer")
        command = [BRIDGE, "events", "wait", "deploy_approved", "--correlation-id", "build-7"]
        self._waiting = subprocess.Popen(
            [*command, "--timeout", "1h"], env=self.environment | {"JWT_TOKEN": token}
        )
        eventually(self._is_waited, what="a wait")
        yield
        self._end_waiting()

    def _end_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.kill()
            self._waiting.wait()
        self._waiting = None

    def _is_waited(self) -> bool:
        found = self.agent("coder-1").http.get("/agents").json()["agents"]
        return any(agent["waiting"] for agent in found)

    @contextmanager
    def with_a_dead_letter(self) -> Iterator[None]:
        """Let a worker reject its work."""
        coder, packer = self.agent("coder-1", bridge=1), self.agent("packer-1", "packer")
        wanted = {"data": {"format": "deb"}, "correlation_id": "build-9", "event_id": "package-9"}
        coder.http.post("/events/package_wanted", json=wanted).raise_for_status()
        query = {"group": "packers", "ack": "explicit"}
        leased = packer.wait("package_wanted", timeout=10, **query)["ack_id"]
        rejection = {"ack_ids": [leased], "reason": "no room on the disk"}
        packer.http.post("/deliveries/reject", json=rejection).raise_for_status()
        yield

    def scale(self, replicas: int) -> None:
        """Run so many bridges; those too many live on, as pods do, until their end is awaited."""
        while len(self._bridges) > replicas:
            self._ending.append(self._bridges.pop())
        for number in range(len(self._bridges), replicas):
            self._bridges.append(self._make(number).start())

    @property
    def ending(self) -> int:
        """How many bridges are to end, and live on."""
        return len(self._ending)

    def await_ends(self) -> None:
        while self._ending:
            assert self._ending.pop().stop() == 0

    def restart(self) -> None:
        """Begin a rollout: bridges are as they were until it is awaited."""
        self._outdated = True

    def await_rollout(self) -> None:
        """Replace each bridge, if they are to be restarted."""
        replicas = len(self._bridges)
        if self._outdated:
            self.scale(0)
            self.await_ends()
            self.scale(replicas)
        self._outdated = False

    def shrink(self) -> None:
        """Run a server less: the last goes, the others restart, each when the one before is well.

        So a StatefulSet does it when the servers' configuration names fewer of them.
        """
        self._servers.pop().stop()
        self._monitors.pop()
        for server in self._servers:
            server.stop()
            server.start()
            self._settle()

    @contextmanager
    def without_quorum(self) -> Iterator[None]:
        """Let two of three servers be dead."""
        for server in self._servers[1:]:
            server.kill()
        eventually(lambda: not self._ready, within=_SETTLE_SECONDS, what="unreadiness")
        eventually(self._knows_of_no_leader, within=_SETTLE_SECONDS, what="the leader's end")
        yield
        for server in self._servers[1:]:
            server.start()
        self._settle()

    def _knows_of_no_leader(self) -> bool:
        """Whether the server that is left has understood, until which it may not answer at all."""
        password = _PASSWORDS["ADMIN_NATS_PASSWORD"]
        try:
            url = self._servers[0].url.replace("//", f"//admin:{password}@")
            cluster = on_jetstream(url, _stream).cluster
        except (nats.errors.Error, TimeoutError):
            return False
        return cluster is not None and not cluster.leader

    def _settle(self) -> None:
        """Wait until the servers store everything together again, and every bridge is ready."""
        for url in self._monitors:
            eventually(partial(asking.answers, url), within=_SETTLE_SECONDS, what=url)
        eventually(
            lambda: self._ready == len(self._bridges), within=_SETTLE_SECONDS, what="bridges"
        )
        eventually(self._is_led, within=_SETTLE_SECONDS, what="leaders of everything")

    def _is_led(self) -> bool:
        """Whether the stream and every consumer has a leader, and all followers are current."""
        if not self._bridges:
            return True
        password = _PASSWORDS["ADMIN_NATS_PASSWORD"]
        url = self._servers[0].url.replace("//", f"//admin:{password}@")
        try:
            clusters = on_jetstream(url, _clusters)
        except (nats.errors.TimeoutError, nats.js.errors.APIError):
            return False
        followers = [peer for cluster in clusters for peer in cluster.replicas or []]
        return all(cluster.leader for cluster in clusters) and all(f.current for f in followers)

    @property
    def _ready(self) -> int:
        """How many bridges are ready."""
        return sum(bridge.ready() for bridge in self._bridges)

    @property
    def _url(self) -> str:
        return ",".join(server.url for server in self._servers)

    def _cluster(self, name: str, servers: int) -> list[NatsServer]:
        ports = [free_port() for _ in range(servers)]
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
        users = self._users()
        made = []
        for number, port in enumerate(ports):
            folder = self.folder / f"{name}-{number}"
            folder.mkdir()
            (folder / "nats-user.conf").write_text(users)
            cluster = f'name: {name}, listen: "127.0.0.1:{port}", routes: [{routes}]'
            monitor = f"127.0.0.1:{free_port()}"
            self._monitors.append(f"http://{monitor}/healthz")
            config = f'server_name: {folder.name}\nhttp: "{monitor}"\n'
            config += f"cluster {{ {cluster} }}\n" if servers > 1 else ""
            made.append(NatsServer(folder, config=config + 'include "nats-user.conf"\n'))
        return made

    def _users(self) -> str:
        """Give the users that the chart gives its NATS, with passwords in place of variables."""
        [text] = [at(one, "data")["users.conf"] for one in self._of("ConfigMap", "users.conf")]
        for variable, password in _PASSWORDS.items():
            assert f"${variable}" in text, f"the chart's users.conf has no ${variable}"
            text = text.replace(f"${variable}", password)
        return str(text)

    def _of(self, kind: str, key: str) -> list[Object]:
        return [one for one in of_kind(self._release, kind) if key in at(one, "data", {})]

    @property
    def _pod(self) -> Pod:
        made = pods(of_kind(self._release, "Deployment"))
        [pod] = [one for one in made if one.labels.get(_COMPONENT) == "bridge"]
        return pod

    def _pod_name(self, number: int) -> str:
        return f"{self._pod.owner['metadata']['name']}-{REPLICAS[number]}"

    def _make(self, number: int) -> BridgeProcess:
        name = self._pod_name(number)
        env = {one["name"]: one.get("value") for one in self._pod.containers[0]["env"]}
        return BridgeProcess(
            self.folder / f"{name}-{len(list(self.folder.glob(name + '-*')))}",
            self._url,
            **BRIDGE_LOGIN,
            port=str(self._ports[number]),
            stream_replicas="3",
            drain_seconds="0",
            nats_name=env["BRIDGE_NATS_NAME"].replace("$(POD_NAME)", name),
        )

    def _stock(self) -> None:
        """Three builds: one passes its tests, which the deployer, who is away, has yet to hear."""
        tester, coder = self.agent("tester-1", "test-runner"), self.agent("coder-1", bridge=1)
        self.agent("deployer-1", "deployer", bridge=1).wait("tests_passing", filter="coverage:>=90")
        self.agent("reviewer-1", "reviewer").wait("review_requested", group="reviewers")
        for number, build in enumerate(("build-5", "build-6", "build-7")):
            errors = {"failures": 3 - number, "errors": []}
            tester.publish("tests_failing", errors, correlation_id=build)
        tester.publish("tests_passing", {"coverage": 93}, correlation_id="build-7")
        coder.publish("review_requested", {"target": "api.py"}, correlation_id="build-7")
        coder.publish("agent_started")
        coder.events("tests_failing,tests_passing", filter="correlation_id:build-7")
        coder.events("tests_failing")


async def _stream(jetstream: JetStreamContext) -> api.StreamInfo:
    return await jetstream.stream_info("EVENTS")


async def _clusters(jetstream: JetStreamContext) -> list[api.ClusterInfo]:
    stream = await _stream(jetstream)
    consumers = await jetstream.consumers_info("EVENTS")
    found = [stream.cluster, *(consumer.cluster for consumer in consumers)]
    return [cluster for cluster in found if cluster is not None]
