"""The demo as it happens: a line for each thing done, and who waits for what."""

import time
from types import TracebackType
from typing import Self

from rich import box
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bridge.cli.demo.reports import Query, Report
from bridge.cli.demo.roles import ROLES
from bridge.cli.failures import one_line
from bridge.cli.tables import console

COLOURS = dict(zip(ROLES, ("cyan", "green", "yellow", "magenta", "red", "blue"), strict=True))
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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


def _asked(query: Query) -> str:
    """Write what is waited for, without the workflow's ID, which all of it has."""
    terms = [term for term in query.filter.split(",") if not term.startswith("correlation_id:")]
    where = " and ".join(filter(None, terms))
    types = query.types.replace(",", " or ")
    return f"{types} with {where}" if where else types
