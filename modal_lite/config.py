"""Where the server is and how it is reached: what the environment variables say, and the defaults.

An argument of a function or an option of the command line comes first, then the variable, then the default.
"""

import os
from pathlib import Path

__all__ = ["DEFAULT_ENVIRONMENT", "data_dir", "environment_name", "server_url", "token"]

DEFAULT_ENVIRONMENT = "main"


def data_dir() -> Path:
    """The folder of the server's files: `MODAL_LITE_DATA_DIR`, else the user's data folder of this system."""
    given = os.environ.get("MODAL_LITE_DATA_DIR")
    if given:
        return Path(os.path.abspath(os.path.expanduser(given)))
    from platformdirs import user_data_path  # here, for programs without a server need it not

    return user_data_path("modal-lite", appauthor=False)


def server_url() -> str | None:
    """`MODAL_LITE_SERVER_URL`: `http://host:port`, `https://…` or `unix:///path`; None for the data folder's server."""
    return os.environ.get("MODAL_LITE_SERVER_URL") or None


def token() -> str | None:
    """`MODAL_LITE_TOKEN`: what a server that listens on TCP asks for."""
    return os.environ.get("MODAL_LITE_TOKEN") or None


def environment_name(given: str | None = None) -> str:
    """The environment that apps are deployed to and looked up in: as given, else `MODAL_ENVIRONMENT`, else "main"."""
    return given or os.environ.get("MODAL_ENVIRONMENT") or DEFAULT_ENVIRONMENT
