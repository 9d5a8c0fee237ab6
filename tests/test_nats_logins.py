"""Each way in which a bridge logs in to NATS: accepted, refused, replaced while it runs."""

import asyncio
import base64
import datetime
import ipaddress
import json
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped]
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from bridge.jetstream.connection import Connection
from bridge.jetstream.endpoint import Endpoint, LoginUnusable
from bridge.urls import host_and_port
from tests.support import Agents, BridgeProcess, NatsServer, asking, eventually

Start = Callable[..., BridgeProcess]
AgentsOn = Callable[[BridgeProcess], Agents]

REFUSED = "NATS refuses the bridge's login (authorization violation): "


@dataclass
class Login:
    """What lets a bridge in: configuration of nats-server, and settings of the bridge."""

    server: str
    settings: dict[str, str] = field(default_factory=dict)
    userinfo: str = ""
    hint: str = ""

    def serve(self, folder: Path) -> NatsServer:
        folder.mkdir()
        server = NatsServer(folder, config='include "login.conf"')
        (folder / "login.conf").write_text(self.server)
        return server.start()

    def url(self, server: NatsServer) -> str:
        return server.url.replace("//", f"//{self.userinfo}")


class Key:
    """An nkey, which signs the JWTs of those below it."""

    def __init__(self, kind: int = nkeys.PREFIX_BYTE_USER) -> None:
        self.seed: str = nkeys.encode_seed(os.urandom(32), kind).decode()
        self._pair = nkeys.from_seed(self.seed.encode())
        self.public: str = self._pair.public_key.decode()

    def jwt(self, subject: "Key", kind: str, **claims: Any) -> str:
        """Make a JWT of NATS, version 2, that says of a subject what it is."""
        said = {"jti": uuid.uuid4().hex, "iat": int(time.time()), "iss": self.public}
        said |= {"sub": subject.public, "name": kind}
        said["nats"] = {"type": kind, "version": 2, **claims}
        parts = [{"typ": "JWT", "alg": "ed25519-nkey"}, said]
        text = ".".join(_base64(json.dumps(part).encode()) for part in parts)
        return f"{text}.{_base64(self._pair.sign(text.encode()))}"


