"""Streams, uploads, WebSockets, and clients that leave."""

import asyncio
import http.client
import os
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import psutil
import pytest

from tests.waiting import wait_until
from tests.web.functions import flask, raw, site

pytestmark = pytest.mark.filterwarnings("ignore:remove second argument of ws_handler:DeprecationWarning")


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    assert parts.hostname is not None
    return socket.create_connection((parts.hostname, parts.port or 80), timeout=20)


def exchange(url: str, data: bytes, count: int = 1) -> bytes:
    """What comes back for these bytes, up to the end of the so-manieth response of one piece."""
    received = b""
    with connect(url) as client:
        client.sendall(data)
        while received.count(b"HTTP/1.1") < count or not received.endswith(b'"}'):
            more = client.recv(65536)
            if not more:
                break
            received += more
    return received


async def test_pieces_arrive_as_they_are_made(run: Any, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with aiohttp.ClientSession() as session, session.get(f"{site.web_url}/pieces?gate={gate}") as reply:
        assert await reply.content.readline() == b"first\n"
        gate.touch()
        assert await reply.content.read() == b"last\n"


def test_a_large_response(run: Any) -> None:
    parts = urlsplit(site.web_url)
    client = http.client.HTTPConnection(parts.netloc, timeout=30)
    client.request("GET", "/zeros?mebibytes=50")
    reply = client.getresponse()
    assert len(reply.read()) == 50 << 20
    client.close()


def test_a_slow_client_holds_the_application_back(run: Any, tmp_path: Path) -> None:
    made = tmp_path / "made"
    with connect(site.web_url) as client:
        client.sendall(f"GET /zeros?mebibytes=500&made={made} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_until(lambda: made.exists() and made.read_text() != "", "the first mebibyte")
        seen = [""]

        def stands() -> bool:
            seen.append(made.read_text())
            # Nothing is seen of a file that is being written anew.
            return len(seen) > 10 and len(set(seen[-10:])) == 1 and seen[-1] != ""

        wait_until(stands, "the application's standstill")
        assert int(seen[-1]) < 50


def test_uploads(run: Any) -> None:
    parts = urlsplit(site.web_url)
    client = http.client.HTTPConnection(parts.netloc, timeout=30)
    for size in (0, 1, 65_536, 65_537, 3 << 20, 40 << 20):
        client.request("POST", "/count", body=bytes(size))
        assert client.getresponse().read() == str(size).encode()
    client.close()


def test_a_chunked_upload(run: Any) -> None:
    client = http.client.HTTPConnection(urlsplit(site.web_url).netloc, timeout=30)
    client.request("POST", "/count", body=iter([bytes(100_000)] * 30), encode_chunked=True)
    assert client.getresponse().read() == b"3000000"
    client.close()


def test_an_upload_that_waits_to_be_welcome(run: Any) -> None:
    with connect(site.web_url) as client:
        client.sendall(b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 100 Continue")
        client.sendall(b"12345")
        assert client.recv(1000).endswith(b"5")


def test_an_upload_that_is_answered_early(run: Any) -> None:
    client = http.client.HTTPConnection(urlsplit(site.web_url).netloc, timeout=30)
    client.request("POST", "/refuse", body=bytes(2 << 20))
    assert client.getresponse().read() == b'"not read"'
    client.close()


def test_a_connection_serves_requests_one_after_the_other(run: Any) -> None:
    request = b"GET /path/%d HTTP/1.1\r\nHost: x\r\n\r\n"
    received = exchange(site.web_url, b"".join(request % i for i in range(5)), 5)
    assert re.findall(rb'"path":"(\d)"', received) == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n broken: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: \x00\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: " + b"x" * 70_000, 431),
    ],
)
def test_what_is_no_request(run: Any, request_bytes: bytes, status: int) -> None:
    assert exchange(site.web_url, request_bytes).startswith(b"HTTP/1.1 %d " % status)


def test_a_failure_of_the_application(run: Any) -> None:
    request = b"GET /fails HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert exchange(site.web_url, request).startswith(b"HTTP/1.1 500 ")


async def test_web_socket(run: Any) -> None:
    url = site.web_url.replace("http", "ws")
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/echo") as client:
        for text in ("one", "two", "x" * 200_000):
            await client.send_str(text)
            assert await client.receive_str(timeout=20) == f"echo {text}"


async def test_web_socket_by_another_client(run: Any) -> None:
    websockets = pytest.importorskip("websockets")
    async with websockets.connect(f"{site.web_url.replace('http', 'ws')}/echo") as client:
        await client.send("hello")
        assert await client.recv() == "echo hello"


async def test_a_web_socket_whose_client_leaves(run: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with aiohttp.ClientSession() as session:
        client = await session.ws_connect(f"{site.web_url.replace('http', 'ws')}/echo?log={log}")
        await client.send_str("x")
        await client.receive_str(timeout=20)
        assert client._response.connection is not None
        assert client._response.connection.transport is not None
        client._response.connection.transport.abort()
        await asyncio.to_thread(wait_until, lambda: lines(log) == ["left"], "the end of the handler")


def test_a_client_that_leaves_cancels_its_input(run: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with connect(site.web_url) as client:
        client.sendall(f"GET /forever?log={log} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_until(lambda: lines(log) == ["started"], "the start")
    wait_until(lambda: lines(log) == ["started", "cancelled"], "the cancellation")
    wait_until(lambda: site.get_current_stats().num_running_inputs == 0, "the end of the input")


def test_background_tasks_end_after_the_response(run: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    parts = urlsplit(site.web_url)
    client = http.client.HTTPConnection(parts.netloc, timeout=30)
    client.request("GET", f"/background?log={log}")
    assert client.getresponse().read() == b'"answered"'
    assert lines(log) == []
    Path(f"{log}.go").touch()
    client.request("GET", "/path/next")
    assert client.getresponse().status == 200
    client.close()
    wait_until(lambda: lines(log) == ["done"], "the end of the task")


def test_requests_are_counted_as_inputs(run: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    clients = [connect(site.web_url) for _ in range(3)]
    for client in clients:
        client.sendall(f"GET /forever?log={log} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    wait_until(lambda: site.get_current_stats().num_running_inputs == 3, "three running inputs")
    for client in clients:
        client.close()
    wait_until(lambda: site.get_current_stats().num_running_inputs == 0, "the end of the inputs")


def test_a_large_download_from_a_web_server(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(5 << 20))
    client = http.client.HTTPConnection(urlsplit(raw.web_url).netloc, timeout=30)
    client.request("GET", str(file))
    assert client.getresponse().read() == file.read_bytes()
    client.close()


def test_a_large_upload_to_wsgi(run: Any) -> None:
    client = http.client.HTTPConnection(urlsplit(flask.web_url).netloc, timeout=30)
    client.request("POST", "/hi/you", body=bytes(5 << 20))
    assert client.getresponse().read() == b"hi you 5242880 True"
    client.close()


@pytest.mark.slow
def test_memory_stays_flat_over_an_upload(run: Any) -> None:
    mebibytes = 300
    own = psutil.Process()
    client = http.client.HTTPConnection(urlsplit(site.web_url).netloc, timeout=60)
    client.request("POST", "/count", body=bytes(1 << 20))
    assert client.getresponse().read() == b"1048576"

    def used() -> int:
        return sum(process.memory_info().rss for process in (own, *own.children(recursive=True)))

    before, most = used(), 0

    def body() -> Any:
        nonlocal most
        for i in range(mebibytes):
            if i % 20 == 0:
                most = max(most, used())
            yield bytes(1 << 20)

    client.request("POST", "/count", body=body(), headers={"Content-Length": str(mebibytes << 20)})
    assert client.getresponse().read() == str(mebibytes << 20).encode()
    client.close()
    assert most - before < 60 << 20
