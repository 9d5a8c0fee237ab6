"""What is in the image, and what is not."""

import json
import re
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest

from tests.image.containers import python
from tests.support.images import CANARY, INDEX_SETTINGS, base_image, docker
from tests.test_packaging import EXTRAS, PROJECT, constraints

pytestmark = pytest.mark.timeout(1200)

LARGEST = 150_000_000
NEVER = re.compile(r"nats-server.*|pip\d*|setuptools|ensurepip|(ba|da|z|k|c)?sh|busybox|apt(-get)?")
STRANGERS = re.compile(r"site-packages/tests/|conftest\.py$|\.env$|\.git/|Chart\.yaml$")
SITE_PACKAGES = re.compile(r"opt/bridge/lib/python3\.\d+/site-packages/")
VERSIONS = """
import json
from importlib.metadata import distributions
print(json.dumps({one.name: one.version for one in distributions()}))
"""
LOADS = """
import ctypes, pathlib, sysconfig
found = [
    path
    for folder in ("stdlib", "platlib")
    for path in pathlib.Path(sysconfig.get_path(folder)).rglob("*.so")
]
print(len([ctypes.CDLL(path) for path in found]))
"""
CODE = """
import bridge.bus
from pathlib import Path
print(bridge.bus.Bus.drain.__code__.co_filename)
print(int.from_bytes(Path(bridge.bus.__spec__.cached).read_bytes()[4:8], "little"))
"""
AUTHORITIES = "import ssl; print(len(ssl.create_default_context().get_ca_certs()))"


@pytest.fixture(scope="module")
def inspected(image: str) -> dict[str, Any]:
    (found,) = json.loads(docker("image", "inspect", image).stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def config(inspected: dict[str, Any]) -> dict[str, Any]:
    return dict(inspected["Config"])


@pytest.fixture(scope="module")
def files(image: str) -> Iterator[dict[str, tarfile.TarInfo]]:
    """Every file of the image, by its path without the leading slash."""
    container = docker("create", image).stdout.strip()
    with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
        try:
            docker("export", "--output", archive.name, container)
        finally:
            docker("rm", container)
        with tarfile.open(archive.name) as exported:
            yield {member.name: member for member in exported if not member.isdir()}


def test_it_is_small(inspected: dict[str, Any]) -> None:
    assert inspected["Size"] < LARGEST


def test_it_starts_the_bridge_as_a_user_without_a_shell(config: dict[str, Any]) -> None:
    assert config["Entrypoint"] == ["bridge"]
    assert config["Cmd"] == ["serve"]
    assert config["User"] == "65532:65532"
    assert list(config["ExposedPorts"]) == ["3001/tcp"]
    assert "Healthcheck" not in config


def test_its_labels_say_what_it_is(config: dict[str, Any]) -> None:
    prefix = "org.opencontainers.image."
    labels = {name.removeprefix(prefix): value for name, value in config["Labels"].items()}
    assert labels == {
        "title": PROJECT["name"],
        "description": PROJECT["description"],
        "licenses": PROJECT["license"],
        "version": PROJECT["version"],
        "revision": "",
        "source": "",
        "base.name": base_image(),
        "base.digest": "",
    }


def test_it_holds_no_more_than_it_needs(files: dict[str, tarfile.TarInfo]) -> None:
    needless = [name for name in files if any(map(NEVER.fullmatch, PurePosixPath(name).parts))]
    assert needless == []
    assert [name for name, file in files.items() if file.mode & 0o6000] == []
    project = [name for name in files if SITE_PACKAGES.match(name) and "bridge/_config/" in name]
    assert len(project) == 4
    assert [name for name in files if STRANGERS.search(name)] == []


def test_every_module_is_compiled(files: dict[str, tarfile.TarInfo]) -> None:
    """A root that is read-only would have it compiled again at each start."""
    sources = [PurePosixPath(name) for name in files if name.endswith(".py")]
    compiled = {re.sub(r"\.cpython-\d+\.pyc$", ".py", name) for name in files}
    missing = [
        str(source)
        for source in sources
        if str(source.parent / "__pycache__" / source.name) not in compiled
    ]
    assert len(sources) > 1000
    assert missing == []


def test_the_bytecode_is_the_bridges_and_never_checked(image: str) -> None:
    """PEP 552: the second word is 1 for bytecode by hash that the source is not compared with."""
    path, flags = python(image, CODE).split()
    assert SITE_PACKAGES.match(path.removeprefix("/"))
    assert path.endswith("/bridge/bus/__init__.py")
    assert flags == "1"


def test_every_compiled_extension_finds_its_libraries(image: str) -> None:
    assert int(python(image, LOADS)) > 30


def test_it_knows_the_public_certificate_authorities(image: str) -> None:
    assert int(python(image, AUTHORITIES)) > 50


def test_it_holds_the_pinned_versions_of_the_server_and_nothing_else(image: str) -> None:
    pinned = {name: str(version) for name, version in constraints().items()}
    found = {
        re.sub(r"[-_.]+", "-", name).lower(): version
        for name, version in json.loads(python(image, VERSIONS)).items()
    }
    assert found.pop(PROJECT["name"]) == PROJECT["version"]
    assert found == {name: pinned.get(name) for name in found}
    wanted = {re.split(r"[\[>=;]", one)[0].lower() for one in EXTRAS["server"]}
    assert wanted <= found.keys()


def test_scanners_can_tell_which_packages_are_in_it(files: dict[str, tarfile.TarInfo]) -> None:
    packages = {PurePosixPath(name).name for name in files if "lib/dpkg/status.d/" in name}
    assert "libc6" in packages
    assert any(name.startswith("libssl3") for name in packages)
    assert "etc/os-release" in files


def test_nothing_of_the_package_index_is_recorded(image: str, inspected: dict[str, Any]) -> None:
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image).stdout
    assert "EXPOSE" in history
    for secret in (CANARY, *INDEX_SETTINGS):
        assert secret not in history
        assert secret not in json.dumps(inspected)
