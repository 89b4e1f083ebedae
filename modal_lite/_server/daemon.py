"""The server as a process: its lock, its store, its sockets, its end."""

import asyncio
import fcntl
import logging
import os
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import IO

import msgspec
from aiohttp import web

from modal_lite._core.data_directory import DataDirectory, ServerInfo
from modal_lite._core.tokens import SHORTEST, Tokens
from modal_lite._placement.local import LocalPlacer
from modal_lite._server.app_logs import AppLogs
from modal_lite._server.dashboard.sockets import dashboard_sockets
from modal_lite._server.doorkeeper import REQUEST_WAIT, Doorkeeper
from modal_lite._server.http import HttpInterface
from modal_lite._server.logs import Written
from modal_lite._server.observed_plane import ObservedPlane
from modal_lite._server.remote_sessions import RemoteSessions
from modal_lite._server.server_service import ServerService
from modal_lite._server.service import Service
from modal_lite._store.sqlite import SqliteStore
from modal_lite.exception import AlreadyExistsError, InvalidError

logger = logging.getLogger("modal_lite.server")

DRAIN = 5.0
"""Seconds that calls under way have to end after SIGTERM. Those that are stored go on at the next start."""
_DRAIN_POLL = 0.05


class Listen(msgspec.Struct, frozen=True):
    """Where a server listens besides its Unix socket."""

    host: str | None = None
    port: int | None = None
    token: str | None = None
    certificate: str | None = None
    """File with a TLS certificate and its key; None: no TLS."""
    hostnames: tuple[str, ...] = ()
    """Names under which browsers may reach the dashboard, besides addresses and the machine's own name."""
    version: str = ""
    """Of this package, for those who ask."""


def run_server(directory: DataDirectory, listen: Listen, on_ready: Callable[[ServerInfo], None]) -> None:
    """Runs a server until SIGTERM or SIGINT.

    Raises:
        AlreadyExistsError: One runs in this folder.
        InvalidError: It would listen on TCP without a token, or the certificate cannot be used.
        OSError: It cannot listen there, or not write into the folder.
    """
    directory.create()
    _check(directory, listen)
    with _locked(directory):
        directory.info.unlink(missing_ok=True)  # of one that was killed
        asyncio.run(_serve(directory, listen, on_ready))


def _check(directory: DataDirectory, listen: Listen) -> None:
    """Raises InvalidError for what it cannot listen with."""
    if listen.port is None and (listen.host is not None or listen.certificate is not None):
        raise InvalidError("--host and --certificate are for TCP: give --port as well.")
    if listen.port is not None and not listen.token and not Tokens(directory.tokens).all():
        raise InvalidError(
            "A server that listens on TCP needs a token: give --token or MODAL_LITE_TOKEN. "
            "`modal-lite token new` makes one."
        )
    if listen.port is not None and listen.token and len(listen.token) < SHORTEST:
        raise InvalidError(
            f"A token of {len(listen.token)} characters can be guessed; it must have {SHORTEST}. "
            "`modal-lite token new` makes one."
        )
    _tls(listen)


def _locked(directory: DataDirectory) -> IO[bytes]:
    """The open lock file; the lock is held until it is closed."""
    file = directory.lock.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        info = directory.read_info()
        process = f" (process {info.pid})" if info is not None else ""
        raise AlreadyExistsError(f"A server runs in {directory.path}{process}.") from None
    return file


