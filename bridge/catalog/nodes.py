"""YAML read as nodes, so that whatever is wrong can be told with its file and line.

Scalars are taken as the text that stands in the file: a name such as `on` or `1.10` means itself
and not what YAML 1.1 would make of it.
"""

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from importlib.resources.abc import Traversable

import yaml

from bridge import subjects
from bridge.errors import StartError

_NULL = "tag:yaml.org,2002:null"


def nearest(name: str, known: Collection[str]) -> str:
    """Say which known name is meant, or all of them where none is near."""
    near = get_close_matches(name, known, n=1)
    if near:
        return f"did you mean `{near[0]}`?"
    return f"known are {', '.join(f'`{one}`' for one in sorted(known))}"


class YamlFile:
    """One YAML file: a mapping of names to entries.

    Every method raises StartError, naming the file and the line, where a node is not what it has
    to be.
    """

    def __init__(self, path: Traversable) -> None:
        self._path = path

    def error(self, node: yaml.Node, message: str) -> StartError:
        """Make the error for what is wrong at a node."""
        return self._error(node.start_mark.line + 1, message)

    def entries(self) -> Iterator[tuple[str, yaml.Node]]:
        """Give the file's entries; an empty file has none."""
        root = self._compose()
        if root is None or root.tag == _NULL:
            return
        for key, value in self._pairs(root, "the file"):
            if not subjects.NAME.match(key.value):
                raise self.error(
                    key,
                    f"`{key.value}` is not a name: use at most 64 letters, digits, `_` and `-`, "
                    "beginning with a letter or digit",
                )
            yield key.value, value

    def fields(
        self, node: yaml.Node, what: str, known: Collection[str], required: str | None = None
    ) -> dict[str, yaml.Node]:
        """Give the fields of an entry that have a value, by name; every name is a known one."""
        fields = {}
        for key, value in self._pairs(node, what):
            if key.value not in known:
                raise self.error(
                    key, f"{what} has an unknown key `{key.value}`; {nearest(key.value, known)}"
                )
            if value.tag != _NULL:
                fields[key.value] = value
        if required is not None and required not in fields:
            raise self.error(node, f"{what} needs `{required}`")
        return fields

    def text(self, node: yaml.Node | None, what: str) -> str:
        """Give a node's text; a field that is not there is the empty text."""
        if node is None:
            return ""
        if not isinstance(node, yaml.ScalarNode):
            raise self.error(node, f"{what} must be a text")
        return str(node.value)

    def texts(self, node: yaml.Node | None, what: str) -> list[yaml.ScalarNode]:
        """Give the texts of a list as nodes; a field that is not there is the empty list."""
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            raise self.error(node, f"{what} must be a list, such as `[one, two]`")
        for item in node.value:
            if not isinstance(item, yaml.ScalarNode) or not item.value:
                raise self.error(item, f"{what} must be a list of texts")
        return list(node.value)

    def _pairs(self, node: yaml.Node, what: str) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            raise self.error(node, f"{what} must be a mapping, lines of `key: value`")
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self.error(key, f"{what} must have plain names as keys")
            if key.value in seen:
                first = seen[key.value]
                raise self.error(key, f"{what} has `{key.value}` twice, first on line {first}")
            seen[key.value] = key.start_mark.line + 1
            yield key, value

    def _compose(self) -> yaml.Node | None:
        text = self._read()
        try:
            return yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = 1 if mark is None else mark.line + 1
            raise self._error(line, f"not valid YAML: {error.problem or error.context}") from None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise self._error(line, f"not valid YAML: {error.reason}") from None

    def _read(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise self._error(line, "not UTF-8 text") from None
        except OSError as error:
            message = f"{self._path}: cannot be read: {error.strerror}"
            raise StartError(message) from None

    def _error(self, line: int, message: str) -> StartError:
        return StartError(f"{self._path} line {line}: {message}")
