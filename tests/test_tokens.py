"""What the bridge accepts as a token, and what it answers to everything else."""

import asyncio
import base64
import dataclasses
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from bridge.errors import StartError, TokenExpired, TokenInvalid
from bridge.tokens import KeyConfig, Principal, TokenAuthority, authority

SECRET = "0123456789abcdef0123456789abcdef"
HS256 = KeyConfig(secret=SECRET)
NOW = int(time.time())
CLAIMS = {"sub": "backend-1", "exp": NOW + 3600}

Pair = tuple[str, str]


def pem_pair(private: Any) -> Pair:
    """Give private and public key as PEM texts."""
    return (
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    )


@pytest.fixture(scope="module")
def pairs() -> dict[str, Pair]:
    return {
        "RS256": pem_pair(rsa.generate_private_key(65537, 2048)),
        "ES256": pem_pair(ec.generate_private_key(ec.SECP256R1())),
        "ES384": pem_pair(ec.generate_private_key(ec.SECP384R1())),
        "EdDSA": pem_pair(ed25519.Ed25519PrivateKey.generate()),
    }


def signed(claims: dict[str, Any], key: Any = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, key, algorithm=algorithm)


def raw(header: dict[str, Any], payload: bytes, sign: Callable[[bytes], bytes]) -> str:
    """Build a token by hand, where a library would refuse to."""
    parts = [json.dumps(header).encode(), payload]
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(sign(text)).rstrip(b"=")
    return (text + b"." + signature).decode()


def hs256(key: str) -> Callable[[bytes], bytes]:
    return lambda text: hmac.digest(key.encode(), text, hashlib.sha256)


def verify(token: str, config: KeyConfig = HS256) -> Principal:
    return asyncio.run(TokenAuthority(config).verify(token))


def test_a_good_token_becomes_its_principal() -> None:
    claims = CLAIMS | {
        "agent_type": "backend",
        "project_id": "web-shop",
        "permissions": ["publish_events", "spawn_agents"],
        "iat": NOW,
    }
    assert verify(signed(claims)) == Principal(
        agent_id="backend-1",
        agent_type="backend",
        project="web-shop",
        permissions=frozenset({"publish_events", "spawn_agents"}),
        expires_at=NOW + 3600.0,
        issued_at=float(NOW),
    )


def test_what_a_token_does_not_say_has_its_default() -> None:
    principal = verify(signed(CLAIMS))
    assert (principal.agent_type, principal.project) == (None, "default")
    assert (principal.permissions, principal.issued_at) == (None, None)


@pytest.mark.parametrize(
    ("permissions", "publishes", "spawns"),
    [
        (None, True, False),
        ([], False, False),
        ("", False, False),
        (["publish_events"], True, False),
        ("publish_events spawn_agents", True, True),
        (["spawn_agents"], False, True),
    ],
)
def test_permissions(permissions: Any, publishes: bool, spawns: bool) -> None:
    claims = CLAIMS if permissions is None else CLAIMS | {"permissions": permissions}
    principal = verify(signed(claims))
    assert (principal.can_publish, principal.can_spawn) == (publishes, spawns)


@pytest.mark.parametrize(
    ("algorithm", "pair"),
    [
        ("RS256", "RS256"),
        ("PS512", "RS256"),
        ("ES256", "ES256"),
        ("ES384", "ES384"),
        ("EdDSA", "EdDSA"),
    ],
)
def test_a_token_signed_with_the_private_key_is_verified_with_the_public_one(
    pairs: dict[str, Pair], algorithm: str, pair: str
) -> None:
    private, public = pairs[pair]
    config = KeyConfig(algorithm=algorithm, public_key=public)
    assert verify(signed(CLAIMS, private, algorithm), config).agent_id == "backend-1"


@pytest.mark.parametrize(
    ("token", "hint"),
    [
        ("", "it is empty"),
        ("garbage", "three base64url parts"),
        ("a.b.c", "three base64url parts"),
        ("eyJhbGciOiJIUzI1NiJ9..", "signature"),
        ("bearer " + signed(CLAIMS), "send that word once"),
        (f'"{signed(CLAIMS)}"', "quotes"),
        ("a.b.c.d.e", "encrypted"),
        ("ü.b.c", "three base64url parts"),
        ("x" * 9000, "9000 characters"),
        (base64.urlsafe_b64encode(b"[" * 6000).decode() + ".e30.e30", "three base64url parts"),
    ],
)
def test_what_is_not_a_token_is_told_so(token: str, hint: str) -> None:
    with pytest.raises(TokenInvalid, match=hint):
        verify(token)


def test_an_unsigned_token_is_refused() -> None:
    token = raw({"alg": "none", "typ": "JWT"}, json.dumps(CLAIMS).encode(), lambda _: b"")
    with pytest.raises(TokenInvalid, match=r"'none'; this bridge accepts HS256 only") as error:
        verify(token)
    assert error.value.details == {"accepted": "HS256"}


