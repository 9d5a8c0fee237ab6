"""What a container finds when it starts: its environment, and its volumes as folders.

Secrets that the operator brings are not in a render; a stand-in takes their place, and only under
the names that the pod gives them, so that a path which leads nowhere stays one.
"""

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.manifests.objects import Container, Object, Pod, at, where

_VARIABLE = re.compile(r"(?<!\$)\$\((\w+)\)")
_FIELDS = {"metadata.name": "pod-0", "metadata.namespace": "agents", "spec.nodeName": "node-0"}

StandIn = Callable[[str], str]
"""Gives the content of a Secret's key that is not in the render, by the key's name."""


@dataclass(frozen=True, slots=True)
class Inside:
    """One container of one pod, with what is mounted in it under the folder `root`."""

    objects: Sequence[Object]
    pod: Pod
    container: Container
    root: Path
    stand_in: StandIn

    def environment(self) -> dict[str, str]:
        """Give the variables, with the paths of volumes led to where `set_up` has put them."""
        found: dict[str, str] = {}
        for one in self.container.get("env") or []:
            found[one["name"]] = _expanded(self._value(one), found)
        return {name: self._led(value) for name, value in found.items()}

    def set_up(self) -> None:
        """Make the folder of every mount, with the files in it."""
        volumes = {one["name"]: one for one in self.pod.spec.get("volumes") or []}
        for mount in self.container.get("volumeMounts") or []:
            folder = self._folder(mount["mountPath"])
            folder.mkdir(parents=True, exist_ok=True)
            for path, text in self._files(volumes[mount["name"]]):
                file = folder / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(self._led(text))

    def _value(self, one: Object) -> str:
        if "value" in one or "valueFrom" not in one:
            return str(one.get("value", ""))
        if field := at(one, "valueFrom.fieldRef.fieldPath"):
            return _FIELDS[field]
        for kind, source in (("Secret", "secretKeyRef"), ("ConfigMap", "configMapKeyRef")):
            if ref := at(one, f"valueFrom.{source}"):
                return self._data(kind, ref["name"]).get(ref["key"]) or self.stand_in(ref["key"])
        raise ValueError(f"{one['name']} comes from {list(one['valueFrom'])}: teach this about it")

    def _files(self, volume: Object) -> Iterator[tuple[str, str]]:
        for source in (volume, *at(volume, "projected.sources", [])):
            for key, kind in (("secret", "Secret"), ("configMap", "ConfigMap")):
                if (ref := source.get(key)) is None:
                    continue
                data = self._data(kind, ref.get("secretName") or ref["name"])
                items = ref.get("items") or [{"key": name, "path": name} for name in data]
                for item in items:
                    yield item["path"], data.get(item["key"]) or self.stand_in(item["key"])

    def _data(self, kind: str, name: str) -> dict[str, str]:
        for one in self.objects:
            if where(one) == f"{kind}/{name}":
                plain = {**(one.get("data") or {})}
                if kind == "Secret":
                    plain = {k: base64.b64decode(v).decode() for k, v in plain.items()}
                return plain | (one.get("stringData") or {})
        return {}

    def _folder(self, mount_path: str) -> Path:
        return self.root / mount_path.lstrip("/")

    def _led(self, text: str) -> str:
        """Lead paths of mounts, at the beginning of a word, to where they are here."""
        mounts = self.container.get("volumeMounts") or []
        paths = sorted((re.escape(one["mountPath"]) for one in mounts), key=len, reverse=True)
        words = re.compile(rf"(?<![\w./:-])({'|'.join(paths)})(?=/|\s|\"|'|$)", re.MULTILINE)
        return words.sub(lambda path: str(self._folder(path[1])), text) if paths else text


def _expanded(value: str, known: Mapping[str, str]) -> str:
    """Put variables in the place of `$(NAME)`; one that is not known stays, as in Kubernetes."""
    return _VARIABLE.sub(lambda use: known.get(use[1], use[0]), value)