async def _serve(directory: DataDirectory, listen: Listen, on_ready: Callable[[ServerInfo], None]) -> None:
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    store = SqliteStore(directory.state)
    logs = AppLogs(directory.app_logs)
    try:
        service = _make_service(directory, store, logs)
        sessions = RemoteSessions(service)
        sockets, dashboard = ([], "") if listen.port is not None else dashboard_sockets(directory.path)
        url = _url(directory, listen)
        info = ServerInfo(os.getpid(), url, listen.version, time.time(), dashboard or url)
        doorkeeper = Doorkeeper(Tokens(directory.tokens), listen.token)
        hostnames = listen.hostnames if listen.host is None else (*listen.hostnames, listen.host)
        interface = HttpInterface(service, sessions, logs, info, doorkeeper, hostnames)
        try:
            await service.open()
            async with _listening(directory, listen, interface.application, sessions, doorkeeper, sockets):
                directory.write_info(info)
                logger.info("listening", extra={"url": info.url, "pid": info.pid, "version": info.version})
                on_ready(info)
                await stop.wait()
                logger.info("ending")
                stop.clear()
                service.rest()
                await _drain(service, stop)
                # Before the clients' sessions end, which would take back what they have not finished.
                service.seal()
        finally:
            await service.close()
            for sock in sockets:
                sock.close()
    finally:
        logs.close()
        await store.close()
        directory.info.unlink(missing_ok=True)
        logger.info("ended")


def _make_service(directory: DataDirectory, store: SqliteStore, logs: AppLogs) -> ServerService:
    def on_output(written: Written) -> None:
        try:
            logs.write(written)
        except OSError as error:
            logger.error("output of %s could not be kept: %s", written.function.tag, error)

    def make_plane(service: Service) -> ObservedPlane:
        assert isinstance(service, ServerService)
        return ObservedPlane(LocalPlacer, service.catalogue.environment, service, on_output)

    return ServerService(make_plane, store, directory.snapshots, logs)


@asynccontextmanager
async def _listening(
    directory: DataDirectory,
    listen: Listen,
    application: web.Application,
    sessions: RemoteSessions,
    doorkeeper: Doorkeeper,
    sockets: list[socket.socket],
) -> AsyncIterator[None]:
    runner = web.AppRunner(
        application, handle_signals=False, shutdown_timeout=1.0, access_log=None, keepalive_timeout=REQUEST_WAIT
    )
    await runner.setup()
    server = runner.server
    assert server is not None
    path = directory.socket
    watching = asyncio.create_task(doorkeeper.watch(lambda: server.connections))
    tcp: list[asyncio.Server] = []
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            await web.UnixSite(runner, str(path)).start()
        finally:
            os.umask(before)
        if listen.port is not None:
            tls = _tls(listen)
            # Not aiohttp's TCPSite, which sets no limit to the handshake.
            tcp.append(
                await asyncio.get_running_loop().create_server(
                    server,
                    listen.host or "127.0.0.1",
                    listen.port,
                    ssl=tls,
                    ssl_handshake_timeout=None if tls is None else REQUEST_WAIT,
                    reuse_address=True,
                )
            )
        for sock in sockets:
            tcp.append(await asyncio.get_running_loop().create_server(server, sock=sock))
        yield
    finally:
        watching.cancel()
        for each in tcp:
            each.close()
        await sessions.close()
        await runner.cleanup()
        path.unlink(missing_ok=True)


async def _drain(service: ServerService, at_once: asyncio.Event) -> None:
    """Waits for the calls under way, DRAIN seconds at most, or until a second signal."""
    deadline = time.monotonic() + DRAIN
    # No event says when the last call has ended.
    while service.is_busy() and time.monotonic() < deadline and not at_once.is_set():  # noqa: ASYNC110
        await asyncio.sleep(_DRAIN_POLL)


def _tls(listen: Listen) -> ssl.SSLContext | None:
    if listen.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(listen.certificate)
    except OSError as error:  # ssl.SSLError among them
        raise InvalidError(
            f"--certificate {listen.certificate} must be a PEM file of a certificate and its key: {error}."
        ) from None
    return context


def _url(directory: DataDirectory, listen: Listen) -> str:
    if listen.port is None:
        return f"unix://{directory.socket}"
    scheme = "http" if listen.certificate is None else "https"
    return f"{scheme}://{listen.host or '127.0.0.1'}:{listen.port}"