def test_a_public_key_does_not_serve_as_a_shared_secret(pairs: dict[str, Pair]) -> None:
    """The classic confusion: HS256, keyed with the RSA key that everybody knows."""
    public = pairs["RS256"][1]
    forged = raw({"alg": "HS256"}, json.dumps(CLAIMS).encode(), hs256(public))
    with pytest.raises(TokenInvalid, match="accepts RS256 only"):
        verify(forged, KeyConfig(algorithm="RS256", public_key=public))


def test_the_header_alone_does_not_make_it_the_right_algorithm(pairs: dict[str, Pair]) -> None:
    public = pairs["RS256"][1]
    forged = raw({"alg": "RS256"}, json.dumps(CLAIMS).encode(), hs256(public))
    with pytest.raises(TokenInvalid, match="signature is wrong"):
        verify(forged, KeyConfig(algorithm="RS256", public_key=public))


def test_another_algorithm_with_the_right_secret_is_refused() -> None:
    secret = SECRET * 2
    with pytest.raises(TokenInvalid, match="'HS512'; this bridge accepts HS256 only"):
        verify(signed(CLAIMS, secret, "HS512"), KeyConfig(secret=secret))


def test_a_wrong_signature_is_refused() -> None:
    with pytest.raises(TokenInvalid, match="signature is wrong"):
        verify(signed(CLAIMS, SECRET[::-1]))


def test_a_changed_payload_is_refused() -> None:
    head, _, signature = signed(CLAIMS).split(".")
    payload = base64.urlsafe_b64encode(json.dumps(CLAIMS | {"sub": "root"}).encode())
    with pytest.raises(TokenInvalid, match="signature is wrong"):
        verify(f"{head}.{payload.rstrip(b'=').decode()}.{signature}")


@pytest.mark.parametrize("payload", [b"[]", b"null", b"{", b"\xff", b"[" * 5000])
def test_a_payload_without_claims_is_refused(payload: bytes) -> None:
    with pytest.raises(TokenInvalid, match="not a JSON object of claims"):
        verify(raw({"alg": "HS256"}, payload, hs256(SECRET)))


@pytest.mark.parametrize("header", [{"kid": 7}, {"crit": ["exp2"]}])
def test_a_header_that_cannot_be_honoured_is_refused(header: dict[str, Any]) -> None:
    token = raw({"alg": "HS256"} | header, json.dumps(CLAIMS).encode(), hs256(SECRET))
    with pytest.raises(TokenInvalid, match="header cannot be used"):
        verify(token)


@pytest.mark.parametrize(
    ("claim", "value", "hint"),
    [
        ("sub", None, "sub is missing"),
        ("sub", 7, "must be a string"),
        ("sub", "", "not empty"),
        ("sub", "  ", "not empty"),
        ("sub", "x" * 257, "257 characters; at most 256"),
        ("sub", "a\nb", "control character"),
        ("sub", "a\x7f", "control character"),
        ("sub", "a\ud800", "control character"),
        ("sub", "a\u2028b", "control character"),
        ("agent_type", ["qa"], "must be a string"),
        ("agent_type", "x" * 129, "at most 128"),
        ("project_id", "a b", "project_id must be 1 to 64"),
        ("project_id", "-a", "project_id must be"),
        ("project_id", "x" * 65, "project_id must be"),
        ("project_id", "a\n", "project_id must be"),
        ("permissions", None, "must be a list of strings"),
        ("permissions", {"publish_events": True}, "must be a list of strings"),
        ("permissions", ["publish_events", 1], "must be a list of strings"),
        ("permissions", ["a\tb"], "control character"),
        ("exp", None, "exp is missing"),
        ("exp", "tomorrow", "must be a number"),
        ("exp", True, "must be a number"),
        ("exp", 4_000_000_000_000, "not milliseconds"),
        ("exp", 10**400, "not milliseconds"),
        ("exp", float("nan"), "is not a time"),
        ("iat", "now", "iat must be a number"),
        ("nbf", [], "nbf must be a number"),
        ("nbf", 4_000_000_000, "not valid before 2096"),
    ],
)
def test_a_bad_claim_is_named_with_its_remedy(claim: str, value: object, hint: str) -> None:
    token = raw({"alg": "HS256"}, json.dumps(CLAIMS | {claim: value}).encode(), hs256(SECRET))
    with pytest.raises(TokenInvalid, match=hint) as error:
        verify(token)
    assert error.value.details["claim"] == claim
    assert error.value.code == "AUTH_001"


def test_the_longest_names_are_accepted() -> None:
    claims = CLAIMS | {"sub": "é" * 256, "agent_type": "t" * 128, "project_id": "p" * 64}
    assert verify(signed(claims)).agent_id == "é" * 256


def test_an_expired_token_is_told_when_it_expired() -> None:
    with pytest.raises(TokenExpired, match="expired at 2001-09-09T01:46:40") as error:
        verify(signed(CLAIMS | {"exp": 1_000_000_000}))
    assert error.value.code == "AUTH_002"


def test_leeway_allows_for_clocks_that_differ() -> None:
    config = dataclasses.replace(HS256, leeway_seconds=60)
    now = int(time.time())
    assert verify(signed(CLAIMS | {"exp": now - 5, "nbf": now + 30}), config)


