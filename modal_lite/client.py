"""Clients of servers, with blocking and `.aio` forms."""

from modal_lite._server_client import _ServerClient
from modal_lite._synchronizer import synchronizer

Client = synchronizer.wrap(_ServerClient, "Client", __name__)

__all__ = ["Client"]
