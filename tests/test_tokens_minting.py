"""Who may mint which token, and the secret that a bridge makes for itself."""

import asyncio
import stat
import subprocess
import sys
import time
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from bridge.errors import Forbidden, RequestInvalid, StartError
from bridge.tokens import KeyConfig, MintedToken, Principal, TokenAuthority, load_or_create_secret

SECRET = "0123456789abcdef0123456789abcdef"
CONFIG = KeyConfig(
    secret=SECRET, issuer="bridge", audience="agents", default_ttl_seconds=600, max_ttl_seconds=3600
)


@pytest.fixture
def authority() -> TokenAuthority:
    return TokenAuthority(CONFIG)


def caller(*permissions: str, issued_at: float | None = None, ttl: float = 600) -> Principal:
    return Principal(
        agent_id="boss",
        agent_type="orchestrator",
        project="web-shop",
        permissions=frozenset(permissions),
        expires_at=(issued_at or time.time()) + ttl,
        issued_at=issued_at,
    )


def principal_of(authority: TokenAuthority, minted: MintedToken) -> Principal:
    return asyncio.run(authority.verify(minted.token))


def test_a_minted_token_is_accepted_and_says_what_was_asked(authority: TokenAuthority) -> None:
    minted = authority.mint(
        agent_id="qa-1",
        agent_type="qa",
        project="p",
        permissions=["publish_events"],
        ttl_seconds=60,
    )
    principal = principal_of(authority, minted)
    assert (minted.agent_id, minted.agent_type, minted.project) == ("qa-1", "qa", "p")
    assert principal.permissions == frozenset({"publish_events"})
    assert principal.issued_at is not None
    assert minted.expires_at == principal.expires_at == principal.issued_at + 60
    assert minted.token not in repr(minted)


def test_a_minted_token_has_defaults(authority: TokenAuthority) -> None:
    minted = authority.mint(agent_id="qa-1", now=time.time())
    principal = principal_of(authority, minted)
    assert (principal.agent_type, principal.project, principal.permissions) == (
        None,
        "default",
        None,
    )
    assert principal.issued_at is not None
    assert principal.expires_at - principal.issued_at == CONFIG.default_ttl_seconds


def test_a_private_key_mints_what_its_public_key_verifies() -> None:
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    authority = TokenAuthority(KeyConfig(algorithm="EdDSA", private_key=pem))
    assert authority.can_sign
    minted = authority.mint(agent_id="qa-1")
    assert jwt.get_unverified_header(minted.token)["alg"] == "EdDSA"
    assert principal_of(authority, minted).agent_id == "qa-1"


def test_a_spawned_agent_gets_the_callers_permissions_except_spawning(
    authority: TokenAuthority,
) -> None:
    boss = caller("publish_events", "spawn_agents", "deploy")
    principal = principal_of(authority, authority.mint_for(boss, "qa-1", "qa"))
    assert principal.permissions == frozenset({"publish_events", "deploy"})
    assert principal.project == "web-shop"


def test_spawning_may_be_passed_on_when_asked_for(authority: TokenAuthority) -> None:
    boss = caller("publish_events", "spawn_agents")
    minted = authority.mint_for(boss, "sub-boss", None, ["spawn_agents"], 30)
    assert principal_of(authority, minted).can_spawn


def test_nobody_gives_away_what_they_do_not_have(authority: TokenAuthority) -> None:
    boss = caller("publish_events", "spawn_agents")
    with pytest.raises(
        Forbidden, match="that you do not have: admin, deploy; allowed: pub"
    ) as error:
        authority.mint_for(boss, "qa-1", "qa", ["deploy", "publish_events", "admin"])
    assert error.value.details == {
        "extra": ["admin", "deploy"],
        "allowed": ["publish_events", "spawn_agents"],
    }


def test_minting_needs_the_permission_in_so_many_words(authority: TokenAuthority) -> None:
    silent = Principal("a", None, "default", None, time.time() + 60, None)
    for agent in (caller("publish_events"), silent):
        with pytest.raises(Forbidden, match="needs the permission 'spawn_agents'"):
            authority.mint_for(agent, "qa-1", "qa")


