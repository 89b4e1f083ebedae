"""Where a server listens, and where it is found."""

import importlib.util
import ipaddress
import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from modal_lite._core.data_directory import DataDirectory
from modal_lite._core.ids import new_id
from modal_lite.exception import InvalidError

if TYPE_CHECKING:
    from modal_lite._placement.ray_placer import ClusterSettings

_ELSEWHERE = "192.0.2.1"
"""An address that nobody has: no packet is sent there."""


class Cluster(msgspec.Struct, frozen=True):
    """A Ray cluster that containers run on."""

    address: str
    """Of Ray."""
    advertised: str | None = None
    """Where its machines find the server; None: where that listens."""
    python: str | None = None
    """The interpreter for containers there; None: that of Ray."""


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
    cluster: Cluster | None = None
    """Where containers run; None: here."""


def tls_context(listen: Listen) -> ssl.SSLContext | None:
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


def check_cluster(listen: Listen) -> None:
    """Raises InvalidError without Ray, and for where machines of a cluster could not find the server."""
    if listen.cluster is None:
        return
    if listen.certificate is not None:
        raise InvalidError("Machines of a cluster connect without TLS: put it and the server into a network of theirs.")
    advertised = listen.cluster.advertised
    if advertised is not None and not _is_http(advertised):
        raise InvalidError(
            f"--advertise (or MODAL_LITE_ADVERTISE_URL) is {advertised!r}; it must be http://host:port, as machines of "
            "the cluster find the server. They connect without TLS."
        )
    if importlib.util.find_spec("ray") is None:
        raise InvalidError("To place containers on a cluster, a server needs Ray: pip install 'modal-lite[ray]'.")


def url_of(scheme: str, host: str, port: int) -> str:
    """The URL of a host's port; the host may be an address of either kind."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def cluster_settings(directory: DataDirectory, listen: Listen, port: int) -> "ClusterSettings | None":
    """How the server uses its cluster, None if it has none.

    Args:
        directory: The server's.
        listen: Where it listens.
        port: That on which it does.

    Raises:
        OSError: The data directory cannot be written to.
    """
    cluster = listen.cluster
    if cluster is None:
        return None
    from modal_lite._placement.ray_placer import ClusterSettings  # here: few servers have a cluster

    url = cluster.advertised or url_of("http", _own_address(listen.host, cluster.address), port)
    return ClusterSettings(cluster.address, _namespace(directory), url, cluster.python, directory.snapshots)


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:  # no number, or too large a one, for the port
        return False


def _own_address(host: str | None, ray: str) -> str:
    """The address at which other machines find this one."""
    if host not in ("0.0.0.0", "::"):
        return host or "127.0.0.1"
    towards = urlsplit(ray if "://" in ray else f"//{ray}").hostname or ""
    if _is_on_this_machine(towards):
        towards = _ELSEWHERE
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((towards, 9))
        except OSError:
            return socket.gethostname()
        address: str = probe.getsockname()[0]
    return address


def _is_on_this_machine(host: str) -> bool:
    """True if other machines do not find this one on the way to the host."""
    try:
        return host in ("", "auto") or ipaddress.ip_address(socket.getaddrinfo(host, None)[0][4][0]).is_loopback
    except OSError:
        return False


def _namespace(directory: DataDirectory) -> str:
    """The name under which this server's containers are known to Ray; it stays."""
    path = directory.path / "cluster-id"
    try:
        return path.read_text()
    except FileNotFoundError:
        name = new_id("modal-lite")
        path.write_text(name)
        return name
