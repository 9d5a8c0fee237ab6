"""A network of its own for one server of a cluster, which can be cut off from the others.

Packets are lost then, and nobody is told: no connection is reset, unlike when a server dies. Needs
Linux, root, and `ip` of iproute2.
"""

import os
import secrets
import shutil
import subprocess
from pathlib import Path

from tests.support.cluster import Place
from tests.support.natsservers import nats_binary

_SCRIPT = """#!/bin/sh
exec ip netns exec {name} {binary} "$@"
"""


def why_not() -> str:
    """Say why there can be no island here; empty if there can."""
    if shutil.which("ip") is None:
        return "partitions need the program `ip` (iproute2)"
    if os.geteuid() != 0:
        return "partitions need root, to make a network namespace"
    name = f"try-{secrets.token_hex(3)}"
    tried = subprocess.run(
        ["ip", "netns", "add", name], capture_output=True, text=True, check=False
    )
    if tried.returncode != 0:
        return f"no network namespaces here: {tried.stderr.strip()}"
    _ip("netns", "del", name)
    return ""


class Island:
    """A network namespace with two cables: one to the servers' side, one to the clients'."""

    def __init__(self, folder: Path) -> None:
        tag = secrets.token_hex(3)
        self.name = f"nats-{tag}"
        self._cables = {"routes": f"r{tag}", "clients": f"c{tag}"}
        net = f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(250)}"
        self._mainland = {"routes": f"{net}.1", "clients": f"{net}.5"}
        self._here = {"routes": f"{net}.2", "clients": f"{net}.6"}
        self._script = folder / "nats-server-on-island"
        self._script.write_text(_SCRIPT.format(name=self.name, binary=nats_binary()))
        self._script.chmod(0o755)
        _ip("netns", "add", self.name)
        _ip("-n", self.name, "link", "set", "lo", "up")
        for kind, cable in self._cables.items():
            self._lay(kind, cable)

    @property
    def place(self) -> Place:
        """Where the server on the island listens, and how it is started."""
        return Place(self._here["clients"], self._here["routes"], str(self._script))

    @property
    def mainland(self) -> Place:
        """Where a server must listen for the one on the island to reach it."""
        return Place(cluster_host=self._mainland["routes"])

    def cut(self, *kinds: str) -> None:
        """Cut the cable for "routes" (to other servers), for "clients", or both."""
        for kind in kinds:
            _ip("-n", self.name, "link", "set", f"{self._cables[kind]}i", "down")

    def mend(self) -> None:
        for cable in self._cables.values():
            _ip("-n", self.name, "link", "set", f"{cable}i", "up")

    def close(self) -> None:
        """Take it away, and both cables with it."""
        _ip("netns", "del", self.name)

    def _lay(self, kind: str, cable: str) -> None:
        inner = f"{cable}i"
        _ip("link", "add", cable, "type", "veth", "peer", "name", inner, "netns", self.name)
        _ip("addr", "add", f"{self._mainland[kind]}/30", "dev", cable)
        _ip("-n", self.name, "addr", "add", f"{self._here[kind]}/30", "dev", inner)
        _ip("link", "set", cable, "up")
        _ip("-n", self.name, "link", "set", inner, "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
