"""`bridge demo` from its first process to its summary."""

import queue
import secrets
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer

from bridge.cli.demo.processes import Company
from bridge.cli.demo.roles import PATIENCE_SECONDS, ROLES
from bridge.cli.demo.tally import Account, Tally
from bridge.cli.demo.timeline import Timeline
from bridge.cli.failures import client_errors, fail
from bridge.cli.statuses import Status
from bridge.client import EventClient
from bridge.tokens import KeyConfig, TokenAuthority

PROJECT = "demo"
ENDINGS = (signal.SIGTERM, signal.SIGHUP)


def run(*, speed: float, keep: bool) -> None:
    """Show the workflow; ends with status 1 unless everything awaited came exactly once."""
    with client_errors(), _ended_in_order(), _folder(keep=keep) as folder:
        account = _play(folder, speed)
        for sentence in account.sentences():
            typer.echo(sentence)
        if not account.clean:
            fail(Status.FAILED, "the account does not come out even")
        typer.echo("Every event that an agent awaited was received exactly once.")


def _play(folder: Path, speed: float) -> Account:
    secret = secrets.token_hex(32)
    keys = TokenAuthority(KeyConfig(secret=secret))
    workflow = f"release-{uuid.uuid4().hex[:8]}"
    tally = Tally()
    with Company(folder) as company:
        typer.echo("Starting a bridge with a nats-server of its own …")
        url = company.start_bridge(secret)
        typer.echo(f"It listens on {url}; workflow {workflow}, {len(ROLES)} agents.")
        for name, role in ROLES.items():
            minted = keys.mint(agent_id=name, agent_type=role.agent_type, project=PROJECT)
            company.start_agent(name, workflow, str(speed), url=url, token=minted.token)
        _watch(company, tally)
        onlooker = keys.mint(agent_id="onlooker", project=PROJECT)
        with EventClient(f"{url}/api", onlooker.token, agent_id="onlooker") as client:
            return tally.account(client)


def _watch(company: Company, tally: Tally) -> None:
    """Show what the agents report until all of them have ended."""
    left = set(ROLES)
    with Timeline() as timeline:
        while left:
            try:
                name, report = company.told.get(timeout=2 * PATIENCE_SECONDS)
            except queue.Empty:
                fail(Status.FAILED, f"nothing happens any more; not done: {', '.join(left)}")
            if report is not None:
                tally.take(name, report)
                timeline.show(name, report)
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
