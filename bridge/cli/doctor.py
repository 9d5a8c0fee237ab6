"""`bridge doctor`: is everything there that an agent needs, and what to do if not.

Each check finds something, and says how to mend it.
"""

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any, NamedTuple

import typer

from bridge import __version__
from bridge.cli.endings import Misused, Status, client_errors, one_line
from bridge.cli.options import written
from bridge.cli.output import Column, Format, Shape, chosen, plain, records
from bridge.cli.session import find, own_token
from bridge.client import EventClient, Unreachable
from bridge.client.identity import BridgeUrls, payload
from bridge.errors import BridgeError, StartError
from bridge.tokens.permissions import publishable

SECONDS = 5.0


class PageAnswer(NamedTuple):
    """What a page said; `body` is empty where it was no JSON object.

    `ahead` is by how many seconds the other clock is ahead of ours, None if it did not say.
    """

    status: int
    body: dict[str, Any]
    ahead: float | None


def look(url: str) -> PageAnswer:
    """Get a page. Raises OSError where nothing answers HTTP within `SECONDS`."""
    before = time.time()
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:  # noqa: S310 - http or https
            status, content, date = answer.status, answer.read(), answer.headers["Date"]
    except urllib.error.HTTPError as error:
        with error:
            status, content, date = error.code, error.read(), error.headers["Date"]
    except HTTPException as error:
        raise OSError(f"what answers does not speak HTTP ({type(error).__name__})") from error
    return PageAnswer(status, _object(content), _ahead(date, (before + time.time()) / 2))


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _ahead(date: str | None, now: float) -> float | None:
    """Compare clocks; a Date header (RFC 9110 section 6.6.1) tells whole seconds only."""
    if date is None:
        return None
    try:
        told = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
    return told + 0.5 - now


SKEW_SECONDS = 5.0
"""How far clocks may be apart: as much as a bridge forgives a token by default."""
SOON_SECONDS = 300
"""A token with less life than this is told of."""
REACH = "start one with `bridge serve`, or name its URL with --url or SIDECAR_URL"
GET_ONE = "make one where the bridge runs: export JWT_TOKEN=$(bridge token --agent NAME)"


class Finding(NamedTuple):
    """What one check found; `mend` is empty where all is well."""

    check: str
    ok: bool
    found: str
    mend: str = ""


def examine(where: BridgeUrls, token: str | None) -> Iterator[Finding]:
    """Check the bridge and the token, one finding after the other.

    What cannot be known once nothing answers is left out.
    """
    api, root = where.api, where.root
    try:
        live = look(f"{root}/livez")
    except OSError as error:
        reason = getattr(error, "reason", error)
        yield Finding("bridge", False, f"{api}: nothing answers ({reason})", REACH)
        yield from _token(api, token, reachable=False)
    else:
        yield from _bridge(api, root, live)
        yield from _token(api, token, reachable=True)


def _bridge(api: str, root: str, live: PageAnswer) -> Iterator[Finding]:
    yield Finding("bridge", True, f"{api} answers")
    is_bridge = live.status == 200 and live.body.get("status") == "ok"
    told = "the process answers" if is_bridge else f"/livez says {live.status}"
    yield Finding("live", is_bridge, told, "" if is_bridge else f"is {root} an event bridge?")
    if not is_bridge:
        return
    yield _ready(look(f"{root}/readyz"))
    health = look(f"{root}/health").body
    yield from _stores(health.get("checks", {}))
    yield _version(str(health.get("version")))
    yield _clock(live.ahead)


def _ready(answer: PageAnswer) -> Finding:
    if answer.status == 200:
        return Finding("ready", True, "events can be served")
    reason = str(answer.body.get("reason", f"/readyz says {answer.status}"))
    return Finding("ready", False, reason, "wait a moment; if it stays so, see the bridge's log")


def _stores(checks: dict[str, Any]) -> Iterator[Finding]:
    nats, stream = str(checks.get("nats")), str(checks.get("stream"))
    mend = "check that the NATS server runs, and BRIDGE_NATS_URL where the bridge runs"
    yield Finding("nats", nats == "ok", _connected(nats), "" if nats == "ok" else mend)
    mend = "see the bridge's log, which says what it asks of the stream"
    yield Finding("stream", stream == "ok", stream, "" if stream == "ok" else mend)


def _connected(told: str) -> str:
    return "connected" if told == "ok" else told


def _version(told: str) -> Finding:
    if told == __version__:
        return Finding("version", True, f"{told}, as here")
    mend = "install the same version on both sides"
    return Finding("version", False, f"the bridge is {told}, this command {__version__}", mend)


