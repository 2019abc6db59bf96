"""The least that any server does: ``python -m benchmarks.serving.echo PORT`` parses JSON and answers a number."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import uvicorn


async def echo(_scope: Any, receive: Any, send: Any) -> None:
    """Answer the first number of the first row."""
    message = await receive()
    rows = msgspec.json.decode(message["body"])["inputs"]
    body = msgspec.json.encode({"outputs": [rows[0][0]]})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(echo, port=int(sys.argv[1]), access_log=False, log_level="error", lifespan="off")
