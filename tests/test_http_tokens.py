"""Tokens over HTTP: minting for another agent, renewing one's own, and public keys."""

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.support import Agent, Agents, BridgeProcess
from tests.support.agents import make_token
from tests.support.answers import assert_problem, common
from tests.support.bridges import SECRET

WEEK = 604_800


@pytest.fixture
def spawner(agents: Agents) -> Agent:
    return agents(
        "spawner", agent_type="chief-architect", permissions=["publish_events", "spawn_agents"]
    )


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, SECRET, algorithms=["HS256"])


def as_agent(agent: Agent, token: str) -> httpx.Client:
    return httpx.Client(base_url=agent.http.base_url, headers={"Authorization": f"Bearer {token}"})


class TestMinting:
    def test_a_minted_token_is_another_agents_of_the_same_project(self, spawner: Agent) -> None:
        wanted = {
            "agent_id": "coder-1",
            "agent_type": "python-specialist",
            "permissions": ["publish_events"],
            "ttl_seconds": 600,
        }
        answer = common(spawner.http.post("/tokens", json=wanted))
        assert answer.status_code == 201
        minted = answer.json()
        said = ["token", "agent_id", "agent_type", "project_id", "expires_at", "jti"]
        assert list(minted) == said
        assert (minted["agent_id"], minted["agent_type"]) == ("coder-1", "python-specialist")
        assert minted["project_id"] == spawner.project
        claims = claims_of(minted["token"])
        assert (claims["sub"], claims["project_id"]) == ("coder-1", spawner.project)
        assert claims["permissions"] == ["publish_events"]
        assert claims["exp"] - claims["iat"] == 600
        assert claims["jti"] == minted["jti"] == str(uuid.UUID(minted["jti"]))
        assert datetime.fromisoformat(minted["expires_at"]).timestamp() == claims["exp"]
        with as_agent(spawner, minted["token"]) as coder:
            assert coder.post("/events/checkpoint", json={}).status_code == 202
        (event,) = spawner.history()["events"]
        assert (event["agent_id"], event["agent_type"]) == ("coder-1", "python-specialist")

    def test_only_the_agents_name_is_needed(self, spawner: Agent) -> None:
        minted = spawner.http.post("/tokens", json={"agent_id": "coder-1"}).json()
        assert minted["agent_type"] is None
        claims = claims_of(minted["token"])
        assert claims["permissions"] == ["publish_events"]  # spawning does not spread by itself
        assert claims["exp"] - claims["iat"] == 3600

    def test_null_counts_as_left_out(self, spawner: Agent) -> None:
        wanted = {"agent_id": "a", "agent_type": None, "permissions": None, "ttl_seconds": None}
        assert spawner.http.post("/tokens", json=wanted).status_code == 201

    @pytest.mark.parametrize("permissions", [None, [], ["publish_events"]])
    def test_minting_needs_its_permission(self, agents: Agents, permissions: object) -> None:
        agent = agents("plain", permissions=permissions)
        answer = agent.http.post("/tokens", json={"agent_id": "coder-1"})
        told = assert_problem(answer, "AUTH_003", says="spawn_agents")
        how = "bridge token --agent NAME --permission publish_events --permission spawn_agents"
        assert how in told["message"]

    def test_nobody_gives_what_it_does_not_have(self, agents: Agents) -> None:
        agent = agents("spawner", permissions=["spawn_agents"])
        wanted = {"agent_id": "coder-1", "permissions": ["publish_events", "admin"]}
        told = assert_problem(agent.http.post("/tokens", json=wanted), "AUTH_003", says="admin")
        assert told["details"]["extra"] == ["admin", "publish_events"]

    @pytest.mark.parametrize(
        ("wanted", "says"),
        [
            ({}, "`agent_id` is missing"),
            ({"agent_id": None}, "`agent_id` must be a text"),
            ({"agent_id": 7}, "`agent_id` must be a text"),
            ({"agent_id": ""}, "agent_id"),
            ({"agent_id": "a\n"}, "control character"),
            ({"agent_id": "x" * 257}, "256"),
            ({"agent_id": "a", "agent_type": ""}, "agent_type"),
            ({"agent_id": "a", "permissions": "publish_events"}, "`permissions` must be a list"),
            ({"agent_id": "a", "permissions": [7, 8]}, "`permissions` must be a list of texts."),
            ({"agent_id": "a", "ttl_seconds": 0}, "1 to"),
            ({"agent_id": "a", "ttl_seconds": WEEK + 1}, str(WEEK)),
            ({"agent_id": "a", "ttl_seconds": 1.5}, "`ttl_seconds` must be a whole number"),
            ({"agent_id": "a", "ttl_seconds": True}, "`ttl_seconds` must be a whole number"),
            ({"agent_id": "a", "ttl_seconds": "60"}, "`ttl_seconds` must be a whole number"),
            ({"agent_id": "a", "ttl_seconds": 2**64 - 1}, "1 to"),
            ({"agent_id": "a", "project_id": "another"}, "always for the caller's own project"),
            ({"agent_id": "a", "ttl": 60}, "`ttl` is no field of it; did you mean `ttl_seconds`?"),
            ({"agent_id": "a", "expiresIn": 60}, "did you mean `ttl_seconds`?"),
            ({"name": "a"}, "did you mean `agent_id`?"),
            ({"agent_id": "a", "agentType": "qa"}, "did you mean `agent_type`?"),
            ({"agent_id": "a", "zzz": 60}, "known are `agent_id`, `agent_type`"),
            ([], "the body must be a JSON object"),
            ("text", "the body must be a JSON object"),
        ],
        ids=str,
    )
    def test_a_bad_wish_is_told(self, spawner: Agent, wanted: object, says: str) -> None:
        told = assert_problem(spawner.http.post("/tokens", json=wanted), "REQ_001", says=says)
        for jargon in ("TokenRequest", "Extra inputs", "valid string", "Input should"):
            assert jargon not in told["message"]

    @pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"agent_id": ' + b"[" * 5000])
    def test_a_bad_body_is_told(self, spawner: Agent, body: bytes) -> None:
        assert_problem(spawner.http.post("/tokens", content=body), "REQ_001")

    def test_a_huge_body_is_refused(self, spawner: Agent) -> None:
        assert_problem(spawner.http.post("/tokens", content=b" " * 70_000), "EVT_005", says="65536")
        assert spawner.http.post("/tokens", json={"agent_id": "a"}).status_code == 201


