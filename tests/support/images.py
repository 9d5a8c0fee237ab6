"""The image: a base to build it on, building it, and running it as hardened as a pod can be.

BRIDGE_TEST_BASE_IMAGE names another base than the Dockerfile's. BRIDGE_TEST_DEBOOTSTRAP=1 makes one
out of Debian packages, for machines that reach those but no registry of images (as root).
"""

import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = ROOT / "Dockerfile"
DEBIAN_BASE = "agent-event-bridge-base:trixie"
DEBIAN_PACKAGES = "python3,python3-venv,ca-certificates"
INDEX_SETTINGS = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")
CANARY = "a-secret-of-the-index"
HARDENED = (
    *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--user", "65532:65532"),
)
BUILD_SECONDS = 900.0
_NO_BASE = (
    "its base is not here and cannot be pulled; name another in BRIDGE_TEST_BASE_IMAGE, or set "
    "BRIDGE_TEST_DEBOOTSTRAP=1 to make one"
)
_STEP = re.compile(r"^ ---> ([0-9a-f]+)$", re.MULTILINE)

Ended = subprocess.CompletedProcess[str]


def docker(*args: str, within: float = 60, status: int | None = 0) -> Ended:
    """Run the docker command and expect this exit status (None: any)."""
    ended = subprocess.run(
        ["docker", *args], capture_output=True, text=True, timeout=within, check=False
    )
    assert status is None or ended.returncode == status, (args, ended.stdout[-4000:], ended.stderr)
    return ended


@contextmanager
def built_image() -> Iterator[str]:
    """Build the image, or skip loudly where that cannot be; give its name, which no other run has.

    What was built is taken away at the end, but for what was there before, and served as cache.
    """
    missing = absence()
    base = "" if missing else base_image()
    if not base:
        pytest.skip(f"THE IMAGE WAS NEITHER BUILT NOR RUN: {missing or _NO_BASE}")
    index = {name: os.environ.get(name, "") for name in INDEX_SETTINGS}
    # pip passes over a folder that is not there; what is looked for is whether its name stays.
    index["PIP_EXTRA_INDEX_URL"] += f" file:///{CANARY}"
    given = [f"{name}={value.strip()}" for name, value in index.items() if value]
    arguments = [part for one in (f"BASE={base}", *given) for part in ("--build-arg", one)]
    name = f"agent-event-bridge:test-{secrets.token_hex(4)}"
    before = set(docker("images", "--all", "--quiet").stdout.split())
    build = ("build", "--network", "host", "--tag", name, *arguments, str(ROOT))
    ended = docker(*build, within=BUILD_SECONDS, status=None)
    try:
        assert ended.returncode == 0, (ended.stdout[-4000:], ended.stderr[-4000:])
        yield name
    finally:
        # The last first, since none goes that another is based on. BuildKit makes no such images.
        steps = [step for step in _STEP.findall(ended.stdout) if step not in before]
        for image in (name, *reversed(steps)):
            docker("rmi", image, status=None)


def default_base() -> str:
    """The base that the Dockerfile names."""
    found = re.search(r"^ARG BASE=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert found, "the Dockerfile has no ARG BASE with a default"
    return found[1]


def absence() -> str:
    """Say what is missing for images to be built; nothing if they can be."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    try:
        answers = docker("info", within=20, status=None).returncode == 0
    except subprocess.TimeoutExpired:
        answers = False
    return "" if answers else "Docker does not answer"


def base_image() -> str:
    """Find the base to build on: the one asked for, one out of Debian packages, or the default.

    Nothing if that cannot be had.
    """
    if asked := os.environ.get("BRIDGE_TEST_BASE_IMAGE"):
        assert _present(asked), f"BRIDGE_TEST_BASE_IMAGE is {asked}, which cannot be had"
        return asked
    if os.environ.get("BRIDGE_TEST_DEBOOTSTRAP") == "1":
        return _debian()
    default = default_base()
    return default if _present(default) else ""


def _present(image: str) -> bool:
    if docker("image", "inspect", image, status=None).returncode == 0:
        return True
    return docker("pull", "--quiet", image, within=300, status=None).returncode == 0


def _debian() -> str:
    """Make a base image of Debian packages alone, once."""
    if docker("image", "inspect", DEBIAN_BASE, status=None).returncode == 0:
        return DEBIAN_BASE
    with tempfile.TemporaryDirectory() as folder:
        root, archive = Path(folder, "root"), Path(folder, "root.tar")
        _run("debootstrap", "--variant=minbase", f"--include={DEBIAN_PACKAGES}", "trixie", root)
        if trusted := os.environ.get("SSL_CERT_FILE"):
            # pip in there must trust whom it trusts here.
            shutil.copy(trusted, root / "etc/ssl/certs/ca-certificates.crt")
        _run("tar", "-C", root, "-cf", archive, "--exclude=./var/cache/apt/*", ".")
        docker("import", str(archive), DEBIAN_BASE, within=300)
    return DEBIAN_BASE


def _run(*command: str | Path) -> None:
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    assert ended.returncode == 0, (command, ended.stdout[-4000:], ended.stderr[-4000:])
