"""Images: accepted for the sake of programs written for Modal, without effect where containers are local processes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from modal_lite.exception import InvalidError

__all__ = ["Image"]

_with_failed_imports: "list[Image]" = []


class Image:
    """What a container consists of, step by step: `Image.debian_slim().pip_install("numpy")`.

    Containers here are processes of this machine, with the interpreter and the packages of the program. So an image has
    no effect at all, not even its `env` and `workdir`, which describe another file system: install packages where you
    install modal_lite, give variables by `env=`. Only `imports()` does what it says. Each method returns a new image.
    """

    def __init__(self) -> None:
        raise InvalidError("Image() cannot be made directly: begin with Image.debian_slim(), for example.")

    def __repr__(self) -> str:
        return f"Image({', '.join(self._steps)})"

    # --- where it begins ---------------------------------------------------------------------------------------------

    @classmethod
    def debian_slim(cls, python_version: str | None = None, **options: Any) -> "Image":
        """Begins with Debian and Python."""
        return cls._of(["debian_slim"])

    @classmethod
    def from_registry(cls, tag: str, **options: Any) -> "Image":
        """Begins with an image of a registry."""
        return cls._of([f"from_registry {tag}"])

    @classmethod
    def from_dockerfile(cls, path: Any, **options: Any) -> "Image":
        """Begins with what a Dockerfile says."""
        return cls._of([f"from_dockerfile {path}"])

    @classmethod
    def micromamba(cls, python_version: str | None = None, **options: Any) -> "Image":
        """Begins with micromamba."""
        return cls._of(["micromamba"])

    # --- packages ----------------------------------------------------------------------------------------------------

    def pip_install(self, *packages: str | list[str], **options: Any) -> "Image":
        """Adds packages by pip."""
        return self._and("pip_install", *packages)

    def pip_install_from_requirements(self, requirements_txt: str, **options: Any) -> "Image":
        """Adds the packages of a requirements file."""
        return self._and("pip_install_from_requirements", requirements_txt)

    def pip_install_from_pyproject(self, pyproject_toml: str, **options: Any) -> "Image":
        """Adds the dependencies of a project."""
        return self._and("pip_install_from_pyproject", pyproject_toml)

    def poetry_install_from_file(self, poetry_pyproject_toml: str, **options: Any) -> "Image":
        """Adds the dependencies of a Poetry project."""
        return self._and("poetry_install_from_file", poetry_pyproject_toml)

    def uv_pip_install(self, *packages: str | list[str], **options: Any) -> "Image":
        """Adds packages by uv."""
        return self._and("uv_pip_install", *packages)

    def uv_sync(self, uv_project_dir: str = "./", **options: Any) -> "Image":
        """Adds the dependencies of a uv project."""
        return self._and("uv_sync", uv_project_dir)

    def micromamba_install(self, *packages: str | list[str], **options: Any) -> "Image":
        """Adds packages by micromamba."""
        return self._and("micromamba_install", *packages)

    def apt_install(self, *packages: str | list[str], **options: Any) -> "Image":
        """Adds packages of the system."""
        return self._and("apt_install", *packages)

    # --- everything else ---------------------------------------------------------------------------------------------

    def run_commands(self, *commands: str | list[str], **options: Any) -> "Image":
        """Runs commands of the shell."""
        return self._and("run_commands", *commands)

    def dockerfile_commands(self, *dockerfile_commands: str | list[str], **options: Any) -> "Image":
        """Adds lines of a Dockerfile."""
        return self._and("dockerfile_commands", *dockerfile_commands)

    def run_function(self, raw_f: Any, **options: Any) -> "Image":
        """Runs a Python function while it is built."""
        return self._and("run_function", getattr(raw_f, "__qualname__", raw_f))

    def env(self, vars: Mapping[str, str]) -> "Image":
        """Sets variables.

        Raises:
            InvalidError: They are no strings.
        """
        if not all(isinstance(text, str) for pair in vars.items() for text in pair):
            raise InvalidError("Image.env takes a dict of strings.")
        return self._and("env", *vars)

    def workdir(self, path: Any) -> "Image":
        """Sets the working directory."""
        return self._and("workdir", path)

    def shell(self, shell_commands: list[str]) -> "Image":
        """Sets the shell."""
        return self._and("shell", shell_commands)

    def entrypoint(self, entrypoint_commands: list[str]) -> "Image":
        """Sets the entrypoint."""
        return self._and("entrypoint", entrypoint_commands)

    def cmd(self, cmd: list[str]) -> "Image":
        """Sets the command."""
        return self._and("cmd", cmd)

    def add_local_file(self, local_path: Any, remote_path: str, **options: Any) -> "Image":
        """Adds a file."""
        return self._and("add_local_file", local_path)

    def add_local_dir(self, local_path: Any, remote_path: str, **options: Any) -> "Image":
        """Adds a directory."""
        return self._and("add_local_dir", local_path)

    def add_local_python_source(self, *modules: str, **options: Any) -> "Image":
        """Adds modules."""
        return self._and("add_local_python_source", *modules)

    def copy_local_file(self, local_path: Any, remote_path: Any = "./") -> "Image":
        """Former name of `add_local_file`."""
        return self._and("copy_local_file", local_path)

    def copy_local_dir(self, local_path: Any, remote_path: Any = ".", **options: Any) -> "Image":
        """Former name of `add_local_dir`."""
        return self._and("copy_local_dir", local_path)

    def copy_mount(self, mount: Any, remote_path: Any = ".") -> "Image":
        """Adds a mount."""
        return self._and("copy_mount", mount)

    # --- imports -----------------------------------------------------------------------------------------------------

    @contextmanager
    def imports(self) -> Iterator[None]:
        """Imports what only containers need: `with image.imports(): import torch`.

        Where a package is missing the rest of the block is left out. Only the containers of functions that have this
        image fail for it, at their start, with the `ImportError`.
        """
        try:
            yield
        except ImportError as error:
            self._failed_imports.append(error)
            _with_failed_imports.append(self)

    def _used_by(self, function: object) -> None:
        """A function, or a class, has this image."""
        self._users.append(function)

    # --- inside ------------------------------------------------------------------------------------------------------

    _steps: list[str]
    _users: list[object]
    _failed_imports: list[Exception]

    @classmethod
    def _of(cls, steps: list[str]) -> "Image":
        image = cls.__new__(cls)
        image._steps, image._users, image._failed_imports = steps, [], []
        return image

    def _and(self, method: str, *arguments: object) -> "Image":
        return self._of([*self._steps, " ".join(map(str, (method, *arguments)))])


def raise_failed_imports(function: object) -> None:
    """In a container: raises what kept an `imports()` block of the function's image from being executed."""
    for image in _with_failed_imports:
        if any(user is function for user in image._users):
            raise image._failed_imports[0]
