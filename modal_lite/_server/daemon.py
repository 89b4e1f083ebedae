"""The server as a process: its lock, its store, its sockets, its end."""

import asyncio
import fcntl
import logging
import os
import resource
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import IO, Any

from aiohttp import web

from modal_lite._core.data_directory import DataDirectory, ServerInfo
from modal_lite._core.tokens import SHORTEST, Tokens
from modal_lite._placement.forking import OnExit
from modal_lite._placement.local import LocalPlacer
from modal_lite._server.app_logs import AppLogs
from modal_lite._server.arrivals import Arrivals
from modal_lite._server.dashboard.sockets import dashboard_sockets
from modal_lite._server.doorkeeper import REQUEST_WAIT, Doorkeeper
from modal_lite._server.http import HttpInterface
from modal_lite._server.listening import Listen, check_cluster, cluster_settings, tls_context, url_of
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


def run_server(directory: DataDirectory, listen: Listen, on_ready: Callable[[ServerInfo], None]) -> None:
    """Runs a server until SIGTERM or SIGINT.

    Raises:
        AlreadyExistsError: One runs in this folder.
        InvalidError: It would listen on TCP without a token, or the certificate cannot be used.
        OSError: It cannot listen there, or not write into the folder.
    """
    directory.create()
    _check(directory, listen)
    if listen.cluster is not None:
        _take_all_descriptors()
    with _locked(directory):
        directory.info.unlink(missing_ok=True)  # of one that was killed
        asyncio.run(_serve(directory, listen, on_ready))


def _take_all_descriptors() -> None:
    """Has the system give this process as many as it may have: each container of a cluster has four connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # macOS has fewer than it says.
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _check(directory: DataDirectory, listen: Listen) -> None:
    """Raises InvalidError for what it cannot listen with."""
    if listen.port is None and listen.cluster is None and (listen.host or listen.certificate):
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
    tls_context(listen)
    check_cluster(listen)


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
        tcp = _tcp_socket(listen)
        arrivals = Arrivals()
        cluster = None if tcp is None else cluster_settings(directory, listen, tcp.getsockname()[1])
        service = _make_service(directory, store, logs, cluster, arrivals)
        sessions = RemoteSessions(service)
        sockets, dashboard = ([], "") if listen.port is not None else dashboard_sockets(directory.path)
        url = _url(directory, listen)
        info = ServerInfo(os.getpid(), url, listen.version, time.time(), dashboard or url)
        doorkeeper = Doorkeeper(Tokens(directory.tokens), listen.token)
        hostnames = listen.hostnames if listen.host is None else (*listen.hostnames, listen.host)
        interface = HttpInterface(service, sessions, logs, info, doorkeeper, arrivals, hostnames)
        try:
            await service.open()
            async with _listening(directory, listen, interface.application, sessions, doorkeeper, tcp, sockets):
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


def _tcp_socket(listen: Listen) -> socket.socket | None:
    """What it listens on besides the Unix socket, None for nothing; the caller closes it. Raises OSError."""
    if listen.port is None and listen.cluster is None:
        return None
    # For a cluster there has to be a port, whichever; without a token it is of use to containers alone.
    host, port = listen.host or "127.0.0.1", listen.port or 0
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    # "::" is every address of this machine, as "0.0.0.0" is: of either kind, where the system allows it.
    both = host == "::" and socket.has_dualstack_ipv6()
    return socket.create_server((host, port), family=family, backlog=1024, dualstack_ipv6=both)


def _make_service(
    directory: DataDirectory, store: SqliteStore, logs: AppLogs, cluster: Any, arrivals: Arrivals
) -> ServerService:
    def on_output(written: Written) -> None:
        try:
            logs.write(written)
        except OSError as error:
            logger.error("output of %s could not be kept: %s", written.function.tag, error)

    def make_plane(service: Service) -> ObservedPlane:
        assert isinstance(service, ServerService)
        environment = service.catalogue.environment
        if cluster is None:
            return ObservedPlane(LocalPlacer, environment, service, on_output)
        from modal_lite._placement.ray_placer import RayPlacer  # here: few servers have a cluster

        def make_placer(on_exit: OnExit) -> RayPlacer:
            arrivals.placer = RayPlacer(
                on_exit, lambda event: plane.happened(event), lambda of, text: plane.say(of, text), cluster
            )
            return arrivals.placer

        plane = ObservedPlane(make_placer, environment, service, on_output, False)
        return plane

    return ServerService(make_plane, store, directory.snapshots, logs)


@asynccontextmanager
async def _listening(
    directory: DataDirectory,
    listen: Listen,
    application: web.Application,
    sessions: RemoteSessions,
    doorkeeper: Doorkeeper,
    tcp_socket: socket.socket | None,
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
        if tcp_socket is not None:
            tls = tls_context(listen)
            # Not aiohttp's TCPSite, which sets no limit to the handshake.
            tcp.append(
                await asyncio.get_running_loop().create_server(
                    server,
                    sock=tcp_socket,
                    ssl=tls,
                    ssl_handshake_timeout=None if tls is None else REQUEST_WAIT,
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


def _url(directory: DataDirectory, listen: Listen) -> str:
    if listen.port is None:
        return f"unix://{directory.socket}"
    scheme = "http" if listen.certificate is None else "https"
    return url_of(scheme, listen.host or "127.0.0.1", listen.port)
