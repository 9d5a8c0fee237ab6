"""Output as a document shows it, beside what a program prints: the same but for what varies.

A document shortens: it leaves lines out, and `…` stands for any part of a line.
"""

import re

_RULE = re.compile(r"[\s─═╭╮╰╯├┤┬┴┼]*")
_TABLE_EDGE = re.compile(r"\s*│\s*")
_SPACE = re.compile(r"\s+")
_VARYING = (
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z| \+0000 UTC)?"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "<time>"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<uuid>"),
    (re.compile(r"\b[0-9A-Za-z]{22}\b"), "<nuid>"),
    (re.compile(r"\bS-R3F-\w{8}\b"), "<group>"),
    (re.compile(r"\bbridge-nats-\d\*?"), "<server>"),
    (re.compile(r"\b\d+\.\d+\.\d+\b"), "<version>"),
    (re.compile(r"\b(\d+(\.\d+)?(ms|µs|ns|[dhms]))+\b"), "<duration>"),
    (re.compile(r"\b\d+(\.\d+)? ([KM]i)?B\b"), "<size>"),
)


def missing(shown: str, printed: str) -> list[str]:
    """Give the lines that are shown and that a program does not print."""
    known = [_normal(line) for line in printed.splitlines()]
    return [
        line
        for line in shown.splitlines()
        if not _RULE.fullmatch(line) and not any(map(_pattern(line).fullmatch, known))
    ]


def _pattern(line: str) -> re.Pattern[str]:
    parts = (re.escape(part.strip()) for part in _normal(line).split("…"))
    return re.compile(r"\s*" + r".*".join(parts) + r"\s*")


def _normal(line: str) -> str:
    for varying, word in _VARYING:
        line = varying.sub(word, line)
    return _SPACE.sub(" ", _TABLE_EDGE.sub(" │ ", line)).strip()
