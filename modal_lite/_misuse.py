"""Functions that are used in a way they cannot be: the errors, which say what to do instead."""

from typing import Any

from modal_lite.exception import ExecutionError, InvalidError


def not_hydrated(tag: str, raw_f: Any, app_name: str | None) -> ExecutionError:
    """The function, or class, was called while its app did not run."""
    what = "class" if isinstance(raw_f, type) else "function"
    return ExecutionError(
        f"The {what} {tag} has not been hydrated with what it needs to run, because {app_name or 'its app'} is not "
        "running. Call it inside `with app.run():`, or start the program with `modal-lite run`."
    )


def wrong_kind(tag: str, is_generator: bool, used: str, right: str) -> InvalidError:
    """A generator function was called as one that is none, or the other way round."""
    kind = "a generator function" if is_generator else "no generator function"
    return InvalidError(f"{tag} is {kind} and cannot be called with .{used}(...). Use .{right}(...) instead.")


def generator_in_map(tag: str, used: str) -> InvalidError:
    """A generator function was called for many inputs."""
    return InvalidError(
        f"{tag} is a generator function and cannot be called with .{used}(...). Use .remote_gen(...) for each input."
    )


def web_function(tag: str, used: str, url: str | None) -> InvalidError:
    """A web function was called."""
    return InvalidError(f"{tag} is a web function and cannot be called with .{used}(...). Its URL is {url}.")


def no_web_function(tag: str) -> ValueError:
    """The URL was asked of a function that answers no requests."""
    return ValueError(
        f"No web_url can be found for the function {tag}: it is no web function. "
        "Those have @modal_lite.fastapi_endpoint(), asgi_app(), wsgi_app() or web_server()."
    )


def called_directly(tag: str, is_generator: bool) -> TypeError:
    """It would not be clear where the function is to run."""
    remote = "remote_gen" if is_generator else "remote"
    return TypeError(
        f"{tag} is a modal_lite Function and cannot be called directly. "
        f"Use {tag}.{remote}(...) to run it in a container, or {tag}.local(...) to run it here."
    )
