"""The catalogue: topics, event types and agent types, read from `config/*.yaml` at start.

The packaged files are overlaid by those of the same names in the operator's folder.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import yaml

from bridge import subjects
from bridge.errors import StartError
from bridge.suggest import did_you_mean, nearest
from bridge.yamlfile import YamlFile

TOPICS = "topics.yaml"
EVENT_TYPES = "event_types.yaml"
AGENT_TYPES = "agent_types.yaml"
_FILES = (TOPICS, EVENT_TYPES, AGENT_TYPES, "bridge.yaml")

_EVERY_TOPIC = "all"

_Entry = TypeVar("_Entry")
_Parse = Callable[[YamlFile, str, yaml.Node], _Entry]

UNKNOWN_AGENT_TOPICS = ("coordination", "error")
"""What an agent hears whose type the catalogue does not list (the contract, Wait)."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A group of events; the texts are for people, nothing is decided by them."""

    purpose: str
    publishers: tuple[str, ...]
    subscribers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EventType:
    """A standard event type: its default topic, and the data fields documented for it.

    `also_on` holds the other topics on which it is no surprise.
    """

    topic: str
    description: str
    data_fields: tuple[str, ...]
    also_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentType:
    """The topics that agents of one type hear; None means every topic, custom ones included."""

    subscribes_to: tuple[str, ...] | None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Catalog:
    """Every topic, event type and agent type by name. Whatever is not listed may be used too."""

    topics: Mapping[str, Topic]
    event_types: Mapping[str, EventType]
    agent_types: Mapping[str, AgentType]

    def topic_of(self, event_type: str) -> str | None:
        """Give the default topic of a standard event type, None for any other."""
        kind = self.event_types.get(event_type)
        return None if kind is None else kind.topic

    def topics_of(self, agent_type: str | None) -> tuple[str, ...] | None:
        """Give the topics that agents of this type hear; None means every topic."""
        kind = None if agent_type is None else self.agent_types.get(agent_type)
        return UNKNOWN_AGENT_TOPICS if kind is None else kind.subscribes_to

    def warnings(self, event_type: str, topic: str, data: Mapping[str, Any]) -> Sequence[str]:
        """Say what is unusual about an event: its topic, documented data fields left out.

        Only standard types are judged. None of it is an error: the Event System Guide documents
        these fields and does not require them.
        """
        kind = self.event_types.get(event_type)
        if kind is None:
            return ()
        found = []
        if topic != kind.topic and topic not in kind.also_on:
            found.append(f"`{event_type}` usually goes to topic `{kind.topic}`, not `{topic}`")
        missing = [name for name in kind.data_fields if name not in data]
        if missing:
            names = ", ".join(f"`{name}`" for name in missing)
            found.append(f"`{event_type}` usually carries {names} in `data`")
        return found or ()


def load_catalog(config_dir: Path | None = None) -> Catalog:
    """Read the packaged catalogue and, over it, the files of the same names in `config_dir`.

    An entry there is added, or replaces the packaged entry of its name whole; a file that is not
    there changes nothing.

    Raises StartError if the folder does not exist or a file is wrong, naming file and line.
    """
    folders: list[Traversable] = [_packaged()]
    if config_dir is not None:
        _check_folder(config_dir)
        folders.append(config_dir)
    topics = _overlay(folders, TOPICS, _topic)
    event_types = _overlay(folders, EVENT_TYPES, partial(_event_type, topics))
    agent_types = _overlay(folders, AGENT_TYPES, partial(_agent_type, topics))
    return Catalog(
        topics=MappingProxyType(topics),
        event_types=MappingProxyType(event_types),
        agent_types=MappingProxyType(agent_types),
    )


def _packaged() -> Traversable:
    """Find the defaults: inside the package once installed, beside it in a source tree."""
    package = files("bridge")
    for folder in (package / "_config", Path(str(package)).parent / "config"):
        if (folder / TOPICS).is_file():
            return folder
    raise StartError(f"the packaged catalogue is missing beside {package}: install bridge again")


