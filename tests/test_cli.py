"""The `bridge` command: its version, the tokens that it makes, and how it says no."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import jwt
import pytest

import bridge as package
from bridge import cli
from tests.support import BridgeProcess
from tests.support.bridges import BRIDGE, SECRET, clean_environment

USAGE = 2
REFUSED = 1


def command(*args: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `bridge` with settings as keyword arguments."""
    environment = clean_environment(**settings) | {"NO_COLOR": "1", "COLUMNS": "200"}
    return subprocess.run(
        [BRIDGE, *args],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def made(*args: str, folder: Path, **settings: str) -> str:
    """Make a token and give it; on standard error is what it says, and never itself."""
    settings.setdefault("jwt_secret", SECRET)
    ended = command("token", *args, folder=folder, **settings)
    assert ended.returncode == 0, ended.stderr
    (line,) = ended.stdout.splitlines()
    (told,) = ended.stderr.splitlines()
    said = jwt.decode(line, options={"verify_signature": False})
    assert told.startswith(f"bridge: made a token for agent {said['sub']!r}")
    assert f"of project {said['project_id']!r}; permissions: " in told
    assert told.endswith(f"; jti {said['jti']}")
    assert line not in told
    return line


def claims(token: str) -> dict[str, object]:
    found: dict[str, object] = jwt.decode(token, SECRET, algorithms=["HS256"])
    return found


def refusal(*args: str, folder: Path, status: int = USAGE, **settings: str) -> str:
    settings.setdefault("jwt_secret", SECRET)
    ended = command("token", *args, folder=folder, **settings)
    assert ended.returncode == status, ended.stderr
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith("bridge: ")
    return line


def test_version(tmp_path: Path) -> None:
    ended = command("--version", folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (0, package.__version__ + "\n")


def test_without_a_command_it_shows_help(tmp_path: Path) -> None:
    ended = command(folder=tmp_path)
    assert ended.returncode == USAGE
    for name in ("serve", "token"):
        assert name in ended.stdout + ended.stderr


@pytest.mark.parametrize("name", ["serve", "token"])
def test_every_command_has_help(tmp_path: Path, name: str) -> None:
    ended = command(name, "--help", folder=tmp_path)
    assert ended.returncode == 0
    assert "Usage: bridge" in ended.stdout


def test_an_unknown_command_and_a_missing_option_are_usage_errors(tmp_path: Path) -> None:
    for args in (
        *(("sevre",), ("token",), ("token", "--agnet", "a")),
        *(("serve", "--port", wrong) for wrong in ("x", "99999", "-1")),
    ):
        ended = command(*args, folder=tmp_path)
        assert ended.returncode == USAGE, args
        assert "Traceback" not in ended.stderr


def test_a_token_has_the_defaults(tmp_path: Path) -> None:
    found = claims(made("--agent", "worker-1", folder=tmp_path))
    assert found["sub"] == "worker-1"
    assert found["project_id"] == "default"
    assert "agent_type" not in found
    assert "spawn_agents" not in str(found.get("permissions", ""))
    assert int(str(found["exp"])) - int(str(found["iat"])) == 3600


def test_a_token_has_what_the_options_say(tmp_path: Path) -> None:
    found = claims(
        made(
            *("--agent", "boss", "--type", "chief-architect", "--project", "apollo"),
            *("--permission", "publish_events", "--permission", "spawn_agents"),
            folder=tmp_path,
        )
    )
    assert found["agent_type"] == "chief-architect"
    assert found["project_id"] == "apollo"
    assert found["permissions"] == ["publish_events", "spawn_agents"]


@pytest.mark.parametrize(
    ("args", "permissions"),
    [
        (("--read-only",), []),
        (("--read-only", "--permission", "wait:testing.*"), ["wait:testing.*"]),
        (("--read-only", "--permission", "spawn_agents"), ["spawn_agents"]),
        (("--permission", "publish:testing.*"), ["publish:testing.*"]),
        (
            ("--permission", "wait:a", "--permission", "publish:b.c*"),
            ["publish:b.c*", "wait:a"],
        ),
    ],
)
def test_permissions_of_a_token(
    tmp_path: Path, args: tuple[str, ...], permissions: list[str]
) -> None:
    assert claims(made("--agent", "a", *args, folder=tmp_path))["permissions"] == permissions


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2h", 7200), ("7d", 604_800)],
)
def test_durations(tmp_path: Path, text: str, expected: int) -> None:
    found = claims(made("--agent", "a", "--ttl", text, folder=tmp_path))
    assert int(str(found["exp"])) - int(str(found["iat"])) == expected


@pytest.mark.parametrize("text", ["", "soon", "1w", "-1h", "1h30m", "500ms", "1.5s"])
def test_what_is_no_duration_is_refused_with_the_form(tmp_path: Path, text: str) -> None:
    told = refusal("--agent", "a", f"--ttl={text}", folder=tmp_path)
    assert told.startswith("bridge: --ttl: ")
    assert "30m" in told or "whole number of seconds" in told


@pytest.mark.parametrize("text", ["0", "8d", "9999999d"])
def test_a_life_out_of_bounds_is_refused(tmp_path: Path, text: str) -> None:
    told = refusal("--agent", "a", "--ttl", text, folder=tmp_path)
    assert "604800" in told


@pytest.mark.parametrize(
    ("args", "about"),
    [
        (("--agent", ""), "--agent: agent_id"),
        (("--agent", "a" * 2000), "--agent: agent_id"),
        (("--agent", "a", "--type", ""), "--type: agent_type"),
        (("--agent", "a", "--project", ""), "--project: project_id"),
        (("--agent", "a", "--project", "a/b"), "--project: project_id"),
        (("--agent", "a", "--permission", "publish"), "did you mean `publish_events`?"),
        (("--agent", "a", "--permission", "zzz"), "known are `publish_events`, `spawn_agents`"),
        (("--agent", "a", "--permission", "publish:"), "'publish:' names no topic; behind"),
        (
            ("--agent", "a", "--permission", "wait:te*st"),
            "with `*` for whatever follows at the end",
        ),
        (("--agent", "a", "--permission", "read:a.b"), "did you mean `wait:a.b`?"),
        (("--agent", "a", "--permission", "publsh:a"), "did you mean `publish:a`?"),
        (("--agent", "a", "--permission", "x:a"), "did you mean `publish:a` or `wait:a`?"),
        (
            ("--agent", "a", "--read-only", "--permission", "publish_events"),
            "--read-only and --permission publish_events contradict",
        ),
        (
            ("--agent", "a", "--permission", "publish:testing", "--read-only"),
            "--read-only and --permission publish:testing contradict",
        ),
    ],
)
def test_a_wrong_claim_is_refused(tmp_path: Path, args: tuple[str, ...], about: str) -> None:
    assert about in refusal(*args, folder=tmp_path)


def test_a_bridge_that_cannot_sign_says_so(tmp_path: Path) -> None:
    """With only a public key there is nothing to sign with."""
    settings = {"jwt_secret": "", "jwt_algorithm": "RS256", "jwt_jwks": "https://example.com/jwks"}
    assert "sign" in refusal("--agent", "a", folder=tmp_path, status=REFUSED, **settings)


def test_a_short_secret_is_refused_without_showing_it(tmp_path: Path) -> None:
    told = refusal("--agent", "a", folder=tmp_path, status=REFUSED, jwt_secret="short-one")
    assert "BRIDGE_JWT_SECRET" in told
    assert "short-one" not in told


def test_a_token_works_on_the_bridge_of_the_same_data_folder(
    tmp_path: Path, start_bridge: Callable[..., BridgeProcess]
) -> None:
    """The token comes first: whoever needs the made-up secret first makes it."""
    data = tmp_path / "data"
    before = made("--agent", "early", "--data-dir", str(data), folder=tmp_path, jwt_secret="")
    running = start_bridge(data_dir=str(data), jwt_secret="")
    after = made("--agent", "late", folder=tmp_path, jwt_secret="", data_dir=str(data))

    for token, name in ((before, "early"), (after, "late")):
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.post(f"{running.api}/events/hello", json={}, headers=headers)
        assert answer.status_code == 202, answer.text
        found = httpx.get(f"{running.api}/events?limit=1", headers=headers).json()["events"]
        assert [event["agent_id"] for event in found] == [name]
    elsewhere = made("--agent", "x", folder=tmp_path, jwt_secret="", data_dir=str(tmp_path / "b"))
    headers = {"Authorization": f"Bearer {elsewhere}"}
    assert httpx.get(f"{running.api}/events", headers=headers).status_code == 401
    assert (data / "jwt-secret").stat().st_mode & 0o777 == 0o600
    assert running.stop() == 0


def test_an_old_python_is_told_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "bridge: Python 3.11 or newer is needed; this is 3.10\n"


def test_the_package_is_the_command_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bridge", "--version"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ended.stdout == f"{package.__version__}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="NOT RUN, needs Linux's /dev/full")
@pytest.mark.parametrize("args", [("token", "--agent", "a"), ("--version",)])
def test_a_full_disk_is_told_in_a_line(tmp_path: Path, args: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [BRIDGE, *args],
            env=clean_environment(data_dir=str(tmp_path)),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr == "bridge: the output: No space left on device\n"
