"""`bridge tokens`: revoke what leaked, see what is revoked, and take it back."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cli.endings import Misused, client_errors, note
from bridge.cli.options import Commands, Shown, Token, Url, examples
from bridge.cli.output import Shape, column, local_time_of, record, records

if TYPE_CHECKING:
    from bridge.client import EventClient

tokens = Commands("Revoke tokens before they expire; takes the permission spawn_agents.")

_DEFAULT = "default"
_NEEDS = ("spawn_agents",)
Which = Annotated[
    str | None,
    typer.Argument(metavar="TOKEN", help="The token itself, or its jti.", show_default=False),
]
Agent = Annotated[str | None, typer.Option("--agent", help="All tokens of this agent instead.")]
Project = Annotated[
    str, typer.Option(help="Whose tokens, where there is no JWT_TOKEN that says so.")
]

_REVOCATION = Shape(
    fields=(
        "project_id",
        "jti",
        "agent_id",
        "issued_before",
        "revoked_by",
        "revoked_at",
        "expires_at",
    ),
    columns=(
        column("jti"),
        column("agent_id", "agent"),
        local_time_of("issued_before"),
        column("revoked_by"),
        local_time_of("revoked_at"),
        local_time_of("expires_at", "kept until", spare=True),
    ),
)


@tokens.command(
    epilog=examples(
        "bridge tokens revoke eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjb2Rlci0xIn0.x",
        "bridge tokens revoke 0b1c5f0e-6d5b-4a70-9d5e-2f6c1d1f6a52",
        "bridge tokens revoke --agent coder-1 --issued-before 2026-01-31T12:00:00Z",
    )
)
def revoke(
    which: Which = None,
    *,
    agent: Agent = None,
    issued_before: Annotated[
        str | None, typer.Option(help="With --agent: those before this time.", show_default="now")
    ] = None,
    project: Project = _DEFAULT,
    url: Url = None,
    token: Token = None,
    shown: Shown = None,
) -> None:
    """Make tokens void, on every bridge within 5 s. Open waits and streams with them end."""
    from bridge.cli.session import session  # noqa: PLC0415 - the help needs no client

    with client_errors():
        wish, its_project = _wish(which, agent)
        mine = its_project or project
        with session(url, token, needs=_NEEDS, project=mine) as client:
            _check_project(client, its_project)
            made = client.revoke_tokens(issued_before=issued_before, **wish)
        record(made, _REVOCATION, shown)


@tokens.command(epilog=examples("bridge tokens revoked", "bridge tokens revoked --format json"))
def revoked(
    *, project: Project = _DEFAULT, url: Url = None, token: Token = None, shown: Shown = None
) -> None:
    """List which tokens of the project are revoked."""
    from bridge.cli.session import session  # noqa: PLC0415 - the help needs no client

    with client_errors(), session(url, token, needs=_NEEDS, project=project) as client:
        found = client.revoked_tokens()
        with records(_REVOCATION, shown) as write:
            for each in found:
                write(each)


@tokens.command(
    epilog=examples("bridge tokens restore JTI", "bridge tokens restore --agent coder-1")
)
def restore(
    which: Which = None,
    *,
    agent: Agent = None,
    project: Project = _DEFAULT,
    url: Url = None,
    token: Token = None,
) -> None:
    """Take a revocation back: the same tokens are good again, if they have not expired."""
    from bridge.cli.session import session  # noqa: PLC0415 - the help needs no client

    with client_errors():
        wish, its_project = _wish(which, agent)
        with session(url, token, needs=_NEEDS, project=its_project or project) as client:
            _check_project(client, its_project)
            client.restore_tokens(jti=wish.get("jti"), agent_id=agent)
        note(f"good again: {'token ' + wish['jti'] if agent is None else 'tokens of ' + agent}")


def _wish(which: str | None, agent: str | None) -> tuple[dict[str, Any], str | None]:
    """Say what is meant, and where it is a token, of which project. Raises Misused."""
    from bridge.client.identity import payload  # noqa: PLC0415 - the help needs no client
    from bridge.events import rfc3339  # noqa: PLC0415 - the same

    if (which is None) == (agent is None):
        raise Misused("name a TOKEN, or an agent with --agent")
    if which is None:
        return {"agent_id": agent}, None
    claims = payload(which)
    if not claims:
        return {"jti": which}, None
    jti, expires = claims.get("jti"), claims.get("exp")
    if not isinstance(jti, str) or not jti:
        whose = claims.get("sub", "NAME")
        raise Misused(f"this token has no jti; revoke all of its agent: --agent {whose}")
    wish = {"jti": jti}
    if isinstance(expires, int | float):
        wish["expires_at"] = rfc3339(expires)
    return wish, str(claims.get("project_id", _DEFAULT))


def _check_project(client: "EventClient", project: str | None) -> None:
    """Raise Misused where a token is of another project than the one that is asked."""
    from bridge.client.identity import payload  # noqa: PLC0415 - the help needs no client

    mine = payload(client.token or "").get("project_id", _DEFAULT)
    if project not in (None, mine):
        raise Misused(
            f"this token is of project {project!r} and yours of {mine!r}: that takes one of "
            f"{project!r} with spawn_agents in JWT_TOKEN"
        )
