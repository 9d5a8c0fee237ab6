"""The command line: the composition root, where settings become a running bridge."""

import sys


def main() -> None:
    """Run the `bridge` command; its entry point."""
    try:
        from bridge.cli.app import app  # noqa: PLC0415 - so that a bare install can say what it lacks
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
