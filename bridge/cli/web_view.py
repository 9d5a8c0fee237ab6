"""`bridge ui`: the web view in this machine's browser, with a short token of its own."""

import os
import sys
import webbrowser
from urllib.parse import quote

import typer

from bridge.cli.endings import client_errors, note
from bridge.cli.session import find, own_token

VIEW_SECONDS = 3600
"""Life of the token that a view is opened with."""


def address(root: str, token: str, place: str = "/live") -> str:
    """Give where the view is, with a token in the fragment, which no browser sends to anybody."""
    return f"{root}/ui/#token={quote(token, safe='')}&to={quote(place)}"


def run(url: str | None, token: str | None, *, project: str, manage: bool, show: bool) -> None:
    """Open the view, or print where it is where there is no browser to open it in."""
    with client_errors():
        bridge = find(url)
        needs = ("spawn_agents",) if manage else ()
        signed = token
        if signed is None:
            signed = own_token(bridge.api, needs, project=project, life=VIEW_SECONDS).token
        where = address(bridge.root, signed)
        if show or not _opened(where):
            typer.echo(where)
        else:
            note(f"opened {bridge.root}/ui/ in the browser")


def _opened(where: str) -> bool:
    """Open a browser, which is a window: one in the terminal would take it over."""
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return False
    try:
        return webbrowser.open(where)
    except webbrowser.Error:
        return False
