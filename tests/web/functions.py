"""Web functions that the tests fetch."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import modal_lite

app = modal_lite.App("web")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


PORT = int(os.environ.setdefault("MODAL_LITE_TEST_PORT", str(_free_port())))
"""Of `raw`: containers inherit it, and each process that runs tests has one of its own."""


@app.function()
@modal_lite.fastapi_endpoint(docs=True)
def greet(name: str = "nobody") -> dict[str, Any]:
    return {"hello": name, "local": modal_lite.is_local(), "input": modal_lite.current_input_id()}


@app.function()
@modal_lite.web_endpoint(method="POST")
async def add(numbers: list[int]) -> int:
    return sum(numbers)


@app.function(max_containers=1, timeout=20)
@modal_lite.concurrent(max_inputs=20)
@modal_lite.asgi_app()
def site() -> Any:
    from fastapi import BackgroundTasks, FastAPI, Request, WebSocket
    from fastapi.responses import StreamingResponse

    web = FastAPI()

    @web.get("/path/{rest:path}")
    def path(rest: str, request: Request) -> dict[str, Any]:
        return {"path": rest, "url": str(request.url), "client": request.client and request.client.host}

    @web.get("/pieces")
    async def pieces(gate: str) -> StreamingResponse:
        async def values() -> AsyncIterator[bytes]:
            yield b"first\n"
            while not os.path.exists(gate):
                await asyncio.sleep(0.01)
            yield b"last\n"

        return StreamingResponse(values())

    @web.get("/zeros")
    def zeros(mebibytes: int, made: str = "") -> StreamingResponse:
        def values() -> Iterator[bytes]:
            for i in range(mebibytes):
                if made:
                    with open(made, "w") as file:
                        file.write(str(i))
                yield bytes(1 << 20)

        return StreamingResponse(values())

    @web.post("/count")
    async def count(request: Request) -> int:
        return sum([len(data) async for data in request.stream()])

    @web.post("/refuse")
    async def refuse() -> str:
        return "not read"

    @web.get("/forever")
    async def forever(log: str) -> None:
        _write(log, "started")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            _write(log, "cancelled")
            raise

    @web.get("/background")
    def background(tasks: BackgroundTasks, log: str) -> str:
        tasks.add_task(_write_late, log)
        return "answered"

    @web.get("/fails")
    def fails() -> None:
        raise ValueError("of the application")

    @web.websocket("/echo")
    async def echo(socket: WebSocket, log: str = "") -> None:
        await socket.accept()
        try:
            async for text in socket.iter_text():
                await socket.send_text(f"echo {text}")
        finally:
            if log:
                _write(log, "left")

    return web


def _write(path: str, text: str) -> None:
    with open(path, "a") as file:
        file.write(f"{text}\n")


def _write_late(path: str) -> None:
    while not os.path.exists(f"{path}.go"):
        time.sleep(0.01)
    _write(path, "done")


@app.function()
@modal_lite.asgi_app()
async def with_lifespan() -> Any:
    ready = False

    async def application(scope: Any, receive: Any, send: Any) -> None:
        nonlocal ready
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                ready = True
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(ready).encode()})

    return application


@app.function()
@modal_lite.wsgi_app()
def flask() -> Any:
    from flask import Flask, request

    web = Flask("site")

    @web.route("/hi/<name>", methods=["GET", "POST"])
    def hi(name: str) -> str:
        return f"hi {name} {len(request.get_data())} {modal_lite.current_input_id() is not None}"

    return web


@app.function()
@modal_lite.web_server(PORT)
def raw() -> None:
    import subprocess

    subprocess.Popen([sys.executable, "-m", "http.server", str(PORT), "--bind", "127.0.0.1", "-d", "/"])


@app.function(max_containers=1)
@modal_lite.asgi_app()
def dies() -> Any:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        _write(scope["query_string"].decode(), "ran")
        os._exit(3)

    return application


@app.function(timeout=0.5)
@modal_lite.asgi_app()
def late() -> Any:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await asyncio.sleep(60)

    return application


@app.function()
@modal_lite.asgi_app()
def broken() -> Any:
    raise RuntimeError("no application today")


@app.function()
def plain() -> int:
    return 1


@app.cls()
class Model:
    name: str = modal_lite.parameter(default="plain")

    @modal_lite.enter()
    def start(self) -> None:
        self.ready = True

    @modal_lite.fastapi_endpoint()
    def predict(self, x: int) -> dict[str, Any]:
        return {"name": self.name, "ready": self.ready, "x": x}

    @modal_lite.method()
    def called(self, x: int) -> int:
        return x + 1
