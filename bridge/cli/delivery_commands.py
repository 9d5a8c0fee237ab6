"""`bridge deliveries`: leased events are done, need longer, go back, or will never be done."""

from typing import Annotated, Any

import typer

from bridge.cli.endings import Misused, Status, client_errors, note
from bridge.cli.options import Commands, Shown, Token, Url, examples, seconds
from bridge.cli.output import Format, Shape, column, records
from bridge.errors import RequestInvalid

deliveries = Commands("Settle events that were leased with `bridge events wait --lease`.")

AckIds = Annotated[
    list[str],
    typer.Argument(metavar="ACK_ID", help="As the wait printed it; several may be given."),
]
_SETTLED = Shape(
    fields=("ack_id", "done", "lease_expires_at", "message"),
    columns=(column("ack_id"), column("done"), column("lease_expires_at"), column("message")),
)


@deliveries.command(epilog=examples("bridge deliveries ack ACK_ID"))
def ack(ack_ids: AckIds, url: Url = None, token: Token = None, shown: Shown = None) -> None:
    """Say that events are done: they are never delivered to this subscription again."""
    _settle("ack", ack_ids, url, token, shown)


@deliveries.command(epilog=examples("bridge deliveries extend ACK_ID --lease 10m"))
def extend(
    ack_ids: AckIds,
    *,
    lease: Annotated[str, typer.Option(help="How long from now, such as 90s or 10m.")] = "30s",
    url: Url = None,
    token: Token = None,
    shown: Shown = None,
) -> None:
    """Begin leases anew; each has a new ACK_ID then."""
    with client_errors():
        lasting = _duration("--lease", lease)
    _settle("extend", ack_ids, url, token, shown, lease=lasting)


@deliveries.command(epilog=examples("bridge deliveries release ACK_ID --delay 1m"))
def release(
    ack_ids: AckIds,
    *,
    delay: Annotated[str, typer.Option(help="How long to wait with it, such as 30s.")] = "0",
    url: Url = None,
    token: Token = None,
    shown: Shown = None,
) -> None:
    """Give events back: they are delivered again, to anyone, after the delay."""
    with client_errors():
        rest = _duration("--delay", delay)
    _settle("release", ack_ids, url, token, shown, delay=rest)


@deliveries.command(epilog=examples("bridge deliveries reject ACK_ID --reason 'no such file'"))
def reject(
    ack_ids: AckIds,
    *,
    reason: Annotated[str, typer.Option(help="Why, for whoever looks into it.")] = "rejected",
    url: Url = None,
    token: Token = None,
    shown: Shown = None,
) -> None:
    """Make events dead letters: they are not to be tried again."""
    _settle("reject", ack_ids, url, token, shown, reason=reason)


def _duration(option: str, text: str) -> float:
    try:
        return seconds(text)
    except RequestInvalid as error:
        raise Misused(f"{option}: {error.message}") from None


def _settle(
    verb: str,
    ack_ids: list[str],
    url: str | None,
    token: str | None,
    shown: Format | None,
    **more: Any,
) -> None:
    """Settle, print what became of each, and end with status 3 if any was in vain."""
    from bridge.cli.session import session  # noqa: PLC0415 - the help needs no client

    with client_errors():
        with session(url, token) as client:
            settled = getattr(client, verb)(*ack_ids, **more)
        with records(_SETTLED, shown) as write:
            for each in settled.done:
                told = each if isinstance(each, dict) else {"ack_id": each}
                write({"done": True, **told})
            for each in settled.failed:
                write({"done": False, **each})
        if settled.failed:
            note(f"{len(settled.failed)} of {len(ack_ids)} could not be settled")
            raise typer.Exit(Status.REFUSED)
