"""Secrets: environment variables for containers whose values are never shown."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modal_lite.exception import InvalidError


class Secret:
    """Environment variables that containers of a function see. Made by one of the `from_…` methods."""

    _variables: dict[str, str]

    def __init__(self) -> None:
        raise InvalidError(
            "Secret() cannot be made directly: use Secret.from_dict({...}), Secret.from_local_environ([...]) "
            "or Secret.from_dotenv()."
        )

    def __repr__(self) -> str:
        return f"Secret({', '.join(sorted(self._variables))})"

    @property
    def variables(self) -> dict[str, str]:
        """A copy of the variables, by name."""
        return dict(self._variables)

    @classmethod
    def from_dict(cls, env_dict: Mapping[str, str | None]) -> "Secret":
        """A secret of the given variables; those whose value is None are left out.

        Raises:
            InvalidError: A name or a value is no string, or cannot be an environment variable.
        """
        given: Any = env_dict
        if not isinstance(given, Mapping):
            raise InvalidError(f"Secret.from_dict takes a dict of strings, not {type(given).__name__}.")
        for name, value in given.items():
            if not isinstance(name, str) or not name or "=" in name or "\0" in name:
                raise InvalidError(f"Secret.from_dict: {name!r} cannot be the name of an environment variable.")
            if value is not None and (not isinstance(value, str) or "\0" in value):
                # The value itself stays out of the message: it is a secret.
                what = "contains a NUL character" if isinstance(value, str) else f"is of type {type(value).__name__}"
                raise InvalidError(f"Secret.from_dict: the value of {name!r} {what}; it must be a string or None.")
        return cls._of({name: value for name, value in given.items() if value is not None})

    @classmethod
    def from_local_environ(cls, env_keys: Iterable[str]) -> "Secret":
        """A secret of variables of this process's environment, with the values they have now.

        Raises:
            InvalidError: One of them is not set; the message names all that are missing.
        """
        if isinstance(env_keys, str):
            raise InvalidError(f"Secret.from_local_environ takes a list of names: write [{env_keys!r}].")
        names = list(env_keys)
        missing = [name for name in names if name not in os.environ]
        if missing:
            raise InvalidError(f"Secret.from_local_environ: not set in this environment: {', '.join(missing)}.")
        return cls._of({name: os.environ[name] for name in names})

    @classmethod
    def from_dotenv(cls, path: str | os.PathLike[str] | None = None, *, filename: str = ".env") -> "Secret":
        """A secret of the variables in a dotenv file.

        Args:
            path: A directory, or a file in it such as `__file__`, from which the file is looked for upwards. Default:
                the working directory.
            filename: The file's name. Default: `.env`.

        Raises:
            InvalidError: There is no such file, or python-dotenv is not installed.
        """
        try:
            from dotenv import dotenv_values
        except ImportError:
            raise InvalidError(
                "Secret.from_dotenv needs the package python-dotenv: pip install 'modal-lite[dotenv]'."
            ) from None
        start = Path.cwd() if path is None else Path(path).resolve()
        for directory in (start, *start.parents):
            if (directory / filename).is_file():
                return cls.from_dict(dotenv_values(directory / filename))
        raise InvalidError(f"Secret.from_dotenv: there is no file {filename!r} in {start} or any directory above it.")

    @classmethod
    def from_name(
        cls, name: str, *, environment_name: str | None = None, required_keys: Sequence[str] = ()
    ) -> "Secret":
        """Refused: there is no store of named secrets on one machine.

        Args:
            name: What it is called elsewhere.
            environment_name: Not looked at.
            required_keys: The variables that it has, for the message.

        Raises:
            InvalidError: Always, with what to write instead.
        """
        keys = ", ".join(map(repr, required_keys)) or '"NAME_OF_A_VARIABLE"'
        raise InvalidError(
            f"Secret.from_name({name!r}): there is no store of named secrets here. Set the variables before the "
            f"program starts and write Secret.from_local_environ([{keys}]), or keep them in a file for "
            "Secret.from_dotenv()."
        )

    @classmethod
    def _of(cls, variables: dict[str, str]) -> "Secret":
        secret = cls.__new__(cls)
        secret._variables = variables
        return secret
