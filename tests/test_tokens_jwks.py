"""Key sets from a file and from a URL: which key is used, and what an unreachable one means."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from bridge.errors import StartError, TokenInvalid, Unavailable
from bridge.tokens import KeyConfig, Principal, TokenAuthority
from bridge.tokens.jwks import COOLDOWN_SECONDS, LIFESPAN_SECONDS, STALE_SECONDS, KeySet

CLAIMS = {"sub": "backend-1", "exp": int(time.time()) + 3600}
FIRST = ec.generate_private_key(ec.SECP256R1())
SECOND = ec.generate_private_key(ec.SECP256R1())


def public_jwk(private: ec.EllipticCurvePrivateKey, **members: Any) -> dict[str, Any]:
    jwk: dict[str, Any] = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return jwk | members


def key_set(*keys: object) -> dict[str, Any]:
    return {"keys": list(keys)}


def signed(private: ec.EllipticCurvePrivateKey, kid: str | None = None) -> str:
    headers = None if kid is None else {"kid": kid}
    return jwt.encode(CLAIMS, private, algorithm="ES256", headers=headers)


def verify(token: str, path: Path) -> Principal:
    config = KeyConfig(algorithm="ES256", jwks=str(path))
    return asyncio.run(TokenAuthority(config).verify(token))


class Endpoint:
    """A tiny server on the loopback that answers `body`, or `status` without one, and counts."""

    def __init__(self) -> None:
        self.body: bytes = b""
        self.status = 200
        self.requests = 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                endpoint.requests += 1
                self.send_response(endpoint.status)
                self.send_header("Content-Length", str(len(endpoint.body)))
                self.end_headers()
                self.wfile.write(endpoint.body)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        return Handler

    def serve(self, *keys: object) -> None:
        self.status, self.body = 200, json.dumps(key_set(*keys)).encode()

    def fail(self) -> None:
        self.status, self.body = 500, b""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    served = Endpoint()
    thread = threading.Thread(target=served.server.serve_forever, args=(0.01,))
    thread.start()
    yield served
    served.server.shutdown()
    thread.join()
    served.server.server_close()


class Bench:
    """An authority over a URL whose key set has a clock of its own, set by the test."""

    def __init__(self, url: str) -> None:
        self.now = 0.0
        self.authority = TokenAuthority(KeyConfig(algorithm="ES256", jwks=url))
        self.authority._keys = KeySet(
            url, "ES256", on_change=self.authority._cache.clear, clock=lambda: self.now
        )

    def verify(self, token: str) -> Principal:
        return asyncio.run(self.authority.verify(token))


def test_a_file_gives_the_key_that_the_token_names(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    keys = key_set(public_jwk(FIRST, kid="one", alg="ES256"), public_jwk(SECOND, kid="two"))
    path.write_text(json.dumps(keys))
    assert verify(signed(SECOND, "two"), path).agent_id == "backend-1"
    with pytest.raises(TokenInvalid, match="signature is wrong"):
        verify(signed(SECOND, "one"), path)
    with pytest.raises(TokenInvalid, match=r"no key 'three' \(known: 'one', 'two'\)"):
        verify(signed(FIRST, "three"), path)
    with pytest.raises(TokenInvalid, match="no kid and the key set has 2 keys"):
        verify(signed(FIRST), path)


def test_one_key_needs_no_name(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(key_set(public_jwk(FIRST))))
    assert verify(signed(FIRST), path).agent_id == "backend-1"


def test_a_private_key_in_the_set_is_read_as_a_public_one(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(
        json.dumps(key_set(ECAlgorithm.to_jwk(FIRST, as_dict=True) | {"key_ops": None}))
    )
    assert verify(signed(FIRST), path).agent_id == "backend-1"


@pytest.mark.parametrize(
    ("members", "hint"),
    [
        ({"alg": "ES384"}, "it is for ES384, and this bridge accepts ES256 only"),
        ({"alg": "HS256"}, "it is for HS256"),
        ({"use": "enc"}, "its use is not 'sig'"),
        ({"key_ops": ["sign"]}, "do not include 'verify'"),
        ({"kty": "oct", "k": "c2VjcmV0"}, "not an elliptic curve key on secp256r1"),
        ({"kty": "RSA", "n": "AQ", "e": "AQAB"}, "not an elliptic curve key on secp256r1"),
        ({"crv": "P-384"}, "not an elliptic curve key on secp256r1"),
        ({"x": 7}, "not an elliptic curve key on secp256r1"),
    ],
)
def test_a_key_that_does_not_fit_is_never_used(
    tmp_path: Path, members: dict[str, Any], hint: str
) -> None:
    path = tmp_path / "jwks.json"
    misfit = public_jwk(SECOND, kid="two") | members
    path.write_text(json.dumps(key_set(misfit, public_jwk(FIRST, kid="one"))))
    with pytest.raises(TokenInvalid, match=hint):
        verify(signed(SECOND, "two"), path)
    assert verify(signed(FIRST, "one"), path).agent_id == "backend-1"


def test_an_rsa_key_in_the_set_verifies_rs256(tmp_path: Path) -> None:
    private = rsa.generate_private_key(65537, 2048)
    path = tmp_path / "jwks.json"
    jwk = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    path.write_text(json.dumps(key_set(jwk, public_jwk(FIRST))))
    config = KeyConfig(algorithm="RS256", jwks=str(path))
    token = jwt.encode(CLAIMS, private, algorithm="RS256")
    assert asyncio.run(TokenAuthority(config).verify(token)).agent_id == "backend-1"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is not JSON"),
        ("[]", "is not a JSON Web Key Set"),
        ('{"keys": []}', "has no key for ES256"),
        ('{"keys": [7, {"kty": "oct"}]}', "it is not a JSON object"),
    ],
)
def test_a_file_that_is_no_key_set_stops_the_start(
    tmp_path: Path, text: str | None, hint: str
) -> None:
    path = tmp_path / "jwks.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(StartError, match=hint):
        TokenAuthority(KeyConfig(algorithm="ES256", jwks=str(path)))


def test_a_url_is_read_once_for_many_tokens(endpoint: Endpoint) -> None:
    endpoint.serve(public_jwk(FIRST, kid="one"))
    authority = TokenAuthority(KeyConfig(algorithm="ES256", jwks=endpoint.url))
    assert not authority.can_sign

    async def verify_many() -> list[Principal]:
        return await asyncio.gather(*(authority.verify(signed(FIRST, "one")) for _ in range(20)))

    assert {principal.agent_id for principal in asyncio.run(verify_many())} == {"backend-1"}
    assert endpoint.requests == 1


def test_unknown_key_ids_cannot_hammer_the_url(endpoint: Endpoint) -> None:
    endpoint.serve(public_jwk(FIRST, kid="one"))
    bench = Bench(endpoint.url)
    bench.verify(signed(FIRST, "one"))
    for number in range(10):
        with pytest.raises(TokenInvalid, match="no key"):
            bench.verify(signed(SECOND, f"made-up-{number}"))
    assert endpoint.requests == 1
    bench.now += COOLDOWN_SECONDS
    for number in range(10):
        with pytest.raises(TokenInvalid, match="no key"):
            bench.verify(signed(SECOND, f"made-up-{number}"))
    assert endpoint.requests == 2


def test_a_new_key_is_noticed_after_the_cool_down(endpoint: Endpoint) -> None:
    endpoint.serve(public_jwk(FIRST, kid="one"))
    bench = Bench(endpoint.url)
    bench.verify(signed(FIRST, "one"))
    endpoint.serve(public_jwk(FIRST, kid="one"), public_jwk(SECOND, kid="two"))
    bench.now += COOLDOWN_SECONDS
    assert bench.verify(signed(SECOND, "two")).agent_id == "backend-1"


def test_a_withdrawn_key_ends_the_tokens_that_are_remembered(endpoint: Endpoint) -> None:
    endpoint.serve(public_jwk(FIRST, kid="one"))
    bench = Bench(endpoint.url)
    token = signed(FIRST, "one")
    bench.verify(token)
    assert bench.authority.verify_cached(token) is not None
    endpoint.serve(public_jwk(SECOND, kid="two"))
    bench.now += LIFESPAN_SECONDS
    assert bench.authority.verify_cached(token) is None
    with pytest.raises(TokenInvalid, match="no key 'one'"):
        bench.verify(token)


def test_a_private_key_beside_a_url_mints_for_the_bridges_that_have_it(endpoint: Endpoint) -> None:
    endpoint.serve(public_jwk(FIRST, kid="one"))
    pem = SECOND.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    config = KeyConfig(algorithm="ES256", jwks=endpoint.url, private_key=pem)
    authority, replica = TokenAuthority(config), TokenAuthority(config)
    minted = authority.mint(agent_id="qa-1")
    assert asyncio.run(replica.verify(minted.token)).agent_id == "qa-1"
    assert asyncio.run(replica.verify(signed(FIRST, "one"))).agent_id == "backend-1"
    with pytest.raises(TokenInvalid, match="no key 'bridge-"):
        asyncio.run(Bench(endpoint.url).authority.verify(minted.token))


def test_an_unreachable_url_is_not_the_fault_of_the_token(endpoint: Endpoint) -> None:
    endpoint.fail()
    bench = Bench(endpoint.url)
    for _ in range(3):
        with pytest.raises(Unavailable) as error:
            bench.verify(signed(FIRST, "one"))
        assert 1 <= error.value.retry_after <= 5
    assert endpoint.requests == 1
    endpoint.serve(public_jwk(FIRST, kid="one"))
    bench.now += 5
    assert bench.verify(signed(FIRST, "one")).agent_id == "backend-1"


def test_known_keys_outlive_a_failure_for_an_hour(endpoint: Endpoint) -> None:
    endpoint.serve(public_jwk(FIRST, kid="one"))
    bench = Bench(endpoint.url)
    token = signed(FIRST, "one")
    bench.verify(token)
    endpoint.fail()
    bench.now += LIFESPAN_SECONDS
    assert bench.verify(token).agent_id == "backend-1"
    assert bench.authority.verify_cached(token) is not None
    with pytest.raises(Unavailable):
        bench.verify(signed(SECOND, "two"))
    bench.now = STALE_SECONDS
    assert bench.authority.verify_cached(token) is None
    with pytest.raises(Unavailable):
        bench.verify(token)


def test_an_answer_that_is_no_key_set_counts_as_unreachable(endpoint: Endpoint) -> None:
    for body in (b"<html>", b"[]", b"{}", b'{"keys": []}'):
        endpoint.body = body
        with pytest.raises(Unavailable):
            Bench(endpoint.url).verify(signed(FIRST, "one"))