def _clock(ahead: float | None) -> Finding:
    if ahead is None:
        return Finding("clock", False, "the answers have no Date", "does a proxy take it away?")
    if abs(ahead) <= SKEW_SECONDS:
        return Finding("clock", True, f"within {SKEW_SECONDS:g} s of the bridge's")
    side = "behind" if ahead > 0 else "ahead of"
    found = f"this machine is {written(abs(ahead))} {side} the bridge"
    return Finding(
        "clock", False, found, "set the clocks, for example with NTP: tokens depend on it"
    )


def _token(api: str, given: str | None, *, reachable: bool) -> Iterator[Finding]:
    try:
        token = given or own_token(api, ("publish_events",)).token
    except (Misused, StartError, BridgeError) as error:
        yield Finding("token", False, str(error), GET_ONE)
        return
    claims = payload(token)
    if not claims:
        yield Finding("token", False, "JWT_TOKEN is no JSON web token", GET_ONE)
        return
    yield Finding("token", True, _whose(claims, signed_here=given is None))
    yield _life(claims.get("exp"))
    yield _permissions(claims.get("permissions"))
    if reachable:
        yield _accepted(api, token)


def _whose(claims: Any, *, signed_here: bool) -> str:
    agent, kind = claims.get("sub"), claims.get("agent_type")
    project = claims.get("project_id", "default")
    shown = f"agent {agent!r}" + (f" ({kind})" if kind else "") + f" in project {project!r}"
    return f"signed here for {shown}" if signed_here else shown


def _life(expires: Any) -> Finding:
    if not isinstance(expires, int | float):
        return Finding("expiry", False, "the token does not say when it ends", GET_ONE)
    left = expires - time.time()
    if left <= 0:
        return Finding("expiry", False, f"it expired {written(-left)} ago", GET_ONE)
    renew = f"renew it before, or {GET_ONE}"
    return Finding(
        "expiry", left >= SOON_SECONDS, f"{written(left)} left", renew * (left < SOON_SECONDS)
    )


def _permissions(given: Any) -> Finding:
    if given is None:
        return Finding("permissions", True, "publish (the token has no list of them)")
    names = given.split() if isinstance(given, str) else [str(name) for name in given]
    may = bool(publishable(frozenset(names)))
    found = ", ".join(names) or "none"
    mend = "have it signed with --permission publish_events, unless this agent only listens"
    return Finding("permissions", may, found, "" if may else mend)


def _accepted(api: str, token: str) -> Finding:
    try:
        with EventClient(api, token, retry_for=0) as client:
            client.history(limit=1)
    except Unreachable as error:
        return Finding("accepted", False, str(error), REACH)
    except BridgeError as error:
        return Finding("accepted", False, f"{error.code} {error.message}", _remedy(error))
    return Finding("accepted", True, "the bridge takes this token")


def _remedy(error: BridgeError) -> str:
    if error.code.startswith("AUTH"):
        return GET_ONE
    return "the URL should end in /api" if error.code in {"REQ_002", "UNEXPECTED"} else "see above"


_SHAPE = Shape(
    fields=("check", "ok", "found", "mend"),
    columns=tuple(
        Column(name, lambda one, name=name: plain(one[name]))  # type: ignore[misc]
        for name in ("check", "ok", "found", "mend")
    ),
)


def run(url: str | None, token: str | None, shown: Format | None) -> None:
    """Print every finding; ends with status 1 if there is anything to mend."""
    with client_errors():
        findings = examine(find(url), token)
        wanted = chosen(shown)
        well = _draw(findings) if wanted is Format.TABLE else _write(findings, wanted)
        if not well:
            raise typer.Exit(Status.FAILED)


def _write(findings: Iterable[Finding], wanted: Format) -> bool:
    well = True
    with records(_SHAPE, wanted) as write:
        for finding in findings:
            write(finding._asdict())
            well = well and finding.ok
    return well


def _draw(findings: Iterable[Finding]) -> bool:
    from rich.text import Text  # noqa: PLC0415 - only a table needs Rich

    from bridge.cli.tables import console  # noqa: PLC0415 - the same

    out = console()
    marks = ("✗", "✓") if sys.stdout.encoding.lower().startswith("utf") else ("NO", "ok")
    well = True
    for finding in findings:
        colour = "green" if finding.ok else "bold red"
        mark = Text(f"{marks[finding.ok]} ", colour)
        out.print(mark + Text(f"{finding.check:<12} {one_line(finding.found)}"), soft_wrap=True)
        if finding.mend:
            out.print(Text(f"  {'':<12} -> {one_line(finding.mend)}"), soft_wrap=True)
        well = well and finding.ok
    return well
