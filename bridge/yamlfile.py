"""YAML read as nodes, so that whatever is wrong can be told with its file and line.

Scalars are taken as the text that stands in the file: a name such as `on` or `1.10` means itself
and not what YAML 1.1 would make of it.
"""

import re
from collections.abc import Collection, Iterator
from importlib.resources.abc import Traversable

import yaml

from bridge.errors import StartError
from bridge.suggest import did_you_mean

_NULL = "tag:yaml.org,2002:null"
_QUOTED = re.compile(r"'[^'<][^']+'|\"[^\"<][^\"]+\"")
"""What a YAML error quotes from the file: perhaps a secret that YAML takes for an alias."""


def is_null(node: yaml.Node) -> bool:
    """Tell whether a value was left empty."""
    return node.tag == _NULL


class YamlFile:
    """One YAML file: a mapping of names to entries, or empty.

    Every method raises StartError, naming the file and the line, where a node is not what it has
    to be.
    """

    def __init__(self, path: Traversable) -> None:
        self._path = path

    def error(self, node: yaml.Node, message: str) -> StartError:
        """Make the error for what is wrong at a node."""
        return self._error(node.start_mark.line + 1, message)

    def entries(self) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """Give the file's names with what each stands for; an empty file has none."""
        root = self._compose()
        if root is not None and not is_null(root):
            yield from self._pairs(root, "the file")

    def fields(
        self, node: yaml.Node, what: str, known: Collection[str], required: str | None = None
    ) -> dict[str, yaml.Node]:
        """Give the fields of an entry that have a value, by name; every name is a known one."""
        fields = {}
        for key, value in self._pairs(node, what):
            if key.value not in known:
                raise self.error(
                    key,
                    f"{what} has an unknown key `{key.value}`; {did_you_mean(key.value, known)}",
                )
            if not is_null(value):
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
            said = _QUOTED.sub("'…'", error.problem or error.context or "")
            problem = self._error(line, f"not valid YAML: {said}")
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            problem = self._error(line, f"not valid YAML: {error.reason}")
        # Raised out of the `except`, so that no traceback shows what the file holds.
        raise problem

    def _read(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            problem = self._error(error.object.count(b"\n", 0, error.start) + 1, "not UTF-8 text")
        except OSError as error:
            problem = StartError(f"{self._path}: cannot be read: {error.strerror}")
        raise problem

    def _error(self, line: int, message: str) -> StartError:
        return StartError(f"{self._path} line {line}: {message}")
