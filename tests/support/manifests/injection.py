"""What a MutatingAdmissionPolicy makes of a pod: its CEL is evaluated and its patch applied.

Of CEL only what such policies are made of: literals, typed ones included, sums of lists, and
`has(…) ? … : …`. Anything else is refused, so that it is not taken for harmless.
"""

import copy
import re
from collections.abc import Iterator
from typing import Any

from tests.support.manifests.objects import Object

_TOKEN = re.compile(
    r"\s*(?:(?P<text>\"(?:\\.|[^\"\\])*\")|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][\w.]*)"
    r"|(?P<mark>[][{}()?:,+]))"
)
_WORDS = {"true": True, "false": False, "null": None}
_PATCH = "JSONPatch"
_MAPS = {"annotations", "labels", "limits", "matchLabels", "requests", "volumeAttributes"}
"""Fields whose keys are of the user's choice: plain maps, where every other object has a type."""


def injected(policy: Object, pod: Object) -> Object:
    """Give the pod as the policy's mutations leave it. Raises ValueError for CEL that is not known.

    Also raises it where an object's type is not that of the place it stands in, which the API
    server refuses when a pod is made, and not before.
    """
    pod = copy.deepcopy(pod)
    for mutation in policy["spec"]["mutations"]:
        if mutation["patchType"] != _PATCH:
            raise ValueError(f"patchType {mutation['patchType']}: teach this about it")
        for patch in _Expression(mutation["jsonPatch"]["expression"], pod).value():
            _apply(patch, pod)
    return pod


class _Expression:
    """A recursive descent through one expression, evaluated as it is read."""

    def __init__(self, text: str, pod: Object) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self._pod = pod

    def value(self) -> Any:
        """Give the value of the whole expression."""
        found = self._sum()
        if self._at != len(self._tokens):
            raise ValueError(f"{self._tokens[self._at]!r} after the end of the expression")
        return found

    def _sum(self) -> Any:
        found = self._choice()
        while self._peek() == "+":
            self._take("+")
            found = found + self._choice()
        return found

    def _choice(self) -> Any:
        condition = self._one()
        if self._peek() != "?":
            return condition
        self._take("?")
        first = self._sum()
        self._take(":")
        second = self._sum()
        return first if condition else second

    def _one(self, expected: str | None = None) -> Any:
        token = self._tokens[self._at]
        if token in {"(", "["}:
            return self._group() if token == "(" else self._list(expected)
        if token == "{":
            if expected is not None and expected.rpartition(".")[2] not in _MAPS:
                raise ValueError(f"a plain map stands where a {expected} belongs")
            return dict(self._fields(None))
        self._at += 1
        if token[0] == '"':
            return _unquoted(token)
        if token[0].isdigit() or token[0] == "-":
            return float(token) if "." in token else int(token)
        if token in _WORDS:
            return _WORDS[token]
        if token == "has":
            return self._has()
        return self._typed(token, expected)

    def _group(self) -> Any:
        self._take("(")
        found = self._sum()
        self._take(")")
        return found

    def _list(self, expected: str | None) -> list[Any]:
        found = []
        self._take("[")
        while self._peek() != "]":
            found.append(self._one(expected))
            if self._peek() == ",":
                self._take(",")
        self._take("]")
        return found

    def _typed(self, name: str, expected: str | None) -> Any:
        if self._peek() != "{":
            raise ValueError(f"{name!r}: teach this about it")
        if expected is not None and name != expected:
            raise ValueError(f"a {name} stands where a {expected} belongs")
        if name.rpartition(".")[2] in _MAPS:
            raise ValueError(f"a {name} stands where a plain map belongs")
        return dict(self._fields(None if name == _PATCH else name))

    def _fields(self, owner: str | None) -> Iterator[tuple[str, Any]]:
        self._take("{")
        while self._peek() != "}":
            key = self._tokens[self._at]
            self._at += 1
            self._take(":")
            yield (
                _unquoted(key) if key[0] == '"' else key,
                self._one(f"{owner}.{key}" if owner else None),
            )
            if self._peek() == ",":
                self._take(",")
        self._take("}")

    def _has(self) -> bool:
        self._take("(")
        path = self._tokens[self._at].split(".")
        self._at += 1
        self._take(")")
        thing: Any = {"object": self._pod}
        for part in path:
            if part not in thing:
                return False
            thing = thing[part]
        return True

    def _peek(self) -> str | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _take(self, mark: str) -> None:
        if self._peek() != mark:
            raise ValueError(f"{self._peek()!r} stands where {mark!r} belongs")
        self._at += 1


def _tokens(text: str) -> Iterator[str]:
    text, place = text.strip(), 0
    while place < len(text):
        if (found := _TOKEN.match(text, place)) is None:
            raise ValueError(f"{text[place : place + 20]!r}: teach this about it")
        yield found[0].strip()
        place = found.end()


def _unquoted(token: str) -> str:
    return token[1:-1].encode().decode("unicode_escape")


def _apply(patch: dict[str, Any], pod: Object) -> None:
    """Apply one operation of RFC 6902."""
    if patch["op"] != "add":
        raise ValueError(f"op {patch['op']!r}: teach this about it")
    *parents, last = patch["path"].strip("/").split("/")
    thing: Any = pod
    for part in parents:
        thing = thing[int(part) if isinstance(thing, list) else part]
    if isinstance(thing, list):
        thing.insert(len(thing) if last == "-" else int(last), patch["value"])
    else:
        thing[last] = patch["value"]