class TestRefreshing:
    def test_the_new_token_says_the_same_for_as_long(self, agents: Agents) -> None:
        now = int(time.time())
        agent = agents(
            "coder-1",
            agent_type="python-specialist",
            permissions=["publish_events"],
            iat=now - 1000,
            exp=now + 1000,
        )
        answer = common(agent.http.post("/tokens/refresh"))
        assert answer.status_code == 201
        renewed = answer.json()
        assert (renewed["agent_id"], renewed["project_id"]) == ("coder-1", agent.project)
        claims = claims_of(renewed["token"])
        assert claims["exp"] - claims["iat"] == 2000
        assert claims["iat"] >= now
        before = claims_of(agent.token)
        for name in ("sub", "agent_type", "project_id", "permissions"):
            assert claims[name] == before[name]

    def test_a_token_without_permissions_stays_without(self, agent: Agent) -> None:
        renewed = agent.http.post("/tokens/refresh").json()["token"]
        assert "permissions" not in claims_of(renewed)
        with as_agent(agent, renewed) as client:
            assert client.post("/events/checkpoint", json={}).status_code == 202

    def test_no_token_outlives_the_longest_life(self, agents: Agents) -> None:
        agent = agents("eternal", exp=int(time.time()) + 10 * WEEK)
        claims = claims_of(agent.http.post("/tokens/refresh").json()["token"])
        assert claims["exp"] - claims["iat"] == WEEK


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2048)


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
def verifier(
    key: rsa.RSAPrivateKey, nats_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BridgeProcess]:
    """A bridge that has only the public key of whoever issues tokens."""
    folder: Path = tmp_path_factory.mktemp("verifier")
    path = folder / "public.pem"
    path.write_bytes(public_pem(key))
    settings = {"jwt_algorithm": "RS256", "jwt_public_key": str(path), "jwt_secret": ""}
    process = BridgeProcess(folder / "bridge", nats_url, **settings)
    yield process.start()
    assert process.stop() == 0


class TestPublicKeys:
    def test_the_public_key_as_a_secret_opens_nothing(
        self, verifier: BridgeProcess, key: rsa.RSAPrivateKey
    ) -> None:
        header, payload = (
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
            for part in ({"alg": "HS256"}, {"sub": "a", "exp": int(time.time()) + 600})
        )
        mac = hmac.new(public_pem(key), header + b"." + payload, hashlib.sha256).digest()
        token = b".".join((header, payload, base64.urlsafe_b64encode(mac).rstrip(b"=")))
        headers = {"Authorization": f"Bearer {token.decode()}"}
        answer = httpx.post(f"{verifier.api}/events/checkpoint", json={}, headers=headers)
        assert_problem(answer, "AUTH_001", says="RS256")

    def test_an_issuers_token_is_taken_and_none_is_minted(
        self, verifier: BridgeProcess, key: rsa.RSAPrivateKey, agents: Agents
    ) -> None:
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        token = make_token(
            secret=private,
            algorithm="RS256",
            project_id=agents.project,
            permissions=["publish_events", "spawn_agents"],
        )
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=verifier.api, headers=headers) as client:
            assert client.post("/events/checkpoint", json={}).status_code == 202
            minting = client.post("/tokens", json={"agent_id": "coder-1"})
            assert_problem(minting, "REQ_001", says="issuer")
            assert_problem(client.post("/tokens/refresh"), "REQ_001", says="issuer")
