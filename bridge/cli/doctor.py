"""`bridge doctor`: is everything there that an agent needs, and what to do if not."""

import sys
from collections.abc import Iterable

import typer

from bridge.cli.checks import Finding, examine
from bridge.cli.failures import client_errors, one_line
from bridge.cli.output import Column, Format, Shape, chosen, plain, records
from bridge.cli.session import find
from bridge.cli.statuses import Status

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
