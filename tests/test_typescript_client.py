"""A client in TypeScript, generated from the API's description, works against a real bridge."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.support import Agents, BridgeProcess

SOURCE = Path(__file__).parent / "typescript"

needs_npm = pytest.mark.skipif(
    shutil.which("npm") is None, reason="NO CLIENT IN TYPESCRIPT WAS MADE: npm is not on PATH"
)


@needs_npm
@pytest.mark.timeout(300)
def test_a_generated_client_publishes_waits_leases_and_streams(
    bridge: BridgeProcess, agents: Agents, tmp_path: Path
) -> None:
    folder = tmp_path / "client"
    shutil.copytree(SOURCE, folder)
    (folder / "openapi.json").write_text(httpx.get(f"{bridge.url}/openapi.json").text)
    env = {**os.environ, "BRIDGE_URL": bridge.url, "JWT_TOKEN": agents("coder").token}

    def run(*command: str) -> str:
        ran = subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    run("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts")
    optional = "--default-non-nullable=false"  # what has a default need not be sent
    run("npx", "openapi-typescript", "openapi.json", optional, "--output", "api.ts")
    run("npx", "tsc")
    told = json.loads(run("node", "out/client.js").splitlines()[-1])
    assert told["streamed"] is True
    assert told["event_id"]
