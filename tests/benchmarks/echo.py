"""The yardsticks: bare ASGI applications that read a body and write it back.

Run as `python -m tests.benchmarks.echo PORT`, or with the URL of a NATS server behind the port: the
body is then published before it is written back, which is the least that a publish takes.
"""

import sys
from typing import Any

import nats
import uvicorn
import uvloop


async def read(receive: Any) -> bytes:
    """Read a body."""
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def write(body: bytes, send: Any) -> None:
    """Answer with a body."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def echo(_: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer with what was sent."""
    await write(await read(receive), send)


async def serve(port: int, app: Any) -> None:
    """Serve an application until the process ends."""
    config = uvicorn.Config(
        app,
        port=port,
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
    )
    await uvicorn.Server(config).serve()


async def publishing(port: int, url: str) -> None:
    """Serve an application that does nothing but publish, and wait until JetStream has stored."""
    client = await nats.connect(url)
    jetstream = client.jetstream()
    await jetstream.add_stream(name="BARE", subjects=["bare.>"], max_msgs=10_000)

    async def publish(_: dict[str, Any], receive: Any, send: Any) -> None:
        body = await read(receive)
        await (await jetstream.publish_async("bare.event", body))
        await write(body, send)

    await serve(port, publish)


if __name__ == "__main__":
    number, *urls = sys.argv[1:]
    uvloop.run(publishing(int(number), urls[0]) if urls else serve(int(number), echo))
