"""The configuration of the embedded nats-server: a loopback port and a password of its own."""

import errno
import json
import re
import secrets
import socket
from dataclasses import dataclass, field

from bridge.datafolder import DataFolder, write_private

HOST = "127.0.0.1"
USER = "bridge"

# Below the ports that systems give to outgoing connections (Linux from 32768, others from 49152)
# and the NodePorts of Kubernetes: were ours among them, a client that reconnects while the server
# restarts could be given that very port as its own end, and keep the server off it.
PORTS = range(20_000, 30_000)

_TEMPLATE = """\
# Written by the bridge at each start; changes are lost.
server_name: {name}
listen: "{host}:{port}"
authorization {{ user: "{user}", password: "{password}" }}
jetstream {{ store_dir: {store} }}
max_payload: 8MB
# The shortest that nats-server takes.
lame_duck_duration: "30s"
lame_duck_grace_period: "1s"
log_file: {log}
logfile_size_limit: 10MB
logfile_max_num: 3
"""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where the server listens and how it is known.

    `name` is new at each start, so that another server on the same port is not taken for ours.
    """

    port: int
    password: str = field(repr=False)
    name: str

    @property
    def url(self) -> str:
        """The URL for clients, with the credentials."""
        return f"nats://{USER}:{self.password}@{HOST}:{self.port}"


def write_config(folder: DataFolder) -> ServerConfig:
    """Write the configuration file anew.

    The password stays what it was, and so does the port as long as it is free.
    """
    before = folder.config.read_text(encoding="utf-8") if folder.config.exists() else ""
    password = re.search(r'password: "([0-9a-f]{48})"', before)
    port = re.search(rf'listen: "{re.escape(HOST)}:(\d{{1,5}})"', before)
    config = ServerConfig(
        port=_choose_port(int(port[1]) if port else None),
        password=password[1] if password else secrets.token_hex(24),
        name=f"embedded-{secrets.token_hex(6)}",
    )
    text = _TEMPLATE.format(
        name=config.name,
        host=HOST,
        port=config.port,
        user=USER,
        password=config.password,
        store=_quoted(folder.store),
        log=_quoted(folder.log),
    )
    write_private(folder.config, text)
    return config


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        # As nats-server does: connections that have just ended do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _choose_port(before: int | None) -> int:
    if before is not None and before in PORTS and is_free(before):
        return before
    tries = (secrets.choice(PORTS) for _ in range(100))
    port = next(filter(is_free, tries), None)
    if port is None:
        raise OSError(
            errno.EADDRINUSE, f"no free port from {PORTS.start} to {PORTS.stop - 1} was found"
        )
    return port


def _quoted(path: object) -> str:
    return json.dumps(str(path), ensure_ascii=False)
