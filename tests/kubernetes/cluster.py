"""The cluster that the lab brings up, and the chart on it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.kubernetes.images import LAB, NEWER_TAG, REPOSITORY, TAG
from tests.support.bridges import SECRET
from tests.support.helm import CHART, HELM
from tests.support.waiting import eventually

ROOT = Path(__file__).parent.parent.parent
NAMESPACE = "agents"
RELEASE = "demo"
NAME = f"{RELEASE}-agent-event-bridge"
NATS = f"{RELEASE}-nats"
BRIDGES = "app.kubernetes.io/component=bridge"
VOLUMES = 3
KEY_SECRET = "agent-tokens"
WITHIN = 300.0

HARDENED_POD = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
HARDENED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}

Json = dict[str, Any]


def missing() -> str:
    """Say what keeps the lab from being brought up here; nothing if nothing does."""
    work = lab_folder()
    if os.geteuid() != 0:
        return "it needs root"
    images = work / "images.tar"
    if not images.exists() or not (work / "bin" / "kubelet").exists():
        return f"run {LAB}/prepare first"
    newest = max(path.stat().st_mtime for path in (ROOT / "bridge").rglob("*.py"))
    if newest > images.stat().st_mtime:
        return f"the images are older than the bridge: run {LAB}/images"
    if nats_chart() is None:
        return "NATS_CHART names no folder of the NATS chart, and `helm pull` reaches none"
    return ""


def lab_folder() -> Path:
    """Where the lab keeps what it makes, as `lab/env.sh` says."""
    cache = os.environ.get("XDG_CACHE_HOME") or f"{os.environ.get('HOME', '/root')}/.cache"
    return Path(os.environ.get("KUBERNETES_LAB") or f"{cache}/agent-event-bridge/kubernetes")


def nats_chart() -> Path | None:
    """Find the NATS chart that the chart depends on: NATS_CHART, or the one of its repository."""
    if given := os.environ.get("NATS_CHART"):
        return Path(given) if Path(given, "Chart.yaml").exists() else None
    needed = yaml.safe_load((CHART / "Chart.yaml").read_text())["dependencies"][0]
    kept = lab_folder() / f"nats-{needed['version']}"
    if not kept.exists():
        source = ("--repo", needed["repository"], "--version", needed["version"])
        pulled = (HELM, "pull", needed["name"], *source, "--untar", "--untardir", kept)
        if subprocess.run(pulled, capture_output=True, timeout=60, check=False).returncode != 0:
            return None
    return kept / str(needed["name"])


class Cluster:
    """One node of a real Kubernetes; commands run as on that node."""

    def __init__(self, folder: Path) -> None:
        self._chart = folder / "chart"
        self._values = folder / "values.yaml"

    def up(self) -> None:
        self._lab("up")
        for number in range(VOLUMES):
            volume = lab_folder() / "data" / "volumes" / str(number)
            volume.mkdir(parents=True)
            volume.chmod(0o777)
            self.apply(_local_volume(number, volume))
        self.namespace(NAMESPACE, restricted=True)
        key = {"kind": "Secret", "metadata": {"name": KEY_SECRET, "namespace": NAMESPACE}}
        self.apply({"apiVersion": "v1", **key, "stringData": {"jwt-secret": SECRET}})
        chart = nats_chart()
        assert chart is not None
        shutil.copytree(CHART, self._chart)
        shutil.copytree(chart, self._chart / "charts" / "nats", dirs_exist_ok=True)
        self._values.write_text(yaml.safe_dump(VALUES))

    def down(self) -> None:
        self._lab("down")

    def namespace(self, name: str, *, restricted: bool) -> None:
        level = "restricted" if restricted else "privileged"
        labels = {"pod-security.kubernetes.io/enforce": level}
        metadata = {"name": name, "labels": labels}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    def run(
        self, *command: str | Path, text: str | None = None, status: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the node and expect this exit status (None: any)."""
        ended = subprocess.run(
            [LAB / "enter", *command],
            input=text,
            capture_output=True,
            text=True,
            timeout=2 * WITHIN,
            check=False,
            cwd=ROOT,
        )
        told = f"{command}: {ended.stdout[-3000:]}{ended.stderr[-3000:]}"
        assert status is None or ended.returncode == status, told
        return ended

    def kubectl(self, *arguments: str, namespace: str = NAMESPACE, text: str | None = None) -> str:
        """Run kubectl in a namespace, and give what it prints."""
        return self.run("kubectl", "--namespace", namespace, *arguments, text=text).stdout

    def apply(self, manifest: Json) -> None:
        namespace = manifest["metadata"].get("namespace", NAMESPACE)
        self.kubectl("apply", "-f", "-", namespace=namespace, text=json.dumps(manifest))

    def get(self, *what: str, namespace: str = NAMESPACE) -> Json:
        found: Json = json.loads(self.kubectl("get", *what, "-o", "json", namespace=namespace))
        return found

    def helm(self, *arguments: str | Path) -> str:
        """Run Helm in the release's namespace, and give what it prints."""
        return self.run(HELM, "--namespace", NAMESPACE, *arguments).stdout

    def install(self, *options: str) -> None:
        """Install or upgrade the release with these options, and wait until all of it is ready."""
        given = ("--values", str(self._values), "--wait", "--timeout", f"{WITHIN:.0f}s", *options)
        try:
            self.helm("upgrade", "--install", RELEASE, self._chart, *given)
        except AssertionError as error:
            error.add_note(self.kubectl("get", "pods", "-o", "wide"))
            error.add_note(self.kubectl("get", "events", "--sort-by=.lastTimestamp")[-4000:])
            raise

    @contextmanager
    def changed(self, *options: str) -> Iterator[None]:
        """Upgrade the release to these options, and back afterwards."""
        self.install(*options)
        yield
        self.install()

    def rollout(self, what: str) -> None:
        """Wait until a workload's rollout is complete."""
        self.kubectl("rollout", "status", what, f"--timeout={WITHIN:.0f}s")

    def pods(self, selector: str, namespace: str = NAMESPACE) -> list[Json]:
        """Give the pods of a selector that are not going, by name."""
        found = self.get("pods", "--selector", selector, namespace=namespace)["items"]
        staying = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        return sorted(staying, key=lambda pod: str(pod["metadata"]["name"]))

    def names(self, selector: str) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.pods(selector)]

    def service_url(self) -> str:
        """The bridge's Service as the node and every pod reach it."""
        service = self.get("service", NAME)["spec"]
        return f"http://{service['clusterIP']}:{service['ports'][0]['port']}"

    def python(self, pod: str, program: str, namespace: str = NAMESPACE) -> tuple[int, str]:
        """Run a Python program in a pod of the bridge's image: its status, and what it said."""
        inside = ("exec", pod, "--", "python", "-c", program)
        ended = self.run("kubectl", "--namespace", namespace, *inside, status=None)
        return ended.returncode, ended.stdout + ended.stderr

    def processes(self, pattern: str) -> list[str]:
        """Give the process IDs on the node whose command line matches."""
        return self.run("pgrep", "-f", pattern, status=None).stdout.split()

    def kill(self, *pids: str) -> None:
        self.run("kill", "-KILL", *pids)

    @contextmanager
    def load(self) -> Iterator["LoadProcess"]:
        """Let agents publish and wait through the Service meanwhile, and hear what they saw."""
        load = LoadProcess(self.service_url())
        try:
            yield load
        finally:
            load.kill()

    @staticmethod
    def _lab(script: str) -> None:
        ended = subprocess.run(
            [LAB / script], capture_output=True, text=True, timeout=WITHIN, check=False
        )
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]


