"""What a look-up by name gives: where to find a deployed function, or class, and what is known of it."""

from collections.abc import Callable
from typing import Any, NoReturn

from modal_lite import config
from modal_lite._client import _Client, server_client
from modal_lite._core.requests import FoundDeployed
from modal_lite._function_info import FunctionInfo
from modal_lite.exception import ExecutionError, InvalidError, NotFoundError


class Reference:
    """A deployed function or class, by name.

    Args:
        app_name: Its app.
        tag: Its name in the app.
        environment: Where the app is deployed; None for the present environment.
        client: Which server to ask; None for the one that the environment names.

    Raises:
        InvalidError: A name is no string.
    """

    def __init__(self, app_name: str, tag: str, environment: str | None, client: Any) -> None:
        for name in (app_name, tag):
            if not str(name) or str(name) is not name:
                raise InvalidError(f"{name!r:.100} is no name to look up: it must be a string that is not empty.")
        self.app_name = app_name
        self.tag = tag
        self.environment = environment
        self._client: _Client | None = None if client is None else client.requests
        self._asked: _Client | None = None
        """Where it was found."""
        self._found: FoundDeployed | None = None

    @property
    def client(self) -> _Client:
        """What to send its calls to: whom it was looked up with, for that is where its id means something."""
        asked = self._asked
        # In a fork it is of no use. Whoever the environment names is asked then, which takes too long for every call.
        return server_client(self._client) if asked is None or asked.is_forked else asked

    @property
    def environment_name(self) -> str:
        """The environment, also if none was given."""
        return config.environment_name(self.environment)

    async def look_up(self, of_class: bool) -> FoundDeployed:
        """What the server says of it; asked once.

        Raises:
            NotFoundError: There is no such function or class.
            InvalidError: It is the other one of the two.
        """
        if self._found is None:
            client = self.client
            found = await client.look_up(self.environment_name, self.app_name, self.tag)
            if of_class and found.methods is None:
                raise InvalidError(f"{self.tag} of the app {self.app_name} is a function: use Function.from_name.")
            if not of_class and found.methods is not None:
                raise InvalidError(f"{self.tag} of the app {self.app_name} is a class: use Cls.from_name.")
            self._found, self._asked = found, client
        return self._found

    def info(self) -> FunctionInfo:
        """Where it comes from, as far as that is known."""
        found = self._found
        if found is None:
            return FunctionInfo(missing_definition(self.tag), "", self.tag, None, False, False, False)
        raw_f = missing_definition(self.tag)
        place = found.module_name, found.qualname, None
        return FunctionInfo(raw_f, *place, False, found.is_generator, found.is_async, found.web.get(""))

    def method_info(self, name: str) -> FunctionInfo:
        """Where a method of the class comes from. Raises NotFoundError if it has no such method."""
        info, raw_f = self.info(), missing_definition(f"{self.tag}.{name}")
        if self._found is None:
            return info.of_method(name, raw_f, False, False)
        methods = self._found.methods or {}
        if name not in methods:
            raise NotFoundError(
                f"The class {self.tag} of the app {self.app_name} has no method {name}; it has {', '.join(methods)}."
            )
        return info.of_method(name, raw_f, *methods[name], self._found.web.get(name))


def missing_definition(tag: str) -> Callable[..., Any]:
    """What takes the place of a function whose code is not here."""

    def missing(*args: Any, **kwargs: Any) -> NoReturn:
        raise ExecutionError(
            f"The definition of the function {tag} is missing here: this handle came from another process, or was "
            "looked up. Use .remote()."
        )

    return missing
