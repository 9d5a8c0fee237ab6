"""The dashboard asks for what bridges serve, and shows it side by side."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.chart.conftest import Render
from tests.chart.series import served_by, unknown
from tests.support import BridgeProcess
from tests.support.helm import text_of
from tests.support.manifests import Object, at, of_kind

ON = {"monitoring": {"dashboard": {"enabled": True}, "prometheusRule": {"enabled": True}}}


def board(objects: list[Object]) -> dict[str, Any]:
    """Give the dashboard, which must be the only one."""
    (text,) = (
        text
        for one in of_kind(objects, "ConfigMap")
        for name, text in at(one, "data", {}).items()
        if name.endswith(".json") and "panels" in text
    )
    read: dict[str, Any] = json.loads(text)
    return read


@pytest.fixture(scope="module")
def objects(render: Render) -> list[Object]:
    """What the chart renders with the dashboard; not to be changed."""
    return render(text_of(ON))


@pytest.fixture(scope="module")
def dashboard(objects: list[Object]) -> dict[str, Any]:
    return board(objects)


@pytest.fixture(scope="module")
def served(bridge: BridgeProcess) -> dict[str, set[str]]:
    return served_by(bridge.url)


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", [])
        elif panel["type"] != "text":
            yield panel


def expressions(dashboard: dict[str, Any]) -> dict[str, str]:
    found = {
        f"{panel['id']}/{panel['title']}/{target['refId']}": target["expr"]
        for panel in panels(dashboard)
        for target in panel["targets"]
    }
    variables = dashboard["templating"]["list"]
    return found | {f"${one['name']}": str(one.get("query", "")) for one in variables}


def test_the_dashboard_asks_for_what_bridges_serve(
    dashboard: dict[str, Any], served: dict[str, set[str]]
) -> None:
    wrong = {name: unknown(text, served) for name, text in expressions(dashboard).items()}
    assert {name: found for name, found in wrong.items() if found} == {}


def test_every_series_is_on_the_dashboard_or_in_an_alert(
    dashboard: dict[str, Any], objects: list[Object], served: dict[str, set[str]]
) -> None:
    text = json.dumps([expressions(dashboard), of_kind(objects, "PrometheusRule")])
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in served if "bridge_" in name}
    assert sorted(name for name in families if name not in text) == []


def test_every_panel_has_a_source_and_an_expression(dashboard: dict[str, Any]) -> None:
    shown = list(panels(dashboard))
    assert len(shown) >= 5
    for panel in shown:
        assert panel["datasource"]["uid"], panel["title"]
        assert panel["targets"], panel["title"]
        assert all(target["expr"].strip() for target in panel["targets"]), panel["title"]
    assert len({panel["id"] for panel in shown}) == len(shown)


def test_panels_lie_side_by_side(dashboard: dict[str, Any]) -> None:
    taken: Counter[tuple[int, int]] = Counter()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel.get("title")
        for x in range(place["x"], place["x"] + place["w"]):
            taken.update((x, y) for y in range(place["y"], place["y"] + place["h"]))
    assert max(taken.values()) == 1
