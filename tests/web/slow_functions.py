"""A web function whose containers wait for a file before they are ready."""

import os
import time
from typing import Any

import modal_lite

app = modal_lite.App("slow")
GATE = "MODAL_LITE_TEST_GATE"


@app.function(max_containers=1)
@modal_lite.asgi_app()
def gated() -> Any:
    while not os.path.exists(os.environ[GATE]):
        time.sleep(0.01)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ready"})

    return application