class Operator:
    """An operator with an account for the bridge, kept in the configuration of one server."""

    def __init__(self) -> None:
        self._key = Key(nkeys.PREFIX_BYTE_OPERATOR)
        self._system, self._account = (Key(nkeys.PREFIX_BYTE_ACCOUNT) for _ in range(2))
        self.users: list[Key] = []

    def server(self) -> str:
        """Give configuration that lets the newest user in, and none of those before."""
        named = {"system_account": self._system.public}
        revoked = {user.public: int(time.time()) + 60 for user in self.users[:-1]}
        names = ("subs", "data", "payload", "imports", "exports", "conn", "leaf", "mem_storage")
        limits = {"wildcards": True} | dict.fromkeys(
            (*names, "disk_storage", "streams", "consumer"), -1
        )
        account = self._key.jwt(self._account, "account", limits=limits, revocations=revoked)
        return (
            f"operator: {self._key.jwt(self._key, 'operator', **named)}\n"
            f"system_account: {self._system.public}\nresolver: MEMORY\nresolver_preload {{\n"
            f"  {self._system.public}: {self._key.jwt(self._system, 'account')}\n"
            f"  {self._account.public}: {account}\n}}\n"
        )

    def credentials(self) -> str:
        """Make a user; give its credentials file, with line ends of Windows."""
        user = Key()
        self.users.append(user)
        jwt = self._account.jwt(user, "user", subs=-1, data=-1, payload=-1)
        return (
            f"-----BEGIN NATS USER JWT-----\r\n{jwt}\r\n------END NATS USER JWT------\r\n\r\n"
            "NKEY Seed printed below can be used to sign and prove identity.\r\n\r\n"
            f"-----BEGIN USER NKEY SEED-----\r\n{user.seed}\r\n------END USER NKEY SEED------\r\n"
        )


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
        self.path = folder / "ca.pem"
        made = self._certificate(self._name, self._key.public_key(), is_authority=True)
        self.path.write_bytes(made.public_bytes(Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Make a certificate for 127.0.0.1 and its key; give their paths."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        made = self._certificate(subject, key.public_key(), is_authority=False)
        certificate, private = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate.write_bytes(made.public_bytes(Encoding.PEM))
        private.write_bytes(key_text(key))
        return certificate, private

    def _certificate(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, is_authority: bool
    ) -> x509.Certificate:
        now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
        usage = x509.KeyUsage(True, False, False, False, False, is_authority, False, False, False)
        alternative = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        own, above = key, self._key.public_key()
        return (
            x509.CertificateBuilder(self._name, subject, own, x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(own), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(above), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )


def key_text(key: ec.EllipticCurvePrivateKey, password: bytes = b"") -> bytes:
    how = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


def user_and_password(folder: Path) -> Login:
    settings = {"nats_user": "alice", "nats_password": "w0nderland"}
    users = "authorization { users: [ { user: alice, password: w0nderland } ] }"
    return Login(users, settings, hint="check BRIDGE_NATS_USER and BRIDGE_NATS_PASSWORD")


def token(folder: Path) -> Login:
    settings = {"nats_token": "t0ken"}
    return Login("authorization { token: t0ken }", settings, hint="check BRIDGE_NATS_TOKEN")


def user_in_the_url(folder: Path) -> Login:
    hint = "check the login in BRIDGE_NATS_URL"
    return Login(user_and_password(folder).server, {}, "alice:w0nderland@", hint)


def encoded_in_the_url(folder: Path) -> Login:
    users = 'authorization { users: [ { user: "al:ice", password: "w0nder@/land:1" } ] }'
    hint = "check the login in BRIDGE_NATS_URL"
    return Login(users, {}, "al%3Aice:w0nder%40%2Fland%3A1@", hint)


def token_in_the_url(folder: Path) -> Login:
    return Login(token(folder).server, {}, "t0ken@", "check the login in BRIDGE_NATS_URL")


def nkey(folder: Path) -> Login:
    key, path = Key(), folder / "user.nk"
    path.write_text(f"{key.seed}\n")
    return Login(
        f"authorization {{ users: [ {{ nkey: {key.public} }} ] }}",
        {"nats_nkey_file": str(path)},
        hint=f"the server needs a user with nkey {key.public}, that of BRIDGE_NATS_NKEY_FILE",
    )


def credentials(folder: Path) -> Login:
    operator, path = Operator(), folder / "user.creds"
    path.write_text(operator.credentials())
    return Login(
        operator.server(),
        {"nats_credentials_file": str(path)},
        hint=f"check BRIDGE_NATS_CREDENTIALS_FILE, {path}: the server knows its account",
    )


def certificates(folder: Path) -> Login:
    authority = Authority(folder)
    (server, server_key), (own, own_key) = authority.issue("server"), authority.issue("own")
    demand = f'cert_file: "{server}", key_file: "{server_key}", ca_file: "{authority.path}"'
    settings = {"nats_tls_cert": str(own), "nats_tls_key": str(own_key)}
    settings["nats_tls_ca"] = str(authority.path)
    return Login(f"tls {{ {demand}, verify: true }}", settings)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("nats://one", "one", 4222),
        ("one:4333", "one", 4333),
        ("tls://al%40ice:pw@one:4333/", "one", 4333),
        ("nats://[::1]", "::1", 4222),
        ("nats://token@[2001:db8::1]:4333?x", "2001:db8::1", 4333),
    ],
)
def test_an_address_is_read_from_any_url(url: str, host: str, port: int) -> None:
    assert host_and_port(url) == (host, port)


LOGINS = [
    user_and_password,
    token,
    user_in_the_url,
    encoded_in_the_url,
    token_in_the_url,
    nkey,
    credentials,
]


def reason(bridge: BridgeProcess) -> str:
    told: dict[str, str] = asking.get(f"{bridge.url}/readyz").json()
    return told.get("reason", "")


def assert_works(agents: Agents) -> None:
    """Publish and receive."""
    event_id = agents("publisher").publish("work")["event_id"]
    assert agents("reader").events("work")[-1]["event_id"] == event_id


@pytest.mark.parametrize("make", [*LOGINS, certificates])
def test_a_bridge_logs_in(
    tmp_path: Path, start_bridge: Start, agents_on: AgentsOn, make: Callable[[Path], Login]
) -> None:
    login = make(tmp_path)
    server = login.serve(tmp_path / "nats")
    bridge = start_bridge(login.url(server), **login.settings)
    assert_works(agents_on(bridge))
    assert bridge.stop() == 0
    server.stop()


@pytest.mark.parametrize("make", LOGINS)
def test_a_refused_login_is_named_until_the_server_accepts_it(
    tmp_path: Path, start_bridge: Start, agents_on: AgentsOn, make: Callable[[Path], Login]
) -> None:
    login = make(tmp_path)
    (tmp_path / "others").mkdir()
    other = credentials if make is credentials else nkey  # a server without nkeys asks for none
    server = other(tmp_path / "others").serve(tmp_path / "nats")
    bridge = start_bridge(login.url(server), ready=False, **login.settings)
    eventually(lambda: reason(bridge).startswith(REFUSED + login.hint), what="the reason")
    assert REFUSED + login.hint in json.loads(bridge.log.splitlines()[-1])["message"]
    server.stop()
    (tmp_path / "nats" / "login.conf").write_text(login.server)
    server.start()
    eventually(bridge.ready, what="readiness")
    assert_works(agents_on(bridge))
    assert "Traceback" not in bridge.log
    server.stop()


def test_without_a_login_the_reason_says_which_there_are(
    tmp_path: Path, start_bridge: Start
) -> None:
    server = token(tmp_path).serve(tmp_path / "nats")
    bridge = start_bridge(server.url, ready=False)
    wanted = f"{REFUSED}there is none; set"
    assert eventually(lambda: reason(bridge).startswith(wanted), what="the reason")
    server.stop()


@pytest.mark.parametrize(
    ("left_out", "hint"),
    [
        (["nats_tls_ca"], "check BRIDGE_NATS_TLS_CA"),
        (["nats_tls_cert", "nats_tls_key"], "_CERT if"),
    ],
)
def test_without_a_certificate_the_reason_names_it(
    tmp_path: Path, start_bridge: Start, left_out: list[str], hint: str
) -> None:
    login = certificates(tmp_path)
    server = login.serve(tmp_path / "nats")
    settings = {key: value for key, value in login.settings.items() if key not in left_out}
    bridge = start_bridge(server.url, ready=False, **settings)
    # At times the server hangs up before it says why, and the next attempt hears it.
    wanted = ("do not agree on TLS", hint)
    eventually(lambda: all(map(reason(bridge).__contains__, wanted)), what="the reason")
    server.stop()


def test_an_nkey_is_replaced_while_the_bridge_runs(
    tmp_path: Path, start_bridge: Start, agents_on: AgentsOn
) -> None:
    old, new = Key(), Key()
    served = "authorization {{ users: [ {{ nkey: {} }} ] }}".format
    path = tmp_path / "user.nk"
    path.write_text(old.seed)
    assert_replaced(
        Login(served(old.public), {"nats_nkey_file": str(path)}),
        lambda: (served(new.public), new.seed),
        path,
        start_bridge,
        agents_on,
    )


def test_credentials_are_replaced_while_the_bridge_runs(
    tmp_path: Path, start_bridge: Start, agents_on: AgentsOn
) -> None:
    operator, path = Operator(), tmp_path / "user.creds"
    path.write_text(operator.credentials())
    login = Login(operator.server(), {"nats_credentials_file": str(path)})

    def renew() -> tuple[str, str]:
        text = operator.credentials()
        return operator.server(), text

    assert_replaced(login, renew, path, start_bridge, agents_on)


def assert_replaced(
    login: Login,
    renew: Callable[[], tuple[str, str]],
    path: Path,
    start_bridge: Start,
    agents_on: AgentsOn,
) -> None:
    """Let the server accept only a new key; the bridge has it a while later, and is not touched."""
    folder = path.parent / "nats"
    server = login.serve(folder)
    bridge = start_bridge(server.url, **login.settings)
    agents = agents_on(bridge)
    assert_works(agents)
    accepted, text = renew()
    server.stop()
    (folder / "login.conf").write_text(accepted)
    server.start()
    eventually(lambda: reason(bridge).startswith(REFUSED), what="the old one refused")
    path.unlink()
    eventually(lambda: f"{path} cannot be read" in reason(bridge), what="the file's absence")
    path.write_text("half of")
    eventually(lambda: f"{path} does not hold" in reason(bridge), what="the file's contents")
    path.write_text(text)
    eventually(bridge.ready, what="readiness")
    assert_works(agents)
    assert "Traceback" not in bridge.log
    server.stop()


def test_a_file_that_is_no_key_is_named_from_the_start_on(
    tmp_path: Path, own_nats: NatsServer, start_bridge: Start
) -> None:
    path = tmp_path / "user.creds"
    path.write_text("nothing of the kind")
    bridge = start_bridge(own_nats.url, ready=False, nats_credentials_file=str(path))
    told = f"BRIDGE_NATS_CREDENTIALS_FILE: {path} does not hold a user's JWT and the seed"
    eventually(lambda: reason(bridge).startswith(told), what="the reason")
    assert "Traceback" not in bridge.log
    assert bridge.stop() == 0


def test_what_is_not_a_users_seed_is_refused(tmp_path: Path) -> None:
    """A typing error as well, which the check sum tells."""
    path, good, creds = tmp_path / "user.nk", Key().seed, Operator().credentials()
    path.write_text(good)
    assert Endpoint([], nkey_file=str(path)).options() == {"nkeys_seed_str": good}
    typo = good[:20] + ("A" if good[20] != "A" else "B") + good[21:]
    account = Key(nkeys.PREFIX_BYTE_ACCOUNT).seed
    before = creds[: creds.index("SU", creds.index("BEGIN USER NKEY SEED"))]
    for seed in ("", "nonsense", good[:-1], good[:-1] + "8", typo, account, good.lower(), "é"):
        path.write_text(seed)
        with pytest.raises(LoginUnusable, match=r"user\.nk does not hold the seed of a user's"):
            Endpoint([], nkey_file=str(path)).options()
        path.write_text(f"{before}{seed}\r\n------END USER NKEY SEED------\r\n")
        with pytest.raises(LoginUnusable, match=r"user\.nk does not hold a user's JWT"):
            Endpoint([], credentials_file=str(path)).options()


def test_certificates_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    """Also a key with a password, which OpenSSL would ask the terminal for."""
    authority = Authority(tmp_path)
    (own, own_key), (_, foreign) = authority.issue("own"), authority.issue("foreign")
    secret = tmp_path / "secret.key"
    secret.write_bytes(key_text(ec.generate_private_key(ec.SECP256R1()), b"password"))
    for key in (secret, foreign, own, tmp_path / "gone.key"):
        with pytest.raises(LoginUnusable, match=r"BRIDGE_NATS_TLS_KEY: .*own\.pem cannot be used"):
            Endpoint([], tls_cert=str(own), tls_key=str(key)).options()
    with pytest.raises(LoginUnusable, match=r"BRIDGE_NATS_TLS_CA: .*own\.key cannot be used"):
        Endpoint([], tls_ca=str(own_key)).options()


def test_a_client_that_never_began_to_connect_is_not_closed() -> None:
    """Its end would hide why it did not."""

    async def told() -> str:
        async def nothing(_: object) -> None: ...

        endpoint = Endpoint(["ws://127.0.0.1:1", "nats://127.0.0.1:1"])
        connection = Connection(endpoint, nothing, lambda: None)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection.run(), 0.2)
        return connection.problem

    assert "mixing of websocket and non websocket URLs" in asyncio.run(told())
