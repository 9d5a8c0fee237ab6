"""Mounts: each has its volume and a path of its own, and no volume is idle."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from tests.support.manifests.objects import Object, pods


def of_pods(objects: Sequence[Object]) -> Iterator[str]:
    """Mounts name volumes that are there, each at a path of its own; every volume is used."""
    for pod in pods(objects):
        volumes = {one["name"] for one in pod.spec.get("volumes") or []}
        volumes |= {
            claim["metadata"]["name"]
            for claim in pod.owner["spec"].get("volumeClaimTemplates") or []
        }
        used: set[str] = set()
        for container in pod.containers:
            mounts = container.get("volumeMounts") or []
            said = f"{pod.where}: container {container['name']!r}"
            used |= {mount["name"] for mount in mounts}
            for mount in mounts:
                if mount["name"] not in volumes:
                    yield f"{said} mounts {mount['name']!r}, which is no volume of the pod"
                if not mount["mountPath"].startswith("/"):
                    yield f"{said} mounts at {mount['mountPath']!r}, which is no absolute path"
            paths = Counter(str(PurePosixPath(mount["mountPath"])) for mount in mounts)
            yield from (f"{said} mounts at {p} twice" for p, c in paths.items() if c > 1)
        for name in sorted(volumes - used):
            yield f"{pod.where}: nothing mounts the volume {name!r}"


def rotated(objects: Sequence[Object]) -> Iterator[str]:
    """Secrets are mounted whole: a mount by subPath keeps what it had when the pod started."""
    for pod in pods(objects):
        secret = {one["name"] for one in pod.spec.get("volumes") or [] if _holds_secret(one)}
        for container in pod.containers:
            for mount in container.get("volumeMounts") or []:
                if mount["name"] in secret and ("subPath" in mount or "subPathExpr" in mount):
                    yield (
                        f"{pod.where}: container {container['name']!r} mounts the Secret "
                        f"{mount['name']!r} by subPath, so a rotated one never arrives"
                    )


def writable(objects: Sequence[Object]) -> Iterator[str]:
    """Containers cannot write to their image: what they write is in volumes."""
    for pod in pods(objects):
        for container in pod.containers:
            context = container.get("securityContext") or {}
            if context.get("readOnlyRootFilesystem") is not True:
                yield f"{pod.where}: container {container['name']!r} may write to its image"


def _holds_secret(volume: Object) -> bool:
    projected = (volume.get("projected") or {}).get("sources") or []
    return "secret" in volume or any("secret" in source for source in projected)
