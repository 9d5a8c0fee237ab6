"""Where settings come from: the environment, `.env` and `bridge.yaml`, and what is misspelt there.

A key that nothing reads is a setting that somebody believes to be in force, so each source is
searched for unknown ones.
"""

import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from bridge.errors import StartError
from bridge.settings.values import expanded
from bridge.suggest import nearest
from bridge.yamlfile import YamlFile, is_null

PREFIX = "BRIDGE_"
DOTENV = Path(".env")
YAML_NAME = "bridge.yaml"

_KUBERNETES = re.compile(
    r"BRIDGE_(SERVICE_.+|(\w+_)?SERVICE_(HOST|PORT(_\w+)?)|(\w+_)?PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
"""What Kubernetes sets in every pod for a Service `bridge`, or `bridge-` and something more."""

PORTS = ("port", "internal_port")
"""Settings whose variables Kubernetes sets for a Service `bridge` and `bridge-internal`."""

_KUBERNETES_URL = re.compile(r"(tcp|udp|sctp)://")


@dataclass(frozen=True, slots=True)
class Given:
    """One setting as somebody gave it, and how to tell them where."""

    name: str
    where: str
    value: object = field(repr=False)


@dataclass(frozen=True, slots=True)
class Line:
    """One value of a YAML file as text (None: left empty), and its line, counted from 1."""

    text: str | None
    number: int


def from_kubernetes(value: str) -> bool:
    """Tell whether a value is the address of a Service, as in `BRIDGE_PORT=tcp://10.0.0.1:3001`."""
    return _KUBERNETES_URL.match(value) is not None


def in_environment() -> Iterator[Given]:
    """List the settings in the environment, misspelt ones too, service links left out."""
    for name, value in os.environ.items():
        if not name.upper().startswith(PREFIX) or _KUBERNETES.fullmatch(name):
            continue
        service = name.endswith("_PORT") and from_kubernetes(value)
        if service and _setting(name) not in PORTS:
            continue
        if value:
            yield Given(_setting(name), f"{name} in the environment", value)


def in_dotenv() -> Iterator[Given]:
    """List the settings in `.env` of the working folder; its other lines are not the bridge's.

    Raises StartError if the file, or a line of it, cannot be read.
    """
    if not DOTENV.is_file():
        return
    for name, value in _dotenv().items():
        if name.upper().startswith(PREFIX) and value:
            yield Given(_setting(name), f"{name} in {DOTENV}", value)


def in_yaml(path: Path) -> Iterator[Given]:
    """List the settings in a `bridge.yaml`. Raises StartError as `read_yaml` does."""
    for name, line in read_yaml(path).items():
        if line.text:
            yield Given(name, f"{name} in {path} line {line.number}", line.text)


def unknown(given: Iterable[Given], known: Iterable[str]) -> list[str]:
    """Say for each misspelt setting what is near it."""
    names = list(known)
    return [
        f"{one.where} is not a setting{_hint(one.name, names)}"
        for one in given
        if one.name not in names
    ]


def read_yaml(path: Path) -> dict[str, Line]:
    """Read a `bridge.yaml`: `name: value` lines, each value as text, a list joined by commas.

    Values stay text, as in the environment, so that a secret such as `0123` is itself and not an
    octal number. Raises StartError, with the line, for what is not of that form.
    """
    file = YamlFile(path)
    return {
        key.value: Line(_text(file, key.value, value), key.start_mark.line + 1)
        for key, value in file.entries()
    }


class BridgeYaml(PydanticBaseSettingsSource):
    """`bridge.yaml` in the config folder that the sources before this one have named."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        self._lines: Mapping[str, Line] = {}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Give a field's text; the signature is the base class's."""
        line = self._lines.get(field_name)
        return (None if line is None else line.text), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Give every value in the file. Raises StartError for a key that is no setting."""
        path = yaml_path(self.current_state.get("config_dir"))
        if path is None:
            return {}
        fields = self.settings_cls.model_fields
        if misspelt := unknown(in_yaml(path), fields):
            raise StartError("; ".join(misspelt))
        self._lines = read_yaml(path)
        if "config_dir" in self._lines:
            line = self._lines["config_dir"].number
            raise StartError(
                f"{path} line {line}: `config_dir` says where this file is, so it cannot be set "
                f"in it; set {PREFIX}CONFIG_DIR in the environment"
            )
        values = {name: self.get_field_value(field, name)[0] for name, field in fields.items()}
        return {name: value for name, value in values.items() if value}


def yaml_path(config_dir: str | Path | None) -> Path | None:
    """Give the `bridge.yaml` of a config folder, None where there is none."""
    if not config_dir:
        return None
    path = expanded(config_dir) / YAML_NAME
    return path if path.is_file() else None


def _setting(variable: str) -> str:
    return variable.lower().removeprefix(PREFIX.lower())


def _hint(name: str, known: list[str]) -> str:
    near = nearest(_setting(name), known)
    return f": did you mean `{near}`?" if near else f"; {YAML_NAME} lists them all"


def _dotenv() -> dict[str, str | None]:
    try:
        text = DOTENV.read_text(encoding="utf-8")
        _refuse_unreadable(text)
        return dotenv_values(stream=io.StringIO(text))
    except UnicodeDecodeError:
        message = f"{DOTENV.absolute()} is not UTF-8 text"
    except OSError as error:
        message = f"{DOTENV.absolute()} cannot be read: {error.strerror}"
    # Raised out of the `except`, so that no traceback shows what the file holds.
    raise StartError(message)


def _refuse_unreadable(text: str) -> None:
    """Raise StartError, which shows nothing of it, for a line that python-dotenv would skip.

    The setting that it was meant to be would silently have its default.
    """
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            skipped = binding.original.string
            blank = skipped[: len(skipped) - len(skipped.lstrip())].count("\n")
            raise StartError(
                f"{DOTENV.absolute()} line {binding.original.line + blank}: must be a line of "
                "`NAME=value`; a quote that is opened has to be closed, with nothing behind it"
            )


def _text(file: YamlFile, name: str, node: yaml.Node) -> str | None:
    if is_null(node):
        return None
    items = node.value if isinstance(node, yaml.SequenceNode) else [node]
    if not all(isinstance(item, yaml.ScalarNode) for item in items):
        raise file.error(node, f"`{name}` must be one value or a list of values")
    return ",".join(str(item.value) for item in items)
