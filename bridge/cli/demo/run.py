"""`bridge demo` from its first process to its summary, with a line for each thing done."""

import queue
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, Self

import typer
from rich import box
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bridge.cli import web_view
from bridge.cli.demo.account import Account, AwaitedQuery, Report, Tally
from bridge.cli.demo.processes import Company
from bridge.cli.demo.roles import DOOMED, PATIENCE_SECONDS, ROLES, SUCCESSOR
from bridge.cli.endings import Status, client_errors, fail, one_line
from bridge.cli.tables import console
from bridge.client import EventClient
from bridge.tokens import KeyConfig, TokenAuthority

COLOURS = dict(
    zip(ROLES, ("cyan", "green", "yellow", "magenta", "white", "red", "blue"), strict=True)
)
NAME_WIDTH = max(map(len, ROLES)) + 1


class Timeline:
    """Prints lines as they come; on a terminal with a table of the agents under them."""

    def __init__(self) -> None:
        self._console = console()
        self._began = time.monotonic()
        self._states = dict.fromkeys(ROLES, "starts")
        self._live: Live | None = None
        if self._console.is_terminal:
            self._live = Live(self._agents(), console=self._console, refresh_per_second=8)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, agent: str, report: Report) -> None:
        """Tell of a report; a wait that merely goes on is not told again."""
        match report.kind:
            case "waits" if report.query is not None:
                said = f"waits for {_asked(report.query)}"
                if self._states[agent] != said:
                    self._say(agent, said, report.at, said)
            case "publishes":
                self._say(agent, f"-> {report.event_type}", report.at, "works")
            case "received":
                self._say(
                    agent, f"<- {report.event_type} from {report.publisher}", report.at, "works"
                )

    def killed(self, agent: str) -> None:
        """Tell that an agent was killed with an event in hand."""
        self._say(agent, f"is killed; {SUCCESSOR} takes its place", time.monotonic(), "killed")

    def ended(self, agent: str) -> None:
        """Tell that an agent has done its part."""
        self._say(agent, "is done", time.monotonic(), "done")

    def say(self, text: str) -> None:
        """Print a line that is not an agent's."""
        self._console.print(Text(text), soft_wrap=True)

    def _say(self, agent: str, said: str, at: float, state: str) -> None:
        self._states[agent] = state
        line = Text(f"{at - self._began:7.3f} s  ")
        line.append(f"{agent:<{NAME_WIDTH}}", COLOURS[agent])
        line.append(one_line(said), "" if said.startswith(("->", "<-")) else "dim")
        if self._live is not None:
            self._live.update(self._agents())
        self._console.print(line, soft_wrap=True)

    def _agents(self) -> Table:
        drawn = Table(box=box.ROUNDED, show_header=False, title="who waits for whom")
        for agent, state in self._states.items():
            drawn.add_row(Text(agent, COLOURS[agent]), ROLES[agent].agent_type, state)
        return drawn


def _asked(query: AwaitedQuery) -> str:
    """Write what is waited for, without the workflow's ID, which all of it has."""
    terms = [term for term in query.filter.split(",") if not term.startswith("correlation_id:")]
    where = " and ".join(filter(None, terms))
    types = query.types.replace(",", " or ")
    return f"{types} with {where}" if where else types


PROJECT = "demo"
ENDINGS = (signal.SIGTERM, signal.SIGHUP)


def run(*, speed: float, keep: bool, view: bool) -> None:
    """Show the workflow; ends with status 1 unless everything awaited came exactly once.

    With `view` its bridge stays until Ctrl-C.
    """
    with (
        client_errors(),
        _ended_in_order(),
        _folder(keep=keep) as folder,
        Company(folder) as company,
    ):
        account = _play(company, speed, view=view)
        for sentence in account.sentences():
            typer.echo(sentence)
        if not account.clean:
            fail(Status.FAILED, "the account does not come out even")
        typer.echo(
            "Every event that an agent awaited was received exactly once, but for the one that a "
            "worker had in hand when it was killed: another did it."
        )
        if view:
            typer.echo("The bridge stays open for the web view; Ctrl-C ends it.")
            threading.Event().wait()


def _play(company: Company, speed: float, *, view: bool) -> Account:
    secret = secrets.token_hex(32)
    keys = TokenAuthority(KeyConfig(secret=secret))
    workflow = f"release-{uuid.uuid4().hex[:8]}"
    tally = Tally()
    typer.echo("Starting a bridge with a nats-server of its own …")
    url = company.start_bridge(secret)
    typer.echo(f"It listens on {url}; workflow {workflow}, {len(ROLES)} agents.")
    if view:
        watcher = keys.mint(
            agent_id="watcher", project=PROJECT, permissions=("spawn_agents",), ttl_seconds=3600
        )
        place = f"/workflow/{workflow}"
        typer.echo(f"The web view: {web_view.address(url, watcher.token, place)}")

    def start(name: str) -> None:
        kind = ROLES[name].agent_type
        token = keys.mint(agent_id=name, agent_type=kind, project=PROJECT).token
        company.start_agent(name, workflow, str(speed), url=url, token=token)

    for name in ROLES:
        if name != SUCCESSOR:
            start(name)
    _watch(company, tally, start)
    onlooker = keys.mint(agent_id="onlooker", project=PROJECT)
    with EventClient(f"{url}/api", onlooker.token, agent_id="onlooker") as client:
        return tally.account(client)


def _watch(company: Company, tally: Tally, start: Callable[[str], None]) -> None:
    """Show what the agents report until all of them have ended; kill one with a task in hand."""
    left, killed = set(ROLES), False
    with Timeline() as timeline:
        while left:
            try:
                name, report = company.told.get(timeout=2 * PATIENCE_SECONDS)
            except queue.Empty:
                fail(Status.FAILED, f"nothing happens any more; not done: {', '.join(left)}")
            if report is not None:
                tally.take(name, report)
                timeline.show(name, report)
                if name == DOOMED and report.kind == "received":
                    company.kill(name)
                    killed = True
                continue
            if name == DOOMED and killed:
                left.remove(name)
                timeline.killed(name)
                start(SUCCESSOR)
                continue
            if company.exit_status(name) != 0:
                fail(Status.FAILED, f"an agent has failed: {company.last_words(name)}")
            left.remove(name)
            timeline.ended(name)


@contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="bridge-demo-"))
    try:
        yield folder
    finally:
        if keep:
            typer.echo(f"Kept: {folder}", err=True)
        else:
            shutil.rmtree(folder)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Take signals that end a program as reasons to clean up first."""

    def end(number: int, _: object) -> NoReturn:
        sys.exit(128 + number)

    before = {number: signal.signal(number, end) for number in ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
