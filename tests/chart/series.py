"""Series: what PromQL asks for, against what a bridge serves."""

import re

import httpx
from prometheus_client.parser import text_string_to_metric_families

SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
FROM_SCRAPING = {"namespace", "job", "pod", "instance", "service", "container", "endpoint", "le"}

_SELECTOR = re.compile(r"(bridge_\w+)(?:\{([^}]*)\})?")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_TEXT = re.compile(r'"(?:\\.|[^"\\])*"')


def served_by(url: str) -> dict[str, set[str]]:
    """Give the names of a bridge's series, each with the labels that it has of its own."""
    httpx.get(f"{url}/livez")  # for there to be a request that is counted
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(httpx.get(f"{url}/metrics").text):
        labels = {label for sample in family.samples for label in sample.labels}
        found |= {family.name + suffix: labels for suffix in SUFFIXES[family.type]}
    return found


def unknown(expression: str, served: dict[str, set[str]]) -> list[str]:
    """Give the series in an expression that no bridge serves, and labels that they have not."""
    wrong = []
    for name, selector in _SELECTOR.findall(expression):
        if name not in served:
            wrong.append(name)
            continue
        labels = set(_LABEL.findall(_TEXT.sub('""', selector)))
        wrong += [f"{name}{{{one}}}" for one in labels - served[name] - FROM_SCRAPING]
    return wrong
