"""The yardstick: a bare ASGI application that reads a body and writes it back."""

import sys
from typing import Any

import uvicorn


async def echo(_: dict[str, Any], receive: Any, send: Any) -> None:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(
        echo,
        port=int(sys.argv[1]),
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
    )
