"""The command line: the composition root, where settings become a running bridge."""

import sys

OLDEST_PYTHON = (3, 11)


def main() -> None:
    """Run the `bridge` command; its entry point."""
    if sys.version_info < OLDEST_PYTHON:
        running = ".".join(map(str, sys.version_info[:2]))
        sys.stderr.write(f"bridge: Python 3.11 or newer is needed; this is {running}\n")
        raise SystemExit(2)
    try:
        from bridge.cli.commands import app  # noqa: PLC0415 - so that a bare install can say what it lacks
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "bridge":
            raise
        sys.stderr.write(
            f"bridge: the package {error.name!r} is missing; "
            "install with: pip install 'agent-event-bridge[embedded]'\n"
        )
        raise SystemExit(2) from error
    except KeyboardInterrupt:  # commands take care of it themselves once they have begun
        raise SystemExit(130) from None
    app()