class LoadProcess:
    """`tests.kubernetes.load` on the node: begun when it is made, and summed up by `finish`."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [LAB / "enter", sys.executable, "-m", "tests.kubernetes.load", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "started\n"

    def finish(self) -> Json:
        """End it, and give what it saw; see `tests.kubernetes.load`."""
        out, _ = self._process.communicate("\n", timeout=WITHIN)
        seen: Json = json.loads(out)
        print(json.dumps({"at": round(time.time()), **seen}))  # noqa: T201 - the run's numbers
        return seen

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


def agent_pod(name: str, namespace: str, *command: str, **more: Any) -> Json:
    """A pod of the bridge's image that runs a command, as the restricted standard demands."""
    container = {
        "name": "agent",
        "image": f"{REPOSITORY}:{TAG}",
        "command": list(command),
        "securityContext": HARDENED,
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": HARDENED_POD,
        "containers": [{**container, **more.pop("container", {})}],
        **more,
    }
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def ended(cluster: Cluster, pod: str) -> Json:
    """Wait for a pod's agent to end, and give its state."""

    def agent() -> Json | None:
        statuses = cluster.get("pod", pod)["status"].get("containerStatuses", [])
        ends = [each["state"].get("terminated") for each in statuses if each["name"] == "agent"]
        return ends[0] if ends else None

    return eventually(agent, what=f"the end of {pod}") or {}


def _image(name: str) -> Json:
    return {"image": {"repository": f"lab/{name}", "tag": "1"}}


VALUES: Json = {
    "image": {"repository": REPOSITORY, "tag": TAG},
    "auth": {"existingSecret": KEY_SECRET},
    "nats": {
        "container": _image("nats"),
        "reloader": _image("reloader"),
        "natsBox": {"container": _image("nats-box")},
    },
}
"""Only what a cluster without registries asks for, and the key that the tests sign with."""

NEWER = ("--set", f"image.tag={NEWER_TAG}")
"""The option that upgrades to another image."""


def _local_volume(number: int, folder: Path) -> Json:
    at = {"key": "kubernetes.io/hostname", "operator": "Exists"}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"local-{number}"},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [at]}]}},
        },
    }
