"""Where NATS is, and who the bridge is to it."""

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped]
from nats.aio.client import RawCredentials

from bridge.errors import Unavailable
from bridge.urls import login

_CREDENTIALS = re.compile(
    r"BEGIN NATS USER JWT-+\s+(\S+)\s.*BEGIN USER NKEY SEED-+\s+(\S+)", re.DOTALL
)
# What the server says is part of the protocol: docs.nats.io, "Client Protocol", -ERR.
_LOGIN_REFUSED = "authorization violation"


class LoginUnusable(Unavailable):
    """A file that the bridge is to log in with cannot be used as it is now."""


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
        """Give the arguments of nats-py's `connect`; files are read anew at each call.

        Raises LoginUnusable for a file that is missing, or is not what it should be.
        """
        given = {
            "user": self.user,
            "password": self.password,
            "token": self.token,
            "user_credentials": self._credentials(),
            "nkeys_seed_str": self._seed(),
            "tls_hostname": self.tls_hostname,
            "tls": self._tls(),
        }
        return self._url_login() | {key: value for key, value in given.items() if value is not None}

    def _url_login(self) -> dict[str, str]:
        """Read the login in the URLs, which nats-py would send percent-encoded as it is there."""
        user, password = next(filter(None, map(login, self.servers)), (None, None))
        if user is None:
            return {}
        return {"token": user} if password is None else {"user": user, "password": password}

    def explained(self, error: Exception) -> str:
        """Say why there is no connection, and what to check where it is the login."""
        text = str(error) or type(error).__name__
        if _LOGIN_REFUSED in text.lower():
            return f"NATS refuses the bridge's login ({_LOGIN_REFUSED}): {self._remedy()}"
        if isinstance(error, ssl.SSLError):
            return (
                f"NATS and the bridge do not agree on TLS ({error.reason or text}): check "
                "BRIDGE_NATS_TLS_CA, and BRIDGE_NATS_TLS_CERT if the server asks for one"
            )
        return text

    def _remedy(self) -> str:
        if self.user is not None:
            return "check BRIDGE_NATS_USER and BRIDGE_NATS_PASSWORD"
        if self.token is not None:
            return "check BRIDGE_NATS_TOKEN"
        if self.credentials_file is not None:
            return (
                f"check BRIDGE_NATS_CREDENTIALS_FILE, {self.credentials_file}: the server knows "
                "its account, and its user is neither expired nor revoked"
            )
        if self.nkey_file is not None:
            return f"the server needs a user with nkey {self._public_nkey()}"
        if any(map(login, self.servers)):
            return "check the login in BRIDGE_NATS_URL"
        return (
            "there is none; set BRIDGE_NATS_USER and BRIDGE_NATS_PASSWORD, BRIDGE_NATS_TOKEN, "
            "BRIDGE_NATS_NKEY_FILE or BRIDGE_NATS_CREDENTIALS_FILE"
        )

    def _credentials(self) -> RawCredentials | None:
        """Read a credentials file into the one form of it that nats-py reads in every case."""
        if self.credentials_file is None:
            return None
        name = "BRIDGE_NATS_CREDENTIALS_FILE"
        found = _CREDENTIALS.search(_text(name, self.credentials_file))
        if found is None or not _is_user_seed(found[2]):
            raise LoginUnusable(
                f"{name}: {self.credentials_file} does not hold a user's JWT and the seed of its "
                "nkey, as `nsc generate creds` writes them"
            )
        return RawCredentials(
            f"-----BEGIN NATS USER JWT-----\n{found[1]}\n------END NATS USER JWT------\n"
            f"-----BEGIN USER NKEY SEED-----\n{found[2]}\n------END USER NKEY SEED------\n"
        )

    def _seed(self) -> str | None:
        if self.nkey_file is None:
            return None
        name = "BRIDGE_NATS_NKEY_FILE"
        seed = _text(name, self.nkey_file).strip()
        if not _is_user_seed(seed):
            raise LoginUnusable(
                f"{name}: {self.nkey_file} does not hold the seed of a user's nkey, which begins "
                "with SU (`nk -gen user` makes one)"
            )
        return seed

    def _public_nkey(self) -> str:
        try:
            public: bytes = nkeys.from_seed((self._seed() or "").encode()).public_key
        except LoginUnusable:  # the file has changed since
            return "of BRIDGE_NATS_NKEY_FILE"
        return f"{public.decode()}, that of BRIDGE_NATS_NKEY_FILE"

    def _tls(self) -> ssl.SSLContext | None:
        if not (self.tls_ca or self.tls_cert):
            return None
        name, path = "BRIDGE_NATS_TLS_CA", self.tls_ca
        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
            if self.tls_cert:
                name, path = "BRIDGE_NATS_TLS_CERT with BRIDGE_NATS_TLS_KEY", self.tls_cert
                # Without a password OpenSSL would ask the terminal for that of an encrypted key.
                context.load_cert_chain(self.tls_cert, self.tls_key, password="")
        except (OSError, ValueError) as error:
            raise LoginUnusable(
                f"{name}: {path} cannot be used ({error}): it must be a PEM file, and a key must "
                "be that of the certificate and not encrypted"
            ) from error
        return context


def _text(name: str, path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise LoginUnusable(f"{name}: {path} cannot be read ({error})") from error


def _is_user_seed(text: str) -> bool:
    """Tell whether a text is the seed of a user's nkey, its check sum included."""
    try:
        _, raw = nkeys.decode_seed(text.encode())
        return bool(nkeys.encode_seed(raw, nkeys.PREFIX_BYTE_USER).decode() == text)
    except (nkeys.NkeysError, ValueError):
        return False
