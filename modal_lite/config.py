"""Where the server is and how it is reached: what environment variables and the config file say, and the defaults.

An argument of a function or an option of the command line comes first, then the variable, then the profile, then the
default. The config file is TOML; each profile is a table of settings:

    profile = "work"

    [profiles.work]
    server_url = "https://host:8000"
    token = "..."
    ca_file = "/path/of/a/certificate.pem"
    environment = "staging"

For the server, `placer`, `ray_address`, `ray_python` and `advertise_url` may be there as well.
"""

import os
from functools import lru_cache
from pathlib import Path

from modal_lite.exception import InvalidError

__all__ = [
    "DEFAULT_ENVIRONMENT",
    "DEFAULT_PROFILE",
    "activate_profile",
    "active_profile",
    "advertise_url",
    "ca_file",
    "config_path",
    "data_dir",
    "environment_name",
    "placer",
    "profiles",
    "ray_address",
    "ray_python",
    "server_url",
    "token",
]

DEFAULT_ENVIRONMENT = "main"
DEFAULT_PROFILE = "default"
_SETTINGS = (
    "server_url",
    "token",
    "ca_file",
    "data_dir",
    "environment",
    "placer",
    "ray_address",
    "ray_python",
    "advertise_url",
)
PLACERS = ("local", "ray")
_NAME_ADVICE = 'a name of letters, digits, "-" and "_"'

Profiles = dict[str, dict[str, str]]


def config_path() -> Path:
    """The config file: `MODAL_LITE_CONFIG_PATH`, else config.toml in the user's folder for such files."""
    given = os.environ.get("MODAL_LITE_CONFIG_PATH")
    if given:
        return Path(os.path.abspath(os.path.expanduser(given)))
    if os.uname().sysname == "Linux":
        # What platformdirs would say, without the time that its import takes at the start of every embedded app.
        base = os.environ.get("XDG_CONFIG_HOME", "").strip() or os.path.expanduser("~/.config")
        return Path(base, "modal-lite", "config.toml")
    from platformdirs import user_config_path

    return user_config_path("modal-lite", appauthor=False) / "config.toml"


def profiles() -> Profiles:
    """The settings of each profile in the config file, by the profile's name.

    Raises:
        InvalidError: The file cannot be read or makes no sense, or others can read the token in it.
    """
    return _read()[1]


def active_profile() -> str:
    """The profile that applies: `MODAL_LITE_PROFILE`, else what the config file activates, else "default".

    Raises:
        InvalidError: There is no such profile, or as for `profiles`.
    """
    chosen, known = _read()
    given = os.environ.get("MODAL_LITE_PROFILE")
    name = given or chosen or DEFAULT_PROFILE
    if name not in known and (given or chosen):
        source = "MODAL_LITE_PROFILE" if given else f"{config_path()}: profile"
        raise InvalidError(
            f"{source} names the profile {name!r}, which is not in {config_path()}. "
            f"There {_listed(known)}; add [profiles.{name}] or name one that is there."
        )
    return name


