"""Agents at the Service, as a process on the node: `python -m tests.kubernetes.load URL`.

It says `started` when every subscription has had events, and when a line comes on its standard
input it publishes no more, waits until everything has arrived, and prints what agents saw as JSON.
"""

import json
import secrets
import sys

from tests.support.load import Load


def main(url: str) -> None:
    load = Load([url], f"load-{secrets.token_hex(4)}").start()
    print("started", flush=True)  # noqa: T201
    sys.stdin.readline()
    wrong = ""
    try:
        load.finish()
    except AssertionError as error:
        wrong = str(error)
    latest, whose = load.slowest_delivery()
    seen = {
        "wrong": wrong,
        "events": len(load.acked),
        "lost": {each.name: len(each.missing(load.acked)) for each in load.subscribers},
        "repeated": {each.name: each.repeats for each in load.subscribers},
        "errors": load.troubles,
        "slowest_publish": round(load.slowest_publish(), 2),
        "slowest_delivery": round(latest, 2),
        "whose": whose,
    }
    print(json.dumps(seen), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