@pytest.mark.parametrize(
    ("claims", "hint"),
    [
        ({"aud": "bridge"}, "iss is missing; this bridge accepts tokens issued by 'idp' only"),
        ({"iss": "other", "aud": "bridge"}, "iss is 'other'"),
        ({"iss": "idp"}, "aud is missing, which is not this bridge"),
        ({"iss": "idp", "aud": ["shop"]}, "get one for audience 'bridge'"),
    ],
)
def test_issuer_and_audience_are_required_where_configured(
    claims: dict[str, Any], hint: str
) -> None:
    config = dataclasses.replace(HS256, issuer="idp", audience="bridge")
    assert verify(signed(CLAIMS | {"iss": "idp", "aud": ["shop", "bridge"]}), config)
    with pytest.raises(TokenInvalid, match=hint):
        verify(signed(CLAIMS | claims), config)


def test_a_token_for_a_named_audience_is_not_for_a_bridge_without_a_name() -> None:
    with pytest.raises(TokenInvalid, match="aud is 'shop'"):
        verify(signed(CLAIMS | {"aud": "shop"}))


def test_a_verified_token_is_remembered_until_it_expires() -> None:
    now = [1000.0]
    tokens = TokenAuthority(HS256, clock=lambda: now[0])
    token = signed({"sub": "a", "exp": 1010})
    assert tokens.verify_cached(token) is None
    principal = asyncio.run(tokens.verify(token))
    assert tokens.verify_cached(token) is principal
    assert asyncio.run(tokens.verify(token)) is principal
    now[0] = 1010.0
    with pytest.raises(TokenExpired):
        tokens.verify_cached(token)
    with pytest.raises(TokenExpired):
        asyncio.run(tokens.verify(token))


def test_only_good_tokens_are_remembered() -> None:
    tokens = TokenAuthority(HS256)
    for bad in ("", "x.y.z", signed(CLAIMS, SECRET[::-1]), signed(CLAIMS | {"exp": 1})):
        with pytest.raises((TokenInvalid, TokenExpired)):
            asyncio.run(tokens.verify(bad))
    assert not tokens._cache


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority, "MAX_CACHED_TOKENS", 3)
    tokens = TokenAuthority(HS256)
    made = [signed(CLAIMS | {"sub": f"agent-{number}"}) for number in range(5)]
    for token in made:
        asyncio.run(tokens.verify(token))
    assert [tokens.verify_cached(token) is not None for token in made] == [False] * 2 + [True] * 3


@pytest.mark.parametrize(
    ("config", "hint"),
    [
        (KeyConfig(), "is 0 bytes long: HS256 needs at least 32"),
        (KeyConfig(secret="short"), "is 5 bytes long: HS256 needs at least 32"),
        (KeyConfig(algorithm="HS512", secret=SECRET), "is 32 bytes long: HS512 needs at least 64"),
        (KeyConfig(algorithm="none", secret=SECRET), "ALGORITHM is none: it must be one of HS256"),
        (KeyConfig(algorithm="RS256", secret=SECRET), "unset BRIDGE_JWT_SECRET"),
        (KeyConfig(secret=SECRET, public_key="x"), "such as RS256, ES256 or EdDSA"),
        (KeyConfig(algorithm="ES256", public_key="x"), "not a PEM public key"),
        (KeyConfig(algorithm="ES256", private_key="x"), "not an unencrypted PEM private key"),
        (KeyConfig(algorithm="ES256", public_key="x", jwks="y"), "both say whom to trust"),
        (
            KeyConfig(secret=SECRET, max_ttl_seconds=5),
            "TTL_SECONDS is 86400: it must be at least 1 and at most",
        ),
    ],
)
def test_a_configuration_that_cannot_work_stops_the_start(config: KeyConfig, hint: str) -> None:
    with pytest.raises(StartError, match=hint):
        TokenAuthority(config)


def test_keys_must_fit_the_algorithm_and_each_other(pairs: dict[str, Pair]) -> None:
    small = pem_pair(rsa.generate_private_key(65537, 1024))
    misfits: list[tuple[KeyConfig, str]] = [
        (KeyConfig(secret=pairs["RS256"][1]), "is a PEM key"),
        (KeyConfig(algorithm="ES256", public_key=pairs["RS256"][1]), "on secp256r1, not this key"),
        (KeyConfig(algorithm="ES256", public_key=pairs["ES384"][1]), "on secp256r1, not this key"),
        (KeyConfig(algorithm="RS256", private_key=small[0]), "at least 2048 bits"),
        (
            KeyConfig(
                algorithm="EdDSA",
                public_key=pairs["EdDSA"][1],
                private_key=pem_pair(ed25519.Ed25519PrivateKey.generate())[0],
            ),
            "do not belong together",
        ),
    ]
    for config, hint in misfits:
        with pytest.raises(StartError, match=hint):
            TokenAuthority(config)


def test_no_secret_is_shown(pairs: dict[str, Pair]) -> None:
    private = pairs["RS256"][0]
    shown = repr(KeyConfig(secret=SECRET, private_key=private))
    assert SECRET not in shown
    assert "PRIVATE" not in shown