def activate_profile(name: str) -> None:
    """Makes the profile the one that applies where `MODAL_LITE_PROFILE` is not set: rewrites that line of the file.

    Raises:
        InvalidError: There is no such profile, or as for `profiles`.
        OSError: The file cannot be written.
    """
    known, path = profiles(), config_path()
    if name not in known:
        raise InvalidError(f"There is no profile {name!r} in {path}: there {_listed(known)}.")
    lines = path.read_text().splitlines(keepends=True)
    tables = next((i for i, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    at = next((i for i in range(tables) if _key(lines[i]) == "profile"), None)
    line = f'profile = "{name}"\n'
    lines = [line, *lines] if at is None else [*lines[:at], line, *lines[at + 1 :]]
    new = path.with_suffix(".new")
    with open(new, "w", opener=lambda file, flags: os.open(file, flags, path.stat().st_mode & 0o777)) as file:
        file.write("".join(lines))
    new.replace(path)


def _key(line: str) -> str:
    """The key of a line of TOML, "" if there is none."""
    key, equals, _ = line.partition("=")
    return key.strip().strip("\"'") if equals else ""


def data_dir() -> Path:
    """The folder of the server's files: `MODAL_LITE_DATA_DIR`, the profile's, else the user's data folder."""
    given = os.environ.get("MODAL_LITE_DATA_DIR") or _setting("data_dir")
    if given:
        return Path(os.path.abspath(os.path.expanduser(given)))
    from platformdirs import user_data_path  # here, for programs without a server need it not

    return user_data_path("modal-lite", appauthor=False)


def server_url() -> str | None:
    """`MODAL_LITE_SERVER_URL`, or the profile's: `http://host:port`, `https://…` or `unix:///path`.

    None for the server of the data folder: if neither names one, or the variable names a data folder.
    """
    given = os.environ.get("MODAL_LITE_SERVER_URL")
    if given or os.environ.get("MODAL_LITE_DATA_DIR"):
        return given or None
    return _setting("server_url")


def token(url: str | None = None) -> str | None:
    """`MODAL_LITE_TOKEN`, or the profile's: what a server that listens on TCP asks for.

    Args:
        url: The server that is asked. A profile's token is for its own server: other servers are not shown it.
    """
    return os.environ.get("MODAL_LITE_TOKEN") or _setting_for(url, "token")


def ca_file(url: str | None = None) -> str | None:
    """`MODAL_LITE_CA_FILE`, or the profile's: certificates to trust instead of the system's, for its server."""
    given = os.environ.get("MODAL_LITE_CA_FILE") or _setting_for(url, "ca_file")
    return os.path.abspath(os.path.expanduser(given)) if given else None


def placer() -> str:
    """`MODAL_LITE_PLACER`, or the profile's: where a server's containers run, on its machine or on a cluster.

    `local` (the default) or `ray`.

    Raises:
        InvalidError: It is something else.
    """
    found = os.environ.get("MODAL_LITE_PLACER") or _setting("placer") or PLACERS[0]
    if found not in PLACERS:
        raise InvalidError(f"MODAL_LITE_PLACER is {found!r}; containers can be placed by {' or '.join(PLACERS)}.")
    return found


def ray_address() -> str:
    """`RAY_ADDRESS`, or the profile's: where Ray is.

    `auto`, a Ray of this machine (the default); `host:port` of its head, where this machine is a node; or
    `ray://host:port` of its client server, where it is none.

    Raises:
        InvalidError: It is something else.
    """
    found = os.environ.get("RAY_ADDRESS") or _setting("ray_address") or "auto"
    scheme, separator, _ = found.rpartition("://")
    if separator and scheme != "ray":
        raise InvalidError(f"RAY_ADDRESS is {found!r}; it can be auto, host:port, or ray://host:port.")
    return found


def ray_python() -> str | None:
    """`MODAL_LITE_RAY_PYTHON`, or the profile's: the interpreter for containers of a cluster. Default: Ray's there."""
    return os.environ.get("MODAL_LITE_RAY_PYTHON") or _setting("ray_python")


def advertise_url() -> str | None:
    """`MODAL_LITE_ADVERTISE_URL`, or the profile's: where a cluster finds the server. Default: where that listens."""
    return os.environ.get("MODAL_LITE_ADVERTISE_URL") or _setting("advertise_url")


def environment_name(given: str | None = None) -> str:
    """The environment to deploy to and look up in: as given, `MODAL_ENVIRONMENT`, the profile's, else "main"."""
    return given or os.environ.get("MODAL_ENVIRONMENT") or _setting("environment") or DEFAULT_ENVIRONMENT


def _setting(key: str) -> str | None:
    return profiles().get(active_profile(), {}).get(key) or None


def _setting_for(url: str | None, key: str) -> str | None:
    """A setting that is for the profile's server alone."""
    own = _setting("server_url")
    return _setting(key) if own is not None and url is not None and own.rstrip("/") == url.rstrip("/") else None


def _read() -> tuple[str | None, Profiles]:
    """The profile that the file activates, and all profiles; nothing if there is no file."""
    path = config_path()
    try:
        state = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None, {}
    except OSError as error:
        raise InvalidError(f"{path} cannot be read: {error.strerror}.") from None
    return _parse(str(path), state.st_mtime_ns, state.st_size, state.st_mode)


@lru_cache(maxsize=4)
def _parse(path: str, changed: int, size: int, mode: int) -> tuple[str | None, Profiles]:
    import tomllib

    try:
        with open(path, "rb") as file:
            data = tomllib.load(file)
    except OSError as error:
        raise InvalidError(f"{path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidError(f"{path} is no TOML: {error}.") from None
    for key in data:
        if key not in ("profile", "profiles"):
            raise InvalidError(f'{path}: {key} is not known. Write profile = "NAME" and tables [profiles.NAME].')
    chosen, tables = data.get("profile"), data.get("profiles", {})
    if chosen is not None and not isinstance(chosen, str):
        raise InvalidError(f'{path}: profile must be text. Write profile = "NAME".')
    if not isinstance(tables, dict):
        raise InvalidError(f"{path}: profiles must be tables. Write [profiles.NAME].")
    for name, table in tables.items():
        _check(path, name, table)
    if mode & 0o077 and any("token" in table for table in tables.values()):
        raise InvalidError(f"{path} has a token in it, and others can open it. Write: chmod 600 {path}")
    return chosen, tables


def _check(path: str, name: str, table: object) -> None:
    where = f"{path}: profiles.{name}"
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        raise InvalidError(f"{where}: give the profile {_NAME_ADVICE}.")
    if not isinstance(table, dict):
        raise InvalidError(f"{where} must be a table. Write [profiles.{name}].")
    for key, value in table.items():
        if key not in _SETTINGS:
            raise InvalidError(f"{where}.{key} is not known. A profile can have {', '.join(_SETTINGS)}.")
        if not isinstance(value, str) or not value:
            raise InvalidError(f'{where}.{key} must be text. Write {key} = "...".')


def _listed(known: Profiles) -> str:
    return f"is {', '.join(sorted(known))}" if known else "are no profiles"
