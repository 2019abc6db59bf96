"""What the server is measured beside: ``python -m benchmarks.serving.peers NAME FD``."""

from __future__ import annotations

import socket
import sys
from typing import Any

import msgspec
import uvicorn


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Parse the JSON and answer a constant length of it: the least that any server does."""
    if scope["type"] != "http":
        return
    message = await receive()
    rows = msgspec.json.decode(message["body"])["inputs"]
    body = msgspec.json.encode({"outputs": [rows[0][0]]})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def fastapi() -> Any:
    """Give an application as FastAPI's documentation writes one, around a scaled logistic regression."""
    import numpy as np
    from fastapi import FastAPI
    from pydantic import BaseModel
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(
        rng.normal(size=(200, 10)), rng.integers(0, 2, 200)
    )

    class Request(BaseModel):
        inputs: list[list[float]]

    app = FastAPI()

    def predict(request: Request) -> dict[str, list[int]]:
        return {"outputs": model.predict(np.array(request.inputs)).tolist()}

    predict.__annotations__["request"] = Request
    app.post("/api/predict")(predict)
    return app


if __name__ == "__main__":
    application = {"echo": lambda: echo, "fastapi": fastapi}[sys.argv[1]]()
    config = uvicorn.Config(application, access_log=False, log_level="error", lifespan="off")
    # With uvicorn's own `fd` the socket counts as a Unix one and lacks TCP_NODELAY: 44 ms for each answer.
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[2]))])