def _check_folder(folder: Path) -> None:
    """Refuse a folder that is not there, and file names that would go unread by a slip."""
    if not folder.is_dir():
        raise StartError(f"the config folder {folder} does not exist (BRIDGE_CONFIG_DIR)")
    for path in sorted(folder.iterdir()):
        if path.name in _FILES or path.suffix not in {".yaml", ".yml"}:
            continue
        near = nearest(path.name, _FILES, close=0.85)
        if near:
            raise StartError(f"{path} is not read: did you mean `{near}`?")


def _overlay(
    folders: Collection[Traversable], name: str, parse: _Parse[_Entry]
) -> dict[str, _Entry]:
    entries = {}
    for folder in folders:
        path = folder / name
        if path.is_file():
            file = YamlFile(path)
            for key, node in file.entries():
                entries[_name(file, key)] = parse(file, key.value, node)
    return entries


def _name(file: YamlFile, node: yaml.ScalarNode) -> str:
    name = str(node.value)
    if not subjects.NAME.match(name):
        raise file.error(node, f"`{name}` is not a name: use {subjects.NAME_RULE}")
    return name


def _topic(file: YamlFile, name: str, node: yaml.Node) -> Topic:
    what = f"topic `{name}`"
    if name == _EVERY_TOPIC:
        raise file.error(node, "`all` means every topic and cannot be a topic's name")
    fields = file.fields(node, what, ("purpose", "publishers", "subscribers"))
    return Topic(
        purpose=file.text(fields.get("purpose"), f"`purpose` of {what}"),
        publishers=_texts(file, fields, "publishers", what),
        subscribers=_texts(file, fields, "subscribers", what),
    )


def _event_type(topics: Collection[str], file: YamlFile, name: str, node: yaml.Node) -> EventType:
    what = f"event type `{name}`"
    known = ("topic", "also_on", "description", "data_fields")
    fields = file.fields(node, what, known, required="topic")
    topic = file.text(fields["topic"], f"`topic` of {what}")
    _check_topic(topics, file, fields["topic"], topic, what)
    return EventType(
        topic=topic,
        description=file.text(fields.get("description"), f"`description` of {what}"),
        data_fields=_texts(file, fields, "data_fields", what),
        also_on=_topics(topics, file, fields, "also_on", what),
    )


def _agent_type(topics: Collection[str], file: YamlFile, name: str, node: yaml.Node) -> AgentType:
    what = f"agent type `{name}`"
    fields = file.fields(node, what, ("subscribes_to", "description"), required="subscribes_to")
    description = file.text(fields.get("description"), f"`description` of {what}")
    subscribes_to = fields["subscribes_to"]
    if subscribes_to.value == _EVERY_TOPIC:
        return AgentType(None, description)
    items = file.texts(subscribes_to, f"`subscribes_to` of {what}")
    if [item.value for item in items] == [_EVERY_TOPIC]:
        return AgentType(None, description)
    if not items:
        raise file.error(subscribes_to, f"{what} must subscribe to at least one topic, or `[all]`")
    return AgentType(_topics(topics, file, fields, "subscribes_to", what), description)


def _texts(file: YamlFile, fields: dict[str, yaml.Node], key: str, what: str) -> tuple[str, ...]:
    items = file.texts(fields.get(key), f"`{key}` of {what}")
    return tuple(dict.fromkeys(item.value for item in items))


def _topics(
    topics: Collection[str], file: YamlFile, fields: dict[str, yaml.Node], key: str, what: str
) -> tuple[str, ...]:
    for item in file.texts(fields.get(key), f"`{key}` of {what}"):
        _check_topic(topics, file, item, item.value, what)
    return _texts(file, fields, key, what)


def _check_topic(
    topics: Collection[str], file: YamlFile, node: yaml.Node, topic: str, what: str
) -> None:
    if topic == _EVERY_TOPIC:
        raise file.error(node, f"{what}: `all` stands alone, and only in `subscribes_to`")
    if topic not in topics:
        raise file.error(
            node,
            f"{what} names the topic `{topic}`, which does not exist; "
            f"{did_you_mean(topic, topics)} Topics are listed in {TOPICS}",
        )
