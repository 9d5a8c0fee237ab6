"""Where NATS is, and who the bridge is to it."""

import ssl
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Endpoint:
    """Where NATS is and who the bridge is to it."""

    servers: list[str]
    name: str = "bridge"
    inbox_prefix: str = "_INBOX_bridge"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    credentials_file: str | None = None
    nkey_file: str | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_hostname: str | None = None

    def options(self) -> dict[str, Any]:
        """Give the arguments of nats-py's `connect`; files are read anew at each call."""
        given = {
            "user": self.user,
            "password": self.password,
            "token": self.token,
            "user_credentials": self.credentials_file,
            "nkeys_seed": self.nkey_file,
            "tls_hostname": self.tls_hostname,
            "tls": self._tls(),
        }
        return {key: value for key, value in given.items() if value is not None}

    def _tls(self) -> ssl.SSLContext | None:
        if not (self.tls_ca or self.tls_cert):
            return None
        context = ssl.create_default_context(cafile=self.tls_ca)
        if self.tls_cert:
            context.load_cert_chain(self.tls_cert, self.tls_key)
        return context


def address(url: str) -> tuple[str, int]:
    """Read the host and the port of a NATS URL; 4222 is the default."""
    host, _, port = without_userinfo(url).rpartition("://")[2].partition(":")
    return host, int(port or 4222)


def without_userinfo(url: str) -> str:
    """Give a URL without user, password or token, for a log."""
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