@pytest.mark.parametrize("ttl", [0, -1, 3601, True, 1.5, "60"])
def test_a_lifetime_out_of_bounds_is_refused(authority: TokenAuthority, ttl: int) -> None:
    with pytest.raises(RequestInvalid, match="whole number from 1 to 3600"):
        authority.mint_for(caller("spawn_agents"), "qa-1", "qa", None, ttl)


@pytest.mark.parametrize(
    ("agent_id", "agent_type", "permissions", "field"),
    [
        ("", "qa", None, "agent_id"),
        ("a\n", "qa", None, "agent_id"),
        ("x" * 257, "qa", None, "agent_id"),
        ("a", "", None, "agent_type"),
        ("a", "qa", [7], "permissions"),
    ],
)
def test_a_name_that_no_bridge_would_accept_is_not_minted(
    authority: TokenAuthority, agent_id: str, agent_type: str, permissions: list[str], field: str
) -> None:
    with pytest.raises(RequestInvalid, match=field) as error:
        authority.mint_for(caller("spawn_agents"), agent_id, agent_type, permissions)
    assert error.value.details == {"field": field}


def test_a_renewed_token_says_the_same_and_lives_as_long(authority: TokenAuthority) -> None:
    issued = float(int(time.time()) - 500)
    old = caller("publish_events", issued_at=issued, ttl=550)
    new = principal_of(authority, authority.refresh(old))
    assert (new.agent_id, new.agent_type, new.project) == ("boss", "orchestrator", "web-shop")
    assert new.permissions == old.permissions
    assert new.issued_at is not None
    assert new.expires_at - new.issued_at == 550
    assert new.expires_at > old.expires_at


@pytest.mark.parametrize(("issued_at", "ttl", "lifetime"), [(None, 50, 600), (1e9, 1e9, 3600)])
def test_a_renewed_lifetime_has_a_default_and_a_bound(
    authority: TokenAuthority, issued_at: float | None, ttl: float, lifetime: int
) -> None:
    new = principal_of(authority, authority.refresh(caller(issued_at=issued_at, ttl=ttl)))
    assert new.issued_at is not None
    assert new.expires_at - new.issued_at == lifetime


def test_a_bridge_that_only_verifies_says_so() -> None:
    public = (
        Ed25519PrivateKey.generate()
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    authority = TokenAuthority(KeyConfig(algorithm="EdDSA", public_key=public.decode()))
    assert not authority.can_sign
    boss = caller("spawn_agents")
    with pytest.raises(RequestInvalid, match="only verifies tokens"):
        authority.mint_for(boss, "qa-1", "qa")
    with pytest.raises(RequestInvalid, match="only verifies tokens"):
        authority.refresh(boss)


def test_the_secret_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "data"
    secret = load_or_create_secret(folder)
    assert load_or_create_secret(folder) == secret
    assert TokenAuthority(KeyConfig(secret=secret)).can_sign
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "jwt-secret").stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["jwt-secret"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    load_or_create_secret(tmp_path)
    (tmp_path / "jwt-secret").chmod(mode)
    with pytest.raises(StartError, match="chmod 600"):
        load_or_create_secret(tmp_path)


@pytest.mark.parametrize("content", ["", "\n", "too short"])
def test_a_secret_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "jwt-secret"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(StartError, match="empty or too short"):
        load_or_create_secret(tmp_path)


def test_a_folder_that_is_none_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="cannot be read or made: Not a directory"):
        load_or_create_secret(tmp_path / "file" / "data")


def test_processes_that_start_together_end_with_one_secret(tmp_path: Path) -> None:
    """Each waits for its standard input to close, so that all make the secret at one moment."""
    program = (
        "import sys, pathlib\n"
        "from bridge.tokens import load_or_create_secret\n"
        "print('ready', flush=True); sys.stdin.read()\n"
        "print(load_or_create_secret(pathlib.Path(sys.argv[1])))\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "data")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    secrets = set()
    for process in processes:
        assert process.stdout is not None
        secrets.add(process.stdout.read())
        assert process.wait(30) == 0
        process.stdout.close()
    assert len(secrets) == 1
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["jwt-secret"]
