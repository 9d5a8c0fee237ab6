"""Names that values have in other charts are refused with the name that they have in this one."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.chart.conftest import Render
from tests.chart.test_settings_reachable import leads_somewhere
from tests.chart.valuesets import in_turn
from tests.support.helm import CHART, HELMS, HelmRefused, text_of

_TABLE = (
    (CHART / "templates" / "_names.tpl")
    .read_text()
    .partition("$meant := dict")[2]
    .partition("-}}")[0]
)
MEANT = re.findall(r'^  "([\w.]+)" "(.+?)"$', _TABLE.rstrip(), re.MULTILINE)
OF_NATS = "nats."
"""The schema is open there: what is in it is for the NATS chart to know."""


def test_what_is_often_mistaken_is_known() -> None:
    assert {"replicas", "image.tags", "ingress.host", "nats.replicas"} <= set(dict(MEANT))
    assert len(MEANT) == len(set(dict(MEANT))) == _TABLE.count("\n  ")


@pytest.mark.parametrize(
    ("name", "right", "helm"), [(*pair, helm) for pair, helm in in_turn(MEANT, HELMS)]
)
def test_it_is_refused_with_the_right_name(
    name: str, right: str, helm: str, render: Render
) -> None:
    values: Any = "something"
    for part in reversed(name.split(".")):
        values = {part: values}
    with pytest.raises(HelmRefused) as refused:
        render(text_of(values), helm=helm)
    assert f"there is no value {name}; set {right}" in str(refused.value)
    there = yaml.safe_load((CHART / "values.yaml").read_text())
    assert leads_somewhere(there, re.findall(r"[\w.]+", right)[0]), right


def let_through(schema: Any, path: str = "") -> Iterator[str]:
    """Give the names that the schema leaves to the templates to refuse."""
    for pattern in schema.get("patternProperties", {}):
        yield from (path + name for name in pattern.strip("^()$").split("|"))
    for name, part in schema.get("properties", {}).items():
        if name != "settings":
            yield from let_through(part, f"{path}{name}.")


def test_the_schema_lets_nothing_else_through() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    refused = {name for name, _ in MEANT if not name.startswith(OF_NATS)}
    assert sorted(let_through(schema)) == sorted(refused)
